"""Options from a file: what comes back, what wins, what is refused."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import pytest
import tomli_w

from bids_flairseg.config_file import as_table, compare_models
from bids_flairseg.errors import InputError, MissingInputError, UsageError
from bids_flairseg.parser import build_parser, parse_arguments
from tests.conftest import write_json

EVERYTHING = (
    "--participant-label 01 a+b --session-label ses-A -d manual={0}/manual other={0}/other "
    "--threshold 0.4 --min-lesion-ml 0.05 --n4 --inference windows --nprocs 3 --omp-nthreads 2 "
    "--mem 4G --device cpu -w {0}/work --overwrite --random-seed 7 -vv --mode finetune "
    "--label-value 1 3 --also-train-on {0}/bids={0}/manual {0}/other --recipe {0}/my.toml "
    "--set epochs=20 batch=2 --layers first+last --train-fraction 0.5 --bundle-name ours "
    "--share-ids"
)
GROUP = (
    "-d manual={0}/manual other={0}/other --reference manual --local-cases other=3 --margin 0.1 "
    "--strict"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("bids", "manual", "other"):
        (tmp_path / name).mkdir()
    return tmp_path


def write(folder: Path, text: str) -> str:
    (folder / "run.toml").write_text(text)
    return str(folder / "run.toml")


def basic(folder: Path, more: str = "") -> str:
    places = f'bids_dir = "{folder}/bids"\noutput_dir = "{folder}/out"\n'
    return write(folder, f'[arguments]\n{places}analysis_level = "participant"\n{more}')


@pytest.mark.parametrize(
    ("level", "text"),
    [("participant", EVERYTHING), ("participant", ""), ("group", GROUP), ("group", "")],
)
def test_a_record_gives_the_same_arguments_again(folder: Path, level: str, text: str) -> None:
    places = [f"{folder}/bids", f"{folder}/out", level]
    first = parse_arguments([*places, *text.format(folder).split()])
    record = tomli_w.dumps({"run": {"id": "x"}, "arguments": as_table(first, build_parser())})
    again = parse_arguments(["--config", write(folder, record)])
    assert again.config == folder / "run.toml"
    assert {**vars(again), "config": None} == vars(first)


def test_every_option_of_the_parser_can_stand_in_a_record() -> None:
    for action in build_parser()._actions:
        kinds = (action.nargs in (None, 0, "+"), action.nargs != 0 or action.const in (True, None))
        assert all(kinds), action.dest


def test_the_command_line_wins(folder: Path) -> None:
    more = 'nprocs = 4\nmode = "finetune"\ntrain_count = 3\nverbose = 2\n'
    path = basic(folder, f'participant_label = ["01"]\n{more}')
    words = ["--nprocs", "1", "--participant_label", "02", "--train-fraction", "0.5", "-v"]
    arguments = parse_arguments([f"--config={path}", *words])
    assert (arguments.nprocs, arguments.participant_label) == (1, ["02"])
    assert (arguments.train_count, arguments.train_fraction) == (None, 0.5)
    assert arguments.verbosity == 1
    assert arguments.output_dir == folder / "out"


def test_a_file_cannot_train_without_a_mode_that_does(folder: Path) -> None:
    training = 'recipe = "quick"\nfolds = 5\nreference = ["manual"]\n'
    with pytest.raises(UsageError, match=r"run\.toml.*--recipe belongs to --mode train"):
        parse_arguments(["--config", basic(folder, training)])
    path = basic(folder, f'{training}mode = "crossval"\n')
    assert parse_arguments(["--config", path]).folds == 5


def test_a_mode_on_the_command_line_takes_of_a_file_what_it_can_use(folder: Path) -> None:
    path = basic(folder, 'mode = "crossval"\nrecipe = "quick"\nfolds = 5\nfold = 2\n')
    arguments = parse_arguments(["--config", path, "--mode", "finetune"])
    assert (arguments.recipe, arguments.folds, arguments.fold) == ("quick", 3, None)
    assert parse_arguments(["--config", path, "--mode", "predict"]).recipe == "default"
    with pytest.raises(UsageError, match="--recipe belongs to --mode train"):
        parse_arguments(["--config", path, "--mode", "predict", "--recipe", "quick"])


def test_folders_on_the_command_line_win_too(folder: Path) -> None:
    path = basic(folder, 'session_label = ["A"]\n')
    places = [f"{folder}/bids", f"{folder}/new", "participant"]
    for words in ([*places, "--config", path], ["--config", path, *places]):
        arguments = parse_arguments(words)
        assert arguments.output_dir == folder / "new"
        assert arguments.session_label == ["A"]


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ("particpant_label = ['01']", UsageError, "'particpant_label'.*'participant_label'"),
        ("mem-mb = 4", UsageError, "'mem-mb'.*'mem_mb'"),
        ("config = 'x'", UsageError, "unknown key 'config'"),
        ("n4 = 1", InputError, "n4: expected true or false, found 1"),
        ("session_label = 'A'", InputError, "session_label: expected a list, found 'A'"),
        ("threshold = [1]", InputError, "threshold: expected a text or a number"),
        ("nprocs = true", InputError, "nprocs: expected a text or a number, found True"),
        ("nprocs = 0", UsageError, r"run\.toml.*--nprocs"),
        ("[argument]", UsageError, "'argument'.*'arguments'"),
        ("[", InputError, "expected TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    folder: Path, more: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_arguments(["--config", basic(folder, more)])


def test_a_file_that_is_missing_or_says_too_little(folder: Path) -> None:
    with pytest.raises(MissingInputError, match=r"gone\.toml"):
        parse_arguments(["--config", f"{folder}/gone.toml"])
    with pytest.raises(InputError, match=r"table \[arguments\].*found nprocs"):
        parse_arguments(["--config", write(folder, "nprocs = 1")])
    with pytest.raises(UsageError, match="expected 'bids_dir'"):
        parse_arguments(["--config", write(folder, "[arguments]\nnprocs = 1")])
    with pytest.raises(UsageError, match="all of BIDS_DIR OUTPUT_DIR"):
        parse_arguments(["--config", basic(folder), f"{folder}/bids"])
    with pytest.raises(UsageError, match="--nonsense"):
        parse_arguments(["--config", basic(folder), "--nonsense"])


def test_help_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--config", "gone.toml", "--help"])
    assert "BIDS_DIR" in capsys.readouterr().out


def test_other_versions_and_models_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    more = "[versions]\nflairseg = '0.0.0'\n[models.lesion]\nsha256 = 'a'\n[models.anatomy]\n"
    path = basic(folder, more + "sha256 = 'b'\n")
    with caplog.at_level(logging.WARNING):
        parse_arguments(["--config", path])
        assert "flairseg 0.0.0" in caplog.text
        write_json(folder / "model.json", {"sha256": "a"})
        compare_models(Path(path), {"lesion": folder, "anatomy": folder})
    assert "anatomy model had sha256 b" in caplog.text
    assert "lesion model" not in caplog.text


def test_a_recipe_of_ones_own_is_found_from_everywhere(folder: Path) -> None:
    words = [f"{folder}/bids", f"{folder}/out", "participant", "--mode", "finetune", "--recipe"]
    for name, absolute in (("my.toml", True), ("quick", False)):
        table = as_table(parse_arguments([*words, name]), build_parser())
        assert Path(table["recipe"]).is_absolute() is absolute
    assert tomllib.loads(tomli_w.dumps(table)) == table

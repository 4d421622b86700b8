"""Arguments, exit codes, and how soon the command answers."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from bids_flairseg import cli, values
from bids_flairseg.errors import MissingInputError, UsageError
from bids_flairseg.parser import build_parser, parse_arguments
from tests.conftest import ROOT

HEAVY = {
    "ants", "bids", "keras", "matplotlib", "nibabel", "nilearn", "nipype", "numpy", "pandas",
    "rich", "scipy", "tensorflow",
}  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    (tmp_path / "bids").mkdir()
    return [str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bids_flairseg", *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--nonsense"], ["a", "b", "c"]])
def test_nothing_heavy_is_loaded_for_help_and_errors(arguments: Sequence[str]) -> None:
    code = (
        "import sys\nfrom bids_flairseg.cli import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        f"sys.exit(', '.join({HEAVY!r} & set(sys.modules)) or None)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_help_comes_within_a_second_of_processor_time() -> None:
    before = os.times()
    assert run("--help").returncode == 0
    after = os.times()
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < 1.0


def test_help_names_every_option_and_fits_a_terminal() -> None:
    text = build_parser().format_help()
    for action in build_parser()._actions:
        assert all(spelling in text for spelling in action.option_strings)
    assert max(map(len, text.splitlines())) <= 100


def test_defaults_of_the_parser() -> None:
    arguments = parse_arguments([str(ROOT), "/out", "participant"])
    assert arguments.mode == "predict"
    assert arguments.omp_nthreads == min(arguments.nprocs, 8)
    assert arguments.threshold is None
    assert arguments.min_lesion_ml == 0.01
    assert {arguments.n4, arguments.no_flip, arguments.overwrite} == {False}


def test_old_and_new_spellings_mean_the_same(folders: list[str]) -> None:
    new = [
        "--participant-label", "sub-01", "02", "--session-label", "ses-A", "--mem-mb", "4000",
        "--omp-nthreads", "1", "--skip-bids-validation", "--work-dir=a_b", "--random-seed", "3",
    ]  # fmt: skip
    old = [
        word.replace("-", "_").replace("__", "--", 1) if word[:2] == "--" else word for word in new
    ]
    first, second = parse_arguments(folders + new), parse_arguments(folders + old)
    assert first.participant_label == ["01", "02"]
    assert first.session_label == ["A"]
    assert first.work_dir.name == "a_b"
    assert vars(first) == vars(second)


@pytest.mark.parametrize("alias", ["--nprocs", "--nthreads", "--n-cpus", "--n_cpus"])
def test_processors_and_memory_have_the_names_of_other_apps(folders: list[str], alias: str) -> None:
    arguments = parse_arguments([*folders, alias, "3", "--mem", "16G"])
    assert (arguments.nprocs, arguments.mem_mb, arguments.omp_nthreads) == (3, 16000, 3)
    assert parse_arguments([*folders, "--mem_mb", "16000"]).mem_mb == 16000


def test_options_that_are_given_twice_add_up(folders: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    words = "--participant-label 01 02 -d x={0}/a --participant_label sub-03 -d y={0}/b"
    arguments = parse_arguments([*folders, *words.format(tmp_path).split()])
    assert arguments.participant_label == ["01", "02", "03"]
    assert dict(arguments.derivatives) == {"x": tmp_path / "a", "y": tmp_path / "b"}
    assert parse_arguments(folders).participant_label == []  # the default is untouched


def test_too_many_threads_are_lowered_and_said(
    folders: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = parse_arguments([*folders, "--nprocs", "2", "--omp-nthreads", "4"])
    assert arguments.omp_nthreads == 2
    assert "--omp-nthreads 4 is more than" in caplog.text


def test_derivatives_have_names(folders: list[str], tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    named = parse_arguments([*folders, "-d", f"brains={masks}", str(masks)])
    assert dict(named.derivatives) == {"brains": masks, "masks": masks}


def test_places_are_written_down_without_detours(
    folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "bids")
    (tmp_path / "link").symlink_to(tmp_path / "bids")
    words = ["../link", "../bids/../out", "participant", "-d", "masks=../bids"]
    arguments = parse_arguments(words)
    assert (arguments.bids_dir, arguments.output_dir) == (tmp_path / "link", Path(folders[1]))
    assert dict(arguments.derivatives) == {"masks": tmp_path / "bids"}
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "far").symlink_to(tmp_path / "deep" / "down")
    through = parse_arguments(["../link", "../far/../out", "participant"]).output_dir
    assert through.resolve() == tmp_path / "deep" / "out"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["participant", "--threshold", "2"], 64),
        (["participant", "--threshold", "nan"], 64),
        (["participant", "--nprocs", "0"], 64),
        (["participant", "--mem", "much"], 64),
        (["participant", "--mem-mb", "0.1M"], 64),
        (["participant", "--participant-label", "a/b"], 64),
        (["participant", "--device", "tpu"], 64),
        (["group", "--mode", "train"], 64),
        (["participant", "--model", "/nowhere"], 66),
        (["participant", "--bids-filter-file", "/nowhere.json"], 66),
        (["participant", "-d", "masks=/nowhere"], 66),
        (["subject"], 17),
        ([], 64),
    ],
)
def test_exit_codes_of_wrong_arguments(
    folders: list[str], arguments: Sequence[str], code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert cli.main([*folders[:2], *arguments]) == code
    assert caplog.records


@pytest.mark.parametrize(("arguments", "code"), [("--help", 0), ("--version", 0), ("a b c", 17)])
def test_closed_streams_change_nothing(arguments: str, code: int, tmp_path: Path) -> None:
    # the next files to be opened would take the numbers of the standard streams
    script = f"exec {sys.executable} -m bids_flairseg {arguments} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], cwd=ROOT, check=False).returncode == code


def test_closed_streams_are_open_again_for_children() -> None:
    code = (
        "import subprocess, sys\nfrom bids_flairseg.streams import open_streams\nopen_streams()\n"
        "print('lost', flush=True)\nfile = open('/dev/null')\n"
        "assert file.fileno() > 2 and None not in (sys.stdin, sys.stdout, sys.stderr)\n"
        "subprocess.run(['sh', '-c', 'echo lost; echo lost >&2'], check=True)\n"
    )
    words = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == 0


def test_missing_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="absent"):
        parse_arguments([str(tmp_path / "absent"), str(tmp_path / "out"), "participant"])


def test_results_may_not_go_into_the_root_of_the_dataset(folders: list[str]) -> None:
    with pytest.raises(UsageError, match="derivatives/flairseg"):
        parse_arguments([folders[0], folders[0], "participant"])
    link = Path(folders[1])
    link.symlink_to(folders[0])
    assert cli.main([folders[0], folders[1], "participant"]) == 64
    assert list(Path(folders[0]).iterdir()) == []  # not even a log


def test_a_run_that_ends_in_an_error_says_so_in_its_record(folders: list[str]) -> None:
    assert cli.main([*folders[:2], "participant", "--skip-bids-validation"]) == 18

    (record,) = (path.parent for path in Path(folders[1]).glob("logs/*/flairseg.toml"))
    told = tomllib.loads((record / "flairseg.toml").read_text())["result"]
    assert told["exit_code"] == 18
    assert f"ERROR bids_flairseg.cli: {told['error']}" in (record / "flairseg.log").read_text()


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 8), (2.9, 2), (0.5, 1)])
def test_processors_obey_affinity_and_quota(
    quota: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "processor_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert values.processors() == expected


def test_nipype_stays_off_the_terminal_unless_asked_for() -> None:
    record = logging.LogRecord("nipype.workflow", logging.ERROR, "", 0, "text", None, None)
    for verbosity, shown in ((0, False), (1, False), (2, True)):
        cli.configure_logging(verbosity)
        handler = next(h for h in logging.getLogger().handlers if h.get_name() == "console")
        assert bool(handler.filter(record)) is shown

"""Options of training: what belongs to which mode, and what they turn into."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_flairseg import training_options
from bids_flairseg.bids.labels import COLUMNS, SIDECAR_KEYS
from bids_flairseg.cli import train_config
from bids_flairseg.errors import MissingInputError, UsageError
from bids_flairseg.parser import build_parser, parse_arguments
from bids_flairseg.train.layers import LAYERS
from bids_flairseg.train.raters import RULES


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "bids").mkdir()
    return [str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]


def test_choices_are_those_of_the_code_behind() -> None:
    assert training_options.LAYERS == LAYERS
    assert training_options.RATERS == RULES
    assert (*COLUMNS, *SIDECAR_KEYS) == training_options.ATTRIBUTES


def test_options_become_settings(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    arguments = parse_arguments([
        *words, "--mode", "finetune", "--set", "epochs=3", "--set", "learning-rate=1e-3",
        "--label-value", "3", "1", "--label-value", "3", "--also-train-on",
        str(tmp_path / "other"), "--layers", "first+last", "--train-fraction", "0.5",
        "--repeats", "2", "--bundle-name", "site-B", "--cases-with", "site=B",
        "manufacturer=GE", "--cases-with", "site=C = D",
    ])  # fmt: skip
    train = train_config(arguments)
    assert train.overrides == {"epochs": "3", "learning_rate": "1e-3"}
    assert train.label_values == (1, 3)
    assert train.cases_with == (("site", "B"), ("Manufacturer", "GE"), ("site", "C = D"))
    assert train.also == ((tmp_path / "other", None),)
    assert (train.layers, train.fraction, train.repeats) == ("first+last", 0.5, 2)
    assert train.begins_with_bundle


@pytest.mark.parametrize(
    ("mode", "more", "begins"),
    [
        ("train", [], False),
        ("train", ["--layers", "all"], False),
        ("train", ["--layers", "all", "--set", "layers=last"], False),
        ("finetune", ["--set", "layers=last"], True),
        ("crossval", [], True),
        ("crossval", ["--from-scratch"], False),
    ],
)
def test_what_training_begins_with(
    words: list[str], mode: str, more: list[str], begins: bool
) -> None:
    arguments = parse_arguments([*words, "--mode", mode, *more])
    assert train_config(arguments).begins_with_bundle is begins


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dry-run"], "--dry-run belongs to --mode train"),
        (["--mode", "finetune", "--fold", "1"], "belongs to --mode crossval"),
        (["--mode", "crossval", "--fold", "4"], "expected 1 to 3"),
        (["--mode", "finetune", "--from-scratch"], "belongs to --mode crossval"),
        (["--mode", "train", "--layers", "last"], "all layers have to be trained"),
        (["--mode", "crossval", "--from-scratch", "--layers", "last"], "all layers"),
        (["--mode", "train", "--set", "epochs=3", "layers=last"], "--set layers=last: from random"),
        (["--mode", "crossval", "--from-scratch", "--set", "layers=last"], "--set layers=last:"),
        (["--mode", "crossval", "--train-fraction", "0.5"], "by --train-count"),
        (["--mode", "crossval", "--repeats", "2"], "another --random-seed"),
        (["--mode", "crossval", "--bundle-name", "base"], "crossval-base is the folder"),
        (["--mode", "train", "--train-fraction", "0"], "above 0"),
        (["--mode", "train", "--train-count", "2", "--train-fraction", "0.5"], "not allowed"),
        (["--mode", "train", "--set", "epochs"], "KEY=VALUE"),
        (["--mode", "train", "--bundle-name", "../up"], "is no name"),
        (["--mode", "train", "--label-value", "0"], "from 1"),
        (["--mode", "train", "--cases-with", "site"], "KEY=VALUE"),
        (["--mode", "train", "--cases-with", "sites=B"], "the nearest is site"),
        (["--mode", "finetune", "--folds", "3"], "--folds belongs to --mode crossval"),
        (["--cases-with", "site=B"], "--cases-with belongs to --mode train"),
        (["--mode", "finetune", "--layers", "second"], "invalid choice"),
    ],
)
def test_contradictions_are_refused(words: list[str], more: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_arguments([*words, *more])


def test_a_pool_of_synthetic_examples_has_to_be_there(words: list[str], tmp_path: Path) -> None:
    more = ["--mode", "train", "--synthetic"]
    assert train_config(parse_arguments([*words, *more, str(tmp_path)])).synthetic == tmp_path
    with pytest.raises(MissingInputError, match="no-such"):
        parse_arguments([*words, *more, str(tmp_path / "no-such")])


def test_a_further_dataset_has_to_be_there(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no-such"):
        parse_arguments([*words, "--mode", "train", "--also-train-on", str(tmp_path / "no-such")])


@pytest.mark.parametrize("level", ["participant", "group"])
@pytest.mark.parametrize(
    "more",
    [
        "--raters majority", "--label-value 1", "--dry-run", "--also-train-on {0}",
        "--synthetic {0}", "--recipe default", "--set epochs=3", "--layers all", "--from-scratch",
        "--checkpoint-minutes 10", "--cases-with site=B", "--train-count 3",
        "--train-fraction 0.5", "--repeats 1", "--folds 3", "--fold 1", "--bundle-name ours",
        "--share-ids",
    ],
)  # fmt: skip
def test_an_option_of_training_is_not_ignored_without_a_training(
    words: list[str], more: str, level: str
) -> None:
    option, *value = more.format(words[0]).split()
    with pytest.raises(UsageError, match=f"{option} belongs to --mode.*, not to predict"):
        parse_arguments([*words[:2], level, option, *value])


def test_the_help_says_that_held_out_participants_are_counted() -> None:
    (text,) = (one.help or "" for one in build_parser()._actions if one.dest == "train_count")
    assert "N participants of the dataset only, those held out included" in text


def test_all_options_of_training_are_known_to_be_such() -> None:
    (group,) = (item for item in build_parser()._action_groups if item.title == "training")
    assert {action.dest for action in group._group_actions} == set(
        training_options.UNUSED["predict"]
    )


@pytest.mark.parametrize("option", ["--strict", "--lesion-map", "--margin=0.05"])
def test_an_option_of_the_group_level_is_refused_at_the_other(
    words: list[str], option: str
) -> None:
    with pytest.raises(UsageError, match="belongs to the group level"):
        parse_arguments([*words, option])
    assert parse_arguments([*words[:2], "group", option]).analysis_level == "group"

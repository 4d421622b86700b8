"""Bundles of trainings: names, what counts as done, and what may leave the house with them."""

from __future__ import annotations

import errno
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.cli import train_config
from bids_flairseg.config import (
    DatasetConfig,
    ResourceConfig,
    RunConfig,
    SegmentConfig,
    TrainConfig,
)
from bids_flairseg.errors import StorageError, UsageError
from bids_flairseg.model.bundle import bundled, read_config
from bids_flairseg.parser import build_parser
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.training_options import bundle_name
from bids_flairseg.workflow.trained import (
    general_command,
    is_trained,
    keep_beside,
    model_name,
    refuse_parent,
)
from bids_flairseg.workflow.trainer import Task
from tests.conftest import ROOT


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder, bundle = tmp_path / "work", tmp_path / "models" / "ours"
    folder.mkdir()
    for name in ("history.tsv", "report.html"):
        (folder / name).write_text("sub-01" if name == "report.html" else "epoch")
    shutil.copytree(bundled("lesion"), bundle)
    return Task(
        folder=folder,
        train=(),
        validation=(),
        recipe=SiteRecipe(),
        parent=None,
        config=read_config(bundle),
        layers="all",
        seed=0,
        name="ours",
        bundle=bundle,
    )


def test_a_bundle_counts_only_for_the_training_and_the_weights_it_came_from(task: Task) -> None:
    assert not is_trained(task.bundle, "a")
    keep_beside(task, "a")
    assert is_trained(task.bundle, "a")
    assert not is_trained(task.bundle, "b")
    mark = task.bundle / "training" / "training.json"
    mark.write_text(mark.read_text().replace("weights_sha256", "x"))
    assert not is_trained(task.bundle, "a")


def test_what_shows_participants_stays_out_of_the_bundle(task: Task) -> None:
    keep_beside(task, "a")
    beside = {path.name: path.read_text() for path in (task.bundle / "training").iterdir()}
    assert beside.keys() == {"history.tsv", "training.json"}
    assert not any("sub-" in text for text in beside.values())
    assert (task.bundle.parent / "ours-report.html").read_text() == "sub-01"


def test_a_full_disk_beside_the_bundle_is_told_with_what_is_complete(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="the model is complete") as caught:
        keep_beside(task, "a")
    assert str(task.folder) in str(caught.value)
    assert not is_trained(task.bundle, "a")


def test_names_tell_layers_apart_and_are_names() -> None:
    names = {
        model_name(TrainConfig("finetune", layers=layers), parent="p" * 60, recipe="default")
        for layers in (None, "first", "all", "first+last")
    }
    assert len(names) == 4
    assert max(map(len, names)) == 48
    recipes = {model_name(TrainConfig("finetune"), parent="p", recipe=r) for r in ("a", "b c")}
    assert recipes == {"p-finetuned-a", "p-finetuned-b-c"}
    assert model_name(TrainConfig("train"), parent="p", recipe="../my own") == "trained-..-my-own"
    assert model_name(TrainConfig("train", bundle_name="b"), parent="p", recipe="r") == "b"


def papers_trainings() -> list[TrainConfig]:
    """Read the table of the paper's experiments, with all that its rows have in words."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    words = [shlex.split(row) for row in re.findall(r"`(IN\d OUT participant [^`]*)`", page)]
    tuned = next(row for row in words if "M_1" in row)
    staged = next(row for row in words if "--train-count" in row)
    words += [[*tuned[:-1], layers] for layers in ("first", "middle", "last", "first+last")]
    words += [[*staged[:-1], count] for count in ("102", "51")]
    parse = build_parser().parse_args
    return [train_config(parse([*row, "--recipe", "duong2019"])) for row in words]


def test_the_papers_experiments_go_side_by_side_in_one_output_folder() -> None:
    trainings = papers_trainings()
    own = [model_name(one, parent="trained-duong2019", recipe="duong2019") for one in trainings]
    assert own[:6] == [
        "trained-duong2019", "trained-duong2019", "trained-duong2019+IN1",
        "trained-duong2019+BRATS", "trained-duong2019+BRATS+IN2T",
        "trained-duong2019-finetuned-all-duong2019",
    ]  # fmt: skip
    # folds and repeats have further endings
    kinds = [(one.mode == "crossval", one.repeats > 1) for one in trainings]
    assert len(set(zip(own, kinds, strict=True))) == len(trainings) == 14


@pytest.mark.parametrize("mode", ["train", "finetune", "crossval"])
def test_names_tell_what_decides_about_the_model(mode: str) -> None:
    added: list[dict[str, Any]] = [
        {}, {"also": ((Path("/data/BRATS"), None),)}, {"also": ((Path("/data/my own"), None),)},
        {"synthetic": Path("/data/pool")}, {"cases_with": (("site", "B"),)},
        {"cases_with": (("site", "C"),)}, {"fraction": 0.5}, {"overrides": {"epochs": "20"}},
        {"overrides": {"epochs": "21"}}, {"count": 5}, {"count": 5, "overrides": {"epochs": "20"}},
        *({"also": ((Path("/data") / ("long" * 20 + end), None),), "count": 5} for end in "ab"),
    ]  # fmt: skip
    for parent in ("p", "p" * 60, "p" * 59 + "q"):
        names = [model_name(TrainConfig(mode, **one), parent=parent, recipe="r") for one in added]
        assert len(set(names)) == len(added), names
        assert all(bundle_name(name) == name for name in names)
        seed_and_fold = [f"{name}-seed4294967295" for name in names]
        assert all(replace(read_config(bundled("lesion")), name=name) for name in seed_and_fold)
    orders = ({"epochs": "20", "batch": "2"}, {"batch": "2", "epochs": "20"})
    one, other = (
        model_name(TrainConfig(mode, overrides=order), parent="p", recipe="r") for order in orders
    )
    assert one == other


def test_bundles_whose_names_begin_alike_give_models_of_different_names() -> None:
    train = TrainConfig("finetune", layers="first+last", recipe="duong2019")
    parents = ("trained-duong2019", "trained-duong2019+BRATS", "trained-duong2019-seed1")
    names = [model_name(train, parent=parent, recipe="duong2019") for parent in parents]
    assert names[0] == "trained-duong2019-finetuned-first-last-duong2019"
    assert len(set(names)) == 3
    assert all(name.endswith("-finetuned-first-last-duong2019") for name in names)


def test_a_training_does_not_overwrite_its_parent(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    refuse_parent(tmp_path / "ours", tmp_path / "theirs")
    with pytest.raises(UsageError, match="--bundle-name"):
        refuse_parent(tmp_path / "ours", tmp_path / "link")


def test_names_of_staged_trainings_end_with_the_number_of_participants() -> None:
    for mode in ("train", "finetune", "crossval"):
        names = {
            model_name(TrainConfig(mode, count=count), parent="p" * 60, recipe="default")
            for count in (4, 16)
        }
        assert {name.rpartition("-")[2] for name in names} == {"4", "16"}
        assert all(len(name) <= 48 for name in names)


def test_the_command_of_the_card_has_what_decides_and_names_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    config = RunConfig(
        dataset=DatasetConfig(secret, secret, secret, derivatives={"manual": secret}),
        resources=ResourceConfig(),
        segment=SegmentConfig(secret, secret, n4=True, flip=False, min_lesion_ml=0.1),
        train=TrainConfig(
            "crossval", recipe=str(secret / "my.toml"), overrides={"epochs": "7"},
            from_scratch=True, raters="union", label_values=(2, 5),
            also=((secret, None), (secret, secret)), synthetic=secret,
            cases_with=(("site", "B"),), count=4, folds=5,
        ),
        random_seed=3,
    )  # fmt: skip
    command = general_command(config, "my")
    assert "secret" not in command
    assert shlex.split(command)[4:] == [
        "-d", "NAME=LABELS", "--mode", "crossval", "--recipe", "my",
        "--raters", "union", "--random-seed", "3", "--min-lesion-ml", "0.1", "--folds", "5",
        "--train-count", "4", "--label-value", "2", "5", "--cases-with", "site=B",
        "--also-train-on", "BIDS_DIR2", "BIDS_DIR3=LABELS3", "--synthetic", "POOL",
        "--set", "epochs=7", "--from-scratch", "--n4", "--no-flip",
    ]  # fmt: skip
    share = replace(config, train=TrainConfig("train", fraction=0.5))
    assert "--train-fraction 0.5" in general_command(share, "my")
    last = replace(config, train=TrainConfig("finetune", layers="last"))
    assert "--recipe my --layers last" in general_command(last, "my")
    build_parser().parse_args(shlex.split(command)[1:])

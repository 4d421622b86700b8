"""The course of a training command: what is trained, done already, recorded and cleaned up."""

from __future__ import annotations

import shutil
import signal
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_flairseg.bids.labels import LabelledScan
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import (
    DatasetConfig,
    ResourceConfig,
    RunConfig,
    SegmentConfig,
    TrainConfig,
)
from bids_flairseg.errors import StorageError, UsageError
from bids_flairseg.model.bundle import bundled
from bids_flairseg.train.checks import CaseRow
from bids_flairseg.train.job import StoppedError, TrainingJob, find_difference
from bids_flairseg.train.result import identify
from bids_flairseg.train.store import case_digest, write_case
from bids_flairseg.workflow import tasks, trainer, training
from bids_flairseg.workflow.cases import PreparedCase
from bids_flairseg.workflow.record import start_record
from bids_flairseg.workflow.scan import CASE_STEP, WORKFLOW, node_name, run_folder
from bids_flairseg.workflow.trainer import Task
from tests.train.blobs import ball_case

FACTS = {
    "notes": [], "outside": 0.0, "brain_dice": 0.1, "flip": [0.5, 0.1], "brain_ml": 5.0,
    "voxel_mm": [1, 1, 1], "raters": 1,
}  # fmt: skip


class Commands:
    """Runs the command on stored cases; only networks and images are made up."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.dataset = DatasetConfig(root / "bids", root / "out", root / "work")
        self.dataset.work_dir.mkdir()
        self.trained: list[Task] = []
        self.segmented: list[tuple[str, str, tuple[str, ...]]] = []
        self.gathered: list[dict[str, list[Path | None]]] = []
        self.code, self.notes = 0, list[str]()
        fakes: dict[str, Callable[..., Any]] = {
            "find_cases": lambda _: [case.labelled for case in self.prepare()],
            "prepare_cases": self.prepare_found,
            "session": self.session,
            "prepare_output_dir": lambda *_: None,
            "run_task": self.run_task,
            "segment_fold": self.segment,
            "report_folds": lambda *words: self.gathered.append(words[-1]),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(training, name, fake)

    def __call__(
        self, mode: str, *, seed: int = 0, clean: bool = False, flip: bool = True, **train: Any
    ) -> dict[str, Any]:
        config = RunConfig(
            dataset=self.dataset,
            resources=ResourceConfig(),
            segment=SegmentConfig(bundled("lesion"), bundled("anatomy"), flip=flip),
            train=TrainConfig(mode, **train),
            random_seed=seed,
            clean_workdir=clean,
        )
        record = start_record(config, {"mode": mode})
        code = training.run_training(config, record)
        result = tomllib.loads((record.folder / "flairseg.toml").read_text())["result"]
        assert result["exit_code"] == code
        return dict(result)

    def prepare(self) -> list[PreparedCase]:
        prepared = []
        for number in range(4):
            case = ball_case(number)
            scan = Scan(self.root / f"{case.name}_FLAIR.nii.gz", {"sub": case.participant})
            folder = run_folder(self.dataset) / WORKFLOW / node_name(scan.name) / CASE_STEP
            if not folder.exists():
                write_case(folder, case)
            facts = {**FACTS, "lesion_ml": case.lesion_ml, "digest": case.name}
            facts["notes"] = self.notes
            row = CaseRow(case.name, case.participant, facts, {})
            labelled = LabelledScan(scan, (folder,), ("manual",), {"site": "AABB"[number]})
            digest = case_digest(folder, case.name)
            prepared.append(PreparedCase(labelled, row, folder, own=True, digest=digest))
        return prepared

    def prepare_found(
        self, _: object, source: object, labelled: Sequence[LabelledScan], **__: object
    ) -> list[PreparedCase]:
        found = {case.scan.name for case in labelled}
        return [case for case in self.prepare() if case.row.name in found]

    @contextmanager
    def session(self, *_: object) -> Iterator[tuple[None, Any]]:
        yield None, SimpleNamespace(take=lambda _: True)

    def run_task(self, task: Task, *_: object) -> dict[str, Any]:
        self.trained.append(task)
        task.folder.mkdir(parents=True)
        (task.folder / "state.npz").touch()
        shutil.copytree(bundled("lesion"), task.bundle, dirs_exist_ok=True)
        score = {"name": "sub-00", "dice": 0.5}
        return {"trained_parameters": 7, "best_epoch": 2, "seconds": 1.5, "notes": [],
                "before": [score], "after": [{**score, "dice": 0.75}]}  # fmt: skip

    def segment(self, *_: object, scans: Sequence[Scan], model: Path, output_dir: Path) -> int:
        self.segmented.append((output_dir.name, model.name, tuple(scan.name for scan in scans)))
        return self.code


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(tmp_path, monkeypatch)


def test_the_record_says_what_came_out_and_the_same_again_is_done(run: Commands) -> None:
    result = run("finetune")
    assert result["cases"] == 4
    assert result["trainings"] == [
        {
            "name": "lesion-finetuned-default", "state": "trained", "trained_parameters": 7,
            "best_epoch": 2, "seconds": 1.5, "held_out_dice_before": 0.5,
            "held_out_dice_after": 0.75,
        }
    ]  # fmt: skip
    assert run("finetune")["trainings"][0]["state"] == "unchanged"
    assert len(run.trained) == 1


def test_another_training_of_the_same_name_is_not_overwritten_in_silence(
    run: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    run("finetune")
    assert "replaces the model" not in caplog.text
    run("finetune", seed=1)
    assert "replaces the model of another training" in caplog.text
    assert len({task.folder for task in run.trained}) == 2


def test_trainings_with_other_values_of_the_recipe_lie_side_by_side(
    run: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    for overrides in ({}, {"epochs": "4"}):
        run("crossval", folds=2, overrides=overrides)
    name = "lesion-finetuned-default"
    own = {target for target, _, _ in run.segmented} - {"crossval-base"}
    assert own == {f"crossval-{name}", f"crossval-{name}-epochs_4"}
    assert len({task.bundle for task in run.trained}) == 4
    assert "replaces the model" not in caplog.text


def test_a_dry_run_trains_nothing_and_keeps_the_prepared_cases(run: Commands) -> None:
    result = run("finetune", dry_run=True, clean=True)
    assert (result["cases"], result["trainings"], run.trained) == (4, [], [])
    assert list(run.dataset.work_dir.rglob("*.npy"))


def test_only_cases_with_the_wanted_attributes_are_prepared(run: Commands) -> None:
    assert run("finetune", cases_with=(("site", "B"),))["cases"] == 2
    (task,) = run.trained
    assert {name for _, name in (*task.train, *task.validation)} == {"sub-02", "sub-03"}


def test_repeats_have_names_and_seeds_of_their_own_and_one_choice_of_cases(run: Commands) -> None:
    run("train", seed=3, repeats=2, count=2)
    assert [task.name for task in run.trained] == [
        "trained-default-2-seed3", "trained-default-2-seed4",
    ]  # fmt: skip
    assert [task.seed for task in run.trained] == [3, 4]
    assert run.trained[0].train == run.trained[1].train


def test_layers_are_those_of_the_recipe_unless_they_are_named(run: Commands) -> None:
    run("finetune")
    run("finetune", layers="first+last")
    run("train")
    run("finetune", overrides={"layers": "middle"})
    assert [task.layers for task in run.trained] == ["all", "first+last", "all", "middle"]
    assert all(task.layers == task.recipe.layers for task in run.trained)


def test_nothing_is_left_in_the_work_folder_when_that_is_wanted(run: Commands) -> None:
    run("finetune", clean=True)
    assert not list(run.dataset.work_dir.rglob("*.np[yz]"))
    run("finetune")
    assert list(run.dataset.work_dir.rglob("*.npy"))


def test_every_case_is_segmented_by_the_model_of_its_fold_and_by_the_base(run: Commands) -> None:
    run("crossval", folds=2, layers="last")
    name = "lesion-finetuned-last-default"
    assert {target for target, _, _ in run.segmented} == {"crossval-base", f"crossval-{name}"}
    for target, model, scans in run.segmented:
        if target == "crossval-base":
            continue
        (task,) = [task for task in run.trained if task.name == model]
        seen = {case for _, case in (*task.train, *task.validation)}
        assert not seen & set(scans)
    tested = [scan for target, _, scans in run.segmented if "base" in target for scan in scans]
    assert sorted(tested) == [f"sub-{number:02d}" for number in range(4)]


def test_single_folds_leave_the_prepared_cases_to_the_others(
    run: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="bids_flairseg")
    run("crossval", folds=2, fold=2, clean=True)
    assert "prepared cases stay for other folds" in caplog.text
    assert list(run.dataset.work_dir.rglob("*.npy"))
    base, own = run.gathered[0].values()
    assert (None not in base, own[0], own[1] is not None) == (True, None, True)
    result = run("crossval", folds=2, clean=True)
    assert [training["state"] for training in result["trainings"]] == ["trained", "unchanged"]
    assert not list(run.dataset.work_dir.rglob("*.np[yz]"))


def test_a_fold_that_fails_keeps_its_cases_and_its_code_but_no_state(run: Commands) -> None:
    run.code = 1
    assert run("crossval", folds=2, clean=True)["exit_code"] == 1
    assert list(run.dataset.work_dir.rglob("*.npy"))
    assert len(run.trained) == 2
    assert not list(run.dataset.work_dir.rglob("state.npz"))  # of a bundle that is complete


def test_a_label_value_that_is_not_there_is_a_warning(
    run: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    run.notes = ["no lesion of value 2: mask.nii.gz has 1"]
    run("finetune", dry_run=True)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("sub-00: no lesion of value 2: mask.nii.gz has 1. Is that right?" in w
               for w in warnings)  # fmt: skip


def test_without_mirroring_it_is_another_training(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[TrainingJob] = []

    def fit(job: TrainingJob, **_: object) -> None:
        jobs.append(job)
        raise StoppedError

    monkeypatch.setattr("bids_flairseg.train.engine.fit", fit)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for flip in (True, False):
        assert run("finetune", flip=flip)["trainings"][0]["state"] == "trained"
        with pytest.raises(StoppedError):
            trainer._fit(run.trained[-1], lambda _: None)
    assert [job.flip for job in jobs] == [True, False]
    assert "--no-flip" in run.trained[1].command
    assert find_difference(jobs[0].identity(), jobs[1].identity()) == "flip (True, now False)"


def test_a_pool_is_asked_for_before_anything_is_prepared(run: Commands) -> None:
    with pytest.raises(UsageError, match="Add --synthetic DIR"):
        run("finetune", overrides={"synthetic_share": "0.5"})
    assert not list(run.dataset.work_dir.rglob("*.npy"))


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("mode", "count", "told"),
    [
        ("train", 5, "expected 1 to 4 participants"),
        ("finetune", 5, "expected 1 to 4 participants"),
        ("crossval", 3, "expected 1 to 2 participants"),  # one fold of two, and two of one
    ],
)
def test_more_participants_than_there_are_are_refused_before_the_first_training(
    run: Commands, mode: str, count: int, told: str, dry_run: bool
) -> None:
    with pytest.raises(UsageError, match=told):
        run(mode, folds=3, count=count, dry_run=dry_run)
    run(mode, folds=3, count=count - 1, dry_run=True)
    assert not run.trained


def test_a_bundle_is_not_tested_on_the_cases_it_knows(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "known_cases", lambda _: {identify(ball_case(3))})
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=r"does not know .* was\): sub-03\. Take"):
            run("crossval", folds=2, dry_run=dry_run)
    assert not run.trained


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("train", r"16, .* found 90\. .*=80 or 96\."),
        ("finetune", r"32, .* found 90\. .*=64 or 96\."),
    ],
)
def test_a_patch_that_the_network_cannot_halve_is_told_with_the_next_ones(
    run: Commands, mode: str, told: str
) -> None:
    with pytest.raises(UsageError, match=f"patch: expected a multiple of {told}"):
        run(mode, recipe="duong2019", overrides={"patch": "90"})
    assert not list(run.dataset.work_dir.rglob("*.npy"))


def test_the_process_of_a_training_refuses_cases_that_were_changed_meanwhile(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("finetune")
    (task,) = run.trained
    folder, name = task.train[0]
    write_case(folder, replace(ball_case(7), name=name))
    with pytest.raises(StorageError, match="another run has changed it"):
        trainer._fit(task, lambda _: None)

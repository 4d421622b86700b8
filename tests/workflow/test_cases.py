"""Cases for training come out of the main workflow's own nodes, and say what failed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from nipype.pipeline.engine import Node

from bids_flairseg.bids.labels import LabelledScan
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import (
    DatasetConfig,
    ResourceConfig,
    RunConfig,
    SegmentConfig,
    TrainConfig,
)
from bids_flairseg.errors import MissingInputError, StorageError
from bids_flairseg.nodes.step import Failure
from bids_flairseg.reports.records import Settings
from bids_flairseg.train.checks import CaseRow, Finding
from bids_flairseg.workflow import cases as module
from bids_flairseg.workflow.cases import (
    Source,
    find_cases,
    list_sources,
    prepare_cases,
    show_table,
    take_participants,
)
from bids_flairseg.workflow.crew import Crew
from bids_flairseg.workflow.execute import Executor
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.progress import Board, Status
from bids_flairseg.workflow.scan import Plan, init_cases_wf, init_flairseg_wf

SCAN = Scan(Path("/bids/sub-1/anat/sub-1_FLAIR.nii.gz"), {"sub": "1"})
CASE = LabelledScan(SCAN, (Path("/masks/a.nii"), Path("/masks/b.nii")), ("a", "b"), {"site": "B"})
UNLABELLED = LabelledScan(Scan(Path("/bids/x.nii"), {"sub": "2"}), (), (), {})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    config = RunConfig(
        dataset=DatasetConfig(tmp_path / "bids", tmp_path / "out", tmp_path / "work"),
        resources=ResourceConfig(),
        segment=SegmentConfig(model=tmp_path / "lesion", anatomy=tmp_path / "anatomy"),
        train=TrainConfig("finetune", raters="staple", label_values=(2,)),
    )
    return Plan(
        config=config,
        settings=Settings("m", "0" * 64, threshold=0.5, min_lesion_ml=0.01),
        models={"lesion": "abc", "anatomy": "def"},
        settings_digest="123",
        versions={},
        memory_gb=3.0,
        network_gb={"lesion": 2.0, "anatomy": 2.0},
    )


def nodes(workflow: object) -> dict[str, Node]:
    return {node.name: node for node in workflow._create_flat_graph().nodes()}  # type: ignore[attr-defined]


def test_what_predict_has_prepared_is_not_prepared_again(plan: Plan, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii").write_text(name)
    case = dataclasses.replace(CASE, labels=(tmp_path / "a.nii", tmp_path / "b.nii"))
    training, main = init_cases_wf(plan, [case]), init_flairseg_wf(plan, [SCAN])
    assert training.base_dir == main.base_dir
    ours, theirs = nodes(training), nodes(main)
    assert ours.keys() == {"check", "find_brain", "prepare", "keep_case"}
    for name in ("check", "find_brain", "prepare"):
        assert ours[name].fullname == theirs[name].fullname
        assert ours[name].inputs.get() == theirs[name].inputs.get()
    kept = ours["keep_case"].inputs
    assert (kept.rule, list(kept.values), len(kept.labels)) == ("staple", [2], 2)


def test_further_datasets_have_names_of_their_own(plan: Plan, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "derivatives" / "manual").mkdir(parents=True)
    train = dataclasses.replace(TrainConfig("train"), also=((other, None), (other, tmp_path)))
    sources = list_sources(dataclasses.replace(plan.config, train=train))
    assert [source.prefix for source in sources] == ["", "d2.", "d3."]
    assert sources[1].dataset.derivatives == {"manual": other / "derivatives" / "manual"}
    assert sources[2].dataset.derivatives == {tmp_path.name: tmp_path}
    assert sources[1].dataset.output_dir == plan.config.dataset.output_dir


def test_a_further_dataset_without_labels_is_refused(plan: Plan, tmp_path: Path) -> None:
    train = dataclasses.replace(TrainConfig("train"), also=((tmp_path, None),))
    with pytest.raises(MissingInputError, match="--also-train-on"):
        list_sources(dataclasses.replace(plan.config, train=train))


@pytest.mark.parametrize(("chosen", "with_brains"), [((), ["masks"]), (("1",), [])])
def test_brain_masks_are_looked_for_where_a_chosen_scan_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: tuple[str, ...], with_brains: list[str]
) -> None:
    for name in ("sub-1_label-L_mask", "sub-9_desc-brain_mask"):
        path = tmp_path / "masks" / name.split("_")[0] / "anat" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True)
        path.touch()
    asked: list[list[str]] = []

    def find(dataset: DatasetConfig) -> list[Scan]:
        asked.append(list(dataset.derivatives))
        return [SCAN]

    monkeypatch.setattr(module, "find_valid_scans", find)
    dataset = DatasetConfig(
        tmp_path, tmp_path / "out", tmp_path / "work", participant_labels=chosen,
        derivatives={"masks": tmp_path / "masks"},
    )  # fmt: skip
    (case,) = find_cases(Source(dataset))
    assert [path.name for path in case.labels] == ["sub-1_label-L_mask.nii.gz"]
    assert asked == [with_brains]


def prepare(plan: Plan, failure: Failure, monkeypatch: pytest.MonkeyPatch) -> list[CaseRow]:
    """Prepare two cases in a workflow that fails."""

    def fail(_: object, board: Board, **__: object) -> None:
        for row in board.rows.values():
            row.status, row.failure = Status.FAILED, failure

    monkeypatch.setattr(module, "run_workflow", fail)
    plan.config.dataset.output_dir.mkdir()
    crew = Crew(1, log_file=plan.config.dataset.output_dir / "log")
    found = prepare_cases(
        plan, Source(plan.config.dataset), [CASE, UNLABELLED], executor=Executor(), crew=crew,
        console=None,
    )  # fmt: skip
    return [case.row for case in found]


def test_a_failed_case_is_listed_with_its_reason(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, unlabelled = prepare(plan, Failure("no brain", 65), monkeypatch)
    assert (failed.failure, failed.usable) == ("no brain", False)
    assert (unlabelled.failure, unlabelled.usable) == ("", False)


def test_a_full_disk_is_no_fault_of_a_case(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="full"):
        prepare(plan, Failure("the disk is full", StorageError.exit_code), monkeypatch)


def test_a_run_waits_for_another_one_before_it_takes_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def take(label: str) -> bool:
        asked.append(label)
        return len(asked) != 2

    with ParticipantLocks(tmp_path) as locks:
        monkeypatch.setattr(locks, "take", take)
        monkeypatch.setattr(module, "_WAIT_S", 0.0)
        with caplog.at_level("INFO", logger="bids_flairseg"):
            take_participants(locks, ["3", "1", "2", "1"])
    assert asked == ["1", "2", "2", "3"]  # in order, or two runs would wait for each other
    assert "waiting for another run that works on 2, 3" in caplog.text


def test_the_table_sums_up_and_has_the_notes() -> None:
    facts = {"lesion_ml": 2.5, "voxel_mm": [1, 1, 3], "raters": 2}
    rows = [
        CaseRow("sub-1", "1", facts, {"site": "B"}),
        CaseRow("sub-2", "2", {}, {}, labelled=False),
    ]
    text = show_table(rows, [Finding("sub-1", "odd."), Finding("x", "fatal.", fatal=True)])
    assert "1 cases of 1 participants, 1 with lesions (2.5 to 2.5 ml)" in text
    assert "note: sub-1: odd." in text
    assert "fatal." not in text
    assert "1 x 1 x 3" in text

"""The board follows Nipype's callbacks; summary, exit code and provenance follow the board."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from bids_flairseg.bids.outputs import ScanPaths, sidecar_path
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import describe_surroundings
from bids_flairseg.config import DatasetConfig, ResourceConfig, RunConfig, SegmentConfig
from bids_flairseg.nodes.derivatives import FINGERPRINT, REPORT
from bids_flairseg.nodes.fingerprint import fingerprint
from bids_flairseg.nodes.step import FAILURE_FILE, Failure
from bids_flairseg.reports.records import ScanReport, Settings
from bids_flairseg.workflow.display import LiveDisplay, LogDisplay, open_display
from bids_flairseg.workflow.execute import _note_results
from bids_flairseg.workflow.progress import Board, Row, Status
from bids_flairseg.workflow.provenance import write_provenance
from bids_flairseg.workflow.record import start_record
from bids_flairseg.workflow.scan import Plan
from bids_flairseg.workflow.summary import exit_code, summarise
from tests.conftest import write_json


def make_node(scan: str, step: str, folder: Path) -> SimpleNamespace:
    return SimpleNamespace(
        fullname=f"wf.{scan}.{step}",
        name=step,
        base_dir=str(folder),
        output_dir=lambda: str(folder),
    )


@pytest.fixture
def finished() -> list[Row]:
    return []


@pytest.fixture
def board(finished: list[Row]) -> Board:
    return Board([Row("sub-01"), Row("sub-02")], LogDisplay(2), finished.append)


def test_scan_is_done_after_its_last_step(
    board: Board, finished: list[Row], tmp_path: Path
) -> None:
    for step in ("check", "segment", "write"):
        board(make_node("sub-01", step, tmp_path), "start")
        assert board.rows["sub-01"].status is Status.RUNNING
        board(make_node("sub-01", step, tmp_path), "end")
    assert [row.scan for row in finished] == ["sub-01"]
    assert finished[0].status is Status.DONE
    assert finished[0].steps_done == 3
    assert board.rows["sub-02"].status is Status.WAITING


def test_failure_is_told_in_the_words_of_the_step(
    board: Board, finished: list[Row], tmp_path: Path
) -> None:
    (tmp_path / FAILURE_FILE).write_text(json.dumps({"text": "too dark", "exit_code": 65}))
    board(make_node("sub-02", "check", tmp_path), "exception")
    board(make_node("sub-02", "write", tmp_path), "end")  # Linear calls for what it leaves out
    assert finished[0].status is Status.FAILED
    assert finished[0].failure == Failure("too dark", 65)
    assert len(finished) == 1


def test_failure_without_words_has_the_last_line_of_its_traceback(
    board: Board, finished: list[Row], tmp_path: Path
) -> None:
    node = make_node("sub-02", "check", tmp_path)
    node._traceback = ["Traceback\n", "  File x\n", "KeyError: 'y'\n"]
    board(node, "exception")
    assert finished[0].failure == Failure("KeyError: 'y'")


@pytest.mark.parametrize(
    ("last", "word"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("OSError: [Errno 2] No such file: 'result_check.pklz'", "vanished"),
    ],
)
def test_trouble_with_the_disk_is_told_as_such(
    board: Board, finished: list[Row], tmp_path: Path, last: str, word: str
) -> None:
    node = make_node("sub-02", "check", tmp_path)
    node._traceback = [f"Traceback\n{last}\n"]
    board(node, "exception")
    assert finished[0].failure is not None
    assert finished[0].failure.exit_code == 74
    assert word in finished[0].failure.text


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([Row("a", Status.DONE), Row("b", Status.UNCHANGED)], 0),
        ([Row("a", Status.DONE), Row("b", Status.FAILED, failure=Failure("x", 65))], 1),
        ([Row("a", Status.FAILED, failure=Failure("x", 65)),
          Row("b", Status.FAILED, failure=Failure("full", 74))], 74),
        ([Row("a", Status.FAILED, failure=Failure("no access", 73))], 73),
        ([Row("a", Status.DONE), Row("b", Status.WAITING)], 1),
        ([Row("a", Status.ELSEWHERE)], 1),
    ],
)  # fmt: skip
def test_exit_code(rows: list[Row], expected: int) -> None:
    assert exit_code(rows) == expected


def test_summary_has_a_line_for_each_scan_and_says_where_to_look(tmp_path: Path) -> None:
    report = ScanReport(
        name="sub-01", stats={"lesion_volume_ml": "7.04", "lesion_count": "3"}, warnings=("dark",)
    )
    rows = [
        (Row("sub-01", Status.DONE, seconds=12.4), report),
        (Row("sub-02", Status.FAILED, seconds=3, failure=Failure("it is no image")), None),
        (Row("sub-03"), None),
    ]
    text = summarise(rows, output_dir=tmp_path, log_file=tmp_path / "log").plain
    lines = [line.split() for line in text.splitlines()]
    assert ["sub-01", "7.04", "3", "12", "done,", "1", "warning"] in lines
    assert ["sub-02", "-", "-", "3", "failed"] in lines
    assert ["sub-03", "-", "-", "-", "not", "done"] in lines
    assert "sub-02: it is no image" in text
    assert str(tmp_path / "sub-*.html") in text


def test_live_display_counts_up_to_all_steps(tmp_path: Path) -> None:
    console = Console(file=(tmp_path / "screen").open("w"), force_terminal=True, width=100)
    display = open_display(2, 3, console)
    assert isinstance(display, LiveDisplay)
    board = Board([Row("sub-01"), Row("sub-02")], display, lambda row: None)
    with display:
        for scan in board.rows:
            for step in ("check", "segment", "write"):
                board(make_node(scan, step, tmp_path), "start")
                board(make_node(scan, step, tmp_path), "end")
        (task,) = display._progress.tasks
        assert task.completed == task.total == 6
        assert task.description == "2 of 2 scans"
    console.file.close()


def test_a_label_with_a_plus_is_found_under_its_node_name() -> None:
    board = Board([Row("sub-a+b")], LogDisplay(1), lambda row: None)
    assert board.rows["sub-a-b"].scan == "sub-a+b"


def make_scan(label: str) -> Scan:
    return Scan(Path(f"/bids/sub-{label}/anat/sub-{label}_FLAIR.nii.gz"), {"sub": label})


def finish(output_dir: Path, scan: Scan, settings: Settings, mark: str = "a.b.") -> Scan:
    """Leave what a finished scan leaves, without images."""
    paths = ScanPaths(output_dir, scan)
    paths.folder.mkdir(parents=True)
    for path in paths.files():
        path.touch()
    report = asdict(ScanReport(scan.name, settings=settings))
    content = {FINGERPRINT: mark, REPORT: {**report, "figures": {}}}
    write_json(sidecar_path(paths.stats), content)
    return scan


SETTINGS = Settings("m", "0" * 64, threshold=0.5, min_lesion_ml=0.01)


def make_plan(tmp_path: Path, *, n4: bool = False, overwrite: bool = False) -> Plan:
    config = RunConfig(
        DatasetConfig(tmp_path / "bids", tmp_path / f"out-{n4}", tmp_path / "work"),
        ResourceConfig(),
        SegmentConfig(tmp_path, tmp_path, n4=n4),
        overwrite=overwrite,
    )
    return Plan(config, SETTINGS, {}, "settings", {}, memory_gb=1.0, network_gb={})


def provenance(tmp_path: Path, board: Board, *, n4: bool) -> list[dict[str, Any]]:
    plan = make_plan(tmp_path, n4=n4)
    out = plan.config.dataset.output_dir
    model = SimpleNamespace(
        config=SimpleNamespace(name="m"), path=tmp_path, sha256="0" * 64, licence="CC0"
    )
    models = cast("Any", SimpleNamespace(lesion=model, anatomy=model))
    scans = [(finish(out, make_scan(row.scan[-2:]), SETTINGS), row) for row in board.rows.values()]
    path = write_provenance(start_record(plan.config, {}), plan, models, scans)
    records: list[dict[str, Any]] = json.loads(path.read_text())["Records"]
    return records


@pytest.mark.parametrize(
    ("settings", "overwrite", "expected"),
    [
        ("settings", False, Status.DONE),  # by a plugin that says nothing
        ("others", False, Status.WAITING),  # by an earlier run
        ("settings", True, Status.WAITING),
    ],
)
def test_only_what_this_run_was_to_make_counts_as_its_result(
    board: Board, tmp_path: Path, settings: str, overwrite: bool, expected: Status
) -> None:
    plan = make_plan(tmp_path, overwrite=overwrite)
    flair = tmp_path / "sub-01_FLAIR.nii.gz"
    flair.write_bytes(b"image")
    scan = replace(make_scan("01"), flair=flair)
    mark = fingerprint(settings, flair, None, about=describe_surroundings(scan))
    finish(plan.config.dataset.output_dir, scan, SETTINGS, mark)
    _note_results(plan, [scan, make_scan("02")], board)
    assert [row.status for row in board.rows.values()] == [expected, Status.WAITING]


def test_each_scan_has_its_own_times(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(1, 24))
    clock = SimpleNamespace(now=lambda: datetime(2026, 1, 2, next(hours)))
    monkeypatch.setattr("bids_flairseg.workflow.progress.datetime", clock)
    for scan in board.rows:
        board(make_node(scan, "check", tmp_path), "start")
        board(make_node(scan, "write", tmp_path), "end")
    told = [one for one in provenance(tmp_path, board, n4=False) if one["Type"] == "Activity"]
    times = [datetime.fromisoformat(one[f"{end}AtTime"]).hour for one in told
             for end in ("Started", "Ended")]  # fmt: skip
    assert times == [1, 2, 3, 4]


@pytest.mark.parametrize("n4", [False, True])
def test_provenance_names_the_software_that_had_a_part(
    board: Board, tmp_path: Path, n4: bool
) -> None:
    records = provenance(tmp_path, board, n4=n4)
    software = {one["Id"]: one["Label"] for one in records if one["Type"] == "Software"}
    assert ("antspyx" in software.values()) is n4
    assert {"flairseg", "keras", "nibabel"} <= set(software.values())
    activities = [one for one in records if one["Type"] == "Activity"]
    assert all(one["AssociatedWith"] == list(software) for one in activities)

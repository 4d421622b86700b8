"""The table of a cross-validation has what the models of this training found, and no other's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_flairseg.bids.labels import LabelledScan
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import DatasetConfig, ResourceConfig, RunConfig, SegmentConfig
from bids_flairseg.train.checks import CaseRow
from bids_flairseg.workflow import crossval
from bids_flairseg.workflow.cases import PreparedCase


def case(label: str) -> PreparedCase:
    scan = Scan(Path(f"/bids/sub-{label}_FLAIR.nii.gz"), {"sub": label})
    row = CaseRow(scan.name, label, {"lesion_ml": 1.0}, {})
    return PreparedCase(LabelledScan(scan, (), (), {}), row, Path("/work"), own=True)


def test_folds_whose_model_is_not_there_are_still_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = RunConfig(
        dataset=DatasetConfig(tmp_path / "bids", tmp_path, tmp_path / "work"),
        resources=ResourceConfig(),
        segment=SegmentConfig(model=tmp_path / "base", anatomy=tmp_path / "anatomy"),
    )
    asked: list[tuple[str, str, str]] = []

    def found(_: RunConfig, case: PreparedCase, folder: Path, settings: str) -> float:
        asked.append((case.row.name, folder.name, settings))
        return 0.5

    monkeypatch.setattr(crossval, "_plan", lambda _, model: model.name)
    monkeypatch.setattr(crossval, "_dice", found)
    cases = [case("1"), case("2")]
    base, one = tmp_path / "base", tmp_path / "fold1"
    models: dict[str, list[Path | None]] = {
        "crossval-base": [base, base],
        "crossval-x": [one, None],
    }
    with caplog.at_level("INFO", logger="bids_flairseg"):
        crossval.report_folds(config, cases, [["sub-1"], ["sub-2"]], models)
    assert asked == [
        ("sub-1", "crossval-base", "base"),
        ("sub-1", "crossval-x", "fold1"),
        ("sub-2", "crossval-base", "base"),
    ]
    rows = [line.split("\t") for line in (tmp_path / crossval.TABLE).read_text().splitlines()]
    assert rows[1:] == [["sub-1", "1", "1.0", "0.5", "0.5"], ["sub-2", "2", "1.0", "0.5", "n/a"]]
    assert "1 of 2 cases are still to come" in caplog.text

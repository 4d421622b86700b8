"""Scans and references: each pair is compared or listed with the reason."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import MissingInputError
from bids_flairseg.group.agreement import AGREEMENT_COLUMNS, compare_all
from bids_flairseg.group.collect import IDENTITY_COLUMNS
from bids_flairseg.group.results import read_results
from tests.group.conftest import Finish, lesion, save


def compared(dataset: DatasetConfig) -> list[tuple[str, str, str, str]]:
    rows = [item.row() for item in compare_all(dataset, read_results(dataset).scans)]
    assert all(list(row) == [*IDENTITY_COLUMNS, *AGREEMENT_COLUMNS] for row in rows)
    return [(row["scan"], row["rater"], row["status"], row["dice"]) for row in rows]


def test_several_raters(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1_ses-A")
    folder = dataset.derivatives["manual"] / "sub-1/ses-A/anat"
    save(folder / "sub-1_ses-A_label-lesion_desc-anna_mask.nii.gz", lesion())
    save(folder / "sub-1_ses-A_space-orig_label-L_desc-ben_mask.nii", lesion() * 0)
    save(folder / "sub-1_ses-A_desc-brain_mask.nii.gz", lesion())
    assert compared(dataset) == [
        ("sub-1_ses-A", "anna", "ok", "1"),
        ("sub-1_ses-A", "ben", "ok", "0"),
    ]


def test_whatever_happens_is_listed(dataset: DatasetConfig, finish: Finish) -> None:
    for number in range(1, 5):
        finish(f"sub-{number}")
    finish("sub-6").mask.unlink()
    folder = dataset.derivatives["manual"]

    def reference(number: int) -> Path:
        return folder / f"sub-{number}/anat/sub-{number}_label-lesion_mask.nii.gz"

    save(reference(1), lesion())
    save(reference(2), lesion()[:-1])
    save(reference(3), lesion())
    reference(3).write_bytes(reference(3).read_bytes()[:60])
    save(reference(5), lesion())
    save(reference(6), lesion())
    assert compared(dataset) == [
        ("sub-1", "n/a", "ok", "1"),
        ("sub-2", "n/a", "grid_mismatch", "n/a"),
        ("sub-3", "n/a", "unreadable", "n/a"),
        ("sub-4", "n/a", "missing_reference", "n/a"),
        ("sub-5", "n/a", "missing_prediction", "n/a"),
        ("sub-6", "n/a", "missing_prediction", "n/a"),
    ]
    narrow = replace(dataset, participant_labels=("5",))
    assert [row[0] for row in compared(narrow)] == ["sub-5"]


def test_a_reference_that_may_mean_two_scans_means_none(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1_run-1")
    finish("sub-1_run-2")
    path = dataset.derivatives["manual"] / "sub-1/anat/sub-1_label-lesion_mask.nii.gz"
    save(path, lesion())
    assert [(scan, status) for scan, _, status, _ in compared(dataset)] == [
        ("sub-1_run-1", "missing_reference"),
        ("sub-1_run-2", "missing_reference"),
        ("sub-1", "missing_prediction"),
    ]


def test_references_of_scans_that_are_not_asked_for_are_not_missed(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1_ses-A_acq-3D")
    finish("sub-1_ses-A_acq-2D")
    folder = dataset.derivatives["manual"] / "sub-1"
    for stem in ("ses-A_acq-3D", "ses-A_acq-2D", "ses-B_acq-3D"):
        save(folder / stem[:5] / f"anat/sub-1_{stem}_label-L_mask.nii.gz", lesion())
    file = dataset.bids_dir.parent / "filter.json"
    file.write_text('{"flair": {"acquisition": "3D"}}')
    filtered = replace(dataset, filter_file=file)
    assert [(scan, status) for scan, _, status, _ in compared(filtered)] == [
        ("sub-1_ses-A_acq-3D", "ok"),
        ("sub-1_ses-B_acq-3D", "missing_prediction"),
    ]
    one_session = replace(filtered, session_labels=("A",))
    assert [row[0] for row in compared(one_session)] == ["sub-1_ses-A_acq-3D"]


def test_own_outputs_may_be_the_reference(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    same = replace(dataset, derivatives={"before": dataset.output_dir})
    assert compared(same) == [("sub-1", "n/a", "ok", "1")]


def test_a_derivative_without_references_is_named(
    dataset: DatasetConfig, finish: Finish, caplog: pytest.LogCaptureFixture
) -> None:
    finish("sub-1")
    path = dataset.derivatives["manual"] / "sub-1/anat/sub-1_desc-brain_mask.nii.gz"
    save(path, lesion())
    with caplog.at_level(logging.WARNING):
        assert compared(dataset) == []
        assert compared(replace(dataset, derivatives={"masks": path.parents[2]})) == []
    assert len(caplog.records) == 1
    assert "-d manual" in caplog.text


def test_a_missing_derivative_is_an_error(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    gone = replace(dataset, derivatives={"manual": dataset.work_dir / "gone"})
    with pytest.raises(MissingInputError, match="gone"):
        compared(gone)


def test_real_references(dataset: DatasetConfig, finish: Finish, shared_data: Path) -> None:
    manual = shared_data / "openms-bids" / "derivatives" / "manual"
    source = manual / "sub-cs26" / "anat" / "sub-cs26_label-lesion_mask.nii.gz"
    finish("sub-cs26").mask.write_bytes(source.read_bytes())
    real = replace(dataset, derivatives={"manual": manual})
    scans = read_results(dataset).scans
    rows = {item.row()["scan"]: item.row() for item in compare_all(real, scans)}
    assert rows["sub-cs26"]["dice"] == "1"
    assert float(rows["sub-cs26"]["reference_volume_ml"]) == pytest.approx(8.2, abs=0.1)
    assert rows["sub-cs07"]["status"] == "missing_prediction"
    assert np.isclose(float(rows["sub-cs26"]["volume_difference_ml"]), 0)

"""Results read back: every scan has a row or is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import InputError
from bids_flairseg.group.results import identity, read_results, read_stats
from tests.group.conftest import Finish


def test_scans_come_in_natural_order(dataset: DatasetConfig, finish: Finish) -> None:
    for stem in ("sub-10", "sub-2_ses-B_run-2", "sub-2_ses-B_run-10", "sub-2_ses-A"):
        finish(stem)
    results = read_results(dataset)
    names = [scan.name for scan in results.scans]
    assert names == ["sub-2_ses-A", "sub-2_ses-B_run-2", "sub-2_ses-B_run-10", "sub-10"]
    assert not results.unreadable + results.unfinished + results.without_result
    assert not results.without_flair


def test_labels_narrow_everything(dataset: DatasetConfig, finish: Finish) -> None:
    for stem in ("sub-1_ses-A", "sub-1_ses-B", "sub-2_ses-A"):
        finish(stem)
    narrow = replace(dataset, participant_labels=("sub-1",), session_labels=("B",))
    results = read_results(narrow)
    assert [scan.name for scan in results.scans] == ["sub-1_ses-B"]
    assert results.without_result == results.without_flair == ()


def test_no_scan_is_lost_in_silence(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1").stats.write_text("lesion_volume_ml\tlesion_count\n1.0\n")
    finish("sub-2").stats.unlink()
    without = finish("sub-3")
    without.stats.unlink()
    without.mask.unlink()
    orphan = finish("sub-4")
    (dataset.bids_dir / orphan.scan.relative_dir / orphan.scan.flair).unlink()
    results = read_results(dataset)
    assert len(results.unreadable) == 1
    assert "sub-1_label-L_stats.tsv" in results.unreadable[0]
    assert results.unfinished == ("sub-2",)
    assert results.without_result == ("sub-3",)
    assert results.without_flair == ("sub-4",)


def test_derived_images_are_no_scans(dataset: DatasetConfig, finish: Finish) -> None:
    paths = finish("sub-1")
    folder = dataset.bids_dir / paths.scan.relative_dir
    (folder / "sub-1_space-MNI_FLAIR.nii.gz").touch()
    (folder / "sub-1_FLAIR.json").touch()
    assert read_results(dataset).without_result == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lesion_volume_ml\n",
        "lesion_volume_ml\n1\n2\n",
        "volume\n1\n",
        "lesion_volume_ml\nlots\n",
        "lesion_volume_ml\nnan\n",
        "lesion_volume_ml\n-1\n",
        "\0\1\2",
    ],
)
def test_broken_numbers_are_refused(finish: Finish, text: str) -> None:
    paths = finish("sub-1")
    paths.stats.write_text(text)
    with pytest.raises(InputError, match="run the participant level again"):
        read_stats(paths.stats)


def test_identity_tells_sessions() -> None:
    assert identity({"sub": "1", "ses": "A", "run": "2"}) == {
        "participant_id": "sub-1",
        "session_id": "ses-A",
        "scan": "sub-1_ses-A_run-2",
    }
    assert identity({"sub": "1"})["session_id"] == "n/a"

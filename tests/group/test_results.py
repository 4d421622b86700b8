"""Results read back: every scan has a row or is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bids_flairseg.bids.outputs import sidecar_path
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import InputError, MissingInputError
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


@pytest.mark.parametrize("label", ["4mm", "0p75mm"])
def test_models_on_other_voxels_leave_results_as_well(
    dataset: DatasetConfig, finish: Finish, label: str
) -> None:
    paths = finish("sub-1_run-1")
    for path in (paths.preprocessed, sidecar_path(paths.preprocessed)):
        path.rename(path.with_name(path.name.replace("res-1mm", f"res-{label}")))
    (scan,) = read_results(dataset).scans
    assert f"res-{label}_" in scan.paths.preprocessed.name


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


def test_old_numbers_of_an_unfinished_scan_do_not_count(
    dataset: DatasetConfig, finish: Finish
) -> None:
    sidecar_path(finish("sub-1").stats).unlink()  # while a scan is done again
    sidecar_path(finish("sub-2").stats).write_text('{"lesion_volume_ml": {}}')
    sidecar_path(finish("sub-3").stats).write_text('{"Finger')
    finish("sub-4").preprocessed.unlink()
    finish("sub-5").mask.unlink()
    finish("sub-6")
    results = read_results(dataset)
    assert [scan.name for scan in results.scans] == ["sub-6"]
    assert results.unfinished == ("sub-1", "sub-2", "sub-3", "sub-4", "sub-5")
    assert not results.unreadable + results.without_result + results.without_flair


def test_the_filter_file_narrows_everything(dataset: DatasetConfig, finish: Finish) -> None:
    for stem in ("sub-1_acq-3D", "sub-1_acq-2D", "sub-2_acq-2D", "sub-3_acq-2D"):
        finish(stem)
    finish("sub-4_acq-3D").stats.unlink()
    finish("sub-5_acq-2D").stats.unlink()
    file = dataset.bids_dir.parent / "filter.json"
    file.write_text('{"flair": {"acquisition": "3D", "extension": ".nii.gz"}}')
    results = read_results(replace(dataset, filter_file=file))
    assert [scan.name for scan in results.scans] == ["sub-1_acq-3D"]
    assert results.unfinished == ("sub-4_acq-3D",)
    assert not results.without_result + results.without_flair
    with pytest.raises(MissingInputError, match=r"gone\.json"):
        read_results(replace(dataset, filter_file=file.with_name("gone.json")))


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

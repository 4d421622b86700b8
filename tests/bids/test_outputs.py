"""Outputs: their names, and a tree of them that the BIDS validator accepts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.bids.atomic import write_json
from bids_flairseg.bids.description import DatasetInfo, prepare_output_dir
from bids_flairseg.bids.outputs import ScanPaths, find_results, log_dir, sidecar_path, write_table
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import Processing, build_sidecars
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.bids.validate import find_errors

PROCESSING = Processing(
    model="lesion",
    model_sha256="ab" * 32,
    anatomy="anatomy",
    anatomy_sha256="cd" * 32,
    threshold=0.5,
    min_lesion_ml=0.01,
    warnings=("few slices",),
)


def fill(paths: ScanPaths) -> None:
    """Write every output of a scan with as little in it as possible."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    for path in paths.images():
        image = nib.Nifti1Image(np.zeros((4, 5, 6), dtype=np.uint8), np.eye(4))
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, path)
    write_table(paths, "lesion_table", [{"index": 1, "name": "lesion-1", "region": "other"}])
    write_table(paths, "region_table", [{"index": 1, "name": "periventricular"}])
    write_table(paths, "stats", [{"lesion_volume_ml": 0.5, "lesion_count": 1}])
    for path, content in build_sidecars(paths, PROCESSING).items():
        write_json(path, content)
    paths.figures.mkdir(parents=True, exist_ok=True)
    paths.figure("mosaic").write_text("<svg/>")
    paths.report.write_text("<html></html>")


def test_names_are_those_of_the_design(scan: Scan) -> None:
    paths = ScanPaths(Path("/out"), scan)
    stem = "/out/sub-01/ses-A/anat/sub-01_ses-A_acq-3D_run-02"
    assert str(paths.mask) == f"{stem}_space-orig_label-L_mask.nii.gz"
    assert str(paths.probability) == f"{stem}_space-orig_label-L_probseg.nii.gz"
    assert str(paths.lesions) == f"{stem}_space-orig_seg-lesions_dseg.nii.gz"
    assert str(paths.lesion_table) == f"{stem}_space-orig_seg-lesions_dseg.tsv"
    assert str(paths.regions) == f"{stem}_space-orig_seg-regions_dseg.nii.gz"
    assert str(paths.brain_mask) == f"{stem}_space-orig_desc-brain_mask.nii.gz"
    assert str(paths.preprocessed) == f"{stem}_space-orig_res-1mm_desc-preproc_FLAIR.nii.gz"
    assert str(paths.stats) == f"{stem}_label-L_stats.tsv"
    assert str(paths.report) == "/out/sub-01.html"
    assert str(paths.figures) == "/out/sub-01/figures"
    assert str(log_dir(Path("/out"), "run")) == "/out/logs/run"


def test_all_files_of_two_scans_differ(scan: Scan) -> None:
    other = replace(scan, entities={**scan.entities, "run": "2"})
    one, two = (ScanPaths(Path("/out"), item) for item in (scan, other))
    assert not set(one.files()) & set(two.files())
    assert len(set(one.files())) == len(one.files()) == 9 + 7


@pytest.mark.parametrize(
    "entities",
    [
        {"sub": "01"},
        {"sub": "01", "ses": "A", "acq": "3D", "run": "02"},
        {"sub": "01", "acq": "x", "ce": "gad", "rec": "norm", "echo": "1", "part": "mag"},
        {"sub": "01", "task": "rest", "run": "1", "chunk": "3"},
    ],
)
def test_the_validator_finds_no_error(tmp_path: Path, entities: dict[str, str]) -> None:
    out = tmp_path / "out"
    prepare_output_dir(out, DatasetInfo(tmp_path / "bids", {}, "lesion", "ab" * 32, "CC-BY-4.0"))
    fill(ScanPaths(out, Scan(tmp_path / "bids/x_FLAIR.nii.gz", entities, {"FlipAngle": 120})))
    for name in ("logs/run-1/flairseg.toml", "logs/crash.txt", "models/x/config.json"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("{}")
    for name in ("group.html", "group_lesions.tsv", "group_lesions.json"):
        (out / name).write_text("{}")
    assert find_errors(out) == []


def test_the_validator_has_nothing_to_say(tmp_path: Path, scan: Scan) -> None:
    out, program = tmp_path / "out", Path(sys.executable).with_name("bids-validator-deno")
    source = {"Name": "x", "Authors": ["A. Writer", "B. Reader"]}
    write_json(tmp_path / "bids" / "dataset_description.json", source)
    prepare_output_dir(out, DatasetInfo(tmp_path / "bids", {}, "lesion", "ab" * 32, "CC-BY-4.0"))
    fill(ScanPaths(out, scan))
    told = subprocess.run([program, out, "--format", "json"], capture_output=True, check=False)
    assert json.loads(told.stdout)["issues"]["issues"] == []


def test_the_validator_would_find_a_wrong_name(tmp_path: Path, scan: Scan) -> None:
    out = tmp_path / "out"
    prepare_output_dir(out, DatasetInfo(tmp_path / "bids"))
    paths = ScanPaths(out, scan)
    fill(paths)
    # The counter-example of the design: a segmentation has no label-.
    paths.mask.rename(paths.folder / f"{scan.name}_space-orig_label-L_dseg.nii.gz")
    assert find_errors(out) != []


def test_a_table_has_all_columns_and_a_sidecar_for_each(tmp_path: Path, scan: Scan) -> None:
    paths = ScanPaths(tmp_path, scan)
    fill(paths)
    for path, kind in ((paths.lesion_table, "lesion_table"), (paths.stats, "stats")):
        columns = load_spec().outputs[kind].columns
        assert columns is not None
        table = read_tsv(path)
        assert table.columns == tuple(columns)
        described = json.loads(sidecar_path(path).read_text())
        assert all(described[column]["Description"] for column in table.columns)


def test_a_value_without_a_column_is_refused(tmp_path: Path, scan: Scan) -> None:
    with pytest.raises(ValueError, match=r"no column.*new_number"):
        write_table(ScanPaths(tmp_path, scan), "stats", [{"new_number": 1}])
    assert not list(tmp_path.rglob("*.tsv"))


def test_finished_scans_are_found_again(tmp_path: Path, scan: Scan) -> None:
    second = replace(scan, entities={"sub": "02"})
    third = replace(scan, entities={"sub": "03", "ses": "A"})
    for item in (scan, second):
        fill(ScanPaths(tmp_path, item))
    ScanPaths(tmp_path, third).folder.mkdir(parents=True)  # begun, but without its numbers
    found = find_results(tmp_path)
    assert [paths.scan.entities for paths in found] == [scan.entities, second.entities]
    assert found[0].files() == ScanPaths(tmp_path, scan).files()
    assert [paths.scan.participant for paths in find_results(tmp_path, ["02", "03"])] == ["02"]
    assert find_results(tmp_path / "none") == []


def test_results_that_are_being_written_are_not_found(tmp_path: Path, scan: Scan) -> None:
    for item in (scan, replace(scan, entities={"sub": "02"})):
        fill(ScanPaths(tmp_path / f"sub-{item.participant}" / ".flairseg-0123456789ab", item))
    assert find_results(tmp_path) == find_results(tmp_path, ["01", "02"]) == []
    fill(ScanPaths(tmp_path, scan))
    assert [paths.stats for paths in find_results(tmp_path)] == [ScanPaths(tmp_path, scan).stats]


def test_an_image_that_has_gone_says_nothing_of_its_voxels(tmp_path: Path, scan: Scan) -> None:
    gone, there = (ScanPaths(tmp_path, scan, voxel_size_mm=edge) for edge in (0.75, 2.0))
    fill(there)
    gone.preprocessed.symlink_to("taken away")
    assert [paths.voxel_size_mm for paths in find_results(tmp_path)] == [2.0]
    there.preprocessed.unlink()
    assert [paths.voxel_size_mm for paths in find_results(tmp_path)] == [1.0]

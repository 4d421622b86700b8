"""Sidecars: every output has one, with what BIDS and the design ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.bids.outputs import ScanPaths, sidecar_path
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import BRAIN_MASK_METHODS, Processing, build_sidecars
from bids_flairseg.bids.spec import load_spec

PROCESSING = Processing("lesion", "ab" * 32, "anatomy", "cd" * 32, 0.4, 0.01)
OUT = Path("/out")


def sidecar(scan: Scan, kind: str, processing: Processing = PROCESSING) -> dict[str, Any]:
    paths = ScanPaths(OUT, scan)
    return build_sidecars(paths, processing)[sidecar_path(paths.path(kind))]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("mask", {"Type", "SpatialReference", "Sources", "Threshold", "Model"}),
        ("probability", {"SpatialReference", "Sources"}),
        ("lesions", {"SpatialReference", "Sources", "Model", "index", "name", "volume_mm3"}),
        ("regions", {"SpatialReference", "Sources", "Model", "index", "name"}),
        ("brain_mask", {"Type", "SpatialReference", "Sources"}),
        ("preprocessed", {"SkullStripped", "Resolution", "SpatialReference", "FlipAngle"}),
        ("stats", {"Sources", "Model", "lesion_volume_ml", "lesion_count", "brain_volume_ml"}),
    ],
)
def test_required_fields(scan: Scan, kind: str, keys: set[str]) -> None:
    assert keys <= set(sidecar(scan, kind))


def test_types_and_threshold(scan: Scan) -> None:
    assert sidecar(scan, "mask")["Type"] == "Lesion"
    assert sidecar(scan, "brain_mask")["Type"] == "Brain"
    assert sidecar(scan, "mask")["Threshold"] == 0.4


def test_a_threshold_around_large_lesions_is_told_where_there_is_one(scan: Scan) -> None:
    assert "LargeLesionThreshold" not in sidecar(scan, "mask")
    told = sidecar(scan, "mask", replace(PROCESSING, large_ml=10.0, large_threshold=0.2))
    assert told["LargeLesionThreshold"] == 0.2
    assert (told["LargeLesionVolume"], told["LargeLesionVolumeUnits"]) == (10.0, "mL")


def test_smoothing_is_told(scan: Scan) -> None:
    assert sidecar(scan, "preprocessed")["Denoising"] == "none"
    told = sidecar(scan, "preprocessed", replace(PROCESSING, denoising="smoothed"))
    assert told["Denoising"] == "smoothed"


def test_every_source_is_the_flair_or_an_output(scan: Scan) -> None:
    paths = ScanPaths(OUT, scan)
    flair = f"bids:raw:sub-01/ses-A/anat/{scan.flair.name}"
    own = {f"bids::{path.relative_to(OUT)}" for path in paths.files()}
    for content in build_sidecars(paths, PROCESSING).values():
        assert set(content.get("Sources", [])) <= {flair} | own
        assert content.get("SpatialReference", flair) == flair


def test_every_image_and_table_has_a_sidecar(scan: Scan) -> None:
    paths = ScanPaths(OUT, scan)
    assert set(build_sidecars(paths, PROCESSING)) == {
        sidecar_path(paths.path(kind)) for kind in load_spec().outputs
    }


@pytest.mark.parametrize("method", BRAIN_MASK_METHODS)
def test_the_origin_of_the_brain_mask_is_told(scan: Scan, method: str) -> None:
    given = replace(
        scan,
        brain_mask=Path("/data/sub-01/m/sub-01/ses-A/anat/sub-01_desc-brain_mask.nii"),
        brain_mask_source="brains",
    )
    processing = replace(PROCESSING, brain_mask=method)
    content = sidecar(given, "brain_mask", processing)
    assert content["Method"] == BRAIN_MASK_METHODS[method]
    assert ("Model" in content) == (method == "network")
    masks = "bids:brains:sub-01/ses-A/anat/sub-01_desc-brain_mask.nii"
    assert (content["Sources"] == [masks]) == (method in ("supplied", "resampled"))
    stripped = sidecar(given, "preprocessed", processing)["InputSkullStripped"]
    assert stripped == (method == "stripped")


def test_n4_is_told(scan: Scan) -> None:
    assert sidecar(scan, "preprocessed")["BiasFieldCorrection"] == "none"
    corrected = replace(PROCESSING, bias_corrected=True)
    assert sidecar(scan, "preprocessed", corrected)["BiasFieldCorrection"] == "N4"

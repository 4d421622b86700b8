"""The contact sheet shows the images that the network sees, and keeps its secret."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.preprocess.grid import new_image
from bids_flairseg.train.pool import write_example
from tests.conftest import ROOT

SHAPE = (24, 30, 20)
FINE = (24, 30, 60)
FLAIR = "sub-01_space-orig_res-1mm_desc-preproc_FLAIR.nii.gz"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "synthesis.py"))


def save(shape: tuple[int, ...], edge: float, part: tuple[slice, ...], path: Path) -> None:
    """Write a mask of one box, on a grid whose last axis has voxels of another size."""
    mask = np.zeros(shape, np.uint8)
    mask[part] = 1
    affine = np.diag([1.0, 1.0, edge, 1.0])
    affine[2, 3] = (edge - 1) / 2
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(new_image(mask, affine), path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    image = np.zeros(SHAPE, np.float32)
    image[4:20, 4:26, 4:16] = np.random.default_rng(0).normal(0, 1, (16, 22, 12))
    image[10, 10, 10] = 0
    (tmp_path / "out").mkdir()
    nib.save(new_image(image, np.eye(4)), tmp_path / "out" / FLAIR)
    part = (slice(8, 12), slice(8, 12), slice(18, 30))
    save(FINE, 1 / 3, part, tmp_path / "out" / "sub-01_space-orig_label-L_mask.nii.gz")
    return tmp_path / "out"


def test_lesions_come_to_the_voxels_of_the_network(script: dict[str, Any], out: Path) -> None:
    ((name, image, lesion),) = script["real"](out, None)
    assert name == "sub-01"
    assert np.count_nonzero(image) == 16 * 22 * 12
    found = np.zeros(SHAPE, bool)
    found[8:12, 8:12, 6:10] = True
    np.testing.assert_array_equal(lesion, found)


def test_a_rater_goes_before_the_main_job(
    script: dict[str, Any], out: Path, tmp_path: Path
) -> None:
    part = (slice(6, 8), slice(6, 9), slice(6, 10))
    save(SHAPE, 1.0, part, tmp_path / "rater" / "sub-01_label-lesion_mask.nii.gz")
    ((_, _, lesion),) = script["real"](out, tmp_path / "rater")
    assert lesion[part].all()
    assert lesion.sum() == 24


def test_grain_is_alike_along_the_axis_that_was_interpolated(script: dict[str, Any]) -> None:
    thick = np.random.default_rng(0).normal(0, 0.3, (40, 40, 20)).astype(np.float32)
    row = script["describe"](("thick", thick.repeat(2, axis=2), np.zeros((40, 40, 40), bool)))
    assert row["next_slice"] > row["next_in_plane"] + 0.2


def test_the_blind_sheet_leaves_the_names_to_its_key(
    script: dict[str, Any], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, image, lesion),) = script["real"](out, None)
    (tmp_path / "pool").mkdir()
    for number in range(3):
        example = (image.astype(np.float16), lesion.astype(np.uint8))
        write_example(tmp_path / "pool", number, example)
    sheet = tmp_path / "sheet.png"
    words = ["synthesis.py", str(out), str(tmp_path / "pool"), str(sheet), "--count", "2"]
    monkeypatch.setattr(sys, "argv", [*words, "--blind"])
    script["main"]()
    lines = [line.split() for line in (tmp_path / "sheet.txt").read_text().splitlines()]
    assert [number for number, _ in lines] == ["1", "2", "3"]
    assert {name for _, name in lines} == {"sub-01", "example-000000", "example-000001"}
    assert sheet.stat().st_size > 1000

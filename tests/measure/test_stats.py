"""The row of a scan: it agrees with the mask, and every column is explained."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.bids.spec import load_spec
from bids_flairseg.measure.arrays import voxel_spacing, voxel_volume_ml
from bids_flairseg.measure.lesions import label_lesions, lesion_table
from bids_flairseg.measure.regions import REGIONS
from bids_flairseg.measure.stats import Provenance, ScanStats, load_hints, scan_stats

AFFINE = np.array([[0.6, 0.2, 0, 1], [0, 0.7, 0.4, 2], [0.1, 0, -5.0, 3], [0, 0, 0, 1.0]])
PROVENANCE = Provenance("lesion", "ab" * 32, 0.4, 0.01)


def stats_of(mask: NDArray[np.bool_], *, regions: bool = True) -> ScanStats:
    """Measure a mask in a brain that fills the grid, with random regions and classes."""
    random = np.random.default_rng(3)
    voxel_ml = voxel_volume_ml(AFFINE)
    labels = label_lesions(mask, voxel_ml=voxel_ml, min_ml=0.0)
    grid = random.integers(0, len(REGIONS), mask.shape).astype(np.uint8)
    table = lesion_table(labels, mask.astype(float), AFFINE, grid if regions else None)
    classes = np.full(mask.shape, 3, dtype=np.uint8) if regions else None
    return scan_stats(
        table, np.ones(mask.shape, dtype=bool), classes, affine=AFFINE, provenance=PROVENANCE
    )


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    return np.random.default_rng(0).random((30, 30, 20)) > 0.99


def test_volume_is_that_of_the_mask(mask: NDArray[np.bool_]) -> None:
    stats = stats_of(mask)
    expected = mask.sum() * abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    assert stats.lesion_volume_ml == pytest.approx(expected, rel=1e-9)
    assert stats.lesion_load_percent == pytest.approx(100 * mask.mean())
    assert stats.brain_volume_ml == stats.ventricle_volume_ml


def test_more_lesion_than_can_be_is_doubted() -> None:
    brain = np.zeros((10, 10, 10), dtype=bool)
    brain[2:] = True
    lesions = np.zeros_like(brain)
    lesions[2:4] = True  # a quarter of the brain
    assert load_hints(lesions, brain) == ()
    lesions[4, 0, 0] = True
    (hint,) = load_hints(lesions, brain)
    assert hint.startswith("Lesions take up 25 % of the brain mask")
    assert load_hints(lesions & False, brain & False) == ()


def test_regions_add_up(mask: NDArray[np.bool_]) -> None:
    stats = stats_of(mask)
    assert sum(getattr(stats, f"{name}_ml") for name in REGIONS) == pytest.approx(
        stats.lesion_volume_ml
    )
    assert sum(getattr(stats, f"{name}_count") for name in REGIONS) == stats.lesion_count


def test_unknown_is_not_zero(mask: NDArray[np.bool_]) -> None:
    row = stats_of(mask, regions=False).row()
    assert row["periventricular_ml"] == row["other_count"] == row["ventricle_volume_ml"] == "n/a"


def test_nothing_is_zero() -> None:
    row = stats_of(np.zeros((4, 4, 4), dtype=bool)).row()
    assert row["lesion_volume_ml"] == row["lesion_count"] == row["largest_lesion_ml"] == "0"
    assert row["periventricular_ml"] == "0"


def test_no_brain_gives_no_load() -> None:
    nothing = np.zeros((4, 4, 4), dtype=bool)
    table = lesion_table(nothing.astype(np.int32), nothing.astype(float), AFFINE)
    stats = scan_stats(table, nothing, None, affine=AFFINE, provenance=PROVENANCE)
    assert stats.lesion_load_percent is None


def test_every_column_is_described(mask: NDArray[np.bool_]) -> None:
    columns = load_spec().outputs["stats"].columns
    assert columns is not None
    assert list(columns) == list(stats_of(mask).row()) == [item.name for item in fields(ScanStats)]
    for name, column in columns.items():
        assert column["Description"]
        assert ("Units" in column) == name.endswith(("_ml", "_mm3", "_percent"))


def test_a_hint_cannot_break_the_table(mask: NDArray[np.bool_]) -> None:
    table = lesion_table(mask.astype(np.int32), mask.astype(float), AFFINE)
    stats = scan_stats(
        table,
        mask,
        None,
        affine=AFFINE,
        provenance=replace(PROVENANCE, warnings=["few\tslices.\n", "low contrast."]),
    )
    assert stats.row()["warnings"] == "few slices; low contrast"
    assert stats.warning_count == 2


def test_spacing_is_the_length_of_a_step() -> None:
    assert voxel_spacing(np.diag([-2.0, 3.0, 0.5, 1.0])) == (2.0, 3.0, 0.5)
    assert voxel_volume_ml(np.diag([-2.0, 3.0, 0.5, 1.0])) == pytest.approx(0.003)

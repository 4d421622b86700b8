"""Regions: distances are exact, and lesions lie where a reader would say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt

from bids_flairseg.measure import regions as module
from bids_flairseg.measure.arrays import bounding_box
from bids_flairseg.measure.regions import REGIONS, lesion_regions, region_map

SHAPE = (60, 50, 48)


def brain() -> NDArray[np.uint8]:
    """Boxes: white matter in a rim of cortex, ventricles in the middle, hindbrain below."""
    classes = np.zeros(SHAPE, dtype=np.uint8)
    classes[2:58, 2:48, 16:46] = 4
    classes[4:56, 4:46, 18:44] = 1
    classes[8:52, 8:42, 21:40] = 2
    classes[26:34, 18:34, 26:32] = 3
    classes[15:45, 10:30, 4:14] = 5
    classes[25:35, 30:38, 2:16] = 6
    classes[28:32, 27:33, 6:12] = 3
    return classes


def name_at(*box: slice) -> str:
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[box] = 1
    return REGIONS[int(lesion_regions(labels, region_map(brain(), (1.0, 1.0, 1.0)))[0])]


@pytest.mark.parametrize(
    ("box", "region"),
    [
        (np.s_[36:40, 24:27, 28:30], "periventricular"),
        (np.s_[37:40, 24:27, 28:30], "deep_white"),
        (np.s_[34:55, 24:27, 28:30], "periventricular"),
        (np.s_[49:51, 24:27, 28:30], "deep_white"),
        (np.s_[49:52, 24:27, 28:30], "juxtacortical"),
        (np.s_[53:55, 24:27, 28:30], "juxtacortical"),
        (np.s_[20:24, 15:20, 6:10], "infratentorial"),
        (np.s_[26:29, 30:32, 8:12], "infratentorial"),
        (np.s_[57:59, 24:27, 28:30], "other"),
        (np.s_[0:2, 0:2, 0:2], "other"),
    ],
)
def test_lesions_are_named_by_what_they_touch(box: tuple[slice, slice, slice], region: str) -> None:
    assert name_at(*box) == region


def test_an_island_is_no_ventricle() -> None:
    classes = brain()
    classes[42:45, 24:27, 30:33] = 3
    grid = region_map(classes, (1.0, 1.0, 1.0))
    assert REGIONS[grid[46, 25, 31]] == "deep_white"


def lesion_taken_for_cortex(
    *box: slice, rim: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A head whose lesion, and the rim of it, are cortex in the eyes of the network."""
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[box] = True
    classes = brain()
    taken = binary_dilation(lesion, iterations=rim) & (classes == 2)
    classes[taken] = 1
    return classes, lesion


@pytest.mark.parametrize(
    ("box", "region"),
    [
        (np.s_[39:44, 22:27, 26:31], "deep_white"),
        (np.s_[37:42, 24:27, 26:31], "deep_white"),
        (np.s_[47:52, 22:27, 26:31], "juxtacortical"),
        (np.s_[50:56, 22:27, 26:31], "juxtacortical"),
    ],
)
def test_a_lesion_is_not_its_own_cortex(box: tuple[slice, ...], region: str) -> None:
    classes, lesion = lesion_taken_for_cortex(*box)
    labels = lesion.astype(np.int32)
    found = region_map(classes, (1.0, 1.0, 1.0), lesion)
    assert REGIONS[int(lesion_regions(labels, found)[0])] == region
    believed = region_map(classes, (1.0, 1.0, 1.0))
    assert REGIONS[int(lesion_regions(labels, believed)[0])] == "juxtacortical"


def test_cortex_away_from_lesions_stays_as_it_is() -> None:
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[40:44, 22:27, 26:31] = True
    with_lesion = region_map(brain(), (1.0, 1.0, 1.0), lesion)
    assert np.array_equal(with_lesion, region_map(brain(), (1.0, 1.0, 1.0)))


def test_thick_slices_touch() -> None:
    classes = np.full((20, 20, 5), 2, dtype=np.uint8)
    classes[5:15, 5:15, 2] = 3
    grid = region_map(classes, (0.5, 0.5, 6.0))
    assert REGIONS[grid[10, 10, 1]] == REGIONS[grid[10, 10, 3]] == "periventricular"
    assert REGIONS[grid[10, 10, 0]] == "deep_white"


def test_no_anatomy_gives_no_region() -> None:
    assert not region_map(np.zeros(SHAPE, dtype=np.uint8), (1.0, 1.0, 1.0)).any()


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_map_does_not_depend_on_axis_order_or_direction(axes: tuple[int, int, int]) -> None:
    spacing = (0.8, 1.1, 2.5)
    straight = region_map(brain(), spacing)
    turned = region_map(
        brain().transpose(axes)[::-1, :, ::-1].copy(), [spacing[axis] for axis in axes]
    )
    assert np.array_equal(turned, straight.transpose(axes)[::-1, :, ::-1])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.9, 1.3), (0.4, 2.9, 3.3)])
def test_distances_are_those_of_a_full_transform(spacing: tuple[float, float, float]) -> None:
    mask = np.random.default_rng(0).random((30, 28, 26)) > 0.999
    full = distance_transform_edt(~mask, sampling=spacing) ** 2
    near = module._reach(mask, spacing, 6.0)
    inside = full <= 36.0
    np.testing.assert_allclose(near[inside], full[inside], rtol=1e-5)
    assert np.isinf(near[~inside]).all()


def test_no_lesion_no_region() -> None:
    grid = np.zeros(SHAPE, dtype=np.uint8)
    assert lesion_regions(grid, grid).shape == (0,)


def test_box_around_nothing() -> None:
    assert bounding_box(np.zeros((3, 3, 3), dtype=bool)) is None
    one = np.zeros((9, 9, 9), dtype=bool)
    one[0, 4, 8] = True
    assert bounding_box(one, margin=(1, 2, 0)) == np.s_[0:2, 2:7, 8:9]

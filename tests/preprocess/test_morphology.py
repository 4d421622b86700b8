"""Masks: what is largest, filled, closed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.morphology import close, fill, largest, otsu


@pytest.fixture
def speckle() -> NDArray[np.bool_]:
    """Give blobs with holes, some of them at the edge."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((24, 25, 26)), 1.5)
    mask: NDArray[np.bool_] = noise > 0.02
    return mask


def test_the_largest_part_is_the_largest() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1:3, 1:3, 1:3] = True
    mask[3:7, 3:7, 3:7] = True  # touches the first at a corner only
    expected = mask.copy()
    expected[1:3, 1:3, 1:3] = False

    np.testing.assert_array_equal(largest(mask), expected)
    np.testing.assert_array_equal(largest(expected), expected)
    assert not largest(np.zeros((3, 3, 3), dtype=bool)).any()


def test_filling_is_that_of_scipy(speckle: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(fill(speckle), ndimage.binary_fill_holes(speckle))
    assert fill(np.ones((3, 3, 3), dtype=bool)).all()


def test_closing_bridges_gaps_up_to_twice_the_radius() -> None:
    for gap, bridged in ((3, True), (9, False)):
        mask = np.zeros((40, 20, 20), dtype=bool)
        mask[5:15, 5:15, 5:15] = mask[15 + gap : 30, 5:15, 5:15] = True
        closed = close(mask, 6.0, np.full(3, 2.0))
        assert closed[15 + gap // 2, 10, 10] == bridged


def test_closing_is_extensive_and_idempotent(speckle: NDArray[np.bool_]) -> None:
    zooms = np.array([1.0, 2.0, 1.5])
    mask = np.pad(speckle, 8)

    closed = close(mask, 3.0, zooms)

    assert closed[mask].all()
    np.testing.assert_array_equal(close(closed, 3.0, zooms), closed)
    assert not close(np.zeros((4, 4, 4), dtype=bool), 8.0, zooms).any()


def test_a_groove_that_the_field_of_view_cuts_is_closed() -> None:
    mask = np.ones((20, 20, 20), dtype=bool)
    mask[9:11, :, 10:] = False  # a groove from the middle to the top

    assert close(mask, 4.0, np.ones(3))[:, :, :-3].all()


def test_otsu_separates_two_kinds_of_voxels() -> None:
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(10, 3, 5000), rng.normal(100, 20, 2000)]).astype(np.float32)

    assert 20 < otsu(data) < 60
    assert 20 < (otsu(data * 7 - 300) + 300) / 7 < 60

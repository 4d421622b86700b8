"""Outlines enclose exactly the pixels of their mask."""

from __future__ import annotations

import numpy as np
import pytest

from bids_flairseg.reports.outline import path_data, trace
from tests.reports.svg import fill, polygons_of


@pytest.mark.parametrize("seed", range(40))
def test_filling_the_outline_gives_the_mask_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 12, size=2)) < random.random()
    path = path_data(trace(mask))
    assert np.array_equal(fill(polygons_of(path), mask.shape), mask)


def test_a_pixel_is_outlined_at_its_own_place() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1, 4] = True
    assert trace(mask) == [[(4, 1), (5, 1), (5, 2), (4, 2)]]


def test_a_hole_has_its_own_outline() -> None:
    mask = np.ones((3, 3), dtype=bool)
    mask[1, 1] = False
    assert len(trace(mask)) == 2


def test_pixels_that_touch_by_a_corner_share_an_outline() -> None:
    assert len(trace(np.eye(4, dtype=bool))) == 1


def test_nothing_has_no_outline() -> None:
    assert path_data(trace(np.zeros((3, 3), dtype=bool))) == ""


def test_rounding_does_not_add_up() -> None:
    staircase = np.tril(np.ones((50, 50), dtype=bool))
    (corners,) = polygons_of(path_data(trace(staircase), scale=(1 / 3, 1 / 7)))
    exact = np.array(trace(staircase)[0]) * (1 / 3, 1 / 7)
    assert np.abs(np.array(corners) - exact).max() <= 0.0051

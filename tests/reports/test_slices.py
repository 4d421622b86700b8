"""Few slices, and every lesion well seen on one of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.reports.slices import areas, cover, extent, fill


def made_areas(seed: int, *, lesions: int = 6, length: int = 12) -> NDArray[np.int64]:
    """Draw areas of lesions of any shape along the slices."""
    random = np.random.default_rng(seed)
    area = np.zeros((lesions, length), dtype=np.int64)
    for row in area:
        start, reach = random.integers(0, length - 1), random.integers(1, 5)
        row[start : start + reach] = random.integers(1, 9, size=row[start : start + reach].size)
    return area


def is_covered(area: NDArray[np.int64], slices: tuple[int, ...]) -> bool:
    """Tell whether every lesion is well seen."""
    ranges = [extent(row) for row in area]
    return all(any(item.first <= k <= item.last for k in slices) for item in ranges)


@pytest.mark.parametrize("seed", range(25))
def test_cover_shows_every_lesion_on_as_few_slices_as_can_be(seed: int) -> None:
    area = made_areas(seed)
    chosen = tuple(cover(area))
    fewer = combinations(range(area.shape[1]), len(chosen) - 1)
    assert is_covered(area, chosen)
    assert not any(is_covered(area, other) for other in fewer)
    assert list(chosen) == sorted(set(chosen))


def test_every_lesion_shows_half_of_its_largest_area() -> None:
    area = made_areas(3, lesions=40, length=60)
    assert (2 * area[:, cover(area)].max(axis=1) >= area.max(axis=1)).all()


def test_areas_count_the_pixels_of_each_slice() -> None:
    labels = np.zeros((3, 4, 5), dtype=np.int32)
    labels[0, 1:3, 2] = 2
    labels[:, 3, 4] = 1
    assert areas(labels, 2).tolist() == [[0, 0, 0, 0, 3], [0, 0, 2, 0, 0]]
    assert areas(labels, 0).tolist() == [[1, 1, 1], [2, 0, 0]]
    assert areas(np.zeros_like(labels), 1).shape == (0, 4)


def test_labels_without_a_pixel_need_no_slice() -> None:
    assert cover(np.array([[0, 0, 0], [0, 2, 0]])) == [1]
    assert cover(np.zeros((0, 5), dtype=np.int64)) == []


@pytest.mark.parametrize("chosen", [[], [7], [3, 4, 5], [0, 29], [10, 50]])
def test_fill_keeps_the_choice_and_closes_the_gaps(chosen: list[int]) -> None:
    filled = fill(chosen, first=2, last=27, count=9)
    assert set(chosen) <= set(filled)
    assert len(filled) == 9
    assert filled == sorted(set(filled))
    assert max(np.diff(filled)) <= max(4, *np.diff([2, *chosen, 27]) / 3)


def test_fill_of_nothing_is_even_and_of_few_slices_is_all() -> None:
    assert np.ptp(np.diff(fill([], first=0, last=99, count=10))) <= 1
    assert fill([2], first=0, last=4, count=15) == [0, 1, 2, 3, 4]

"""Numbers lie near their lesion, off all lesions and off each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.reports.numbers import DIGIT_WIDTH, HEIGHT, Number, place_numbers


def box(number: Number) -> tuple[float, float, float, float]:
    """Return left, right, top and bottom of what the digits cover."""
    width = DIGIT_WIDTH * len(str(number.lesion))
    half = HEIGHT / 2 - 1
    return number.x - width / 2, number.x + width / 2, number.y - half, number.y + half


def crowd(seed: int, count: int = 14) -> NDArray[np.int32]:
    """Scatter small lesions over a slice of 90 rows and 70 columns."""
    random = np.random.default_rng(seed)
    labels = np.zeros((90, 70), dtype=np.int32)
    for lesion in range(count, 0, -1):
        row, column = random.integers(5, 80), random.integers(5, 60)
        labels[row : row + 3, column : column + 4] = lesion
    return labels


@pytest.mark.parametrize("seed", range(5))
def test_no_number_covers_a_lesion_or_another_number(seed: int) -> None:
    labels = crowd(seed)
    numbers = place_numbers(labels, size=(210, 270))
    assert sorted(n.lesion for n in numbers) == [n for n in np.unique(labels) if n]
    drawn = labels.repeat(3, axis=0).repeat(3, axis=1)
    for place, number in enumerate(numbers):
        left, right, top, bottom = box(number)
        assert 0 <= left < right <= 210
        assert 0 <= top < bottom <= 270
        assert not drawn[int(top) : int(bottom), int(left) : int(right)].any()
        for other in numbers[:place]:
            a, b, c, d = box(other)
            assert right <= a or b <= left or bottom <= c or d <= top


def test_a_lone_number_is_next_to_its_lesion() -> None:
    labels = np.zeros((50, 50), dtype=np.int32)
    labels[10, 35] = 7
    (number,) = place_numbers(labels, size=(200, 200))
    assert np.hypot(number.x - 142, number.y - 42) < 14
    assert number.tie is None


def test_a_number_that_finds_no_room_is_tied_to_its_lesion() -> None:
    labels = np.full((40, 40), 2, dtype=np.int32)
    labels[:, 30:] = 0
    labels[20, 10] = 1
    small = next(n for n in place_numbers(labels, size=(160, 160)) if n.lesion == 1)
    assert small.x > 120
    assert small.tie == pytest.approx((43.5, 82), abs=4)


def test_reserved_places_stay_free() -> None:
    labels = np.zeros((20, 20), dtype=np.int32)
    labels[2, 2] = 1
    (number,) = place_numbers(labels, size=(80, 80), reserved=((slice(0, 40), slice(0, 40)),))
    assert number.x > 40 or number.y > 40

"""Confidence: what raises it, what lowers it, and where it has to stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.confidence import confidence


def ball(radius: float) -> NDArray[np.bool_]:
    grid = np.ogrid[-10:11, -10:11, -10:11]
    return np.asarray(sum(g**2 for g in grid) <= radius**2)


def of(probability: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    return float(confidence(mask.astype(np.int32), probability)[0])


def test_a_sure_lesion_with_a_sharp_border_has_all_of_it() -> None:
    assert of(ball(5).astype(float), ball(5)) == 1.0


def test_blurred_borders_and_lower_probabilities_lower_it() -> None:
    sharp = ball(5).astype(float)
    blurred = ndimage.gaussian_filter(sharp, 2.0)
    assert of(blurred, blurred > 0.5) < of(sharp, ball(5))
    assert of(0.6 * sharp, ball(5)) < of(0.9 * sharp, ball(5))


def test_each_lesion_has_its_own_whatever_its_neighbours_are() -> None:
    labels = np.zeros((20, 8, 8), np.int32)
    labels[2:5, 2:5, 2:5], labels[12:14, 2:5, 2:5] = 1, 2
    probability = np.where(labels == 1, 0.9, np.where(labels == 2, 0.55, 0.1))
    first, second = confidence(labels, probability)
    alone = np.where(labels == 2, 1, 0).astype(np.int32)
    assert first > second
    assert second == confidence(alone, np.where(labels == 2, 0.55, 0.1))[0]


def test_a_lesion_that_fills_the_image_or_none_at_all() -> None:
    full = np.ones((3, 3, 3))
    assert 0 <= of(0.7 * full, full > 0) <= 1
    assert confidence(np.zeros((3, 3, 3), np.int32), full).shape == (0,)

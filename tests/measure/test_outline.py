"""Cutting probabilities: one threshold, and a lower one around what is large."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.measure.outline import cut

VOXEL_ML = 0.001


def blob(at: int, half: int, rim: int) -> NDArray[np.float32]:
    """Draw a cube of 0.6 in a shell of 0.3."""
    image = np.zeros((40, 20, 20), np.float32)
    image[
        (
            slice(at - half - rim, at + half + rim + 1),
            *[slice(10 - half - rim, 11 + half + rim)] * 2,
        )
    ] = 0.3
    image[(slice(at - half, at + half + 1), *[slice(10 - half, 11 + half)] * 2)] = 0.6
    return image


@pytest.fixture
def probability() -> NDArray[np.float32]:
    """A large lesion of 11 voxels edge to the left, a small one of 3 to the right."""
    return np.maximum(blob(9, 5, 2), blob(30, 1, 2))


def test_without_a_second_threshold_all_lesions_are_cut_alike(
    probability: NDArray[np.float32],
) -> None:
    mask = cut(probability, 0.4, voxel_ml=VOXEL_ML)
    assert (mask == (probability >= 0.4)).all()


def test_only_the_large_lesion_takes_its_surroundings(probability: NDArray[np.float32]) -> None:
    mask = cut(probability, 0.4, voxel_ml=VOXEL_ML, large_ml=1.0, large_threshold=0.2)
    assert (mask[:20] == (probability[:20] >= 0.2)).all()
    assert (mask[20:] == (probability[20:] >= 0.4)).all()


def test_a_lesion_of_exactly_the_volume_is_large() -> None:
    probability = blob(9, 5, 2)
    counts = [
        int(cut(probability, 0.4, voxel_ml=1.0, large_ml=ml, large_threshold=0.2).sum())
        for ml in (11.0**3, 11.0**3 + 1)
    ]
    assert counts == [15**3, 11**3]


def test_many_small_lesions_are_not_a_large_one() -> None:
    probability = np.maximum(blob(6, 1, 2), blob(30, 1, 2))
    mask = cut(probability, 0.4, voxel_ml=VOXEL_ML, large_ml=0.028, large_threshold=0.2)
    assert (mask == (probability >= 0.4)).all()


def test_zero_is_never_lesion() -> None:
    probability = np.zeros((4, 4, 4), np.float32)
    probability[0, 0, 0] = 0.9
    mask = cut(probability, 0.0, voxel_ml=1.0, large_ml=1.0, large_threshold=0.0)
    assert mask.sum() == 1

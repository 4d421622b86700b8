"""Cutting probabilities: one threshold, and a lower one around what is large."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.measure.outline import cut, fill_hollow

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


def shell(outer: int, inner: int, gap: bool = False) -> NDArray[np.float32]:
    """Draw a hollow ball, with a tunnel through its border if asked for."""
    grid = np.indices((48, 48, 48)) - 24
    distance = np.linalg.norm(grid, axis=0)
    tunnel = (np.abs(grid[1:]) <= 2).all(0) & (grid[0] > 0) & gap
    inside = np.where(distance < inner, 0.05, np.where(distance < outer, 0.8, 0.0))
    return np.where(tunnel & (distance >= inner), 0.05, inside).astype(np.float32)


@pytest.mark.parametrize("gap", [False, True])
def test_a_ring_of_tumour_is_filled(gap: bool) -> None:
    ring = shell(18, 13, gap)
    filled = fill_hollow(ring >= 0.4, ring, (1.0, 1.0, 1.0))
    ball = shell(18, 0) > 0
    assert (filled & ball).sum() > 0.98 * ball.sum()
    assert not (filled & ~ball).any()


def test_a_small_ring_and_a_ventricle_stay_hollow() -> None:
    small, ventricle = shell(12, 9), np.where(shell(18, 13) < 0.4, 0.001, 0.8).astype(np.float32)
    ventricle[shell(18, 13) == 0] = 0
    for ring in (small, ventricle):
        mask = ring >= 0.4
        np.testing.assert_array_equal(fill_hollow(mask, ring, (1.0, 1.0, 1.0)), mask)


def test_a_cleft_in_a_large_lesion_stays() -> None:
    cleft = shell(18, 0)
    cleft[12:36, 16:32, 23:26] = 0.1  # 3 mm wide, surrounded
    mask = cleft >= 0.4
    np.testing.assert_array_equal(fill_hollow(mask, cleft, (1.0, 1.0, 1.0)), mask)


def test_lesions_side_by_side_stay_apart() -> None:
    two = np.zeros((60, 30, 30), np.float32)
    two[3:27, 3:27, 3:27], two[35:58, 3:27, 3:27] = 0.8, 0.8
    two[27:35] = 0.05
    mask = two >= 0.4
    np.testing.assert_array_equal(fill_hollow(mask, two, (1.0, 1.0, 1.0)), mask)

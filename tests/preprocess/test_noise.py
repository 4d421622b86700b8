"""Noise is measured, and smoothed no more than need be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.noise import NOISE_LOW, noise_sd, normalise_noisy
from bids_flairseg.preprocess.normalise import normalise_array

SHAPE = (40, 44, 36)
SLIGHTLY_NOISY = (11.0, 11.5, 12.0, 12.5, 13.0)
Volume = NDArray[np.float32]


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    return np.asarray((grid**2).sum(0) < 0.8)


@pytest.fixture
def tissue(mask: NDArray[np.bool_]) -> Volume:
    """Two tissues in slabs of 5 voxels, 70 and 100, in a bright skull."""
    slabs = (np.arange(SHAPE[1]) // 5) % 2
    return np.where(mask, np.float32(70 + 30 * slabs[None, :, None]), np.float32(300))


def noisy(image: Volume, sd: float) -> Volume:
    return (image + np.random.default_rng(0).normal(0, sd, image.shape)).astype(np.float32)


@pytest.mark.parametrize("sd", [2.0, 5.0, 12.0])
def test_noise_is_measured_in_spite_of_anatomy(
    tissue: Volume, mask: NDArray[np.bool_], sd: float
) -> None:
    assert noise_sd(noisy(tissue, sd), mask) == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_do_not_hide_the_noise(mask: NDArray[np.bool_], axis: int) -> None:
    thin = noisy(np.full(SHAPE, 100, np.float32), 6.0)
    thick = np.repeat(np.take(thin, range(0, thin.shape[axis], 4), axis=axis), 4, axis=axis)
    assert noise_sd(thick, mask) == pytest.approx(6.0, rel=0.1)


def test_what_is_not_noisy_is_only_normalised(tissue: Volume, mask: NDArray[np.bool_]) -> None:
    image = noisy(tissue, 2.0)
    result, share = normalise_noisy(image, mask, kind="robust")
    assert share == 0
    np.testing.assert_array_equal(result, normalise_array(image, mask, kind="robust"))


def test_the_noisier_the_smoother(tissue: Volume, mask: NDArray[np.bool_]) -> None:
    shares = [
        normalise_noisy(noisy(tissue, sd), mask, kind="robust")[1] for sd in (1, 8, 12, 13, 14, 60)
    ]
    assert shares == sorted(shares)
    assert {0.0, 1.0} < set(shares)


def test_a_little_more_noise_changes_little(tissue: Volume, mask: NDArray[np.bool_]) -> None:
    results = [normalise_noisy(noisy(tissue, sd), mask, kind="robust") for sd in SLIGHTLY_NOISY]
    for (one, _), (other, _) in pairwise(results):
        assert np.abs(one - other)[mask].mean() < 0.1
    assert results[0][1] == 0 < results[-1][1]


def test_smoothing_leaves_little_noise_and_the_tissues(
    tissue: Volume, mask: NDArray[np.bool_]
) -> None:
    result, share = normalise_noisy(noisy(tissue, 20.0), mask, kind="robust")
    assert share == 1
    assert noise_sd(result, mask) <= NOISE_LOW
    assert not result[~mask].any()
    bright = tissue == 100
    assert result[mask & bright].mean() - result[mask & ~bright].mean() > 1.0


def test_the_skull_does_not_leak_into_the_brain(mask: NDArray[np.bool_]) -> None:
    flat = np.where(mask, np.float32(100), np.float32(5000))
    result, share = normalise_noisy(noisy(flat, 10.0), mask, kind="zscore")
    assert share == 1
    assert np.abs(result[mask]).max() < 7


def test_an_empty_brain_is_refused(tissue: Volume) -> None:
    with pytest.raises(InputError, match="found 0 voxels"):
        normalise_noisy(tissue, np.zeros(SHAPE, bool), kind="robust")

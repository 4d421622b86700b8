"""What a scanner does to synthetic images: what must hold whatever the dice say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import acquisition

Image = NDArray[np.float32]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_keep_a_constant_and_blur_along_one_axis_only(axis: int) -> None:
    rng = np.random.default_rng(3)
    image = np.ones((24, 24, 24), np.float32)
    edge = np.zeros_like(image)
    edge[12:] = 1
    steps = acquisition.steps(axis, 4.0, 1.0)
    gains = acquisition.slices(rng, [image, image, edge], 1.0, steps_mm=steps)
    np.testing.assert_allclose(gains[1], 1, atol=1e-5)
    blurred = np.any((gains[2] > 0.01) & (gains[2] < 0.99))
    assert blurred == (axis == 0)


def test_samples_in_a_plane_are_farther_apart_than_voxels_and_closer_than_slices() -> None:
    assert acquisition.steps(1, 5.0, 1.3) == (1.3, 5.0, 1.3)
    widths = []
    for axis in range(3):
        edge = np.zeros((30, 30, 30), np.float32)
        np.moveaxis(edge, axis, 0)[15:] = 1
        [found] = acquisition.slices(
            np.random.default_rng(1), [edge], 1.0, steps_mm=acquisition.steps(1, 5.0, 1.3)
        )
        line = np.moveaxis(found, axis, 0)[:, 15, 15]
        widths.append(int(((line > 0.01) & (line < 0.99)).sum()))
    assert 0 < widths[0] < widths[1] > widths[2] > 0
    assert max(widths[0], widths[2]) <= 3


@pytest.mark.parametrize("axis", [0, 2])
def test_noise_is_that_of_the_slices(axis: int) -> None:
    rng = np.random.default_rng(4)
    image = np.ones((40, 40, 40), np.float32)

    def grain(slices: NDArray[np.float32]) -> NDArray[np.float32]:
        return slices + rng.normal(0, 0.2, slices.shape).astype(np.float32)

    noisy, untouched = acquisition.slices(
        rng, [image, image], 1.0, steps_mm=acquisition.steps(axis, 5.0, 1.0), spoil=grain
    )
    np.testing.assert_allclose(untouched, 1, atol=1e-5)
    for along in range(3):  # next to each other, voxels have their noise in common in one axis only
        moved = np.moveaxis(noisy, along, 0)
        together = np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]
        assert (together > 0.7) if along == axis else (abs(together) < 0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_head_that_moves_between_slices_takes_its_lesions_with_it(
    axis: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acquisition, "MOVED_BETWEEN", 1.0)
    blob = np.zeros((20, 20, 20), np.float32)
    blob[6:14, 6:14, 6:14] = 1
    gained, moved = (
        np.moveaxis(found, axis, 0)
        for found in acquisition._interleave(
            np.random.default_rng(0), [blob, blob], axis, moving=True
        )
    )
    np.testing.assert_allclose(moved.sum((1, 2)), blob.sum((1, 2)), rtol=1e-5)
    gains = gained[6:14].sum((1, 2)) / 64
    assert np.abs(gains - 1).max() <= 0.061
    np.testing.assert_allclose(gained[6:14], moved[6:14] * gains[:, None, None], atol=1e-5)
    middles = np.array([ndimage.center_of_mass(slice_) for slice_ in moved[6:14]])
    np.testing.assert_allclose(middles[::2], 9.5, atol=1e-4)  # even slices lie where they lay
    assert np.ptp(middles[1::2], axis=0).max() < 1e-4
    assert 0.05 < np.abs(middles[1] - 9.5).max() <= 1.2


@pytest.mark.parametrize("spread", [(0.0, 0.0, 0.0), (0.6, 0.6, 0.0)])
def test_noise_is_as_strong_as_asked_and_common_to_neighbours_in_a_plane(
    spread: tuple[float, float, float],
) -> None:
    flat = np.full((40, 40, 40), 10, np.float32)
    noisy = acquisition.noise(np.random.default_rng(2), flat, sigma=0.05, spread=spread)
    assert noisy.std() == pytest.approx(0.05, rel=0.03)
    for axis, width in enumerate(spread):
        moved = np.moveaxis(noisy, axis, 0)
        together = np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]
        expected = np.exp(-1 / (4 * width**2)) if width else 0  # of Gaussians one voxel apart
        assert together == pytest.approx(expected, abs=0.08)


def test_motion_while_a_slice_is_acquired_blurs_and_keeps_what_is_flat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edge = np.zeros((20, 20, 20), np.float32)
    edge[10:] = 1
    blurred = []
    for probability in (0.0, 1.0):
        monkeypatch.setattr(acquisition, "MOVED_WITHIN", probability)
        found = [
            acquisition.noise(np.random.default_rng(seed), edge, sigma=0.0) for seed in range(8)
        ]
        blurred.append(np.mean([(np.abs(image - edge)[8:12] > 0.05).mean() for image in found]))
    flat = acquisition.noise(np.random.default_rng(0), np.ones_like(edge), sigma=0.0)
    assert np.ptp(flat) < 1e-5
    assert blurred[1] > blurred[0] + 0.05


def test_noise_and_numbers_stay_finite_and_positive() -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        image = acquisition.noise(rng, np.ones((16, 16, 16), np.float32))
        image = acquisition.numbers(rng, acquisition.bias(rng, image, 1.0))
        assert np.isfinite(image).all()
        assert (image >= 0).all()


def test_sharpening_enhances_edges_in_the_plane_and_keeps_what_is_flat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acquisition, "SHARPENED", 1.0)
    monkeypatch.setattr(acquisition, "SHARPEN_BY", (0.9, 0.9))
    edge = np.ones((20, 20, 20), np.float32)
    edge[10:] = 2
    sharp = acquisition.sharpen(np.random.default_rng(0), edge, (True, True, True))
    assert sharp.max() > 2.05
    assert sharp.min() < 0.95
    np.testing.assert_allclose(sharp[[0, 1, 2, 17, 18, 19]], edge[[0, 1, 2, 17, 18, 19]], atol=1e-5)
    across = acquisition.sharpen(np.random.default_rng(0), edge, (False, True, True))
    np.testing.assert_allclose(across, edge, atol=1e-5)
    dark = acquisition.sharpen(np.random.default_rng(0), edge - 1, (True, True, True))
    assert dark.min() == 0  # a magnitude

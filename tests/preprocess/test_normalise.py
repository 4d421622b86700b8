"""Intensities are the same whatever the scanner's scale."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.grid import new_image, voxels
from bids_flairseg.preprocess.normalise import HIGH, KINDS, LOW, normalise_array
from tests.conftest import MakeImage


@pytest.fixture
def brain(make_image: MakeImage) -> tuple[nib.Nifti1Image, NDArray[np.bool_]]:
    """Give a head with texture, and its brain."""
    head = make_image()
    texture = np.random.default_rng(0).normal(0, 9, head.shape)
    mask = (voxels(head) >= 90) & (voxels(head) < 175)
    return new_image((voxels(head) + texture).astype(np.float32), head.affine), mask


Brain = tuple[nib.Nifti1Image, NDArray[np.bool_]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (0.003, 0), (40, -2000), (2, 500)])
def test_gain_and_offset_change_nothing(
    brain: Brain, kind: str, gain: float, offset: float
) -> None:
    image, mask = brain
    scaled = new_image(voxels(image) * np.float32(gain) + np.float32(offset), image.affine)

    one, other = (normalise_array(voxels(one), mask, kind=kind) for one in (image, scaled))

    np.testing.assert_allclose(one, other, atol=2e-3)
    assert np.ptp(one) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_outside_is_zero(brain: Brain, kind: str) -> None:
    image, mask = brain

    result = normalise_array(voxels(image), mask, kind=kind)

    assert not result[~mask].any()


def test_zscore_has_mean_0_and_deviation_1(brain: Brain) -> None:
    image, mask = brain
    values = normalise_array(voxels(image), mask, kind="zscore")[mask]

    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 1) < 1e-4


def test_robust_is_clipped_and_hardly_moved_by_a_large_lesion(brain: Brain) -> None:
    image, mask = brain
    lesion = mask & (np.random.default_rng(1).random(mask.shape) < 0.1)
    bright = new_image(np.where(lesion, np.float32(5000), voxels(image)), image.affine)
    healthy = mask & ~lesion

    shift = {
        kind: np.abs(
            np.median(normalise_array(voxels(bright), mask, kind=kind)[healthy])
            - np.median(normalise_array(voxels(image), mask, kind=kind)[healthy])
        )
        for kind in KINDS
    }

    robust = normalise_array(voxels(bright), mask, kind="robust")
    assert robust.max() == HIGH
    assert robust.min() >= LOW
    assert shift["robust"] < 0.25
    assert shift["robust"] < shift["zscore"] + 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_a_brain_without_contrast_is_refused(brain: Brain, kind: str) -> None:
    image, mask = brain

    with pytest.raises(InputError, match="varying intensity"):
        normalise_array(voxels(image), np.zeros_like(mask), kind=kind)
    with pytest.raises(InputError, match="varying intensity"):
        normalise_array(mask.astype(np.float32), mask, kind=kind)


def test_an_unknown_kind_is_named(brain: Brain) -> None:
    with pytest.raises(InputError, match="expected zscore or robust, found 'minmax'"):
        normalise_array(voxels(brain[0]), brain[1], kind="minmax")

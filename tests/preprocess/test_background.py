"""A constant background is the darkest there is, whatever was done to the brain before."""

from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.preprocess.background import settle_background
from bids_flairseg.preprocess.brain import foreground_mask, is_skull_stripped, stripped_mask
from bids_flairseg.preprocess.grid import new_image, voxels
from tests.conftest import MakeImage

Array = NDArray[np.float32]
Spoil = Callable[[Array, NDArray[np.bool_]], Array]


def z_scored(data: Array, brain: NDArray[np.bool_]) -> Array:
    """Return what many pipelines leave: a mean of zero, and zero outside."""
    values = data[brain]
    return np.where(brain, (data - values.mean()) / values.std(), 0).astype(np.float32)


def with_traces(data: Array, brain: NDArray[np.bool_]) -> Array:
    """Return what interpolation leaves: almost nothing outside, of either sign."""
    noise = np.random.default_rng(0).normal(0, 1e-4 * data.max(), data.shape)
    return np.where(brain, data, noise).astype(np.float32)


@pytest.fixture
def brain(make_image: MakeImage) -> nib.Nifti1Image:
    """Give a drawn brain with zeros around it, and dark voxels within."""
    head = make_image((80, 94, 76), (2.0, 2.0, 2.0), tilt=8)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in head.shape), indexing="ij"), axis=-1)
    place = nib.affines.apply_affine(head.affine, index) / (66.0, 80.0, 64.0)
    noise = np.random.default_rng(1).normal(0, 30, head.shape)
    data = np.maximum(voxels(head) + noise, 5) * ((place**2).sum(-1) < 0.84**2)
    return new_image(data.astype(np.float32), np.asarray(head.affine))


@pytest.mark.parametrize("spoil", [z_scored, with_traces])
def test_a_brain_counts_as_stripped_whatever_its_zeros_have_become(
    brain: nib.Nifti1Image, spoil: Spoil
) -> None:
    inside = voxels(brain) > 0
    spoilt = new_image(spoil(voxels(brain), inside), np.asarray(brain.affine))

    settled, warnings = settle_background(spoilt)

    assert not is_skull_stripped(spoilt)
    assert is_skull_stripped(settled)
    np.testing.assert_array_equal(voxels(stripped_mask(settled)) > 0, inside)
    np.testing.assert_array_equal(voxels(settled)[inside], voxels(spoilt)[inside])
    assert np.mean(foreground_mask(settled)) < 1.2 * inside.mean()
    assert len(warnings) == (spoil is z_scored)


def test_what_is_dark_already_stays(brain: nib.Nifti1Image, make_image: MakeImage) -> None:
    noise = np.random.default_rng(0).normal(0, 8, (40, 40, 40)).astype(np.float32)
    head = make_image((40, 40, 40), (4.0, 4.0, 4.0))
    for image in (brain, new_image(voxels(head) + noise, np.asarray(head.affine))):
        settled, warnings = settle_background(image)

        np.testing.assert_array_equal(voxels(settled), voxels(image))
        assert warnings == ()


def test_a_black_hole_in_the_brain_is_no_background(brain: nib.Nifti1Image) -> None:
    data = z_scored(voxels(brain), voxels(brain) > 0)
    data[38:42, 44:50, 36:40] = 0

    settled, _ = settle_background(new_image(data, np.asarray(brain.affine)))

    assert (voxels(settled)[38:42, 44:50, 36:40] == 0).all()

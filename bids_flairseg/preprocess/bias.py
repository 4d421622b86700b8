"""The bias field, removed with N4."""

from __future__ import annotations

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.grid import new_image, resample, restore, voxels

COARSE_MM = 4.0
"""Voxel edge at which the field is estimated, as ANTs does with a shrink factor of 4 at
1 mm; a factor would leave a few thick slices too few, or thin ones too many."""

ITERATIONS = (50, 50, 50, 50)
"""Of each resolution level (Tustison et al. 2010, doi:10.1109/TMI.2010.2046908)."""

TOLERANCE = 1e-7
"""Change at which a level ends, ANTsPy's own."""

MAX_GAIN = 10.0
"""The field stays within this factor, up or down, where splines run off outside the brain."""


def correct_bias(image: Nifti1Image, mask: NDArray[np.bool_]) -> Nifti1Image:
    """Divide an image by the smooth field that N4 finds in the brain.

    The number of threads is that of ``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS`` in the
    environment of the process; with the same number the result is the same.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR on any grid.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain; its voxels above zero inform the field.

    Returns
    -------
    corrected : Nifti1Image
        float32 on the same grid, with the mean of the brain kept.

    Raises
    ------
    InputError
        If the brain has no intensity above zero.
    """
    data = voxels(image)
    inside = mask & (data > 0)
    if not inside.any():
        raise InputError(
            "expected intensities above zero in the brain, found none. "
            "Leave out --n4, or check the image and its brain mask."
        )
    affine = np.asarray(image.affine)
    weight = resample(new_image(inside.astype(np.float32), affine), COARSE_MM)
    share = voxels(weight)
    brain = voxels(resample(new_image(data * inside, affine), COARSE_MM))
    mean = brain / np.maximum(share, 0.5)  # of the brain's part of a voxel
    box = _bounding_box(share > 0.5)
    inner = _log_field(mean[box], share[box] * (share[box] > 0.5))
    margins = [(part.start, edge - part.stop) for part, edge in zip(box, share.shape, strict=True)]
    log_field = np.pad(inner, margins, mode="edge")
    field = restore(new_image(log_field, np.asarray(weight.affine)), image)
    corrected = data / np.exp(voxels(field))
    corrected *= data[inside].mean() / corrected[inside].mean()
    return new_image(corrected, affine)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box around a mask, all of the grid if the mask is empty."""
    found: list[tuple[slice, ...]] = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else tuple(slice(0, edge) for edge in mask.shape)


def _log_field(data: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Estimate the logarithm of the field on a coarse isotropic grid."""
    import ants

    spacing = (COARSE_MM,) * 3
    field = ants.n4_bias_field_correction(
        ants.from_numpy(data, spacing=spacing),
        mask=ants.from_numpy((weight > 0).astype(np.float32), spacing=spacing),
        weight_mask=ants.from_numpy(weight, spacing=spacing),
        shrink_factor=1,
        convergence={"iters": list(ITERATIONS), "tol": TOLERANCE},
        return_bias_field=True,
    )
    values = np.asarray(field.numpy(), dtype=np.float32)
    return np.log(np.clip(values, 1 / MAX_GAIN, MAX_GAIN))

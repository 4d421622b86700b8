"""What lies around a head or a brain: made constant, and the darkest there is."""

from __future__ import annotations

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from bids_flairseg.preprocess.grid import new_image, voxels
from bids_flairseg.preprocess.morphology import fill

LEAST = 0.2
"""Share of an image that must be alike, and reach its edge, to count as its background."""

NEARLY = 1e-3
"""How far a background may vary, as a share of the range of intensities."""

UNUSUAL = 5.0
"""Centile of all else below which the level of a background draws no warning."""

_RANGE = (0.1, 99.0)


def settle_background(image: Nifti1Image) -> tuple[Nifti1Image, tuple[str, ...]]:
    """Make a constant background constant to the digit, and no brighter than what it surrounds.

    A brain that was normalised and then masked lies around zero, with zeros for its background:
    by its intensities that is tissue. Interpolation and compression leave traces of
    noise in a background of zeros.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR, float32.

    Returns
    -------
    settled : Nifti1Image
        The same image where there is no such background. Else what hangs together with the edge
        of the field of view and is like most of its corners has one value: that of the corners,
        or if something is darker, just below the lowest thousandth of all else.
    warnings : tuple of str
        Whether the background was as bright as tissue.
    """
    data = voxels(image)
    air = corner_value(data)
    low, high = np.percentile(data, _RANGE)
    nearly = NEARLY * (high - low)
    around = ~fill(data != air)
    if around.mean() < LEAST:
        around = ~fill(np.abs(data - air) > nearly)
    if around.mean() < LEAST or around.all():
        return image, ()
    darkest, usual = np.percentile(data[~around], (_RANGE[0], UNUSUAL))
    level = np.float32(air if air <= darkest else darkest - nearly)  # a value that no tissue has
    warnings = (
        (f"The background ({air:.3g}) is as bright as tissue; it counts as the darkest there is.",)
        if air > usual
        else ()
    )
    return new_image(np.where(around, level, data), np.asarray(image.affine)), warnings


def corner_value(data: NDArray[np.float32]) -> float:
    """Return the commonest value of the eight corners of an image of shape (X, Y, Z)."""
    ends = tuple(slice(None, None, max(edge - 1, 1)) for edge in data.shape)
    corners = data[ends]  # (2, 2, 2); one voxel along an axis that has but one
    values, counts = np.unique(corners, return_counts=True)
    return float(values[np.argmax(counts)])

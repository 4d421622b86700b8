"""Hints that a scan, or the brain found in it, deserves a look.

The thresholds lie well outside of what ten unremarkable scans of the test data
show: brains of 1.1 to 1.5 litres, an interquartile range of 0.15 to 0.23 and noise
of 0.04 to 0.08 times the median of the brain.
"""

from __future__ import annotations

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.grid import new_image, resample, voxel_sizes, voxels
from bids_flairseg.preprocess.noise import noise_sd

MIN_COVERAGE_MM = 100.0
"""A field of view shorter than this along an axis misses part of an adult brain."""

MAX_CUT_CM2 = 10.0
"""Brain on a face of the image from which it counts as cut; the brainstem has 3 to 5."""

BRAIN_ML = (700.0, 2100.0)
"""Volumes of a brain and the fluid in it, from a small child's to a large adult's."""

MIN_CONTRAST = 0.08
"""Least interquartile range of the brain over its median, above the background."""

MIN_STRUCTURE = 0.045
"""The same after smoothing, which leaves tissue and takes away grain: 0.08 to 0.19 in the test
data, 0.03 in a noisy sphere."""

MAX_NOISE = 0.2
"""Most noise (standard deviation) over the median of the brain."""

_FACES = (("left", "right"), ("back", "front"), ("bottom", "top"))
_AXES = ("left-right", "front-back", "bottom-top")
_COARSE_MM = 2.0
_SMOOTHING_MM = 3.0  # standard deviation; thinner than the folds of the cortex
_LEAST_SHARE = 1e-3


def quality_hints(image: Nifti1Image, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Say what is unusual about the coverage, the contrast and the brain of a scan.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR on the conformed grid, before normalisation.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain on the same grid.

    Returns
    -------
    hints : tuple of str
        A sentence each; empty for an unremarkable scan.
    """
    zooms = voxel_sizes(np.asarray(image.affine))
    cut = _cuts(mask, zooms)
    return (
        *_coverage(image.shape, zooms),
        *cut,
        *_volume(mask, zooms, is_cut=bool(cut)),
        *_intensities(image, mask),
    )


def _coverage(shape: tuple[int, ...], zooms: NDArray[np.float64]) -> list[str]:
    """Name the axes along which the field of view is short."""
    return [
        f"The field of view is only {length:.0f} mm long ({axis}): part of the brain is missing."
        for axis, length in zip(_AXES, np.array(shape) * zooms, strict=True)
        if length < MIN_COVERAGE_MM
    ]


def cut_faces(mask: NDArray[np.bool_], zooms: NDArray[np.float64]) -> dict[str, float]:
    """Measure the brain on each face of the image.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        Brain on the conformed grid.
    zooms : ndarray of float64, shape (3,)
        Voxel edges in mm.

    Returns
    -------
    areas : dict of str to float
        Square cm at the left, right, back, front, bottom and top.
    """
    return {
        name: np.count_nonzero(np.take(mask, edge, axis=axis))
        * float(np.prod(np.delete(zooms, axis)))
        / 100
        for axis, names in enumerate(_FACES)
        for name, edge in zip(names, (0, -1), strict=True)
    }


def _cuts(mask: NDArray[np.bool_], zooms: NDArray[np.float64]) -> list[str]:
    """Name the faces of the image that the brain reaches."""
    return [
        f"The field of view cuts the brain at the {name} ({area:.0f} cm²): "
        "lesions beyond it are not counted."
        for name, area in cut_faces(mask, zooms).items()
        if area > MAX_CUT_CM2
    ]


def _volume(mask: NDArray[np.bool_], zooms: NDArray[np.float64], *, is_cut: bool) -> list[str]:
    """Warn of a brain that is too large, or too small without being cut."""
    volume = np.count_nonzero(mask) * float(np.prod(zooms)) / 1000
    low, high = BRAIN_ML
    if volume <= high and (volume >= low or is_cut):
        return []
    usual = f"usual are {low:.0f} to {high:.0f}"
    return [f"The brain mask has {volume:.0f} ml, {usual}: check its outline in the report."]


def _intensities(image: Nifti1Image, mask: NDArray[np.bool_]) -> list[str]:
    """Warn of a flat or noisy image."""
    data = voxels(image)
    inside = resample(new_image(mask.astype(np.float32), np.asarray(image.affine)), _COARSE_MM)
    values = voxels(resample(image, _COARSE_MM))[voxels(inside) > 0.9]
    if not values.size:
        return []
    low, middle, high = np.percentile(values, (25, 50, 75))
    level = float(middle - np.percentile(data[::2, ::2, ::2], 0.1))
    if level <= 0:
        return ["The brain is no brighter than its surroundings: is this a FLAIR?"]
    contrast, noise = float(high - low) / level, noise_sd(data, mask) / level
    structure = _structure(voxels(resample(image, _COARSE_MM)), voxels(inside)) / level
    hints = []
    if structure < MIN_STRUCTURE:
        hints.append(
            f"No structure: but for noise, the brain is the same all over (to {structure:.1%}). "
            "Is this the FLAIR of a head?"
        )
    elif contrast < MIN_CONTRAST:
        hints.append(f"Low contrast: the tissues of the brain differ by {contrast:.0%} only.")
    if noise > MAX_NOISE:
        hints.append(f"Noisy: the noise is {noise:.0%} of the brain's intensity.")
    return hints


def _structure(data: NDArray[np.float32], inside: NDArray[np.float32]) -> float:
    """Return the interquartile range of the brain after smoothing within it."""
    sigma = _SMOOTHING_MM / _COARSE_MM
    share = np.maximum(ndimage.gaussian_filter(inside, sigma), _LEAST_SHARE)
    smooth = ndimage.gaussian_filter(data * inside, sigma) / share
    low, high = np.percentile(smooth[inside > 0.9], (25, 75))
    return float(high - low)

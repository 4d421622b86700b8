"""The brain mask: what the anatomy network gets, and what its answer means.

The mask is an envelope: sulci, cisterns and ventricles belong to it; scalp, skull
and eyes do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.background import LEAST, corner_value
from bids_flairseg.preprocess.grid import new_image, resample, restore, voxel_sizes, voxels
from bids_flairseg.preprocess.morphology import close, fill, largest, otsu

LOGGER = logging.getLogger(__name__)

BACKGROUND, OTHER_CSF = 0, 4
"""Classes of the anatomy network that the mask is made with."""

ANATOMY_MM = 2.0
"""Voxel edge in mm of the anatomy network."""

TOP_CENTILE = 99
"""The centile of intensities that becomes 1 in the network's input."""

MAX_INPUT = 6.0
"""Brighter input is cut off, as in training."""

CLOSING_MM = 8.0
"""Radius of the closing that takes in sulci and cisterns, that of the training target."""

MIN_BRAIN_ML = 20.0
"""A smaller brain is taken for none; five slices of 1 mm show three times as much."""

STRIPPED_RIM = 0.8
"""Least brightness of a brain's rim relative to its inside, see :func:`is_skull_stripped`."""

STRIPPED_REST = 0.02
"""Most of the foreground that may lie apart from the brain: here 0.004, 0.09 with scalp."""

_STEP = 0.25  # of the top; a darkest tissue above this stands on a step, as CSF is nearly black
_SMOOTHING = 0.5  # voxels; rounds the steps of the coarse grid
_RIM_MM = (3.0, 6.0, 9.0, 12.0)  # shells of 3 mm below the surface: scalp, skull, CSF
_DEEP_MM = 18.0  # below skull and CSF in a whole head
_INSIDE = 30  # centile of what is deep

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Intensities (X, Y, Z) to class probabilities (X, Y, Z, 7)."""


@dataclass(frozen=True)
class Anatomy:
    """What the anatomy network says about an image.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (X, Y, Z, 7)
        Of each class, on a grid of ``ANATOMY_MM`` that covers the image.
    affine : ndarray of float64, shape (4, 4)
        Voxel indices of that grid to RAS mm.
    seen : ndarray of float32, shape (X, Y, Z)
        What the network was given.
    """

    probabilities: NDArray[np.float32]
    affine: NDArray[np.float64]
    seen: NDArray[np.float32]


def find_anatomy(image: Nifti1Image, predict: Predict, *, multiple: int = 16) -> Anatomy:
    """Classify the tissues of a head in two passes.

    The first pass sees the image divided by the 99th centile of the whole
    foreground, the second by that of the brain which the first one found: a bright
    scalp then no longer dims the brain.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR on the conformed grid.
    predict : callable
        The anatomy network.
    multiple : int
        Voxels of which each edge of its input is a multiple.

    Returns
    -------
    anatomy : Anatomy
        Answer of the second pass; of the first, if that found no brain.
    """
    coarse = anatomy_input(image, ANATOMY_MM, multiple=multiple)
    data = voxels(coarse)
    affine = np.asarray(coarse.affine)
    head = foreground_mask(coarse)
    seen = _scaled(data, data[head])
    probabilities = predict(seen)
    brain = probabilities[..., BACKGROUND] < 0.5
    if np.count_nonzero(brain) * ANATOMY_MM**3 / 1000 >= MIN_BRAIN_ML:
        seen = _scaled(data, data[brain])
        probabilities = predict(seen)
    return Anatomy(probabilities, affine, seen)


def anatomy_input(image: Nifti1Image, zoom_mm: float, *, multiple: int = 16) -> Nifti1Image:
    """Resample an image for the anatomy network and pad it with zeros.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR on the conformed grid.
    zoom_mm : float
        Voxel edge of the network in mm.
    multiple : int
        Each edge is padded at both ends to a multiple of this many voxels.

    Returns
    -------
    padded : Nifti1Image
        float32, at least 0; the darkest thousandth of the image becomes 0.
    """
    coarse = resample(image, zoom_mm)
    data = voxels(coarse)
    missing = [-edge % multiple for edge in data.shape]
    before = [gap // 2 for gap in missing]
    data = np.maximum(data - _darkest(voxels(image)), 0)
    data = np.pad(data, [(low, gap - low) for low, gap in zip(before, missing, strict=True)])
    affine = np.asarray(coarse.affine, dtype=np.float64).copy()
    affine[:3, 3] -= affine[:3, :3] @ before
    return new_image(data, affine)


def _darkest(data: NDArray[np.float32]) -> float:
    """Return the darkest thousandth of an image, or of a head shifted above its background."""
    constant = data == (air := corner_value(data))
    if constant.mean() >= LEAST and not constant.all():
        low, top = np.percentile(data[~constant], (0.1, TOP_CENTILE))
        if _STEP * (top - air) < low - air < top - air:
            return float(low)
    return float(np.percentile(data, 0.1))


def _scaled(data: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide by the top of a sample, cut off what is far above it."""
    top = float(np.percentile(sample, TOP_CENTILE)) if sample.size else 0.0
    top = top or float(data.max()) or 1.0
    return np.clip(data / np.float32(top), 0, MAX_INPUT)


def brain_mask_from_classes(
    probabilities: NDArray[np.float32], affine: NDArray[np.float64], reference: Nifti1Image
) -> Nifti1Image:
    """Turn class probabilities into the brain mask.

    Its voxels are the largest connected part of what is no background, closed
    by ``CLOSING_MM`` and filled. The surface is that of the probability 0.5, so it is
    finer than the coarse grid and shows none of its steps.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (X, Y, Z, 7)
        Of the anatomy classes.
    affine : ndarray of float64, shape (4, 4)
        Voxel indices of the probabilities to RAS mm.
    reference : Nifti1Image
        Gives the grid of the mask.

    Returns
    -------
    mask : Nifti1Image
        uint8, 1 in the brain, on the grid of the reference.

    Raises
    ------
    InputError
        If there is no brain of ``MIN_BRAIN_ML``. The caller knows the file and
        puts its name in front.
    """
    brain = 1 - probabilities[..., BACKGROUND]
    zooms = voxel_sizes(affine)
    core = largest(brain > 0.5)
    volume = np.count_nonzero(core) * float(np.prod(zooms)) / 1000
    if volume < MIN_BRAIN_ML:
        raise InputError(
            f"expected the FLAIR of a head, found {volume:.0f} ml of brain. "
            "If it shows all of one, supply a mask (-d NAME=PATH), else leave it out with a filter."
        )
    envelope = fill(close(core, CLOSING_MM, zooms))
    LOGGER.debug("brain %.0f ml, envelope %d voxels", volume, np.count_nonzero(envelope))
    field = np.where(envelope, np.where(core, brain, 1), np.where(brain > 0.5, 0, brain))
    field = ndimage.gaussian_filter(field.astype(np.float32), _SMOOTHING, mode="nearest")
    fine = voxels(restore(new_image(field, affine), reference))
    return new_image(fine > 0.5, np.asarray(reference.affine))


def classes_on_grid(
    probabilities: NDArray[np.float32], affine: NDArray[np.float64], mask: Nifti1Image
) -> Nifti1Image:
    """Give each voxel of a brain mask the most probable class.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (X, Y, Z, 7)
        Of the anatomy classes.
    affine : ndarray of float64, shape (4, 4)
        Voxel indices of the probabilities to RAS mm.
    mask : Nifti1Image
        Brain mask on the grid that is wanted.

    Returns
    -------
    classes : Nifti1Image
        uint8, 0 exactly outside the mask. Background within the mask, as in wide
        sulci, is CSF.
    """
    best = np.zeros(mask.shape, dtype=np.float32)
    classes = np.zeros(mask.shape, dtype=np.uint8)
    for index in range(probabilities.shape[-1]):
        coarse = new_image(np.ascontiguousarray(probabilities[..., index]), affine)
        fine = voxels(restore(coarse, mask))
        better = fine > best
        classes[better] = index
        best[better] = fine[better]
    inside = np.asanyarray(mask.dataobj) > 0
    classes[inside & (classes == BACKGROUND)] = OTHER_CSF
    classes[~inside] = BACKGROUND
    return new_image(classes, np.asarray(mask.affine))


def foreground_mask(image: Nifti1Image) -> NDArray[np.bool_]:
    """Separate the head, or the brain if that is all there is, from the air around it.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR.

    Returns
    -------
    mask : ndarray of bool, shape (X, Y, Z)
        What lies above a quarter of Otsu's threshold, closed by ``CLOSING_MM`` so that
        the dark skull joins the scalp to the brain; its largest part, filled.
    """
    coarse = resample(image, ANATOMY_MM)
    data = ndimage.median_filter(voxels(coarse), 3)  # else noise closes to a mass
    low, high = np.percentile(data, (0.1, 99.5))
    data = np.clip(data, low, high)
    bright = data > low + (otsu(data) - low) / 4
    head = fill(largest(close(bright, CLOSING_MM, voxel_sizes(np.asarray(coarse.affine)))))
    return voxels(restore(new_image(head, np.asarray(coarse.affine)), image, order=0)) > 0


def outside_fraction(image: Nifti1Image, mask: Nifti1Image) -> float:
    """Tell how much of what can be seen lies outside the brain.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR.
    mask : Nifti1Image
        Brain mask on the same grid.

    Returns
    -------
    fraction : float
        Of the foreground: near 0 for a stripped brain, about half for a head.
    """
    foreground = foreground_mask(image)
    outside = foreground & (np.asanyarray(mask.dataobj) == 0)
    seen = max(int(np.count_nonzero(foreground)), 1)
    return int(np.count_nonzero(outside)) / seen


def is_skull_stripped(image: Nifti1Image) -> bool:
    """Tell from intensities whether only the brain is left of a head.

    Around a stripped brain the background is exactly constant, nothing else is left
    (``STRIPPED_REST``), and the rim of the foreground, which is cortex, is as bright as
    its inside (``STRIPPED_RIM``): in the three stripped brains of the test data the
    darkest of four shells, 3 to 15 mm below the surface, has 1.06 to 1.13 times the 30th
    centile of what lies deeper than 18 mm (so that a large bright tumour there counts for
    little). A head has skull and CSF there, at most 0.35 times.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR, most of its corners outside the head.

    Returns
    -------
    stripped : bool
        Whether it is. The caller combines this with :func:`outside_fraction`.
    """
    data = voxels(resample(image, ANATOMY_MM, order=0))
    background = corner_value(data)
    foreground = data != background
    if not 0 < np.mean(foreground) <= 1 - LEAST:
        return False
    brain = largest(ndimage.binary_opening(fill(largest(foreground)), iterations=3))
    rest = foreground & ~ndimage.binary_dilation(brain, iterations=2)
    if np.count_nonzero(rest) > STRIPPED_REST * np.count_nonzero(foreground):
        return False
    # the field of view's edge is no surface
    padded = np.pad(brain, 1, mode="edge")
    depth = ndimage.distance_transform_edt(padded)[1:-1, 1:-1, 1:-1] * ANATOMY_MM
    return _rim_brightness(data - np.float32(background), depth) >= STRIPPED_RIM


def _rim_brightness(data: NDArray[np.float32], depth: NDArray[np.float64]) -> float:
    """Return the darkest median of the shells below a surface, relative to what is deep."""
    shells = [data[(depth > low) & (depth <= low + 3)] for low in _RIM_MM]
    deep = data[depth > _DEEP_MM]
    if not deep.size or not all(shell.size for shell in shells):
        return 0.0
    inside = float(np.percentile(deep, _INSIDE))
    return min(float(np.median(shell)) for shell in shells) / inside if inside > 0 else 0.0


def stripped_mask(image: Nifti1Image) -> Nifti1Image:
    """Return the brain mask of an image that is stripped already.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR for which :func:`is_skull_stripped` holds.

    Returns
    -------
    mask : Nifti1Image
        uint8, 1 in the filled foreground, on the same grid.
    """
    data = voxels(image)
    mask = fill(largest(data != corner_value(data)))
    return new_image(mask, np.asarray(image.affine))

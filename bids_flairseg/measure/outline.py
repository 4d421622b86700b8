"""From probabilities to a lesion mask: cut, and filled."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.arrays import BoolArray, bounding_box

HOLLOW_ML = 10.0
"""Volume from which the inside of a lesion is filled."""

GAP_MM = 3.0
"""Radius of the closing before: its border may have gaps twice as wide."""

THICK_MM = 2.0
"""Radius of the ball that fits into what is filled: tissue between the fingers of a confluent
lesion is thinner, and no part of it."""

DOUBTFUL = 0.02
"""Least probability of what is filled in; ventricles within a lesion have less."""


def cut(
    probability: NDArray[np.float32],
    threshold: float,
    *,
    voxel_ml: float,
    large_ml: float = 0.0,
    large_threshold: float | None = None,
) -> BoolArray:
    """Cut probabilities at a threshold, and at a lower one around large lesions.

    That is hysteresis thresholding (Canny 1986) whose seeds are large: tumours with oedema and
    strokes fade out over centimetres, and are cut short by the threshold that suits small lesions.

    Parameters
    ----------
    probability : ndarray of float32, shape (X, Y, Z)
        Of lesion, 0 to 1. A probability of 0 is never lesion.
    threshold : float
        From which a voxel counts.
    voxel_ml : float
        Volume of one voxel in ml.
    large_ml : float
        From this volume on, at `threshold`, a lesion is large.
    large_threshold : float or None
        From which the voxels count that hang together (26-connected) with a large lesion, small
        lesions among them; None for `threshold`.

    Returns
    -------
    mask : ndarray of bool, shape (X, Y, Z)
        Lesion; never less than without `large_threshold`.

    Examples
    --------
    >>> fading = np.float32([[[0.3, 0.5, 0.5, 0.3, 0.1, 0.3, 0.5]]])
    >>> cut(fading, 0.4, voxel_ml=1.0, large_ml=2.0, large_threshold=0.2).astype(int)
    array([[[1, 1, 1, 1, 0, 0, 1]]])
    """
    mask: BoolArray = (probability >= threshold) & (probability > 0)
    if large_threshold is None or np.count_nonzero(mask) * voxel_ml < large_ml * (1 - 1e-6):
        return mask
    wide: BoolArray = (probability >= large_threshold) & (probability > 0)
    box = bounding_box(wide)
    if box is None:
        return mask
    lesions, volumes = _parts(mask[box])
    # as in `label_lesions`, whatever the rounding of the product
    large = volumes * voxel_ml >= large_ml * (1 - 1e-6)
    large[0] = False
    surroundings, _ = _parts(wide[box])
    reached = np.zeros(int(surroundings.max()) + 1, bool)
    reached[surroundings[large[lesions]]] = True
    reached[0] = False
    mask[box] |= reached[surroundings]
    return mask


def fill_hollow(
    mask: BoolArray, probability: NDArray[np.float32], spacing: Sequence[float]
) -> BoolArray:
    """Fill the insides of large lesions.

    The mass of a tumour, bright at its rim alone, looks like healthy tissue within, and is outlined
    as a ring. Raters take all of it.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        Lesion.
    probability : ndarray of float32, shape (X, Y, Z)
        Of lesion, 0 to 1.
    spacing : sequence of three float
        Voxel edges in mm.

    Returns
    -------
    filled : ndarray of bool, shape (X, Y, Z)
        Holds the mask, and of each lesion (26-connected) of `HOLLOW_ML` and more what it surrounds
        in two planes of three at least, once it is closed by `GAP_MM`, where the probability
        is `DOUBTFUL` or more and a ball of `THICK_MM` has room.

    Examples
    --------
    >>> ball = np.linalg.norm(np.indices((40, 40, 40)) - 20, axis=0)
    >>> ring = np.where(ball < 12, 0.1, np.where(ball < 18, 0.9, 0)).astype(np.float32)
    >>> bool((fill_hollow(ring > 0.4, ring, (1, 1, 1)) == (ball < 18)).all())
    True
    """
    filled = mask.copy()
    parts, counts = _parts(mask)
    volumes = counts * float(np.prod(spacing)) / 1000
    volumes[0] = 0
    margin = [int(np.ceil(GAP_MM / edge)) + 1 for edge in spacing]
    for number in np.flatnonzero(volumes >= HOLLOW_ML):
        box = bounding_box(parts == number, margin=margin)
        whole = _surrounded(_close(parts[box] == number, spacing))
        inside = whole & ~mask[box] & (probability[box] >= DOUBTFUL)
        filled[box] |= _open(inside, spacing)
    return filled


def _close(mask: BoolArray, spacing: Sequence[float]) -> BoolArray:
    """Close a mask, away from the edges of its box, with a ball of `GAP_MM`."""
    grown = ndimage.distance_transform_edt(~mask, sampling=spacing) <= GAP_MM
    closed: BoolArray = mask | (ndimage.distance_transform_edt(grown, sampling=spacing) > GAP_MM)
    return closed


def _open(mask: BoolArray, spacing: Sequence[float]) -> BoolArray:
    """Keep of a mask where a ball of `THICK_MM` has room."""
    middle = ndimage.distance_transform_edt(mask, sampling=spacing) > THICK_MM
    if not middle.any():
        return middle
    kept: BoolArray = ndimage.distance_transform_edt(~middle, sampling=spacing) <= THICK_MM
    return kept & mask


def _surrounded(mask: BoolArray) -> BoolArray:
    """Add to a mask what it surrounds in two planes of three at least."""
    planes = np.zeros(mask.shape, np.uint8)
    for axis in range(3):
        filled = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(mask, axis, 0)]
        planes += np.moveaxis(np.array(filled, np.uint8), 0, axis)
    surrounded: BoolArray = mask | (planes >= 2)
    return surrounded


def _parts(mask: BoolArray) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Return numbered parts, 0 outside, and their voxels."""
    parts = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)
    return parts, np.bincount(parts.ravel())

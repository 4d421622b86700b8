"""From probabilities to a lesion mask."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.arrays import BoolArray, bounding_box


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


def _parts(mask: BoolArray) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Return numbered parts, 0 outside, and their voxels."""
    parts = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)
    return parts, np.bincount(parts.ravel())

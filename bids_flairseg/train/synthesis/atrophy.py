"""What age does to the shape of a brain: wide ventricles, wide sulci."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.space import Rng, magnify, smooth_field

_LATERAL = lb.table({(4, 43): 1})
_CORTEX = lb.table({lb.CORTEX: 1})
_OLD = 0.25  # how often sulci become wide


def change_ventricles(
    rng: Rng, labels: NDArray[np.uint16], coordinates: NDArray[np.float32]
) -> None:
    """Widen or narrow the lateral ventricles of some heads, often one side more than the other.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    labels : ndarray of uint16, shape (A, B, C)
        Label map at 1 mm.
    coordinates : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel of the new grid lies in it; changed.
    """
    if rng.random() < 0.6:
        return
    found = np.argwhere(_LATERAL[labels[::3, ::3, ::3]] > 0) * 3.0
    if len(found):
        centre = found.mean(0) + rng.uniform(-8, 8, 3)
        amount = rng.uniform(-0.2, 0.4)
        magnify(coordinates, centre, radius_mm=rng.uniform(18, 35), amount=amount)


def change_sulci(
    rng: Rng, labels: NDArray[np.uint16], voxel_mm: float, *, young: float = 0.0
) -> NDArray[np.uint16]:
    """Let CSF take the outermost cortex of some heads, in some places, or cortex CSF.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    voxel_mm : float
        Edge of a voxel.
    young : float
        How often sulci become narrow.

    Returns
    -------
    aged : ndarray of uint16, shape (X, Y, Z)
        The label map, or a changed copy.
    """
    kind = rng.random()
    if _OLD <= kind <= 1 - young:
        return labels
    fluid, cortex = labels == lb.CSF[0], _CORTEX[labels] > 0
    field = smooth_field(rng, labels.shape, 40, voxel_mm)
    if kind < _OLD:
        taken = ndimage.binary_dilation(fluid) & cortex & (field > rng.uniform(-1, 1))
        return np.where(taken, lb.CSF[0], labels).astype(np.uint16)
    taken = ndimage.binary_dilation(cortex) & fluid & (field > rng.uniform(-1, 0.5))
    return np.where(taken, lb.CORTEX[0], labels).astype(np.uint16)

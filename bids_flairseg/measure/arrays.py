"""What the measures share: array types, voxel sizes, and the box around a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

BoolArray: TypeAlias = NDArray[np.bool_]
FloatArray: TypeAlias = NDArray[np.floating]
LabelArray: TypeAlias = NDArray[np.integer]
Box: TypeAlias = tuple[slice, slice, slice]


def voxel_volume_ml(affine: FloatArray) -> float:
    """Return the volume of one voxel in ml, shear included.

    Parameters
    ----------
    affine : ndarray of float, shape (4, 4)
        Voxel indices to mm.

    Returns
    -------
    float
        ``abs(det)`` of the upper left 3 x 3 part, over 1000.
    """
    return float(abs(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3]))) / 1000.0


def voxel_spacing(affine: FloatArray) -> tuple[float, float, float]:
    """Return the edges of one voxel in mm.

    Parameters
    ----------
    affine : ndarray of float, shape (4, 4)
        Voxel indices to mm.

    Returns
    -------
    tuple of three float
        Step lengths along the array's axes, in mm.
    """
    edges = np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
    return float(edges[0]), float(edges[1]), float(edges[2])


def bounding_box(mask: BoolArray, *, margin: Sequence[int] = (0, 0, 0)) -> Box | None:
    """Find the smallest box that holds all of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        Any mask.
    margin : sequence of three int
        Voxels to add on both sides of each axis, as far as the grid goes.

    Returns
    -------
    tuple of three slice, or None
        None where the mask is empty.
    """
    slices = []
    for axis, added in enumerate(margin):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        if filled.size == 0:
            return None
        slices.append(slice(max(int(filled[0]) - added, 0), int(filled[-1]) + 1 + added))
    return slices[0], slices[1], slices[2]

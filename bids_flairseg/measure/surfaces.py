"""How far the surfaces of two masks lie apart, in mm, whatever the shape of a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from bids_flairseg.measure.arrays import BoolArray, FloatArray, bounding_box


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the surfaces of two masks.

    Attributes
    ----------
    hausdorff95_mm : float
        The larger of the two directed 95th centiles.
    mean_mm : float
        Average symmetric surface distance: the mean over the voxels of both surfaces.
    """

    hausdorff95_mm: float
    mean_mm: float


def surface_distances(
    first: BoolArray, second: BoolArray, affine: FloatArray
) -> SurfaceDistances | None:
    """Measure how far two masks lie apart.

    The surface of a mask are its voxels with a face towards the outside. Distances run
    between the centres of voxels in mm, so thick or oblique slices count as they are
    (definitions as in Maier-Hein et al. 2024, Nat Methods 21:195).

    Parameters
    ----------
    first, second : ndarray of bool, shape (X, Y, Z)
        Masks on the same grid; their order does not matter.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to mm.

    Returns
    -------
    SurfaceDistances or None
        None where one of the masks is empty: there is no distance to nothing.
    """
    one, other = _surface_points(first, affine), _surface_points(second, affine)
    if not len(one) or not len(other):
        return None
    forth = np.asarray(KDTree(other).query(one)[0])
    back = np.asarray(KDTree(one).query(other)[0])
    return SurfaceDistances(
        hausdorff95_mm=float(max(np.percentile(forth, 95), np.percentile(back, 95))),
        mean_mm=float((forth.sum() + back.sum()) / (forth.size + back.size)),
    )


def _surface_points(mask: BoolArray, affine: FloatArray) -> NDArray[np.float64]:
    """Return the centres of the surface voxels in mm, as (n, 3)."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3))
    inner = np.pad(mask[box], 1)
    surface = inner & ~ndimage.binary_erosion(inner)
    indices = np.argwhere(surface) - 1 + [part.start for part in box]  # (n, 3)
    points: NDArray[np.float64] = indices @ np.asarray(affine, dtype=np.float64)[:3, :3].T
    return points

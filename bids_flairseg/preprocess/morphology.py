"""Masks to masks, and the threshold that makes one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest part whose voxels share faces; an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    biggest: NDArray[np.bool_] = labels == np.argmax(sizes)
    return biggest


def fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the holes that do not reach the edge; by labels, which is fast on large images."""
    labels, _ = ndimage.label(~mask)
    faces = [np.take(labels, edge, axis=axis).ravel() for axis in range(3) for edge in (0, -1)]
    is_outer = np.zeros(labels.max() + 1, dtype=bool)
    is_outer[np.concatenate(faces)] = True
    filled: NDArray[np.bool_] = mask | ~is_outer[labels]
    return filled


def close(
    mask: NDArray[np.bool_], radius_mm: float, zooms: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Close a mask with a ball.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        Beyond the edge it is taken to go on as at the edge.
    radius_mm : float
        Radius of the ball; gaps up to twice as wide are bridged.
    zooms : ndarray of float64, shape (3,)
        Voxel edges in mm.

    Returns
    -------
    closed : ndarray of bool, shape (X, Y, Z)
        Holds the mask.
    """
    margin = [int(np.ceil(radius_mm / zoom)) + 1 for zoom in zooms]
    padded = np.pad(mask, [(width, width) for width in margin], mode="edge")
    if not padded.any():
        return mask
    grown = ndimage.distance_transform_edt(~padded, sampling=zooms) <= radius_mm
    shrunk = ndimage.distance_transform_edt(grown, sampling=zooms) > radius_mm
    inner = tuple(slice(width, -width) for width in margin)
    closed: NDArray[np.bool_] = (shrunk | padded)[inner]
    return closed


def otsu(data: NDArray[np.float32]) -> float:
    """Return the threshold with the largest variance between its sides.

    Parameters
    ----------
    data : ndarray of float32
        Any shape, finite.

    Returns
    -------
    threshold : float
        Otsu's, of a histogram of 256 bins (doi:10.1109/TSMC.1979.4310076).
    """
    counts, edges = np.histogram(data, 256)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    mass = np.cumsum(counts * centres)[:-1]
    mean = (counts * centres).sum() / data.size
    between = (mean * below - mass) ** 2 / (below * (data.size - below) + 1e-9)
    return float(centres[np.argmax(between)])

"""From a lesion mask to single lesions, numbered and measured."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from bids_flairseg.measure.arrays import (
    BoolArray,
    FloatArray,
    LabelArray,
    bounding_box,
    voxel_spacing,
    voxel_volume_ml,
)
from bids_flairseg.measure.confidence import confidence
from bids_flairseg.measure.regions import REGIONS, lesion_regions

#: Columns of the lesion table in their order; the sidecar of the TSV file explains them.
LESION_COLUMNS = (
    "index",
    "name",
    "volume_mm3",
    "voxels",
    "centroid_x",
    "centroid_y",
    "centroid_z",
    "region",
    "mean_probability",
    "confidence",
    "max_diameter_mm",
)

_DECIMALS = {
    "volume_mm3": 3,
    "centroid_x": 2,
    "centroid_y": 2,
    "centroid_z": 2,
    "mean_probability": 4,
    "confidence": 3,
    "max_diameter_mm": 2,
}
# Below this many points all pairs cost less than a convex hull.
_FEW_POINTS = 200
_ROWS_AT_ONCE = 1024


def label_lesions(mask: BoolArray, *, voxel_ml: float, min_ml: float) -> NDArray[np.int32]:
    """Separate a mask into lesions of at least some size.

    Voxels that touch by face, edge or corner (26-connected) are one lesion. Lesions of
    equal volume are numbered by their first voxel in the array's C order, so that the same
    mask always gets the same numbers.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        Lesion voxels.
    voxel_ml : float
        Volume of one voxel in ml.
    min_ml : float
        Lesions smaller than this, in ml, are left out.

    Returns
    -------
    ndarray of int32, shape (X, Y, Z)
        0 outside, 1 in the largest lesion, 2 in the second, and so on.
    """
    labels = np.zeros(mask.shape, dtype=np.int32)
    box = bounding_box(mask)
    if box is None:
        return labels
    parts = cc3d.connected_components(np.ascontiguousarray(mask[box], dtype=bool), connectivity=26)
    inside = parts > 0
    found, first, voxels = np.unique(parts[inside], return_index=True, return_counts=True)
    # A lesion of exactly the smallest size stays, whatever the rounding of the product.
    kept = np.flatnonzero(voxels * voxel_ml >= min_ml * (1 - 1e-6))
    order = kept[np.lexsort((first[kept], -voxels[kept]))]
    numbers = np.zeros(int(found[-1]) + 1, dtype=np.int32)
    numbers[found[order]] = np.arange(1, order.size + 1, dtype=np.int32)
    labels[box] = numbers[parts]
    return labels


def lesion_table(
    labels: LabelArray,
    probability: FloatArray,
    affine: FloatArray,
    regions: LabelArray | None = None,
) -> pd.DataFrame:
    """Measure every lesion of a label image.

    Parameters
    ----------
    labels : ndarray of int, shape (X, Y, Z)
        Lesions numbered from 1 without gaps, as `label_lesions` gives them.
    probability : ndarray of float, shape (X, Y, Z)
        Lesion probability on the same grid.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ mm, the FLAIR's own world.
    regions : ndarray of int, shape (X, Y, Z), optional
        Region numbers on the same grid, as `region_map` gives them.

    Returns
    -------
    pandas.DataFrame
        One row per lesion, with the columns of `LESION_COLUMNS`; lengths and probabilities
        are rounded to what is printed. The diameter is the largest distance between the
        centres of two voxels plus the shortest edge of a voxel: a row of n cubic voxels is
        n edges long, a single voxel one.
    """
    positions = np.argwhere(labels)  # (n, 3)
    index = tuple(positions.T)
    numbers = labels[index].astype(np.int64)
    count = int(numbers.max(initial=0))
    voxels = np.bincount(numbers, minlength=count + 1)[1:]
    summed = np.bincount(numbers, weights=probability[index], minlength=count + 1)[1:]
    world = positions @ affine[:3, :3].T + affine[:3, 3]  # (n, 3) mm
    groups = np.split(world[np.argsort(numbers, kind="stable")], np.cumsum(voxels)[:-1])
    groups = groups if count else []
    centroids = np.array([group.mean(axis=0) for group in groups]).reshape(count, 3)
    edge = min(voxel_spacing(affine))
    columns: dict[str, Any] = {
        "index": np.arange(1, count + 1),
        "name": [f"lesion-{number}" for number in range(1, count + 1)],
        "volume_mm3": voxels * voxel_volume_ml(affine) * 1000.0,
        "voxels": voxels,
        "centroid_x": centroids[:, 0],
        "centroid_y": centroids[:, 1],
        "centroid_z": centroids[:, 2],
        "region": _region_names(labels, regions, count),
        "mean_probability": summed / voxels,
        "confidence": confidence(labels, probability),
        "max_diameter_mm": np.array([_largest_distance(group) + edge for group in groups]),
    }
    return pd.DataFrame(columns, columns=list(LESION_COLUMNS)).round(_DECIMALS)


def _region_names(labels: LabelArray, regions: LabelArray | None, count: int) -> list[str]:
    """Name the region of each lesion, or ``n/a`` without a map."""
    if regions is None:
        return ["n/a"] * count
    return [REGIONS[code] for code in lesion_regions(labels, regions)]


def _largest_distance(points: NDArray[np.float64]) -> float:
    """Return the largest distance between any two of (n, 3) points, in their unit."""
    if len(points) > _FEW_POINTS:
        points = _hull(points)
    largest = 0.0
    for start in range(0, len(points), _ROWS_AT_ONCE):
        largest = max(largest, float(cdist(points[start : start + _ROWS_AT_ONCE], points).max()))
    return largest


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep the corners of the convex hull; the two farthest points are among them."""
    centred = points - points.mean(axis=0)
    # Lesions within one slice are flat, or even a line: their hull has fewer dimensions.
    _, spread, axes = np.linalg.svd(centred.T @ centred)
    rank = int(np.sum(spread > spread[0] * 1e-9))
    projected = centred @ axes[:rank].T
    if rank == 1:
        return points[[int(projected.argmin()), int(projected.argmax())]]
    try:
        return points[ConvexHull(projected).vertices]
    except QhullError:
        return points

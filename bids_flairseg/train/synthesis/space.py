"""Random pose, size and shape of a head, and smooth random fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

Rng = np.random.Generator
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class PoseConfig:
    """How far heads are moved and bent.

    Parameters
    ----------
    rotation_deg : float
        Largest rotation about each axis.
    nod_deg : float
        Largest rotation about the axis from left to right; slices are laid along the
        skull base in one hospital and along the corpus callosum in the next.
    scale : float
        Largest relative change of size along each axis.
    shear : float
        Largest shear.
    shift_mm : float
        Largest shift of the centre along each axis.
    bend_mm : float
        Largest standard deviation of the free-form displacement.
    flip : bool
        Mirror left and right in half of the draws.
    """

    rotation_deg: float = 12.0
    nod_deg: float = 25.0
    scale: float = 0.12
    shear: float = 0.06
    shift_mm: float = 10.0
    bend_mm: float = 3.0
    flip: bool = True


def smooth_field(rng: Rng, shape: Shape, knots_mm: float, voxel_mm: float) -> NDArray[np.float32]:
    """Return a smooth random field with zero mean and unit variance at its knots.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z) of the field.
    knots_mm : float
        Distance of the random knots in mm.
    voxel_mm : float
        Edge of a voxel in mm.

    Returns
    -------
    field : ndarray of float32, shape (X, Y, Z)
        Interpolated linearly between cubic-smoothed knots.
    """
    knots = [max(3, int(np.ceil(n * voxel_mm / knots_mm)) + 2) for n in shape]
    coarse = rng.standard_normal(knots).astype(np.float32)
    return stretch(ndimage.zoom(coarse, 2, order=3, mode="nearest"), shape)


def stretch(coarse: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Interpolate a coarse array to a shape, linearly, one axis after the other.

    Parameters
    ----------
    coarse : ndarray of float32, shape (x, y, z)
        Values at the knots; the outermost ones lie on the faces of the result.
    shape : tuple of int
        Shape (X, Y, Z) of the result.

    Returns
    -------
    field : ndarray of float32, shape (X, Y, Z)
        Interpolated values.
    """
    x, y, z = (_linear_weights(old, new) for old, new in zip(coarse.shape, shape, strict=True))
    field = (x @ coarse.reshape(len(coarse), -1)).reshape(-1, *coarse.shape[1:])
    return np.asarray(np.matmul(y, field) @ z.T, np.float32)


def _linear_weights(old: int, new: int) -> NDArray[np.float32]:
    positions = np.linspace(0, old - 1, new)
    lower = np.minimum(positions.astype(int), old - 2)
    weights = np.zeros((new, old), np.float32)
    rows = np.arange(new)
    weights[rows, lower] = 1 - (positions - lower)
    weights[rows, lower + 1] = positions - lower
    return weights


def random_coordinates(
    rng: Rng, shape: Shape, voxel_mm: float, centre: NDArray[np.float64], pose: PoseConfig
) -> NDArray[np.float32]:
    """Return where each voxel of a new grid lies in a 1 mm label map.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z) of the new grid.
    voxel_mm : float
        Edge of its voxels.
    centre : ndarray of float, shape (3,)
        Voxel of the label map that comes to lie in the middle of the grid.
    pose : PoseConfig
        Limits of the draw.

    Returns
    -------
    coordinates : ndarray of float32, shape (3, X, Y, Z)
        Voxel coordinates in the label map.
    """
    matrix = random_matrix(rng, pose) * voxel_mm
    shift = rng.uniform(-pose.shift_mm, pose.shift_mm, 3)
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    bend = rng.uniform(0, pose.bend_mm)
    knots = rng.uniform(16, 40)
    coordinates = np.empty((3, *shape), np.float32)
    for row in range(3):
        plane = matrix[row, 0] * axes[0][:, None, None] + matrix[row, 1] * axes[1][:, None]
        coordinates[row] = plane + matrix[row, 2] * axes[2] + (centre[row] + shift[row])
        coordinates[row] += bend * smooth_field(rng, shape, knots, voxel_mm)
    return coordinates


def magnify(
    coordinates: NDArray[np.float32],
    centre: NDArray[np.float64],
    *,
    radius_mm: float,
    amount: float,
) -> None:
    """Enlarge or shrink what lies around a point, in place, and push the rest away smoothly.

    Parameters
    ----------
    coordinates : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel lies in a 1 mm label map; changed.
    centre : ndarray of float, shape (3,)
        The point in the label map.
    radius_mm : float
        Distance over which the effect falls off (a Gaussian's standard deviation).
    amount : float
        Share by which lengths at the point grow, below 0.6 so that nothing folds; below 0
        they shrink.
    """
    offset = coordinates - np.asarray(centre, np.float32)[:, None, None, None]
    squares = np.einsum("ixyz,ixyz->xyz", offset, offset)
    offset *= np.float32(amount) * np.exp(squares * np.float32(-0.5 / radius_mm**2))
    coordinates -= offset


def random_matrix(rng: Rng, pose: PoseConfig) -> NDArray[np.float64]:
    """Draw rotation, scaling, shear and mirroring.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    pose : PoseConfig
        Limits of the draw.

    Returns
    -------
    matrix : ndarray of float, shape (3, 3)
        From the new grid to the old one, in mm.
    """
    limits = np.array([pose.nod_deg, pose.rotation_deg, pose.rotation_deg])
    angles = rng.uniform(-limits, limits)
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    size = rng.uniform(-pose.scale, pose.scale) * 0.7
    scales = 1 + size + rng.uniform(-pose.scale, pose.scale, 3) * 0.5
    shear = np.eye(3) + np.triu(rng.uniform(-pose.shear, pose.shear, (3, 3)), 1)
    if pose.flip and rng.random() < 0.5:
        scales = scales * np.array([-1.0, 1.0, 1.0])
    return np.asarray(rotation @ shear @ np.diag(scales))


def sample(
    array: NDArray[np.float32],
    coordinates: NDArray[np.float32],
    within: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Look up values at coordinates, linearly; beyond the faces, those of the faces.

    Parameters
    ----------
    array : ndarray of float32, shape (A, B, C)
        Any.
    coordinates : ndarray of float32, shape (3, X, Y, Z)
        Voxel coordinates in it.
    within : ndarray of bool, shape (X, Y, Z), or None
        Where to look; None looks wherever the array is not zero, which takes little time for
        a few lesions.

    Returns
    -------
    sampled : ndarray of float32, shape (X, Y, Z)
        Values on the grid of the coordinates, zero elsewhere.
    """
    sampled = np.zeros(coordinates.shape[1:], np.float32)
    if within is None:
        within = _may_be_set(array, coordinates)
    sampled[within] = ndimage.map_coordinates(array, coordinates[:, within], order=1,
                                              mode="nearest")  # fmt: skip
    return sampled


def _may_be_set(array: NDArray[np.float32], coordinates: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the coordinates in or next to the box of what is not zero."""
    boxes = ndimage.find_objects((array != 0).astype(np.int8))
    inside = np.full(coordinates.shape[1:], bool(boxes))
    for axis, side in enumerate(boxes[0] if boxes else ()):
        if side.start > 0:
            inside &= coordinates[axis] > side.start - 1
        if side.stop < array.shape[axis]:
            inside &= coordinates[axis] < side.stop
    return inside


def sample_labels(
    labels: NDArray[np.uint16], coordinates: NDArray[np.float32]
) -> NDArray[np.uint16]:
    """Look up labels at coordinates, nearest neighbour, background outside.

    Parameters
    ----------
    labels : ndarray of uint16, shape (A, B, C)
        Label map.
    coordinates : ndarray of float32, shape (3, X, Y, Z)
        Voxel coordinates in it.

    Returns
    -------
    sampled : ndarray of uint16, shape (X, Y, Z)
        Labels on the grid of the coordinates.
    """
    index = np.rint(coordinates).astype(np.int32)
    inside = np.ones(index.shape[1:], bool)
    for axis, size in enumerate(labels.shape):
        inside &= (index[axis] >= 0) & (index[axis] < size)
        np.clip(index[axis], 0, size - 1, out=index[axis])
    return np.where(inside, labels[tuple(index)], 0).astype(np.uint16)

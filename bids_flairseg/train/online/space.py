"""Random pose, size, shape and age of a head, on the device."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from bids_flairseg.train.online.contrast import SPREAD, Anatomy, among
from bids_flairseg.train.online.draws import Draws, Shape, blur
from bids_flairseg.train.online.heads import DEPTH_STEP_MM, NUMBERS, STEP_MM, Head
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.atrophy import (
    FOLD_MM,
    FOLDED_MM,
    RIM,
    THICKNESS_MM,
    TOUCHING,
)
from bids_flairseg.train.synthesis.space import PoseConfig

_SMOOTH_DEPTH_MM = 0.6  # standard deviation: depths are looked up at the nearest voxel


def coordinates(
    draws: Draws, shape: Shape, voxel_mm: float, centre: Array, pose: PoseConfig
) -> Array:
    """Return where each voxel of a new grid lies in a 1 mm label map.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z) of the new grid.
    voxel_mm : float
        Edge of its voxels.
    centre : jax.Array of float32, shape (3,)
        Voxel of the label map that comes to lie in the middle of the grid.
    pose : PoseConfig
        Limits of the draw.

    Returns
    -------
    where : jax.Array of float32, shape (3, X, Y, Z)
        Voxel coordinates in the label map.
    """
    matrix = _matrix(draws, pose) * voxel_mm
    shift = draws.uniform(-pose.shift_mm, pose.shift_mm, (3,))
    axes = [jnp.arange(n) - (n - 1) / 2 for n in shape]
    grid = jnp.stack(jnp.meshgrid(*axes, indexing="ij"))
    where = jnp.stack([sum(matrix[row, axis] * grid[axis] for axis in range(3))
                       for row in range(3)])  # fmt: skip
    bend, knots = draws.uniform(0, pose.bend_mm), draws.uniform(16, 40)
    field = jnp.stack([draws.field(shape, knots, voxel_mm) for _ in range(3)])
    return where + (centre + shift)[:, None, None, None] + bend * field


def _matrix(draws: Draws, pose: PoseConfig) -> Array:
    """Rotation, shear, scaling and mirroring, from the new grid to the old one."""
    limits = jnp.asarray([pose.nod_deg, pose.rotation_deg, pose.rotation_deg])
    c_s = [(jnp.cos(a), jnp.sin(a)) for a in jnp.deg2rad(draws.uniform(-1, 1, (3,)) * limits)]
    (cx, sx), (cy, sy), (cz, sz) = c_s
    about_x = jnp.asarray([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = jnp.asarray([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = jnp.asarray([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    size = draws.uniform(-pose.scale, pose.scale) * 0.7
    scales = 1 + size + draws.uniform(-pose.scale, pose.scale, (3,)) * 0.5
    shear = jnp.eye(3) + jnp.triu(draws.uniform(-pose.shear, pose.shear, (3, 3)), 1)
    mirror = jnp.where(draws.chance(0.5), jnp.asarray([-1.0, 1.0, 1.0]), 1.0)
    return about_z @ about_y @ about_x @ shear @ jnp.diag(scales * mirror)


def magnify(where: Array, centre: Array, radius_mm: Array, amount: Array) -> Array:
    """Enlarge or shrink what lies around a point, and push the rest away smoothly.

    Parameters
    ----------
    where : jax.Array of float32, shape (3, X, Y, Z)
        Where each voxel lies in a 1 mm label map.
    centre : jax.Array of float32, shape (3,)
        The point in the label map.
    radius_mm : jax.Array
        A Gaussian's standard deviation.
    amount : jax.Array
        Share by which lengths at the point grow, below 0.6 so that nothing folds.

    Returns
    -------
    where : jax.Array of float32, shape (3, X, Y, Z)
        Changed coordinates.
    """
    offset = where - centre[:, None, None, None]
    squares = (offset**2).sum(0)
    return where - offset * amount * jnp.exp(squares * (-0.5 / radius_mm**2))


def sample(array: Array, where: Array) -> Array:
    """Look an array up at coordinates, nearest neighbour, 0 outside.

    Parameters
    ----------
    array : jax.Array, shape (A, B, C)
        Any type.
    where : jax.Array of float32, shape (3, X, Y, Z)
        Voxel coordinates.

    Returns
    -------
    sampled : jax.Array, shape (X, Y, Z)
        Same type.
    """
    index = jnp.rint(where).astype(jnp.int32)
    return (
        jnp.asarray(array)
        .at[index[0], index[1], index[2]]
        .get(mode="fill", fill_value=0, wrap_negative_indices=False)
    )


def move(draws: Draws, head: Head, where: Array, voxel_mm: float) -> Anatomy:
    """Move a head and draw its sulci: narrow in the young, wide in the old.

    Where banks touch there is a line of fluid, and the cortex is brighter at its surface.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    head : Head
        The head.
    where : jax.Array of float32, shape (3, X, Y, Z)
        Where each voxel lies in it.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    anatomy : Anatomy
        On the grid of the coordinates; what lies outside the label map is far from all.
    """
    moved = sample(head.words, where)
    moved = jnp.where(moved == 0, jnp.uint32(0xFFFFFF00), moved)

    def distance(shift: int) -> Array:
        stored = (moved >> jnp.uint32(shift)) & jnp.uint32(255)
        return (stored.astype(jnp.float32) - 128) * STEP_MM

    labels = (moved & jnp.uint32(255)).astype(jnp.int32)
    thickness = draws.triangular(*map(jnp.float32, THICKNESS_MM)) + draws.uniform(
        0, 0.5
    ) * SPREAD * draws.field(labels.shape, 35.0, voxel_mm)
    depth = sample(head.depth, where).astype(jnp.float32) * DEPTH_STEP_MM
    beyond = (depth - thickness) / jnp.maximum(voxel_mm, draws.uniform(0.7, 1.3))
    smooth = blur(depth, _SMOOTH_DEPTH_MM / voxel_mm)
    fold = smooth - blur(smooth, FOLD_MM / voxel_mm)
    low, high = FOLDED_MM
    touching = draws.uniform(*TOUCHING) + 0.35 * SPREAD * draws.field(labels.shape, 20.0, voxel_mm)
    line = jnp.clip((fold - low) / (high - low), 0, 1) * (depth > 1) * jnp.clip(touching, 0, 1)
    cortex = among(labels, *lb.CORTEX)
    fluid = jnp.where(cortex, jnp.maximum(jnp.clip(beyond + 0.5, 0, 1), line), 0.0)
    rim = draws.uniform(*RIM) * cortex * (1 - fluid) * (jnp.clip(depth / thickness, 0, 1) - 0.5)
    labels = jnp.where(fluid > 0.5, NUMBERS.index(lb.CSF[0]), labels)
    return Anatomy(labels, fluid, rim, distance(8), distance(16), distance(24) * 2)


def dilate(mask: Array, times: int) -> Array:
    """Dilate a mask by its six neighbours.

    Parameters
    ----------
    mask : jax.Array of bool, shape (X, Y, Z)
        Foreground.
    times : int
        How often.

    Returns
    -------
    grown : jax.Array of bool, shape (X, Y, Z)
        Foreground; faces are background.
    """
    for _ in range(times):
        padded = jnp.pad(mask, 1)
        grown = mask
        for axis in range(3):
            for side in (0, 2):
                cut = tuple(
                    slice(side, side + n) if i == axis else slice(1, 1 + n)
                    for i, n in enumerate(mask.shape)
                )
                grown = grown | padded[cut]
        mask = grown
    return mask


def open_field(draws: Draws, shape: Shape, axis: Array, lowest: float, highest: float) -> Array:
    """Return a field of view that ends somewhere within the head along one axis.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z).
    axis : jax.Array
        0, 1 or 2.
    lowest : float
        Largest share that is cut off at the low end.
    highest : float
        Smallest share at which the high end lies.

    Returns
    -------
    inside : jax.Array of bool, shape (X, Y, Z)
        What is seen.
    """
    low, high = draws.uniform(0, lowest), draws.uniform(highest, 1.0)
    inside = jnp.ones(shape, bool)
    for each, size in enumerate(shape):
        place = (jnp.arange(size) / size).reshape([-1 if i == each else 1 for i in range(3)])
        inside &= ((place >= low) & (place <= high)) | (axis != each)
    return inside

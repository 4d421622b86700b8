"""Random numbers and smooth fields on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

Shape = tuple[int, int, int]

SHARP = 0.05
"""Standard deviation in voxels by which smoothing leaves an image as it is."""

# Knots along each axis: as many as the finest field over the longest edge needs.
_KNOTS = 72


class Draws:
    """Random numbers, one after the other, within a function that JAX traces.

    Parameters
    ----------
    key : jax.Array
        Key of this example; the same one gives the same numbers.
    """

    def __init__(self, key: Array) -> None:
        self._key = key

    def _next(self) -> Array:
        self._key, key = jax.random.split(self._key)
        return key

    def uniform(
        self, low: float | Array, high: float | Array, shape: tuple[int, ...] = ()
    ) -> Array:
        """Return uniform numbers of a shape; float32."""
        return low + (high - low) * jax.random.uniform(self._next(), shape, jnp.float32)

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Return standard normal numbers of a shape; float32."""
        return jax.random.normal(self._next(), shape, jnp.float32)

    def chance(self, probability: float) -> Array:
        """Return true with a probability; bool scalar."""
        return jax.random.uniform(self._next()) < probability

    def choice(self, values: tuple[float, ...]) -> Array:
        """Return one of the values; float32 scalar."""
        return jnp.asarray(values, jnp.float32)[
            jax.random.randint(self._next(), (), 0, len(values))
        ]

    def triangular(self, low: Array, peak: Array, high: Array) -> Array:
        """Return a number of the triangular distribution; float32 scalar."""
        u, share = jax.random.uniform(self._next()), (peak - low) / (high - low)
        left = low + jnp.sqrt(u * (high - low) * (peak - low))
        right = high - jnp.sqrt((1 - u) * (high - low) * (high - peak))
        return jnp.where(u < share, left, right)

    def field(self, shape: Shape, knots_mm: float | Array, voxel_mm: float) -> Array:
        """Return a smooth field of zero mean and unit variance.

        Parameters
        ----------
        shape : tuple of int
            Shape (X, Y, Z).
        knots_mm : float
            Distance of its random knots, between which cubic B-splines lead.
        voxel_mm : float
            Edge of a voxel.

        Returns
        -------
        field : jax.Array of float32, shape (X, Y, Z)
            Where there are more knots along an axis than are kept, they repeat.
        """
        field = self.normal((_KNOTS,) * 3)
        for axis, size in enumerate(shape):
            position = jnp.arange(size) * (voxel_mm / knots_mm) + self.uniform(0, 1)
            apart = jnp.abs((position[:, None] - jnp.arange(_KNOTS) + _KNOTS / 2) % _KNOTS
                            - _KNOTS / 2)  # fmt: skip
            weights = _spline(apart)
            weights /= jnp.sqrt(jnp.sum(weights**2, 1, keepdims=True))
            field = along(weights, field, axis)
        return field


def _spline(apart: Array) -> Array:
    """Cubic B-spline."""
    near = 2 / 3 - apart**2 + apart**3 / 2
    return jnp.where(apart < 1, near, jnp.where(apart < 2, (2 - apart) ** 3 / 6, 0.0))


def along(matrix: Array, image: Array, axis: int) -> Array:
    """Multiply an image by a matrix along one axis.

    Parameters
    ----------
    matrix : jax.Array of float32, shape (M, N)
        From N to M voxels.
    image : jax.Array of float32, shape (X, Y, Z)
        N voxels along the axis.
    axis : int
        0, 1 or 2.

    Returns
    -------
    product : jax.Array of float32
        M voxels along the axis.
    """
    moved = jnp.tensordot(matrix, image, axes=(1, axis), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(moved, 0, axis)


def blur(image: Array, sigma: float | Array) -> Array:
    """Smooth by a Gaussian, whose weights are scaled to one at the faces.

    Parameters
    ----------
    image : jax.Array of float32, shape (X, Y, Z)
        Any.
    sigma : float or jax.Array of float32, shape (3,)
        Standard deviation in voxels, :data:`SHARP` or more; an array has one for each axis.

    Returns
    -------
    smooth : jax.Array of float32, shape (X, Y, Z)
        Smoothed.
    """
    for axis, width in enumerate(jnp.broadcast_to(jnp.asarray(sigma), (3,))):
        index = jnp.arange(image.shape[axis])
        weights = jnp.exp(-0.5 * ((index[:, None] - index) / width) ** 2)
        image = along(weights / weights.sum(1, keepdims=True), image, axis)
    return image


def quantiles(values: Array, inside: Array, shares: tuple[float, ...]) -> list[Array]:
    """Return quantiles of the values within a mask, of every third voxel along each axis.

    Parameters
    ----------
    values : jax.Array of float32, shape (X, Y, Z)
        Any.
    inside : jax.Array of bool, shape (X, Y, Z)
        Mask.
    shares : tuple of float
        0 to 1.

    Returns
    -------
    quantiles : list of jax.Array
        float32 scalars; 0 for an empty mask.
    """
    ranked, count = rank(values, inside)
    return [at_share(ranked, 0, count, share) for share in shares]


def rank(values: Array, inside: Array) -> tuple[Array, Array]:
    """Sort every third voxel along each axis within a mask; infinite beyond the count."""
    few = values[::3, ::3, ::3].ravel()
    chosen = inside[::3, ::3, ::3].ravel()
    return jnp.sort(jnp.where(chosen, few, jnp.inf)), chosen.sum()


def at_share(ranked: Array, first: Array | int, count: Array, share: float) -> Array:
    """Return the value at a share of the way from the first to the last that counts."""
    index = first + jnp.rint((jnp.maximum(count - first, 1) - 1) * share).astype(jnp.int32)
    return jnp.where(count > first, ranked[index], 0.0)

"""What a scanner does to a signal: coil, slices, motion, noise, numbers; on the device.

The noise is that of the slices, before they are interpolated: so it is as smooth across thick
slices as in a scan that was resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from bids_flairseg.train.online.draws import SHARP, Draws, along, blur, quantiles
from bids_flairseg.train.synthesis.acquisition import (
    MOVED_BETWEEN,
    MOVED_WITHIN,
    SHARPEN_BY,
    SHARPEN_OVER,
    SHARPENED,
)


def bias(draws: Draws, image: Array, voxel_mm: float, *, coil: float) -> Array:
    """Multiply by a smooth coil sensitivity.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    voxel_mm : float
        Edge of a voxel.
    coil : float
        Largest logarithm of the gain at 90 mm from the darkest point.

    Returns
    -------
    biased : jax.Array of float32, shape (X, Y, Z)
        Signal with bias field.
    """
    shape = image.shape
    strength = jnp.where(draws.chance(0.5), draws.uniform(0, 0.06), draws.uniform(0.03, 0.14))
    field = strength * draws.field(shape, draws.uniform(60, 140), voxel_mm)
    reach = jnp.float32(0)
    for axis, size in enumerate(shape):
        middle = size / 2 + draws.uniform(-30, 30) / voxel_mm
        distance = ((jnp.arange(size) - middle) * voxel_mm / 90) ** 2
        reach = reach + _broadcast(distance, axis)
    field += jnp.where(draws.chance(0.3), draws.uniform(0, coil), 0) * reach
    off_centre = draws.chance(0.45)  # a head that lies off the middle of the coil
    slopes = draws.uniform(-0.25, 0.25, (3,)) * off_centre
    for axis, size in enumerate(shape):
        field += slopes[axis] * _broadcast(jnp.linspace(-1, 1, size), axis)
    return image * jnp.exp(field)


def _broadcast(values: Array, axis: int) -> Array:
    return values.reshape([-1 if i == axis else 1 for i in range(3)])


@dataclass(frozen=True)
class Slices:
    """How one axis is sampled, and how it is interpolated afterwards.

    Parameters
    ----------
    profile : jax.Array of float32, shape (N, N)
        From voxels to slices; rows beyond the last slice repeat it.
    back : jax.Array of float32, shape (N, N)
        From slices to voxels, linearly.
    gain : jax.Array of float32, shape (N,)
        Of each slice.
    odd : jax.Array of bool, shape (N,)
        Slices that are acquired after the others; none along an axis in their plane.
    """

    profile: Array
    back: Array
    gain: Array
    odd: Array


@dataclass(frozen=True)
class Scanner:
    """What is done to the samples.

    Parameters
    ----------
    sigma : jax.Array
        Standard deviation of the Rician noise.
    spread : jax.Array of float32, shape (3,)
        Standard deviation in samples over which the noise is smoothed, along each axis.
    enhanced : jax.Array of bool, shape (3,)
        Axes along which edges may be enhanced.
    """

    sigma: Array
    spread: Array
    enhanced: Array


def draw_slices(draws: Draws, size: int, step: Array) -> Slices:
    """Draw the slices of one axis.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    size : int
        Voxels along the axis.
    step : jax.Array
        Distance of the slices in voxels, 1 or more; 1 leaves all as it is.

    Returns
    -------
    slices : Slices
        With gaps, and at times of uneven gain.
    """
    first = draws.uniform(0, 1) * jnp.where(step > 1, step, 0)
    index = jnp.arange(size)
    count = jnp.maximum(jnp.floor((size - 1 - first) / step).astype(jnp.int32) + 1, 2)
    centres = first + step * jnp.minimum(index, count - 1)
    width = jnp.where(step > 1, step * draws.uniform(0.75, 1.0), 1.0)  # gaps are not sampled
    upper = jnp.minimum(index + 0.5, centres[:, None] + width / 2)
    lower = jnp.maximum(index - 0.5, centres[:, None] - width / 2)
    profile = jnp.clip(upper - lower, 0, None)
    profile /= jnp.maximum(profile.sum(1, keepdims=True), 1e-6)
    position = jnp.clip((index - first) / step, 0, count - 1)
    back = jnp.clip(1 - jnp.abs(position[:, None] - index), 0, 1)
    odd = (index % 2 == 1) & (step > 1.5)  # interleaved excitation
    even = (index % 2 == 0) & (step > 1.5) & draws.chance(0.15)
    return Slices(profile, back, 1 + draws.uniform(-0.06, 0.06) * even, odd)


def draw_steps(draws: Draws, voxel_mm: float, thick: float, thickness_mm: Array) -> list[Array]:
    """Draw the distances of samples along each axis: slices along one, voxels in them.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    voxel_mm : float
        Edge of a voxel.
    thick : float
        Probability of slices thicker than a voxel.
    thickness_mm : jax.Array
        Distance of such slices.

    Returns
    -------
    steps : list of jax.Array
        In voxels, 1 or more, for X, Y and Z.
    """
    which = draws.choice((2.0, 2.0, 2.0, 2.0, 0.0, 1.0))
    sliced = draws.chance(thick)
    in_plane = jnp.where(draws.chance(0.25), draws.uniform(1, 1.5), 1.0) / voxel_mm
    across = jnp.where(sliced, thickness_mm / voxel_mm, in_plane)
    return [jnp.maximum(jnp.where(which == axis, across, in_plane), 1.0) for axis in range(3)]


def acquire(
    draws: Draws, image: Array, others: list[Array], slices: list[Slices], scanner: Scanner
) -> tuple[Array, list[Array]]:
    """Sample an image with movement, noise, ghosts and ringing, and interpolate it back.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    image : jax.Array of float32, shape (X, Y, Z)
        Signal, white matter about 1.
    others : list of jax.Array of float32, shape (X, Y, Z)
        What is sampled, and moved between slices, in the same way, but without other faults.
    slices : list of Slices
        For each axis.
    scanner : Scanner
        Noise, and edges that may be enhanced.

    Returns
    -------
    acquired : jax.Array of float32, shape (X, Y, Z)
        Magnitude, 0 or more.
    others : list of jax.Array
        Likewise.
    """
    for axis, cut in enumerate(slices):
        image = along(cut.profile * cut.gain[:, None], image, axis)
        others = [along(cut.profile, other, axis) for other in others]
    image, *others = _move_between(draws, [image, *others], slices)
    image = _shake(draws, sharpen(draws, image, scanner.enhanced))
    real, imaginary = (scanner.sigma * _grain(draws, image, scanner.spread) for _ in range(2))
    acquired = [jnp.hypot(image + real, imaginary), *others]
    for axis, cut in enumerate(slices):
        acquired = [along(cut.back, each, axis) for each in acquired]
    return acquired[0], acquired[1:]


def sharpen(draws: Draws, image: Array, axes: Array) -> Array:
    """Enhance edges at times, as scanners do, and as interpolation by sinc does.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    axes : jax.Array of bool, shape (3,)
        Along which: those that are not across thick slices.

    Returns
    -------
    sharp : jax.Array of float32, shape (X, Y, Z)
        0 or more.
    """
    amount = jnp.where(draws.chance(SHARPENED), draws.uniform(*SHARPEN_BY), 0)
    smooth = blur(image, jnp.where(axes, draws.uniform(*SHARPEN_OVER), SHARP))
    return jnp.maximum(image + amount * (image - smooth), 0)


def _grain(draws: Draws, image: Array, spread: Array) -> Array:
    """Return normal noise of unit variance, smoothed."""
    grain = blur(draws.normal(image.shape), spread)
    return grain / grain.std()


def _move_between(draws: Draws, images: list[Array], slices: list[Slices]) -> list[Array]:
    """Let the head move, within the plane, between even slices and odd ones."""
    odd = jnp.zeros(images[0].shape, bool)
    for axis, cut in enumerate(slices):
        odd |= _broadcast(cut.odd, axis)
    in_plane = jnp.stack([~cut.odd.any() for cut in slices])
    voxels = draws.uniform(-1.2, 1.2, (3,)) * in_plane
    odd &= draws.chance(MOVED_BETWEEN)
    return [jnp.where(odd, _shift(image, voxels), image) for image in images]


def _shift(image: Array, voxels: Array) -> Array:
    """Move an image by parts of a voxel, linearly; what comes in repeats the faces."""
    for axis, size in enumerate(image.shape):
        index = jnp.arange(size)
        origin = jnp.clip(index - voxels[axis], 0, size - 1)
        image = along(jnp.clip(1 - jnp.abs(origin[:, None] - index), 0, 1), image, axis)
    return image


def _shake(draws: Draws, image: Array) -> Array:
    """Repeat the image along the phase direction, blur it by motion, and let edges ring."""
    shift, along_x = draws.uniform(6, 30).astype(jnp.int32), draws.chance(0.5)
    moved = jnp.where(along_x, jnp.roll(image, shift, 0), jnp.roll(image, shift, 1))
    image = image + jnp.where(draws.chance(0.25), draws.uniform(0.005, 0.04), 0) * moved
    far = draws.uniform(-1.2, 1.2, (3,))
    apart = (_shift(image, far) + _shift(image, -far)) / 2 - image
    image = image + jnp.where(draws.chance(MOVED_WITHIN), draws.uniform(0.2, 0.8), 0) * apart
    which, width = draws.choice((0.0, 1.0, 2.0)), draws.uniform(0.8, 2.0)
    amount = jnp.where(draws.chance(0.3), draws.uniform(0.2, 0.9), 0)
    for axis in range(3):
        index = jnp.arange(image.shape[axis])
        weights = jnp.exp(-0.5 * ((index[:, None] - index) / width) ** 2)
        smooth = weights / weights.sum(1, keepdims=True)
        here = jnp.where(which == axis, amount, 0)
        image = along(jnp.eye(len(index)) * (1 + here) - here * smooth, image, axis)
    return image


def numbers(draws: Draws, image: Array) -> Array:
    """Bend the grey scale a little, clip bright ends, quantise at times.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    image : jax.Array of float32, shape (X, Y, Z)
        Magnitude.

    Returns
    -------
    stored : jax.Array of float32, shape (X, Y, Z)
        What a file would hold.
    """
    [top] = quantiles(image, jnp.ones(image.shape, bool), (0.999,))
    top = top + 1e-6
    image = top * (jnp.clip(image / top, 0, None) ** jnp.exp(draws.uniform(-0.25, 0.25)))
    limit = jnp.where(draws.chance(0.12), top * draws.uniform(0.9, 1.2), jnp.inf)
    image = jnp.minimum(image, limit)
    return jnp.where(draws.chance(0.2), jnp.rint(image / top * 255) / 255 * top, image)

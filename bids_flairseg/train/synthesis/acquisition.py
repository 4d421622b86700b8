"""What a scanner does to a signal: coil, slices, motion, noise, numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis.space import Rng, smooth_field

#: How often the head moves between odd and even slices, and while a slice is acquired.
MOVED_BETWEEN, MOVED_WITHIN = 0.06, 0.1
#: How often edges are enhanced, over how many voxels (standard deviation), and how much.
SHARPENED, SHARPEN_OVER, SHARPEN_BY = 0.6, (0.5, 1.0), (0.2, 1.4)


def bias(
    rng: Rng, image: NDArray[np.float32], voxel_mm: float, *, coil: float = 0.7
) -> NDArray[np.float32]:
    """Multiply by a smooth coil sensitivity.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal.
    voxel_mm : float
        Edge of a voxel.
    coil : float
        Largest logarithm of the gain at 90 mm from the darkest point, next to the
        elements of an array coil; three of ten images have such a gain.

    Returns
    -------
    biased : ndarray of float32, shape (X, Y, Z)
        Signal with bias field.
    """
    strength = rng.choice([rng.uniform(0, 0.06), rng.uniform(0.03, 0.14)])
    field = strength * smooth_field(rng, image.shape, rng.uniform(60, 140), voxel_mm)
    if rng.random() < 0.3:
        middle = [n / 2 + rng.uniform(-30, 30) / voxel_mm for n in image.shape]
        grid = np.ogrid[tuple(slice(0, n) for n in image.shape)]
        reach = sum(((g - m) * voxel_mm / 90) ** 2 for g, m in zip(grid, middle, strict=True))
        field = field + rng.uniform(0, coil) * reach
    if rng.random() < 0.45:  # a head that lies off the middle of the coil
        ramps = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in image.shape)]
        field = field + sum(rng.uniform(-0.25, 0.25) * ramp for ramp in ramps)
    return np.asarray(image * np.exp(field), dtype=np.float32)


def slices(
    rng: Rng,
    images: list[NDArray[np.float32]],
    voxel_mm: float,
    *,
    steps_mm: Sequence[float],
    spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> list[NDArray[np.float32]]:
    """Acquire slices, thick along one axis, and interpolate them back linearly.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    images : list of ndarray of float32, shape (X, Y, Z)
        Signals that share the slice positions (image, soft masks).
    voxel_mm : float
        Edge of a voxel.
    steps_mm : sequence of float
        Distance of the samples along X, Y and Z, the largest being that of the slices; an axis
        with up to `voxel_mm` stays as it is.
    spoil : callable or None
        What noise does to the samples of the first signal; with it the head may move as well.
        The noise is as smooth across thick slices as in a scan that was resampled, because these
        are interpolated afterwards.

    Returns
    -------
    acquired : list of ndarray of float32, shape (X, Y, Z)
        The same signals at the slice resolution, on the old grid.
    """
    sampled = [
        (axis, *_sampling(rng, images[0].shape[axis], step / voxel_mm))
        for axis, step in enumerate(steps_mm)
        if step > voxel_mm
    ]
    acquired = list(images)
    for axis, down, _ in sampled:
        acquired = [_along(down, image, axis) for image in acquired]
    if max(steps_mm) > min(steps_mm):
        acquired = _interleave(rng, acquired, int(np.argmax(steps_mm)), moving=spoil is not None)
    if spoil:
        acquired[0] = spoil(acquired[0])
    for axis, _, back in sampled:
        acquired = [_along(back, image, axis) for image in acquired]
    return acquired


def steps(axis: int, thickness_mm: float, in_plane_mm: float) -> tuple[float, float, float]:
    """Return the distances of samples along X, Y and Z.

    Parameters
    ----------
    axis : int
        Slice direction.
    thickness_mm, in_plane_mm : float
        Distance of the slices, and of the samples in them.

    Returns
    -------
    steps_mm : tuple of float
        See :func:`slices`.
    """
    x, y, z = (thickness_mm if along == axis else in_plane_mm for along in range(3))
    return x, y, z


def _sampling(rng: Rng, size: int, step: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return matrices from voxels to samples some voxels apart, and linearly back."""
    centres = np.arange(rng.uniform(0, step), size, step)
    if len(centres) < 2:
        return np.eye(size, dtype=np.float32), np.eye(size, dtype=np.float32)
    profile = np.zeros((len(centres), size), np.float32)
    width = step * rng.uniform(0.75, 1.0)  # gaps leave part of the distance unsampled
    edges = np.arange(size + 1) - 0.5
    for row, centre in enumerate(centres):
        overlap = np.minimum(edges[1:], centre + width / 2) - np.maximum(
            edges[:-1], centre - width / 2
        )
        profile[row] = np.clip(overlap, 0, None)
    profile /= np.maximum(profile.sum(1, keepdims=True), 1e-6)
    back = np.zeros((size, len(centres)), np.float32)
    position = np.clip((np.arange(size) - centres[0]) / step, 0, len(centres) - 1)
    lower = np.minimum(position.astype(int), len(centres) - 2)
    back[np.arange(size), lower] = 1 - (position - lower)
    back[np.arange(size), lower + 1] += position - lower
    return profile, back


def _interleave(
    rng: Rng, images: list[NDArray[np.float32]], axis: int, *, moving: bool
) -> list[NDArray[np.float32]]:
    """Let odd and even slices, acquired one after the other, differ in gain or in place."""
    moved = [np.moveaxis(image, axis, 0) for image in images]
    if rng.random() < 0.15:
        moved[0] = moved[0].copy()
        moved[0][::2] *= 1 + rng.uniform(-0.06, 0.06)
    if moving and rng.random() < MOVED_BETWEEN:  # the head moved between both halves
        shift = (0, *rng.uniform(-1.2, 1.2, 2))
        moved = [image.copy() for image in moved]
        for image in moved:
            image[1::2] = ndimage.shift(image[1::2], shift, order=1, mode="nearest")
    return [np.moveaxis(image, 0, axis) for image in moved]


def _along(
    matrix: NDArray[np.float32], image: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    moved = np.tensordot(matrix, image, axes=(1, axis))
    return np.ascontiguousarray(np.moveaxis(moved, 0, axis), dtype=np.float32)


def sharpen(rng: Rng, image: NDArray[np.float32], in_plane: Sequence[bool]) -> NDArray[np.float32]:
    """Enhance edges at times, as scanners do, and as interpolation by sinc does.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal.
    in_plane : sequence of bool
        The axes that are not across thick slices.

    Returns
    -------
    sharp : ndarray of float32, shape (X, Y, Z)
        0 or more.
    """
    if rng.random() > SHARPENED:
        return image
    sigma, amount = rng.uniform(*SHARPEN_OVER), rng.uniform(*SHARPEN_BY)
    smooth = ndimage.gaussian_filter(image, [sigma * axis for axis in in_plane], truncate=2.5)
    return np.asarray(np.maximum(image + amount * (image - smooth), 0), np.float32)


def noise(
    rng: Rng,
    image: NDArray[np.float32],
    *,
    sigma: float | None = None,
    spread: Sequence[float] = (0.0, 0.0, 0.0),
) -> NDArray[np.float32]:
    """Add Rician noise and, at times, Gibbs-like ringing, ghosts and blur of motion.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal, white matter about 1.
    sigma : float or None
        Standard deviation of the noise; None draws one.
    spread : sequence of float
        Standard deviation in voxels, along each axis, over which the noise is smoothed: scanners
        filter and interpolate, so that neighbours in a slice have their noise in common.

    Returns
    -------
    noisy : ndarray of float32, shape (X, Y, Z)
        Magnitude signal, 0 or more.
    """
    image = np.asarray(image)
    if rng.random() < 0.25:  # head motion repeats the image along the phase direction
        axis, apart = int(rng.integers(0, 2)), int(rng.integers(6, 30))
        image = image + rng.uniform(0.005, 0.04) * np.roll(image, apart, axis)
    if rng.random() < MOVED_WITHIN:  # and blurs it, to both sides, so that its middle stays
        shift = rng.uniform(-1.2, 1.2, 3)
        ends = [ndimage.shift(image, s, order=1, mode="nearest") for s in (shift, -shift)]
        image = image + rng.uniform(0.2, 0.8) * (np.mean(ends, 0) - image)
    if rng.random() < 0.3:
        axis = int(rng.integers(0, 3))
        edge = image - ndimage.gaussian_filter1d(image, rng.uniform(0.8, 2.0), axis=axis)
        image = image + rng.uniform(0.2, 0.9) * edge
    if sigma is None:
        sigma = rng.uniform(0.0, 0.025) if rng.random() < 0.5 else rng.uniform(0.015, 0.065)
        if rng.random() < 0.07:  # the short scan of somebody who could not lie still
            sigma = rng.uniform(0.06, 0.13)
    real, imaginary = (_grain(rng, image.shape, spread) * np.float32(sigma) for _ in range(2))
    return np.asarray(np.hypot(image + real, imaginary), dtype=np.float32)


def _grain(rng: Rng, shape: tuple[int, ...], spread: Sequence[float]) -> NDArray[np.float32]:
    """Return normal noise of unit variance, smoothed."""
    grain = rng.standard_normal(shape, np.float32)
    if any(spread):
        ndimage.gaussian_filter(grain, spread, output=grain, truncate=2.5)
        grain /= grain.std()
    return grain


def numbers(rng: Rng, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bend the grey scale a little, clip bright ends, quantise at times.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Magnitude signal.

    Returns
    -------
    stored : ndarray of float32, shape (X, Y, Z)
        What a file would hold.
    """
    top = float(np.percentile(image[::3, ::3, ::3], 99.9)) + 1e-6
    image = top * (np.clip(image / top, 0, None) ** np.exp(rng.uniform(-0.25, 0.25)))
    if rng.random() < 0.12:
        image = np.minimum(image, top * rng.uniform(0.9, 1.2))
    if rng.random() < 0.2:
        image = np.rint(image / top * 255) / 255 * top
    return np.asarray(image, dtype=np.float32)

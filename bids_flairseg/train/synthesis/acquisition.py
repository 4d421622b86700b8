"""What a scanner does to a signal: coil, slices, motion, noise, numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis.space import Rng, smooth_field


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
    axis: int,
    thickness_mm: float,
    spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> list[NDArray[np.float32]]:
    """Acquire thick slices along one axis and interpolate them back linearly.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    images : list of ndarray of float32, shape (X, Y, Z)
        Signals that share the slice positions (image, soft masks).
    voxel_mm : float
        Edge of a voxel.
    axis : int
        Slice direction.
    thickness_mm : float
        Distance of the slices.
    spoil : callable or None
        What noise does to the slices of the first signal. It is as smooth across thick slices
        as in a scan that was resampled, because these are interpolated afterwards.

    Returns
    -------
    acquired : list of ndarray of float32, shape (X, Y, Z)
        The same signals at the slice resolution, on the old grid.
    """
    step = thickness_mm / voxel_mm
    size = images[0].shape[axis]
    centres = np.arange(rng.uniform(0, step), size, step)
    if len(centres) < 2:
        return [spoil(images[0]), *images[1:]] if spoil else images
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
    gain = np.ones(len(centres), np.float32)
    if rng.random() < 0.15:  # interleaved excitation leaves odd and even slices unequal
        gain[::2] += rng.uniform(-0.06, 0.06)
    first = _along(gain[:, None] * profile, images[0], axis)
    if spoil:
        first = spoil(first)
    others = back @ profile
    return [_along(back, first, axis), *(_along(others, image, axis) for image in images[1:])]


def _along(
    matrix: NDArray[np.float32], image: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    moved = np.tensordot(matrix, image, axes=(1, axis))
    return np.ascontiguousarray(np.moveaxis(moved, 0, axis), dtype=np.float32)


def noise(
    rng: Rng, image: NDArray[np.float32], *, sigma: float | None = None
) -> NDArray[np.float32]:
    """Add Rician noise and, at times, Gibbs-like ringing and ghosts.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal, white matter about 1.
    sigma : float or None
        Standard deviation of the noise; None draws one.

    Returns
    -------
    noisy : ndarray of float32, shape (X, Y, Z)
        Magnitude signal, 0 or more.
    """
    image = np.asarray(image)
    if rng.random() < 0.25:  # head motion repeats the image along the phase direction
        axis, shift = int(rng.integers(0, 2)), int(rng.integers(6, 30))
        image = image + rng.uniform(0.005, 0.04) * np.roll(image, shift, axis)
    if rng.random() < 0.3:
        axis = int(rng.integers(0, 3))
        edge = image - ndimage.gaussian_filter1d(image, rng.uniform(0.8, 2.0), axis=axis)
        image = image + rng.uniform(0.2, 0.9) * edge
    if sigma is None:
        sigma = rng.uniform(0.0, 0.025) if rng.random() < 0.5 else rng.uniform(0.015, 0.065)
        if rng.random() < 0.07:  # the short scan of somebody who could not lie still
            sigma = rng.uniform(0.06, 0.13)
    real = image + sigma * rng.standard_normal(image.shape, np.float32)
    imaginary = sigma * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)


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

"""Augmentation of training images, synthetic and real ones: pose, shape, scanner.

Images are normalised: brain around zero, exactly zero outside it. Shape changes as that of
synthetic heads does, and a scanner does to a real image what it does to a synthetic one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.arrays import bounding_box
from bids_flairseg.train.store import zero_outside
from bids_flairseg.train.synthesis.acquisition import bias, noise, numbers, slices, steps
from bids_flairseg.train.synthesis.space import (
    PoseConfig,
    Rng,
    Shape,
    random_coordinates,
    smooth_field,
)


@dataclass(frozen=True)
class Augmentation:
    """What is changed, how far, and how often.

    Parameters
    ----------
    rotation_deg : float
        Largest rotation about each axis.
    shift_mm : float
        Largest translation along each axis.
    scale : float
        Largest relative change of size.
    bend_mm : float
        Largest standard deviation of the free-form deformation.
    bias, blur, slices, noise, gamma : float
        Probability, for each augmented volume, of a coil's bias field, of smoothing by 0.7
        to 1.5 mm FWHM, of slices of 2 to 6 mm, of noise with ghosts and ringing, and of a
        bent grey scale.
    """

    rotation_deg: float = 10.0
    shift_mm: float = 5.0
    scale: float = 0.1
    bend_mm: float = 2.0
    bias: float = 0.0
    blur: float = 0.0
    slices: float = 0.0
    noise: float = 0.0
    gamma: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether anything changes place."""
        return any((self.rotation_deg, self.shift_mm, self.scale, self.bend_mm))

    @property
    def shades(self) -> bool:
        """Whether intensities may change."""
        return any((self.bias, self.blur, self.slices, self.noise, self.gamma))


# A change of size is that of the whole and that of each axis on top, as `random_matrix` draws them.
_WHOLE_AND_AXIS = 1.2


def augment(
    rng: Rng,
    image: NDArray[np.float16],
    target: NDArray[np.uint8],
    config: Augmentation,
    *,
    voxel_mm: float = 1.0,
) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Change a whole volume at random.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness; the same one gives the same volume.
    image : ndarray of float16, shape (X, Y, Z)
        Normalised, zero outside the brain and nowhere within it.
    target : ndarray of uint8, shape (X, Y, Z)
        0 and 1.
    config : Augmentation
        What is changed.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    image : ndarray of float16, shape (X, Y, Z)
        Mean and spread over the brain as they were, up to what the deformation cuts off.
    target : ndarray of uint8, shape (X, Y, Z)
        Moved along, linearly and cut at one half.
    """
    if config.moves:
        image, target = _move(rng, image, target, config, voxel_mm)
    if config.shades:
        return _rescan(rng, image, config, voxel_mm), target
    return np.array(image, np.float16), np.array(target, np.uint8)


def _move(
    rng: Rng,
    image: NDArray[np.float16],
    target: NDArray[np.uint8],
    config: Augmentation,
    voxel_mm: float,
) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Rotate, shift, scale and bend both."""
    pose = PoseConfig(
        rotation_deg=config.rotation_deg,
        nod_deg=config.rotation_deg,
        scale=config.scale / _WHOLE_AND_AXIS,
        shear=0.0,
        shift_mm=config.shift_mm / voxel_mm,  # source and result have the same voxels
        bend_mm=config.bend_mm / voxel_mm,
        flip=False,
    )
    x, y, z = image.shape
    middle = (np.array(image.shape) - 1) / 2
    where = random_coordinates(rng, (x, y, z), 1.0, middle, pose)
    source = np.asarray(image, np.float32)
    inside = ndimage.map_coordinates(source != 0, where, order=0, mode="constant", prefilter=False)
    moved = ndimage.map_coordinates(source, where, order=1, mode="constant", prefilter=False)
    changed = zero_outside(moved, inside).astype(np.float16)
    return changed, _move_target(target, where) * inside.astype(np.uint8)


def _move_target(target: NDArray[np.uint8], where: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Sample the target, looking only at the part of the new grid that comes from its box."""
    moved = np.zeros(where.shape[1:], np.uint8)
    box = bounding_box(np.asarray(target) > 0, margin=(1, 1, 1))
    if box is None:
        return moved
    near = np.ones(moved.shape, bool)
    for axis, side in enumerate(box):
        near &= (where[axis] > side.start - 1) & (where[axis] < side.stop)
    values = ndimage.map_coordinates(
        np.asarray(target, np.float32), where[:, near], order=1, prefilter=False
    )
    moved[near] = values > 0.5
    return moved


def _rescan(
    rng: Rng, image: NDArray[np.float16], config: Augmentation, voxel_mm: float
) -> NDArray[np.float16]:
    """Let another scanner look at the same brain; the normalisation undoes gain and offset."""
    inside = np.asarray(image) != 0
    values = np.asarray(image, np.float32)[inside]
    if not values.size:
        return np.asarray(image, np.float16)
    floor = float(np.percentile(values[::7], 0.5)) - 0.5  # where the signal would be zero
    signal = np.where(inside, np.asarray(image, np.float32) - floor, 0) / -floor
    scanned = _acquire(rng, np.clip(signal, 0, None).astype(np.float32), config, voxel_mm)
    found = scanned[inside]
    centre, spread = float(found.mean()), float(found.std()) or 1.0
    again = (scanned - centre) / spread * float(values.std()) + float(values.mean())
    clipped = np.clip(again, values.min() - 1, values.max() + 1)
    return zero_outside(clipped, inside).astype(np.float16)


def _acquire(
    rng: Rng, signal: NDArray[np.float32], config: Augmentation, voxel_mm: float
) -> NDArray[np.float32]:
    """Apply what is drawn, in the order in which a scanner does it; brain tissue is about 1."""
    drawn: dict[str, bool] = {
        name: rng.random() < getattr(config, name)
        for name in ("bias", "blur", "slices", "noise", "gamma")
    }
    weight: NDArray[np.float32] = (signal > 0).astype(
        np.float32
    )  # smoothing must not darken the brain's surface
    if drawn["bias"]:
        signal = bias(rng, signal, voxel_mm, coil=0.4)
    if drawn["blur"]:
        sigma = rng.uniform(0.7, 1.5) / 2.355 / voxel_mm
        soft = ndimage.gaussian_filter(weight, sigma)
        signal = ndimage.gaussian_filter(signal, sigma) / np.maximum(soft, 0.1) * weight
    if drawn["slices"]:
        axis, thickness = int(rng.choice([2, 2, 2, 1, 0])), rng.uniform(2, 6)
        signal, soft = slices(
            rng, [signal, weight], voxel_mm, steps_mm=steps(axis, thickness, voxel_mm)
        )
        signal = signal / np.maximum(soft, 0.1)
    if drawn["noise"]:
        signal = noise(rng, signal)
    return numbers(rng, signal) if drawn["gamma"] else signal


# Where white matter lies above zero signal, in units of the brain's spread.
_ZERO = 8.0


def shade(
    rng: Rng, image: NDArray[np.float32], voxel_mm: float, *, normalised: bool
) -> NDArray[np.float32]:
    """Change gain, coil and noise of a crop a little; the zero background stays zero.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Crop.
    voxel_mm : float
        Edge of a voxel.
    normalised : bool
        Whether intensities are in units of the brain's spread, rather than of its signal.

    Returns
    -------
    shaded : ndarray of float32, shape (X, Y, Z)
        Crop.
    """
    zero = np.float32(_ZERO * rng.uniform(0.7, 1.3) if normalised else 0)
    shaded = (image + zero) * _coil(rng, image.shape, voxel_mm) - zero
    shaded *= np.float32(np.exp(rng.uniform(-0.1, 0.1)))
    if rng.random() < 0.5:
        grain = rng.standard_normal(image.shape, np.float32)
        shaded += np.float32(rng.uniform(0, 0.15 if normalised else 0.05)) * grain
    return np.where(image != 0, shaded, 0).astype(np.float32)


def _coil(rng: Rng, shape: Shape, voxel_mm: float) -> NDArray[np.float32]:
    """Sensitivity over a crop: a slow field, and brighter or darker outer slices."""
    gain = np.ones(shape, np.float32)
    if rng.random() < 0.5:
        field = smooth_field(rng, shape, rng.uniform(50, 110), voxel_mm)
        gain *= np.exp(np.float32(rng.uniform(0, 0.08)) * field)
    if rng.random() < 0.3:
        axis = int(rng.choice([2, 2, 2, 0, 1]))
        position = np.arange(shape[axis]) - rng.integers(shape[axis])
        ramp = np.clip(position * rng.choice([-1, 1]) * voxel_mm / rng.uniform(10, 40), 0, 1)
        profile = 1 + rng.uniform(-0.1, 0.25) * ramp.astype(np.float32)
        gain *= np.expand_dims(profile, tuple(other for other in range(3) if other != axis))
    return gain

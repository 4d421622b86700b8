"""FLAIR contrast, from labels to signal, and what is bright in healthy brains; on the device.

Signals are relative to cerebral white matter; the ranges are those of
``bids_flairseg.train.synthesis.contrast``.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from bids_flairseg.train.online.draws import Draws, blur
from bids_flairseg.train.online.heads import NUMBERS
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.healthy import CAP, CAP_MM

_FIRST_OUTSIDE = NUMBERS.index(500)
_MUSCLE, _EYES, _SKIN, _BONE = 507, 506, 511, (515, 516)
_PAIRS = ((10, 49), (11, 50), (12, 51), (26, 58), (28, 60))


@dataclass(frozen=True)
class Anatomy:
    """What is known of each voxel of a head that was moved.

    Parameters
    ----------
    labels : jax.Array of int32, shape (X, Y, Z)
        Indices into ``heads.NUMBERS``.
    to_ventricles, to_surface, to_eyes : jax.Array of float32, shape (X, Y, Z)
        Distances in mm; to the surface of the brain negative inside.
    """

    labels: Array
    to_ventricles: Array
    to_surface: Array
    to_eyes: Array

    def among(self, *numbers: int) -> Array:
        """Return where the label is one of the numbers; bool."""
        return _table(numbers)[self.labels] > 0


def _table(numbers: tuple[int, ...], value: float = 1.0) -> Array:
    values = np.zeros(len(NUMBERS), np.float32)
    values[[NUMBERS.index(number) for number in numbers]] = value
    return jnp.asarray(values)


def tissue_signals(draws: Draws, wide: Array) -> Array:
    """Draw one signal for each label.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    wide : jax.Array of bool
        Draw from far beyond what FLAIRs show.

    Returns
    -------
    signals : jax.Array of float32, shape (L,)
        In the order of ``heads.NUMBERS``; cerebral white matter is 1.
    """
    grey = jnp.where(wide, draws.uniform(0.9, 1.6), draws.uniform(1.04, 1.42))
    csf = jnp.where(wide, draws.uniform(0.02, 0.7), draws.uniform(0.03, 0.35))
    groups = [
        (lb.WHITE, jnp.float32(1)),
        (lb.CORTEX, grey),
        (lb.CEREBELLAR_CORTEX, grey * draws.uniform(0.85, 1.1)),
        (lb.CEREBELLAR_WHITE, draws.uniform(0.9, 1.12)),
        (lb.BRAINSTEM, draws.uniform(0.88, 1.18)),
        (lb.VENTRICLES, csf),
        (lb.CSF, csf * draws.uniform(0.8, 1.6)),
        (lb.VESSELS, draws.uniform(0.1, 1.2)),
        *((pair, 1 + (grey - 1) * draws.uniform(0.0, 1.1)) for pair in _PAIRS),
        ((13, 52), draws.uniform(0.7, 1.05)),  # iron makes the pallidum dark
        *((pair, grey * draws.uniform(0.95, 1.12)) for pair in ((17, 53), (18, 54))),
        ((85, 137, 164), draws.uniform(0.6, 1.2)),
        (lb.SEPTUM, draws.uniform(0.7, 1.7)),
    ]
    signals = jnp.where(
        jnp.arange(len(NUMBERS)) >= _FIRST_OUTSIDE, draws.uniform(0.05, 1.3, (len(NUMBERS),)), 0.0
    )
    for numbers, value in groups:
        signals = jnp.where(_table(tuple(numbers)) > 0, value, signals)
    skin = jnp.where(draws.chance(0.5), draws.uniform(0.1, 0.6), draws.uniform(0.7, 2.5))
    marrow = jnp.where(draws.chance(0.2), 1.6, 0.35)
    outside = [((_MUSCLE,), draws.uniform(0.1, 0.8)), ((_SKIN,), skin),
               *(((bone,), draws.uniform(0.02, marrow)) for bone in _BONE),
               ((_EYES,), draws.uniform(0.03, 0.5))]  # fmt: skip
    for numbers, value in outside:
        signals = jnp.where((_table(numbers) > 0) & ~wide, value, signals)
    return signals


def paint(draws: Draws, anatomy: Anatomy, voxel_mm: float, wide: Array) -> Array:
    """Paint a label map with signals, texture and partial volume.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    anatomy : Anatomy
        The head.
    voxel_mm : float
        Edge of a voxel.
    wide : jax.Array of bool
        See :func:`tissue_signals`.

    Returns
    -------
    image : jax.Array of float32, shape (X, Y, Z)
        Signal before acquisition.
    """
    shape = anatomy.labels.shape
    image = tissue_signals(draws, wide)[anatomy.labels]
    spread = jnp.where(jnp.arange(len(NUMBERS)) >= _FIRST_OUTSIDE, draws.uniform(0.1, 0.5), 0.0)
    for numbers, most in (
        (lb.CORTEX + lb.CEREBELLAR_CORTEX, 0.10),
        (lb.WHITE + lb.CEREBELLAR_WHITE + lb.BRAINSTEM, 0.06),
        (lb.CSF + lb.VENTRICLES, 0.6),
    ):
        spread = jnp.where(_table(numbers) > 0, draws.uniform(0.0, most), spread)
    slow = draws.field(shape, draws.uniform(25, 70), voxel_mm)
    image *= jnp.clip(1 + spread[anatomy.labels] * slow, 0.2, 3.0)
    image = _fill_orbits(draws, image, anatomy, voxel_mm)
    grain = blur(draws.normal(shape), draws.uniform(0.4, 1.0) / voxel_mm)
    grain *= draws.uniform(0.01, 0.09) / (grain.std() + 1e-6)
    return blur(image * (1 + grain), draws.uniform(0.35, 0.85) / voxel_mm)


def _fill_orbits(draws: Draws, image: Array, anatomy: Anatomy, voxel_mm: float) -> Array:
    """Put bright fat around the eyes, in half of the heads through the roof of the orbit."""
    near = (anatomy.to_eyes < draws.uniform(8, 32)) & draws.chance(0.8)
    soft = anatomy.among(_MUSCLE) | (anatomy.among(*_BONE) & draws.chance(0.5))
    level = jnp.exp(draws.uniform(float(np.log(0.7)), float(np.log(4.5))))
    field = draws.field(image.shape, 10.0, voxel_mm)
    return jnp.where(near & soft, level * jnp.clip(1 + 0.25 * field, 0.2, 2), image)


def spots(draws: Draws, shape: tuple[int, int, int], knots_mm: Array, voxel_mm: float,
          level: Array) -> Array:  # fmt: skip
    """Return soft spots where a random field is high.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z).
    knots_mm : jax.Array
        About the diameter of the larger ones.
    voxel_mm : float
        Edge of a voxel.
    level : jax.Array
        Of the field, in standard deviations.

    Returns
    -------
    weights : jax.Array of float32, shape (X, Y, Z)
        0 to 1.
    """
    return jnp.clip((draws.field(shape, knots_mm, voxel_mm) - level) / 0.35, 0, 1)


def add_normal_brightness(draws: Draws, image: Array, anatomy: Anatomy, voxel_mm: float) -> Array:
    """Brighten what is bright in healthy brains: rims, plexus, septum, flow, cortex, vessels.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    anatomy : Anatomy
        The head.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    """
    shape, away = image.shape, anatomy.to_ventricles
    white, ventricles = anatomy.among(*lb.WHITE), anatomy.among(4, 43, 5, 44, 15)
    wobble = draws.field(shape, draws.uniform(10, 30), voxel_mm)

    def some(probability: float, amount: Array) -> Array:
        return jnp.where(draws.chance(probability), amount, 0.0)

    rim = jnp.clip(draws.uniform(1.0, 2.6) - jnp.abs(away - 0.5), 0, 1) * (wobble > -0.5)
    near = white | anatomy.among(*lb.VENTRICLES)
    image += some(0.7, draws.uniform(0.02, 0.22)) * rim * near
    dirty = jnp.exp(-jnp.maximum(away, 0) / draws.uniform(4, 12)) * white
    image += some(0.6, draws.uniform(0, 0.12)) * dirty
    cortex = anatomy.among(*lb.CORTEX, 17, 53, 18, 54)
    image += some(0.5, draws.uniform(0, 0.22)) * jnp.clip(wobble, 0, 2) * cortex

    plexus = spots(draws, shape, draws.uniform(6, 16), voxel_mm, draws.uniform(1.0, 2.2))
    image += some(0.75, plexus * ventricles) * (draws.uniform(0.6, 1.7) - image)
    wide = draws.uniform(0.8, 1.6) / voxel_mm
    left = blur(anatomy.among(4).astype(jnp.float32), wide)
    right = blur(anatomy.among(43).astype(jnp.float32), wide)
    sheet = jnp.clip(left * right * draws.uniform(6, 14) - 0.4, 0, 1)
    image += some(0.6, sheet) * (draws.uniform(0.8, 1.7) - image)
    fluid = anatomy.among(*lb.CSF, *lb.VENTRICLES)
    flow = spots(draws, shape, draws.uniform(7, 22), voxel_mm, draws.uniform(1.6, 2.8))
    image += some(0.4, flow * fluid) * (draws.uniform(0.5, 1.6) - image)
    dots = spots(draws, shape, draws.uniform(3.7, 5), voxel_mm, draws.uniform(2.4, 3.4))
    image += some(0.5, dots * fluid) * (draws.uniform(0.2, 1.8) - image)
    sinus = spots(draws, shape, draws.uniform(8, 16), voxel_mm, draws.uniform(1.2, 2.2))
    beside = (anatomy.to_surface > -1) & (anatomy.to_surface < 7) & ~anatomy.among(*lb.BRAIN)
    return image + some(0.35, sinus * beside) * (draws.uniform(0.8, 2.2) - image)


def add_caps(draws: Draws, image: Array, anatomy: Anatomy, places: tuple[Array, Array]) -> Array:
    """Brighten the white matter at the tips of the ventricles, and the fornices' commissure.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    anatomy : Anatomy
        The head.
    places : tuple of jax.Array
        Where each voxel lies in the label map, shape (3, X, Y, Z), and the landmarks there,
        shape (5, 3).

    Returns
    -------
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    """
    where, points = places
    white = anatomy.among(*lb.WHITE)

    def near(point: Array, reach_mm: Array) -> Array:
        apart = (where - point[:, None, None, None]) / reach_mm[:, None, None, None]
        return jnp.exp(-0.5 * (apart**2).sum(0))

    for end in (0, 1):
        level = jnp.where(draws.chance(0.5), draws.uniform(*CAP), 0.0)
        reach = draws.uniform(*CAP_MM, (1,)) * jnp.ones(3)
        for side in (0, 2):
            image += level * draws.uniform(0.7, 1.3) * near(points[side + end], reach) * white
    between = jnp.clip(near(points[4], jnp.asarray([8.0, 2.5, 3.0])) * 1.5, 0, 1)
    between *= anatomy.among(*lb.WHITE, *lb.SEPTUM) & draws.chance(0.4)
    return image + between * jnp.maximum(draws.uniform(0.9, 1.6) - image, 0)

"""FLAIR contrast, from labels to signal, on the device.

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
from bids_flairseg.train.synthesis.contrast import BLUR_MM, CHANGES, DEEP_GREY, GREY

_FIRST_OUTSIDE = NUMBERS.index(500)
_MUSCLE, _EYES, _SKIN, _BONE = 507, 506, 511, (515, 516)
#: Standard deviation of the other synthesis' fields, here 1.
SPREAD = 0.65


@dataclass(frozen=True)
class Anatomy:
    """What is known of each voxel of a head that was moved.

    Parameters
    ----------
    labels : jax.Array of int32, shape (X, Y, Z)
        Indices into ``heads.NUMBERS``.
    fluid, rim : jax.Array of float32, shape (X, Y, Z)
        Share of sulcus in each voxel, and by how much the cortex is brighter there than in its
        middle, relative to its signal.
    to_ventricles, to_surface, to_eyes : jax.Array of float32, shape (X, Y, Z)
        Distances in mm; to the surface of the brain negative inside.
    """

    labels: Array
    fluid: Array
    rim: Array
    to_ventricles: Array
    to_surface: Array
    to_eyes: Array

    def among(self, *numbers: int) -> Array:
        """Return where the label is one of the numbers; bool."""
        return among(self.labels, *numbers)


def among(labels: Array, *numbers: int) -> Array:
    """Return where the label is one of the numbers; bool."""
    return _table(numbers)[labels] > 0


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
    grey = jnp.where(wide, draws.uniform(0.9, 1.6), draws.triangular(*map(jnp.float32, GREY)))
    csf = jnp.where(wide, draws.uniform(0.02, 0.7), 0.02 + 0.33 * draws.uniform(0, 1) ** 2)
    putamen = jnp.where(
        draws.chance(0.3), draws.uniform(0.75, 1.0), 1 + (grey - 1) * draws.uniform(0.4, 1.1)
    )
    groups = [
        (lb.WHITE, jnp.float32(1)),
        (lb.CORTEX, grey),
        (lb.CEREBELLAR_CORTEX, grey * draws.uniform(0.85, 1.1)),
        (lb.CEREBELLAR_WHITE, draws.uniform(0.9, 1.12)),
        (lb.BRAINSTEM, draws.uniform(0.88, 1.18)),
        (lb.VENTRICLES, csf),
        (lb.CSF, csf * draws.uniform(0.8, 1.6)),
        (lb.VESSELS, draws.uniform(0.1, 1.2)),
        *((pair, 1 + (grey - 1) * draws.uniform(least, 1.1)) for pair, least in DEEP_GREY),
        ((13, 52), draws.uniform(0.7, 1.05)),  # iron makes the pallidum dark
        ((12, 51), putamen),  # and, with age, the putamen
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
    signals = tissue_signals(draws, wide)
    grey, csf = (signals[NUMBERS.index(group[0])] for group in (lb.CORTEX, lb.CSF))
    banks = grey * (1 + anatomy.rim)
    image = jnp.where(anatomy.fluid > 0, banks + anatomy.fluid * (csf - grey),
                      signals[anatomy.labels] * (1 + anatomy.rim))  # fmt: skip
    outside = jnp.arange(len(NUMBERS)) >= _FIRST_OUTSIDE
    slowly = jnp.where(outside, draws.uniform(0.1, 0.5), 0.0)
    finely = jnp.where(outside, draws.uniform(0.2, 0.7), 0.0)
    for numbers, most_slowly, most_finely in CHANGES:
        slowly = jnp.where(_table(numbers) > 0, draws.uniform(0.0, most_slowly), slowly)
        finely = jnp.where(_table(numbers) > 0, draws.uniform(0.0, most_finely), finely)
    slow = draws.field(shape, draws.uniform(25, 70), voxel_mm)
    fine = SPREAD * draws.field(shape, draws.uniform(5, 15), voxel_mm)
    image *= jnp.clip(1 + slowly[anatomy.labels] * slow + finely[anatomy.labels] * fine, 0.2, 3.0)
    image = _fill_orbits(draws, image, anatomy, voxel_mm)
    grain = blur(draws.normal(shape), draws.uniform(0.4, 1.0) / voxel_mm)
    grain *= draws.uniform(0.01, 0.09) / (grain.std() + 1e-6)
    sharpest, dullest = (sigma + 0.1 for sigma in BLUR_MM)  # labels have steps
    return blur(image * (1 + grain), draws.uniform(sharpest, dullest) / voxel_mm)


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


def tubes(draws: Draws, shape: tuple[int, int, int], apart_mm: Array, radius_mm: Array,
          voxel_mm: float) -> Array:  # fmt: skip
    """Return soft, winding tubes, as vessels are.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z).
    apart_mm, radius_mm : jax.Array
        How far they lie apart, and their radius, about.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    weights : jax.Array of float32, shape (X, Y, Z)
        1 along the lines where two random fields are zero, falling to 0 at the radius.
    """
    squares = sum(draws.field(shape, apart_mm, voxel_mm) ** 2 for _ in range(2))
    return jnp.clip(1.5 - SPREAD * jnp.sqrt(squares) * (apart_mm / radius_mm), 0, 1)

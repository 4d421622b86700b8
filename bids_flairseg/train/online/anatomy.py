"""Synthetic whole heads at 2 mm with their anatomy classes, drawn on the device.

What is drawn, and why, is told in ``bids_flairseg.train.synthesis.anatomy``.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from bids_flairseg.train.online import acquisition, contrast, space
from bids_flairseg.train.online.contrast import Anatomy
from bids_flairseg.train.online.draws import SHARP, Draws, Shape, quantiles
from bids_flairseg.train.online.heads import Head
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.space import PoseConfig

VOXEL_MM = 2.0
SHAPE: Shape = (96, 112, 96)
_POSE = PoseConfig(rotation_deg=18, nod_deg=32, scale=0.16, shear=0.08, shift_mm=14, bend_mm=3.5)
_OTHER_CSF = lb.CLASSES.index("other-csf")


def anatomy_example(key: Array, head: Head, *, shape: Shape = SHAPE) -> tuple[Array, Array]:
    """Draw a whole-head FLAIR at 2 mm and its classes.

    Parameters
    ----------
    key : jax.Array
        Key of the example.
    head : Head
        With all that the label map has.
    shape : tuple of int
        Shape (X, Y, Z).

    Returns
    -------
    image : jax.Array of float32, shape (X, Y, Z)
        The 99th centile of the brain is about 1.
    classes : jax.Array of uint8, shape (X, Y, Z)
        Index into ``labels.CLASSES``.
    """
    draws = Draws(key)
    where = space.coordinates(draws, shape, VOXEL_MM, head.centre, _POSE)
    aged = jnp.where(draws.chance(0.4), draws.uniform(-0.2, 0.4), 0.0)
    where = space.magnify(where, head.ventricles + draws.uniform(-8, 8, (3,)),
                          draws.uniform(18, 35), aged)  # fmt: skip
    anatomy = space.move(draws, head, where, VOXEL_MM)
    moved = space.sample(head.classes, where)
    fluid = anatomy.among(*lb.CSF)
    taken = fluid & (moved == lb.CLASSES.index("cortex"))
    moved = jnp.where(taken, _OTHER_CSF, moved)
    # where sulci are filled, the envelope of the brain is a little too large
    moved = jnp.where(fluid & (moved == _OTHER_CSF) & (anatomy.to_surface > 0), 0, moved)

    image = contrast.paint(draws, anatomy, VOXEL_MM, draws.chance(0.2))
    image = _add_extras(draws, image, anatomy)
    image = acquisition.bias(draws, image, VOXEL_MM, coil=0.7)
    image = _strip_or_deface(draws, image, anatomy)
    steps = acquisition.draw_steps(draws, VOXEL_MM, 0.75, draws.uniform(2.5, 7.0))
    slices = [acquisition.draw_slices(draws, n, step)
              for n, step in zip(shape, steps, strict=True)]  # fmt: skip
    seen = image > 1e-4
    sigma = jnp.where(draws.chance(0.5), draws.uniform(0, 0.025), draws.uniform(0.015, 0.065))
    sigma = jnp.where(draws.chance(0.07), draws.uniform(0.06, 0.13), sigma)
    scanner = acquisition.Scanner(sigma, jnp.full(3, SHARP), jnp.zeros(3, bool))
    image, _ = acquisition.acquire(draws, image, [], slices, scanner)
    image = acquisition.numbers(draws, image)
    thickest = jnp.argmax(jnp.stack(steps) * jnp.asarray([1.0, 1.0, 1.001]))
    field = space.open_field(draws, shape, thickest, 0.30, 0.74) | ~draws.chance(0.5)
    moved = jnp.where(field, moved, 0)
    image = jnp.where(field & (seen | ~draws.chance(0.5)), image, 0)  # often zero background
    return _scale(draws, image, moved), moved.astype(jnp.uint8)


def _add_extras(draws: Draws, image: Array, anatomy: Anatomy) -> Array:
    """Add lesions to half of the heads, and flow in the CSF to some."""
    shape = image.shape
    fluid = anatomy.among(*lb.CSF)
    inside = (anatomy.to_surface < 0) & ~fluid
    small = contrast.spots(draws, shape, draws.uniform(6, 18), VOXEL_MM, draws.uniform(1.5, 3))
    small *= inside & draws.chance(0.6)
    image += small * (draws.uniform(1.2, 2.2) - image)
    large = contrast.spots(draws, shape, draws.uniform(25, 70), VOXEL_MM, draws.uniform(1, 2))
    field = jnp.clip(1 + 0.4 * draws.field(shape, 12.0, VOXEL_MM), 0.2, 2)
    large *= inside & draws.chance(0.25)
    image += large * (draws.uniform(0.2, 2.4) * field - image)
    flow = contrast.spots(draws, shape, draws.uniform(8, 30), VOXEL_MM, draws.uniform(1.2, 2.5))
    return image + flow * (fluid & draws.chance(0.4)) * (draws.uniform(0.4, 1.5) - image)


def _strip_or_deface(draws: Draws, image: Array, anatomy: Anatomy) -> Array:
    """Strip some heads with a margin or a bite, and take the face off others."""
    which = draws.uniform(0, 1)
    wobble = draws.field(image.shape, 25.0, VOXEL_MM)
    beyond = anatomy.to_surface > 2 * (draws.uniform(-0.5, 2.5) + 0.6 * wobble)
    image = jnp.where((which < 0.12) & beyond, 0, image)
    outside = anatomy.to_surface > 0
    y, z = jnp.arange(image.shape[1])[:, None], jnp.arange(image.shape[2])
    slope = draws.uniform(0.2, 1.0)
    front = jnp.max(jnp.where((~outside).any((0, 2)), jnp.arange(image.shape[1]), 0))
    plane = y - slope * z > front - slope * image.shape[2] * 0.4
    return jnp.where((which > 0.12) & (which < 0.22) & plane & outside, 0, image)


def _scale(draws: Draws, image: Array, classes: Array) -> Array:
    [top] = quantiles(image, classes > 0, (0.99,))
    spread = jnp.where(draws.chance(0.6), 0.12, 0.6)
    return jnp.clip(image / jnp.maximum(top, 1e-3) * jnp.exp(spread * draws.uniform(-1, 1)), 0, 6)

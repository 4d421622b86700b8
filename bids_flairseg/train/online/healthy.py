"""What is bright, or dark, in healthy brains, drawn on the device.

What is drawn, and why, is told in ``bids_flairseg.train.synthesis.healthy``.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from bids_flairseg.train.online.contrast import Anatomy, spots, tubes
from bids_flairseg.train.online.draws import Draws, blur
from bids_flairseg.train.synthesis import healthy
from bids_flairseg.train.synthesis import labels as lb


def add_normal_brightness(draws: Draws, image: Array, anatomy: Anatomy, voxel_mm: float) -> Array:
    """Brighten what is bright in healthy brains: rims, plexus, septum, flow, cortex, vessels.

    Veins in white matter become dark.

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
    cortex = anatomy.among(*lb.CORTEX, *healthy.LIMBIC)
    image += some(0.5, draws.uniform(0, 0.12)) * jnp.clip(wobble, 0, 2) * cortex

    plexus = spots(draws, shape, draws.uniform(6, 16), voxel_mm, draws.uniform(1.0, 2.2))
    image += some(0.95, plexus * ventricles) * (draws.uniform(0.6, 1.5) - image)
    wide = draws.uniform(0.8, 1.6) / voxel_mm
    left = blur(anatomy.among(4).astype(jnp.float32), wide)
    right = blur(anatomy.among(43).astype(jnp.float32), wide)
    sheet = jnp.clip(left * right * draws.uniform(6, 14) - 0.4, 0, 1)
    image += some(0.6, sheet) * (draws.uniform(0.8, 1.7) - image)
    fluid = anatomy.among(*lb.CSF, *lb.VENTRICLES)
    flow = spots(draws, shape, draws.uniform(7, 22), voxel_mm, draws.uniform(1.6, 2.8))
    image += some(0.4, flow * fluid) * (draws.uniform(0.4, 1.3) - image)
    dots = spots(draws, shape, draws.uniform(3.7, 5), voxel_mm, draws.uniform(2.4, 3.4))
    image += some(0.35, dots * fluid) * (draws.uniform(0.1, 1.4) - image)
    lines = tubes(draws, shape, draws.uniform(12, 30), draws.uniform(0.8, 2.0), voxel_mm)
    image += some(0.3, lines * fluid) * (draws.uniform(0.1, 1.4) - image)
    veins = tubes(draws, shape, draws.uniform(12, 30), draws.uniform(0.6, 1.2), voxel_mm)
    image *= 1 - some(0.3, draws.uniform(0.1, 0.5)) * veins * white
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
        shape (10, 3).

    Returns
    -------
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    """
    where, points = places
    white = anatomy.among(*lb.WHITE)
    for end in (0, 1):
        level = jnp.where(draws.chance(0.5), draws.uniform(*healthy.CAP), 0.0)
        reach = draws.uniform(*healthy.CAP_MM) * jnp.ones(3)
        for side in (0, 2):
            image += (
                level * draws.uniform(0.7, 1.3) * _near(where, points[side + end], reach) * white
            )
    between = jnp.clip(_near(where, points[4], (8.0, 2.5, 3.0)) * 1.5, 0, 1)
    between *= anatomy.among(*lb.WHITE, *lb.SEPTUM) & draws.chance(0.4)
    return image + between * jnp.maximum(draws.uniform(0.9, 1.6) - image, 0)


def add_tracts_and_limbic(
    draws: Draws, image: Array, anatomy: Anatomy, places: tuple[Array, Array]
) -> Array:
    """Brighten the corticospinal tracts, and the cortex of insula and cingulum.

    Parameters
    ----------
    draws : Draws
        Source of randomness.
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    anatomy : Anatomy
        The head.
    places : tuple of jax.Array
        See :func:`add_caps`.

    Returns
    -------
    image : jax.Array of float32, shape (X, Y, Z)
        Signal.
    """
    where, points = places
    level = jnp.where(draws.chance(0.4), draws.uniform(*healthy.TRACT), 0.0)
    reach = draws.uniform(*healthy.TRACT_MM)
    tissue = anatomy.among(*lb.WHITE, *lb.BRAINSTEM, *healthy.VENTRAL)
    middle = (points[0, 0] + points[2, 0]) / 2
    for side in (5, 6):
        tract = jnp.exp(-0.5 * _square_to_tract(where, points[side], middle) / reach**2)
        image += level * draws.uniform(0.8, 1.2) * tract * tissue
    cortex = anatomy.among(*lb.CORTEX, *healthy.LIMBIC)
    level = jnp.where(draws.chance(0.5), draws.uniform(*healthy.GREY), 0.0)
    for side in (7, 8):
        insula = _near(where, points[side], healthy.INSULA_MM)
        image += level * draws.uniform(0.8, 1.2) * insula * cortex
    level = jnp.where(draws.chance(0.4), draws.uniform(*healthy.GREY), 0.0)
    return image + level * _near(where, points[9], healthy.CINGULUM_MM) * cortex


def _near(where: Array, point: Array, reach_mm: Array | tuple[float, ...]) -> Array:
    reach = jnp.asarray(reach_mm, jnp.float32)[:, None, None, None]
    return jnp.exp(-0.5 * (((where - point[:, None, None, None]) / reach) ** 2).sum(0))


def _square_to_tract(where: Array, capsule: Array, middle: Array) -> Array:
    """Squared distance in mm to the corticospinal tract of one side."""
    apart = where - capsule[:, None, None, None]
    outwards = jnp.asarray([jnp.sign(capsule[0] - middle), 1.0, 1.0])
    squares = []
    for end in healthy.TRACT_ENDS_MM:
        along = (outwards * jnp.asarray(end))[:, None, None, None]
        share = jnp.clip((along * apart).sum(0) / (along**2).sum(), 0, 1)
        squares.append(((apart - along * share) ** 2).sum(0))
    return jnp.minimum(*squares)

"""Synthetic brain-only FLAIRs with lesions, drawn on the device.

What is drawn, and why, is told in ``bids_flairseg.train.synthesis.lesion``; other than there, the
mask of the brain may have crumbs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from bids_flairseg.preprocess.noise import NOISE_HIGH, NOISE_LOW, SIGMA
from bids_flairseg.preprocess.normalise import HIGH, LOW
from bids_flairseg.train.online import acquisition, contrast, healthy, space
from bids_flairseg.train.online.contrast import SPREAD, Anatomy
from bids_flairseg.train.online.draws import SHARP, Draws, Shape, at_share, blur, quantiles, rank
from bids_flairseg.train.online.heads import CORE, HOLE, PART, SHELL, Head, LesionMap
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.lesion import COMMON, NOISE_THICK, NOISE_THIN, SLICED
from bids_flairseg.train.synthesis.outline import (
    ABOVE_NOISE,
    BRIGHT,
    DARKEST_TISSUE,
    FAINTEST,
    FEW_VOXELS,
    LEAST_VOXELS,
    VISIBLE,
    VISIBLE_FEW,
)
from bids_flairseg.train.synthesis.painting import BRIGHTER, SMALL_MM3
from bids_flairseg.train.synthesis.space import PoseConfig

VOXEL_MM = 1.0
SHAPE: Shape = (144, 176, 144)
_POSE = PoseConfig(rotation_deg=10, nod_deg=22, scale=0.1, shear=0.04, shift_mm=4, bend_mm=2.5)
# Contrast above healthy tissue, in units of its spread: none, most kinds, tumour, stroke.
_LOWEST, _USUAL, _HIGHEST = (0, 1.5, 1.8, 1.6), (1, 2.7, 3.4, 3.1), (2, 5.0, 6.5, 6.0)
_THIN = 1.6  # voxels: a scan with such slices is a 3D one
_THICKEST_MM = 15.0  # what is known of the distance to the brain's surface


def lesion_example(
    key: Array, head: Head, lesions: LesionMap, *, shape: Shape = SHAPE
) -> tuple[Array, Array]:
    """Draw a normalised brain-only FLAIR at 1 mm and its lesion mask.

    Parameters
    ----------
    key : jax.Array
        Key of the example.
    head : Head
        Cropped to its brain and some millimetres around it.
    lesions : LesionMap
        In the space of the head.
    shape : tuple of int
        Shape (X, Y, Z).

    Returns
    -------
    image : jax.Array of float32, shape (X, Y, Z)
        As in the main job, noise rule included; zero outside the brain.
    target : jax.Array of uint8, shape (X, Y, Z)
        1 in lesions, as a rater would outline them.
    """
    draws = Draws(key)
    where = space.coordinates(draws, shape, VOXEL_MM, head.centre, _POSE)
    aged = jnp.where(draws.chance(0.4), draws.uniform(-0.2, 0.4), 0.0)
    where = space.magnify(where, head.ventricles + draws.uniform(-8, 8, (3,)),
                          draws.uniform(18, 35), aged)  # fmt: skip
    pushed = jnp.where(
        draws.chance(0.7) & ~jnp.isnan(lesions.mass[0]), draws.uniform(0.1, 0.45), 0.0
    )
    where = space.magnify(where, jnp.nan_to_num(lesions.mass), draws.uniform(14, 32), pushed)
    anatomy = space.move(draws, head, where, VOXEL_MM)
    moved = space.sample(lesions.codes, where).astype(jnp.int32)
    part = jnp.where((moved & SHELL) > 0, 0, moved & PART)
    core = blur(((moved & CORE) > 0).astype(jnp.float32), 0.5)
    soft = blur((part > 0).astype(jnp.float32), 0.5) * (1 - anatomy.fluid)
    soft = jnp.maximum(soft, core)  # a mass fills the sulci

    painted = contrast.paint(draws, anatomy, VOXEL_MM, draws.chance(0.1))
    painted = healthy.add_normal_brightness(draws, painted, anatomy, VOXEL_MM)
    for brighten in (healthy.add_caps, healthy.add_tracts_and_limbic):
        painted = brighten(draws, painted, anatomy, (where, head.landmarks))
    brain = _rough_brain(draws, anatomy)
    number = moved & PART
    image = _add_lesions(draws, painted, soft, core, (brain, lesions.level, number))
    hole = blur(((moved & HOLE) > 0).astype(jnp.float32), 0.7)
    change = jnp.abs(image - painted) * (1 - hole)
    image = _hollow(draws, image, hole, anatomy)
    image, soft, change = _acquire(draws, image, [soft, change], brain)
    cut = space.open_field(draws, shape, jnp.float32(2), 0.35, 0.7)
    inside = brain & (cut | ~draws.chance(0.2))
    normalised, unit = _normalise_noisy(image, inside)
    outlined = _rated(soft, core, change / unit) & inside
    outlined = _visible(normalised, outlined, number)
    return normalised, outlined.astype(jnp.uint8)


def _rough_brain(draws: Draws, anatomy: Anatomy) -> Array:
    """Return a brain mask with the faults of skull stripping."""
    shape = anatomy.labels.shape
    wobble = draws.field(shape, draws.uniform(12, 30), VOXEL_MM)
    limit = draws.uniform(-1.5, 2.5) + draws.uniform(0.2, 1.5) * wobble
    leak = jnp.clip(draws.field(shape, 18.0, VOXEL_MM) - 0.8, 0, 1.5)
    limit += jnp.where(draws.chance(0.3), draws.uniform(4, 12), 0) * leak
    behind = (anatomy.to_eyes < draws.uniform(15, 30)) & draws.chance(0.15)
    limit += draws.uniform(4, 18) * behind
    mask = blur(anatomy.to_surface, 0.7) < jnp.minimum(limit, _THICKEST_MM)
    return mask & ~(anatomy.among(*lb.CSF) & draws.chance(0.06))


def _add_lesions(
    draws: Draws, image: Array, soft: Array, core: Array, context: tuple[Array, Array, Array]
) -> Array:
    """Raise the signal in lesions, by a contrast measured in the brain's own spread."""
    shape, (brain, kind, number) = image.shape, context
    middle, spread = _middle_and_spread(image, brain)
    spread = jnp.maximum(spread, 0.03)
    lowest, usual, highest = (jnp.asarray(v, jnp.float32)[kind]
                              for v in (_LOWEST, _USUAL, _HIGHEST))  # fmt: skip
    level = draws.triangular(lowest, usual, highest)
    level *= jnp.exp(0.25 * draws.normal((PART + 1,)))[number]  # no two are equally bright
    small = _smallness(soft, number)
    level *= 1 + BRIGHTER * small
    plateau = middle + spread * level * jnp.maximum(
        1
        + draws.uniform(0.1, 0.5) * SPREAD * draws.field(shape, draws.uniform(8, 25), VOXEL_MM)
        + draws.uniform(0.1, 0.4) * SPREAD * draws.field(shape, draws.uniform(2.5, 8), VOXEL_MM),
        0.2,
    )
    brightest = jnp.where(draws.chance(0.5), draws.uniform(0.2, 0.9), 0)  # in the middle
    plateau += spread * level * brightest * jnp.clip(2 * blur(soft, 2.0) - 0.8, -0.3, 1)
    # raters take in the faint border: what they outline begins below half of the contrast
    blurred = _border(draws, soft, small)
    weight = jnp.clip(blurred * draws.uniform(1.1, 1.5) - draws.uniform(0, 0.4), 0, 1)
    wide = blur(soft, 2.5)
    weight = jnp.maximum(weight, jnp.where(draws.chance(0.3), 0.2, 0) * wide)
    # added to the tissue, so that its grain stays
    below = jnp.maximum(blur(image, 2.0), middle - 1.5 * spread)
    image = image + weight * jnp.maximum(plateau - below, 0.3 * spread)
    holes = jnp.clip((wide - 0.8) / 0.15, 0, 1) * (
        draws.field(shape, 8.0, VOXEL_MM) > draws.uniform(0.3, 1.5)
    )
    holes *= draws.chance(0.2) & ~core.any()
    image = image + holes * (middle * draws.uniform(0.3, 0.9) - image)
    return _add_core(draws, image, core, middle, spread)


def _smallness(soft: Array, number: Array) -> Array:
    """Return how small each lesion is, from 1 to 0, for it and what lies around it."""
    voxels = jax.ops.segment_sum((soft > 0.3).ravel().astype(jnp.float32), number.ravel(), PART + 1)
    return jnp.exp(-voxels / SMALL_MM3).at[0].set(0)[number]


def _border(draws: Draws, soft: Array, small: Array) -> Array:
    """Blur lesions, in most heads some of them, or one side of them, more than others."""
    blurred = blur(soft, draws.uniform(0.35, 0.7))
    field = SPREAD * draws.field(soft.shape, draws.uniform(8, 25), VOXEL_MM)
    mixed = jnp.clip(0.5 + field, 0, 1)
    same = jnp.where(draws.chance(1 / 3), 1.0, 0.0)
    share = jnp.where(draws.chance(0.3), same, mixed * draws.uniform(0.3, 1.0))
    return blurred + share * (1 - small) * (blur(soft, draws.uniform(0.8, 2.0)) - blurred)


def _add_core(draws: Draws, image: Array, core: Array, middle: Array, spread: Array) -> Array:
    """Mass of a tumour: patchy, often with a necrotic middle."""
    edge = jnp.clip(blur(core, 1.5) * 1.2, 0, 1)
    field = draws.field(image.shape, draws.uniform(5, 14), VOXEL_MM)
    patchy = middle + spread * (draws.uniform(1.0, 4.5) + draws.uniform(0.2, 1.5) * field)
    image = image + edge * (patchy - blur(image, 2.0))  # keeps grain
    necrosis = jnp.clip((blur(core, draws.uniform(3, 6)) - 0.75) / 0.2, 0, 1)
    necrosis *= draws.chance(0.4)
    image = image + necrosis * (middle * draws.uniform(0.2, 1.3) - image)
    return jnp.maximum(image, 0.01)


def _hollow(draws: Draws, image: Array, hole: Array, anatomy: Anatomy) -> Array:
    """Fill holes with fluid like that of the ventricles, at times a little brighter."""
    [fluid] = quantiles(image, anatomy.among(*lb.VENTRICLES), (0.5,))
    level = jnp.where(fluid > 0, fluid, 0.2) * draws.uniform(0.8, 2.0)
    return image + hole * (level - image)


def _acquire(
    draws: Draws, image: Array, lesions: list[Array], brain: Array
) -> tuple[Array, Array, Array]:
    """Acquire the image; what lies where, and what lesions changed, in the same slices."""
    image = acquisition.bias(draws, image, VOXEL_MM, coil=0.3)
    thickness = jnp.where(draws.chance(0.5), draws.uniform(1.5, 3.2), draws.uniform(2.5, 6.5))
    steps = acquisition.draw_steps(draws, VOXEL_MM, SLICED, thickness)
    slices = [acquisition.draw_slices(draws, n, step)
              for n, step in zip(image.shape, steps, strict=True)]  # fmt: skip
    _, spread = _middle_and_spread(image, brain)
    thin = jnp.stack(steps).max() < _THIN  # a 3D scan, with more noise in a voxel
    usual = jnp.where(thin, draws.uniform(*NOISE_THIN), draws.uniform(*NOISE_THICK))
    share = jnp.where(draws.chance(0.08), draws.uniform(0.7, 1.2), usual)
    sigma = share * jnp.maximum(spread, 0.03)
    common = jnp.where(draws.chance(0.75), draws.uniform(*COMMON), SHARP)
    across = jnp.stack(steps) > jnp.stack(steps).min()  # not from slice to slice
    scanner = acquisition.Scanner(sigma, jnp.where(across, SHARP, common), ~across)
    image, [soft, change] = acquisition.acquire(draws, image, lesions, slices, scanner)
    image = blur(image, jnp.where(draws.chance(0.3), draws.uniform(0.3, 0.7), SHARP))
    return acquisition.numbers(draws, image), soft, change


def _middle_and_spread(image: Array, inside: Array) -> tuple[Array, Array]:
    """Return what ``preprocess.normalise`` shifts and scales by."""
    ranked, count = rank(image, inside)
    median, upper = (at_share(ranked, 0, count, share) for share in (0.5, 0.75))
    first = jnp.searchsorted(ranked, median - 3 * (upper - median), side="right")
    low, middle, high = (at_share(ranked, first, count, share) for share in (0.25, 0.5, 0.75))
    return middle, (high - low) / 1.349


def _normalise(image: Array, inside: Array) -> tuple[Array, Array]:
    middle, spread = _middle_and_spread(image, inside)
    unit = jnp.maximum(spread, 1e-4)
    return jnp.where(inside, jnp.clip((image - middle) / unit, LOW, HIGH), 0), unit


def _normalise_noisy(image: Array, inside: Array) -> tuple[Array, Array]:
    """Normalise as ``preprocess.noise`` does; also the signal that is one unit."""
    normalised, _ = _normalise(image, inside)
    noise = []
    for axis in range(3):
        low, high = jnp.roll(normalised, 1, axis), jnp.roll(normalised, -1, axis)
        whole = inside & jnp.roll(inside, 1, axis) & jnp.roll(inside, -1, axis)
        [median] = quantiles(jnp.abs(2 * normalised - low - high), whole, (0.5,))
        noise.append(median * 1.4826 / 6**0.5)
    share = (jnp.median(jnp.stack(noise)) - NOISE_LOW) / (NOISE_HIGH - NOISE_LOW)
    weight = blur(inside.astype(jnp.float32), SIGMA)
    smooth = blur(jnp.where(inside, image, 0), SIGMA) / jnp.maximum(weight, 1e-3)
    mixture = image + jnp.clip(share, 0, 1) * (smooth - image)
    return _normalise(mixture, inside)


def _rated(soft: Array, core: Array, change: Array) -> Array:
    """Outline lesions as a rater does; see ``synthesis.outline.rated``."""
    clear = blur(change, 0.6)
    peak = clear
    for axis in range(3):
        edges = tuple(7 if i == axis else 1 for i in range(3))
        peak = jax.lax.reduce_window(peak, -jnp.inf, jax.lax.max, edges, (1, 1, 1), "SAME")
    thin = (soft > 0.1) & (clear > VISIBLE) & (clear > 0.5 * peak)
    within = (soft > 0.5) | thin
    seen = (within & (clear > FAINTEST)) | (core > 0.5)
    closed = ~space.dilate(~space.dilate(seen, 2), 2)
    return closed & within


def _visible(image: Array, outlined: Array, number: Array) -> Array:
    """Keep the lesions that are brighter than what lies around them, all parts of each together."""
    around = ~outlined & (number > 0) & (image != 0) & (image > DARKEST_TISSUE)
    parts = jnp.arange(PART + 1)

    def moments(mask: Array) -> tuple[Array, Array, Array]:
        where = jnp.where(mask, number, 0).ravel()
        chosen = jnp.where(mask, image, 0).ravel()
        total = jax.ops.segment_sum(chosen, where, PART + 1)
        squares = jax.ops.segment_sum(chosen**2, where, PART + 1)
        count = jax.ops.segment_sum(mask.astype(jnp.float32).ravel(), where, PART + 1)
        mean = total / jnp.maximum(count, 1)
        return count, mean, jnp.sqrt(jnp.maximum(squares / jnp.maximum(count, 1) - mean**2, 0))

    size, inner, spread = moments(outlined & (number > 0))
    count, outer, noise = moments(around)
    level = jnp.where(count > 0, outer, 0.0)
    few = size < FEW_VOXELS
    clear = inner - level >= jnp.maximum(jnp.where(few, VISIBLE_FEW, VISIBLE), ABOVE_NOISE * noise)
    seen = clear | (~few & (inner + 1.28 * spread - level >= BRIGHT))
    return outlined & (seen & (parts > 0) & (size >= LEAST_VOXELS))[number]

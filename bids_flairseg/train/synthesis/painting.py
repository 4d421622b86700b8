"""How lesions look in a FLAIR: contrast, borders, cores, holes."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis import space
from bids_flairseg.train.synthesis.space import Rng

#: How small a lesion is falls from 1 to 0 as exp(-volume / this); by how much small ones are
#: brighter.
SMALL_MM3, BRIGHTER = 80, 0.4
# Contrast above healthy tissue, in units of its spread: most kinds, and two of their own.
_LEVEL, _LEVELS = (1.5, 2.7, 5.0), {"tumour": (2.0, 3.6, 6.5), "stroke": (1.8, 3.2, 6.0)}


def middle_and_spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return what ``preprocess.normalise`` shifts and scales by.

    Parameters
    ----------
    values : ndarray of float32, shape (V,)
        Of the brain.

    Returns
    -------
    middle, spread : float
        Median and width, both of the tissue without CSF.
    """
    values = values[::7]
    median, upper = np.percentile(values, [50, 75])
    tissue = values[values > median - 3 * (upper - median)]
    low, middle, high = np.percentile(tissue, [25, 50, 75])
    return float(middle), float(high - low) / 1.349


def add_lesions(
    rng: Rng,
    image: NDArray[np.float32],
    parts: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]],
    *,
    kind: str,
    voxel_mm: float,
) -> NDArray[np.float32]:
    """Raise the signal in lesions, by a contrast measured in the brain's own spread.

    In real FLAIRs lesions lie, in units of the normalised image, at 0.5 to 1 (5th
    and 10th centile), 1.4 (quartile), 2.1 (median), 3 (quartile) and 3.7.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal of the healthy head.
    parts : tuple of ndarray, shape (X, Y, Z)
        Share of lesion in each voxel, share of the mass of a tumour, both float32, and the brain,
        bool.
    kind : str
        See ``kinds.Lesions``.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    painted : ndarray of float32, shape (X, Y, Z)
        Signal.
    """
    soft, core, brain = parts
    if not soft.any():
        return image
    middle, spread = middle_and_spread(image[brain])
    spread = max(spread, 0.03)
    own, small = _own_levels(rng, soft, voxel_mm)
    level = rng.triangular(*_LEVELS.get(kind, _LEVEL)) * own
    changes = [
        rng.uniform(0.1, most) * space.smooth_field(rng, image.shape, rng.uniform(*apart), voxel_mm)
        for most, apart in ((0.5, (8, 25)), (0.4, (2.5, 8)))
    ]
    plateau = middle + spread * level * np.maximum(1 + sum(changes), 0.2)
    blurred = _border(rng, soft, voxel_mm, small)
    if rng.random() < 0.5:  # brightest in the middle
        deep = np.clip(2 * _smooth(soft, 2.0 / voxel_mm) - 0.8, -0.3, 1)
        plateau += spread * level * rng.uniform(0.2, 0.9) * deep
    # raters take in the faint border: what they outline begins below half of the contrast
    weight = np.clip(blurred * rng.uniform(1.1, 1.5) - rng.uniform(0, 0.4), 0, 1)
    if rng.random() < 0.3:  # a faint halo that nobody outlines
        weight = np.maximum(weight, 0.2 * _smooth(soft, 2.5 / voxel_mm))
    # added to the tissue: without its grain a lesion would be known by its smoothness
    below = np.maximum(_smooth(image, 2.0 / voxel_mm), middle - 1.5 * spread)
    image = image + weight * np.maximum(plateau - below, 0.3 * spread)
    if core.any():
        image = _add_core(rng, image, core, (middle, spread), voxel_mm)
    elif rng.random() < 0.2:
        image = _darken_centres(rng, image, _smooth(soft, 2.5 / voxel_mm), middle, voxel_mm)
    return np.asarray(image, dtype=np.float32)


def _border(
    rng: Rng, soft: NDArray[np.float32], voxel_mm: float, small: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Blur lesions, in most heads some of them, or one side of them, more than others."""
    sharp, dull = rng.uniform(0.4, 0.8), rng.uniform(0.9, 2.1)
    blurred = _smooth(soft, sharp / voxel_mm)
    change = (_smooth(soft, dull / voxel_mm) - blurred) * (1 - small)
    if rng.random() < 0.3:
        return np.asarray(blurred + change * rng.choice([0.0, 0.0, 1.0]), np.float32)
    mixed = space.smooth_field(rng, soft.shape, rng.uniform(8, 25), voxel_mm)
    share = np.clip(0.5 + mixed, 0, 1) * rng.uniform(0.3, 1.0)
    return np.asarray(blurred + change * share, np.float32)


def _darken_centres(
    rng: Rng,
    image: NDArray[np.float32],
    wide: NDArray[np.float32],
    middle: float,
    voxel_mm: float,
) -> NDArray[np.float32]:
    """Let some lesions have dark centres: black holes, old infarcts."""
    holes = np.clip((wide - 0.8) / 0.15, 0, 1) * (
        space.smooth_field(rng, image.shape, 8, voxel_mm) > rng.uniform(0.3, 1.5)
    )
    return np.asarray(image + holes * (middle * rng.uniform(0.3, 0.9) - image))


def hollow(
    rng: Rng, image: NDArray[np.float32], hole: NDArray[np.float32], labels: NDArray[np.uint16]
) -> NDArray[np.float32]:
    """Fill holes with fluid like that of the ventricles, at times a little brighter.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal.
    hole : ndarray of float32, shape (X, Y, Z)
        Share of a hole in each voxel.
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.

    Returns
    -------
    painted : ndarray of float32, shape (X, Y, Z)
        Signal.
    """
    fluid = image[np.isin(labels, lb.VENTRICLES)]
    level = float(np.median(fluid)) if fluid.size else 0.2
    soft = ndimage.gaussian_filter(hole, 0.5, truncate=2.5)
    return np.asarray(image + soft * (level * rng.uniform(0.8, 2.0) - image), np.float32)


def _own_levels(
    rng: Rng, soft: NDArray[np.float32], voxel_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how bright each lesion and what lies around it is, next to the others of the head.

    Also how small it is, from 1 to 0: the borders of small ones are sharp, and take less of what
    they have in the middle, so that they are as bright as others in the image.
    """
    parts, count = cc3d.connected_components(soft > 0.3, connectivity=26, return_N=True)
    around = ndimage.maximum_filter(parts, 7)
    volume = cc3d.statistics(parts)["voxel_counts"].astype(np.float32) * voxel_mm**3
    small = np.exp(-volume / SMALL_MM3)
    own = np.exp(0.25 * rng.standard_normal(count + 1, np.float32)) * (1 + BRIGHTER * small)
    number = np.where(parts > 0, parts, around)
    return np.asarray(own[number]), np.asarray(small[number])


def _add_core(
    rng: Rng,
    image: NDArray[np.float32],
    core: NDArray[np.float32],
    scale: tuple[float, float],
    voxel_mm: float,
) -> NDArray[np.float32]:
    """Mass of a tumour: patchy, often with a necrotic middle."""
    middle, spread = scale
    field = space.smooth_field(rng, image.shape, rng.uniform(5, 14), voxel_mm)
    patchy = middle + spread * (rng.uniform(1.0, 4.5) + rng.uniform(0.2, 1.5) * field)
    edge = np.clip(_smooth(core, 1.5 / voxel_mm) * 1.2, 0, 1)
    image = image + edge * (patchy - _smooth(image, 2.0 / voxel_mm))  # keeps grain
    if rng.random() < 0.4:
        deep = (_smooth(core, rng.uniform(3, 6) / voxel_mm) - 0.75) / 0.2
        image = image + np.clip(deep, 0, 1) * (middle * rng.uniform(0.2, 1.3) - image)
    return np.maximum(image, 0.01)


def _smooth(array: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(array, sigma, truncate=2.5))

"""Tumours and strokes: large lesions, which falx and tentorium stop."""

from __future__ import annotations

import numpy as np

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.places import (
    NOT_CORTEX_TABLE,
    TISSUE_TABLE,
    Field,
    Mask,
    Places,
)
from bids_flairseg.train.synthesis.space import Rng, smooth_field

_LEFT = (2, 3, 10, 11, 12, 13, 17, 18, 25, 26, 28)
_RIGHT = (41, 42, 49, 50, 51, 52, 53, 54, 57, 58, 60)
# Falx and tentorium lie between these; the brainstem (0) belongs to all.
_COMPARTMENT = lb.table({_LEFT: 1, _RIGHT: 2, lb.CEREBELLAR_CORTEX + lb.CEREBELLAR_WHITE: 3})
_CROSSES = 0.2  # share of tumours that take the corpus callosum to the other side


def tumour(rng: Rng, places: Places) -> tuple[Mask, Mask]:
    """Return a mass with oedema that spreads along white matter and spares cortex.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.

    Returns
    -------
    lesion : ndarray of bool, shape (X, Y, Z)
        Mass and oedema.
    core : ndarray of bool, shape (X, Y, Z)
        The mass.
    """
    shape = places.labels.shape
    tissue = TISSUE_TABLE[places.labels] > 0
    radius = np.exp(rng.uniform(np.log(9), np.log(36)))
    where = places.white | (NOT_CORTEX_TABLE[places.labels] > 0)
    distance = _from_random_centre(rng, where, places, crosses=rng.random() < _CROSSES)
    distance = distance + radius * rng.uniform(0.12, 0.3) * smooth_field(
        rng, shape, radius * 0.9, 1
    )
    core = (
        (distance < radius * rng.uniform(0.35, 0.9)) & (places.labels > 0) & (places.labels < 500)
    )
    fingers = distance + rng.uniform(2, 6) * smooth_field(rng, shape, 9, 1)
    spread = places.white if rng.random() < 0.75 else tissue
    oedema = (fingers < radius * rng.uniform(0.95, 1.25)) & spread
    return core | oedema, core


def stroke(rng: Rng, places: Places) -> Mask:
    """Return one or a few territories of cortex and white matter.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.

    Returns
    -------
    lesion : ndarray of bool, shape (X, Y, Z)
        Brain tissue only.
    """
    shape = places.labels.shape
    tissue = TISSUE_TABLE[places.labels] > 0
    lesion = np.zeros(shape, bool)
    single = rng.random() < 0.6
    for _ in range(1 if single else int(rng.integers(2, 7))):
        radius = np.exp(rng.uniform(*np.log((8, 42) if single else (3, 12))))
        start = places.cortex if rng.random() < 0.7 else tissue
        distance = _from_random_centre(rng, start, places)
        distance = distance + 0.28 * radius * smooth_field(rng, shape, max(radius * 0.8, 4), 1)
        lesion |= distance < radius
    return np.asarray(lesion & tissue)


def _from_random_centre(rng: Rng, where: Mask, places: Places, *, crosses: bool = False) -> Field:
    """Distance in mm from a random voxel, shorter along a random direction.

    It is infinite beyond the tentorium and, unless the lesion crosses, beyond the falx.
    """
    coarse = np.argwhere(where[::4, ::4, ::4])
    centre = coarse[int(rng.integers(len(coarse)))] * 4
    factors = rng.uniform(0.75, 1.35, 3)
    grid = np.ogrid[tuple(slice(0, n) for n in where.shape)]
    squares = sum(((g - c) * f) ** 2 for g, c, f in zip(grid, centre, factors, strict=True))
    compartment = _COMPARTMENT[places.labels]
    if crosses:
        compartment = np.where(compartment == 2, 1, compartment)
    here = compartment[tuple(centre)]
    beyond = (compartment > 0) & (compartment != here) if here else np.zeros(where.shape, bool)
    return np.where(beyond, np.inf, np.sqrt(squares)).astype(np.float32)

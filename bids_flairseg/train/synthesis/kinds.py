"""Which lesions a head has, in the space of its label map (1 mm)."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.train.synthesis import shapes as sh
from bids_flairseg.train.synthesis import space, territories
from bids_flairseg.train.synthesis.outline import LEAST_VOXELS
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.shapes import LesionShapes
from bids_flairseg.train.synthesis.space import Rng

KINDS = ("none", "real", "demyelination", "small vessel", "tumour", "stroke")
_SHARES = (0.25, 0.24, 0.14, 0.11, 0.15, 0.11)
_TAKEN_OUT = 0.15  # share of the tumours
_LACUNES = {"small vessel": 0.4, "stroke": 0.25}  # how often there are some, else one in ten


@dataclass(frozen=True)
class Lesions:
    """Lesions of one head in its label space.

    Parameters
    ----------
    mask : ndarray of float32, shape (X, Y, Z)
        1 in lesions.
    core : ndarray of float32, shape (X, Y, Z)
        1 in the mass of a tumour.
    hole : ndarray of float32, shape (X, Y, Z)
        1 in lacunes and where a tumour was taken out: fluid, and no part of the lesions.
    kind : str
        One of ``none``, ``real``, ``demyelination``, ``small vessel``,
        ``tumour``, ``stroke``.
    """

    mask: NDArray[np.float32]
    core: NDArray[np.float32]
    hole: NDArray[np.float32]
    kind: str

    @property
    def maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Lesions, cores and holes."""
        return self.mask, self.core, self.hole


def draw_lesions(
    rng: Rng, places: Places, real: LesionShapes | None, kind: str | None = None
) -> Lesions:
    """Draw the lesions of a head.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.
    real : LesionShapes or None
        Shapes outlined by raters.
    kind : str or None
        Kind of lesion; None draws one.

    Returns
    -------
    lesions : Lesions
        In the label space of the head.
    """
    kind = kind or str(rng.choice(KINDS, p=_SHARES))
    mask, core = _draw_kind(rng, places, real, kind)
    hole = np.zeros(mask.shape, bool)
    if kind == "tumour" and rng.random() < _TAKEN_OUT:
        hole, core = core, hole
    if kind in ("tumour", "stroke", "real") and rng.random() < 0.25:
        mask = mask | sh.demyelination(rng, places)
    if kind != "none" and rng.random() < 0.3:
        mask = mask | sh.punctate(rng, places)
    old = np.isin(places.labels, (25, 57))  # white-matter lesions of the person scanned
    if kind != "none" and old.any() and rng.random() < 0.6:
        mask = mask | old
    if rng.random() < _LACUNES.get(kind, 0.1):
        lacunes, rims = sh.cavities(rng, places, mask)
        hole = hole | lacunes
        mask = mask | rims if kind != "none" else mask
    mask = mask & ~hole
    mask = cc3d.dust(mask, threshold=LEAST_VOXELS, connectivity=26) > 0
    return Lesions(mask.astype(np.float32), core.astype(np.float32), hole.astype(np.float32), kind)


def _draw_kind(
    rng: Rng, places: Places, real: LesionShapes | None, kind: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return all of the lesion and, for tumours, its core."""
    nothing = np.zeros(places.labels.shape, bool)
    if kind == "none":
        return nothing, nothing
    if kind == "tumour":
        return territories.tumour(rng, places)
    if kind == "real" and real is not None:
        return real.draw(rng, places), nothing
    generators = {"small vessel": sh.small_vessel, "stroke": territories.stroke}
    return generators.get(kind, sh.demyelination)(rng, places), nothing


def push(
    rng: Rng,
    where: NDArray[np.float32],
    lesions: Lesions,
    offset: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """Let the mass of most tumours take its space from what lies around it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    where : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel lies in a label map; changed.
    lesions : Lesions
        Of the head.
    offset : tuple of int
        Voxel of that label map at which the space of the lesions begins.
    """
    if lesions.core.any() and rng.random() < 0.7:
        mass = np.argwhere(lesions.core[::2, ::2, ::2] > 0).mean(0) * 2 + offset
        amount = rng.uniform(0.1, 0.45)
        space.magnify(where, mass, radius_mm=rng.uniform(14, 32), amount=amount)

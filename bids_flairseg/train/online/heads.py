"""Label maps and lesions as the device wants them: small numbers, four to a word.

Written with numpy, in processes that need no JAX.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.atrophy import Sulci
from bids_flairseg.train.synthesis.kinds import draw_lesions
from bids_flairseg.train.synthesis.places import Places, landmarks
from bids_flairseg.train.synthesis.shapes import LesionShapes
from bids_flairseg.train.synthesis.space import Rng, Shape, stretch

NUMBERS = (
    0, *lb.CORTEX, *lb.WHITE, *lb.VENTRICLES, *lb.DEEP_GREY, *lb.CEREBELLAR_CORTEX,
    *lb.CEREBELLAR_WHITE, *lb.BRAINSTEM, *lb.CSF, *lb.VESSELS, *range(500, 540),
)  # fmt: skip
"""Label numbers in the order of their indices on the device."""

STEP_MM = 0.125
"""Distances are stored in multiples of this, plus 128."""
DEPTH_STEP_MM = 0.025
"""Depths are stored in multiples of this."""
PART, SHELL, CORE, HOLE = 4095, 4096, 8192, 16384
"""Bits of a lesion map: number of the part, whether this is only the tissue around it, the mass of
a tumour, and holes, which fluid fills."""

_EYES = 506
_LATERAL = lb.table({(4, 43): 1})


class Head(NamedTuple):
    """A label map with what is measured on it; on the device, several of them.

    Parameters
    ----------
    words : ndarray of uint32, shape (X, Y, Z)
        From the lowest byte: index of the label, then distances to the ventricles, to the
        surface of the brain (negative inside) and, halved, to the eyes. Sulci are filled.
    depth : ndarray of uint8, shape (X, Y, Z)
        How deep in the cortex a voxel lies; see ``synthesis.atrophy.Sulci``.
    classes : ndarray of uint8, shape (X, Y, Z)
        Index into ``labels.CLASSES``, of the head with its sulci filled.
    ventricles, centre : ndarray of float32, shape (3,)
        Voxel in the middle of the lateral ventricles, and of the brain.
    landmarks : ndarray of float32, shape (10, 3)
        See ``places.landmarks``.
    """

    words: Any
    depth: Any
    classes: Any
    ventricles: Any
    centre: Any
    landmarks: Any


def pack_head(labels: NDArray[np.uint16], to_ventricles: NDArray[np.float32]) -> Head:
    """Measure a label map.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map at 1 mm, RAS+.
    to_ventricles : ndarray of float32, shape (X, Y, Z)
        Distance to the lateral ventricles in mm.

    Returns
    -------
    head : Head
        Distances are computed at 2 mm.
    """
    index = np.zeros(1024, np.uint32)
    index[list(NUMBERS)] = np.arange(len(NUMBERS))
    coarse = labels[::2, ::2, ::2]
    envelope = lb.brain_envelope(coarse, 2.0)
    surface = _to(envelope) - _to(~envelope)
    eyes = coarse == _EYES
    near_eyes = _to(eyes) if eyes.any() else np.full(coarse.shape, 99.0)
    sulci = Sulci.of(labels)
    words = index[sulci.labels]
    for shift, distance in ((8, to_ventricles), (16, _fine(surface, labels)),
                            (24, _fine(near_eyes / 2, labels))):  # fmt: skip
        stored = np.clip(np.rint(distance / STEP_MM) + 128, 0, 255).astype(np.uint32)
        words |= stored << np.uint32(shift)
    lateral = np.argwhere(_LATERAL[labels[::3, ::3, ::3]] > 0) * 3
    brain = np.argwhere(envelope) * 2
    middle = brain.mean(0)
    return Head(
        words,
        np.clip(np.rint(sulci.depth / DEPTH_STEP_MM), 0, 255).astype(np.uint8),
        lb.anatomy_classes(sulci.labels, 1.0),
        np.asarray(lateral.mean(0) if len(lateral) else middle, np.float32),
        np.asarray((brain.min(0) + brain.max(0)) / 2, np.float32),
        landmarks(labels),
    )


def _to(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(ndimage.distance_transform_edt(~mask)) * 2


def _fine(coarse: NDArray[np.float64], labels: NDArray[np.uint16]) -> NDArray[np.float32]:
    x, y, z = labels.shape
    return stretch(coarse.astype(np.float32), (x, y, z))


class LesionMap(NamedTuple):
    """Lesions in the space of a head.

    Parameters
    ----------
    codes : ndarray of uint16, shape (X, Y, Z)
        See :data:`PART`, :data:`SHELL`, :data:`CORE` and :data:`HOLE`; 0 where there is none.
    mass : ndarray of float32, shape (3,)
        Voxel in the middle of a tumour's mass; NaN without one.
    level : int
        Which contrast: 0 of none, 1 of most lesions, 2 of a tumour, 3 of a stroke.
    """

    codes: Any
    mass: Any
    level: Any


def draw_map(rng: Rng, places: Places, real: LesionShapes | None) -> LesionMap:
    """Draw the lesions of a head and number their parts.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.
    real : LesionShapes or None
        Shapes outlined by raters.

    Returns
    -------
    lesions : LesionMap
        Of more than 4,095 parts, some share a number.
    """
    lesions = draw_lesions(rng, places, real)
    codes = np.where(lesions.hole > 0, HOLE, 0).astype(np.uint16)
    found = ndimage.find_objects((lesions.mask > 0).astype(np.int8))
    if not found:
        return LesionMap(codes, np.full(3, np.nan, np.float32), 0)
    box = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in found[0])
    parts = cc3d.connected_components(lesions.mask[box] > 0, connectivity=26)
    numbers = np.where(parts > 0, (parts - 1) % PART + 1, 0).astype(np.uint16)
    near = ndimage.maximum_filter(numbers, 7)
    codes[box] |= np.where(numbers > 0, numbers, np.where(near > 0, near | SHELL, 0))
    core = lesions.core > 0
    codes[core & (codes & PART > 0)] |= CORE
    mass = np.argwhere(core).mean(0) if core.any() else np.full(3, np.nan)
    level = {"tumour": 2, "stroke": 3}.get(lesions.kind, 1)
    return LesionMap(codes, np.asarray(mass, np.float32), level)


def pad(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Add zeros at the end of each axis, or cut it, to a shape.

    Parameters
    ----------
    array : ndarray, shape (A, B, C)
        Any.
    shape : tuple of int
        Shape (X, Y, Z) of the result.

    Returns
    -------
    padded : ndarray, shape (X, Y, Z)
        Same type.
    """
    cut = array[tuple(slice(0, n) for n in shape)]
    return np.pad(cut, [(0, n - m) for n, m in zip(shape, cut.shape, strict=True)])

"""Shapes of lesions in the space of a head's label map (1 mm)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_flairseg.errors import MissingInputError
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.contrast import blobs
from bids_flairseg.train.synthesis.places import BRAIN_TABLE, Field, Mask, Places
from bids_flairseg.train.synthesis.space import Rng, smooth_field

_INFRATENTORIAL = lb.CEREBELLAR_WHITE + lb.BRAINSTEM
_TISSUE = lb.table({lb.WHITE + lb.DEEP_GREY + _INFRATENTORIAL: 1, lb.CORTEX: 1})
_NOT_CORTEX = lb.table({lb.WHITE + lb.DEEP_GREY + _INFRATENTORIAL: 1})
_LOW = lb.table({_INFRATENTORIAL: 1})
_LEFT = (2, 3, 10, 11, 12, 13, 17, 18, 25, 26, 28)
_RIGHT = (41, 42, 49, 50, 51, 52, 53, 54, 57, 58, 60)
# Falx and tentorium lie between these; the brainstem (0) belongs to all.
_COMPARTMENT = lb.table({_LEFT: 1, _RIGHT: 2, lb.CEREBELLAR_CORTEX + lb.CEREBELLAR_WHITE: 3})
_CROSSES = 0.2  # share of tumours that take the corpus callosum to the other side
_BRIDGED = 30  # voxels of a lesion from which on a gap to the ventricle is closed


@dataclass(frozen=True)
class LesionShapes:
    """Lesion masks outlined by raters, each cropped to its brain.

    Parameters
    ----------
    masks : tuple of ndarray of bool, shape (X, Y, Z)
        RAS+, 1 mm, the crop being the bounding box of the brain.
    """

    masks: tuple[Mask, ...]

    @classmethod
    def read(cls, folder: Path, *, leave_out: Collection[str] = ()) -> LesionShapes:
        """Read all ``*_label-lesion_mask.nii.gz`` that have a brain mask beside them.

        Parameters
        ----------
        folder : Path
            Folder with one sub-folder per patient.
        leave_out : collection of str
            Patients, without ``sub-``, whose scans are to test the network.

        Returns
        -------
        shapes : LesionShapes
            In order of file names.

        Raises
        ------
        MissingInputError
            If there is none.
        """
        masks = []
        for path in sorted(folder.glob("sub-*/anat/*_label-lesion_mask.nii.gz")):
            if path.parents[1].name.removeprefix("sub-") in leave_out:
                continue
            brain = path.with_name(path.name.replace("label-lesion", "desc-brain"))
            box = ndimage.find_objects(_read_mask(brain).astype(np.int8))[0]
            masks.append(_read_mask(path)[box])
        if not masks:
            raise MissingInputError(
                f"{folder}: expected sub-*/anat/*_label-lesion_mask.nii.gz, found none."
            )
        return cls(tuple(masks))

    def draw(self, rng: Rng, places: Places) -> Mask:
        """Place one patient's lesions into a head by the boxes of both brains.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        places : Places
            The head.

        Returns
        -------
        lesions : ndarray of bool, shape (X, Y, Z)
            Kept out of CSF and, mostly, of the cortex; gaps between a lesion that is not
            small and the ventricle that it touched are bridged.
        """
        mask = self.masks[int(rng.integers(len(self.masks)))]
        if rng.random() < 0.5:
            mask = mask[::-1]
        inside = np.argwhere(BRAIN_TABLE[places.labels[::3, ::3, ::3]] > 0)
        low, high = inside.min(0) * 3, inside.max(0) * 3
        index = []
        for axis in range(3):
            stretch_by = rng.uniform(0.94, 1.06)
            t = (np.arange(places.labels.shape[axis]) - low[axis]) / (high[axis] - low[axis])
            t = (t - 0.5) / stretch_by + 0.5 + rng.uniform(-0.015, 0.015)
            index.append(
                np.clip(np.rint(t * (mask.shape[axis] - 1)), 0, mask.shape[axis] - 1).astype(int)
            )
        lesions = mask[np.ix_(*index)]
        near = places.to_ventricles < 5
        wide = cc3d.dust(lesions & near, threshold=_BRIDGED, connectivity=26)
        reach = int(rng.integers(1, 3))
        lesions = lesions | (ndimage.binary_dilation(wide, iterations=reach) & near)
        allowed = _NOT_CORTEX if rng.random() < 0.6 else _TISSUE
        return np.asarray(lesions & (allowed[places.labels] > 0))


def _read_mask(path: Path) -> Mask:
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(np.asanyarray(image.dataobj) > 0)


def rough(rng: Rng, soft: Field, amount: float, knots_mm: float) -> Mask:
    """Cut soft blobs at a level that wobbles, so that borders are irregular.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    soft : ndarray of float32, shape (X, Y, Z)
        Weights from 0 to 1.
    amount : float
        Standard deviation of the level.
    knots_mm : float
        Size of the wobbles in mm.

    Returns
    -------
    mask : ndarray of bool, shape (X, Y, Z)
        Where the weight exceeds the level.
    """
    return np.asarray(soft > 0.5 + amount * smooth_field(rng, soft.shape, knots_mm, 1.0))


def small_vessel(rng: Rng, places: Places) -> Mask:
    """Return caps and bands around the ventricles, confluent and punctate deep lesions.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.

    Returns
    -------
    lesions : ndarray of bool, shape (X, Y, Z)
        Cerebral white matter only.
    """
    shape = places.labels.shape
    reach = rng.uniform(-3, 5) + rng.uniform(2, 5) * smooth_field(
        rng, shape, rng.uniform(12, 28), 1
    )
    lesions = places.to_ventricles < np.maximum(reach, rng.choice([0.0, 1.2]))
    if rng.random() < 0.5:
        patches = smooth_field(rng, shape, rng.uniform(8, 20), 1)
        lesions |= (patches > rng.uniform(1.1, 2.2)) & (places.to_cortex > rng.uniform(1, 5))
    count = int(rng.exponential(14))
    if count:
        dots = blobs(rng, shape, places.white & (places.to_cortex > 2), count, (1.0, 4.5), 1)
        lesions |= rough(rng, dots, 0.2, 4)
    if rng.random() < 0.3:
        lesions |= rough(rng, blobs(rng, shape, _LOW[places.labels] > 0, 3, (1.5, 6), 1), 0.2, 5)
    return np.asarray(lesions & (places.white | (_LOW[places.labels] > 0)))


def demyelination(rng: Rng, places: Places) -> Mask:
    """Return ovoid periventricular, juxtacortical, infratentorial and scattered lesions.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.

    Returns
    -------
    lesions : ndarray of bool, shape (X, Y, Z)
        White matter, deep grey, and for some the cortex.
    """
    shape, white = places.labels.shape, places.white
    load = rng.choice([0.25, 0.6, 1.0, 2.0])
    sites = (
        (white & (places.to_ventricles < 5), 14, (1.5, 7)),
        (white & (places.to_cortex < 2.0), 8, (1.0, 4)),
        (white & (places.to_cortex > 3), 10, (1.0, 6)),
        (_LOW[places.labels] > 0, 3, (1.2, 5)),
    )
    lesions = np.zeros(shape, bool)
    for where, mean, radii in sites:
        count = int(rng.poisson(mean * load * rng.uniform(0.1, 1.5)))
        if count:
            lesions |= rough(rng, blobs(rng, shape, where, count, radii, 1), 0.22, 5)
    allowed = _TISSUE if rng.random() < 0.4 else _NOT_CORTEX
    return np.asarray(lesions & (allowed[places.labels] > 0))


def punctate(rng: Rng, places: Places) -> Mask:
    """Return many small round lesions anywhere in white matter.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.

    Returns
    -------
    lesions : ndarray of bool, shape (X, Y, Z)
        5 to 60 of some 5 to 70 mm^3.
    """
    count = int(np.exp(rng.uniform(*np.log((5, 60)))))
    where = places.white & (places.to_cortex > 0.5)
    dots = blobs(rng, places.labels.shape, where, count, (1.2, 2.6), 1)
    return np.asarray((dots > 0.5) & places.white)


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
    tissue = _TISSUE[places.labels] > 0
    radius = np.exp(rng.uniform(np.log(9), np.log(36)))
    where = places.white | (_NOT_CORTEX[places.labels] > 0)
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
    tissue = _TISSUE[places.labels] > 0
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

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
from bids_flairseg.train.synthesis.places import (
    BRAIN_TABLE,
    NOT_CORTEX_TABLE,
    TISSUE_TABLE,
    Field,
    Mask,
    Places,
)
from bids_flairseg.train.synthesis.space import Rng, smooth_field

_LOW = lb.table({lb.CEREBELLAR_WHITE + lb.BRAINSTEM: 1})
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
            Patients, with or without ``sub-``, whose scans are to test the network.

        Returns
        -------
        shapes : LesionShapes
            In order of file names.

        Raises
        ------
        MissingInputError
            If there is none, or none of a patient to leave out: a mistyped one would be learned.
        """
        masks = []
        for path in cls.find(folder, leave_out=leave_out):
            brain = path.with_name(path.name.replace("label-lesion", "desc-brain"))
            box = ndimage.find_objects(_read_mask(brain).astype(np.int8))[0]
            masks.append(_read_mask(path)[box])
        return cls(tuple(masks))

    @staticmethod
    def find(folder: Path, *, leave_out: Collection[str] = ()) -> list[Path]:
        """Return the lesion masks that :meth:`read` reads; see there."""
        paths = sorted(folder.glob("sub-*/anat/*_label-lesion_mask.nii.gz"))
        there = {path.parents[1].name for path in paths}
        left_out = {f"sub-{patient.removeprefix('sub-')}" for patient in leave_out}
        if left_out - there:
            raise MissingInputError(
                f"{folder}: no lesion mask of {', '.join(sorted(left_out - there))}, which is to "
                "be left out; check the names."
            )
        kept = [path for path in paths if path.parents[1].name not in left_out]
        if not kept:
            raise MissingInputError(
                f"{folder}: expected sub-*/anat/*_label-lesion_mask.nii.gz, found none."
            )
        return kept

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
        allowed = NOT_CORTEX_TABLE if rng.random() < 0.6 else TISSUE_TABLE
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
    if rng.random() < 0.7:
        lesions |= fingers(rng, places, int(rng.poisson(8 * load)))
    allowed = TISSUE_TABLE if rng.random() < 0.4 else NOT_CORTEX_TABLE
    return np.asarray(lesions & (allowed[places.labels] > 0))


def fingers(rng: Rng, places: Places, count: int) -> Mask:
    """Return ovoids that stand upright on the lateral ventricles, as around the veins there.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.
    count : int
        Number of ovoids.

    Returns
    -------
    lesions : ndarray of bool, shape (X, Y, Z)
        1.5 to 4 times as long as wide; not cut to any tissue.
    """
    lesions = np.zeros(places.labels.shape, bool)
    sites = np.argwhere(places.white & (places.to_ventricles > 1) & (places.to_ventricles < 9))
    for place in sites[rng.integers(len(sites), size=count)] if len(sites) else ():
        half = np.exp(rng.uniform(np.log(0.9), np.log(2.8)))
        length = half * rng.uniform(1.5, 4)
        reach = int(np.ceil(length * 1.3)) + 1
        low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, lesions.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        slope = [float(step.mean()) for step in np.gradient(places.to_ventricles[box])]
        away = np.array(slope) / max(float(np.linalg.norm(slope)), 1e-6)
        apart = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)],
                                     indexing="ij"), -1) - place  # fmt: skip
        along = apart @ away
        across = (apart**2).sum(-1) - along**2
        inside = (along / length) ** 2 + across / half**2
        lesions[box] |= inside < 1 + 0.25 * smooth_field(rng, inside.shape, 4, 1)
    return lesions


def cavities(rng: Rng, places: Places, lesions: Mask) -> tuple[Mask, Mask]:
    """Return lacunes: holes filled by fluid, some with a bright rim.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.
    lesions : ndarray of bool, shape (X, Y, Z)
        The other lesions, within which half of the holes lie.

    Returns
    -------
    holes : ndarray of bool, shape (X, Y, Z)
        Up to 8 of some 3 to 12 mm, in white matter, deep grey and brainstem.
    rims : ndarray of bool, shape (X, Y, Z)
        1 to 3 mm around those that have one.
    """
    tissue = NOT_CORTEX_TABLE[places.labels] > 0
    within = lesions & tissue
    where = within if within.any() and rng.random() < 0.5 else tissue
    holes, rims = np.zeros(tissue.shape, bool), np.zeros(tissue.shape, bool)
    for rim in (False, True):
        count = int(rng.integers(0, 5))
        if count:
            soft = blobs(rng, tissue.shape, where, count, (1.5, 5), 1)
            some = rough(rng, soft, 0.15, 4) & tissue
            holes |= some
            if rim:
                rims |= ndimage.binary_dilation(some, iterations=int(rng.integers(1, 4)))
    return holes, rims & tissue & ~holes


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

"""From a preprocessed scan and the masks drawn on it to a stored case and what is odd about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.measure.agreement import dice
from bids_flairseg.measure.arrays import bounding_box, voxel_spacing, voxel_volume_ml
from bids_flairseg.preprocess.grid import new_image, resample, restore, voxels
from bids_flairseg.preprocess.mask import label_on_grid
from bids_flairseg.train.raters import combine
from bids_flairseg.train.store import StoredCase, zero_outside

_MARGIN = 4  # voxels around the brain, so that its surface is seen from outside


@dataclass(frozen=True)
class LabelOptions:
    """How masks are read.

    Attributes
    ----------
    rule : str
        How several raters' masks become one, see `bids_flairseg.train.raters.combine`.
    values : tuple of int
        Values that mean lesion; none where masks have one value besides 0.
    """

    rule: str = "majority"
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class CaseInfo:
    """Who a case is.

    Attributes
    ----------
    name, participant : str
        Names of the scan and of its participant (without ``sub-``).
    labels : tuple of Path
        Lesion masks, one per rater, at least one.
    attributes : mapping of str to str
        See `StoredCase`.
    """

    name: str
    participant: str
    labels: tuple[Path, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)


def build_case(
    info: CaseInfo,
    options: LabelOptions,
    *,
    flair: nib.Nifti1Image,
    brain: nib.Nifti1Image,
    prepared: nib.Nifti1Image,
) -> StoredCase:
    """Read the masks of a scan and put image and target into the box around the brain.

    Parameters
    ----------
    info : CaseInfo
        Who it is, and where its masks are.
    options : LabelOptions
        How they are read and combined.
    flair : Nifti1Image
        The FLAIR on the conformed grid.
    brain : Nifti1Image
        Its brain mask, on the same grid.
    prepared : Nifti1Image
        The FLAIR as the network wants it, on the isotropic grid.

    Returns
    -------
    StoredCase
        In memory. Facts beside those of the mask: ``flip`` (see `flip_scores`), ``digest``
        of the FLAIR's voxels, number of ``raters``, ``notes``.

    Raises
    ------
    InputError
        A mask cannot be used, or there is no brain.
    """
    read = [label_on_grid(path, flair, options.values) for path in info.labels]
    mask = combine([drawn for drawn, _ in read], options.rule)
    image, target, inside = _on_prepared(flair, brain, prepared, mask)
    facts = {
        **_facts(mask, np.asarray(brain.dataobj) > 0, np.asarray(flair.affine)),
        "flip": list(flip_scores(image, target, inside)),
        "digest": hashlib.sha256(np.ascontiguousarray(flair.dataobj).tobytes()).hexdigest(),
        "raters": len(info.labels),
        "notes": sorted({note for _, note in read if note}),
    }
    box = bounding_box(inside, margin=(_MARGIN,) * 3)
    if box is None:
        raise InputError("expected a brain, found none. Check the image and its brain mask.")
    return StoredCase(
        name=info.name,
        participant=info.participant,
        image=image[box].astype(np.float16),
        target=(target & inside)[box].astype(np.uint8),
        lesion_ml=float(facts["lesion_ml"]),
        attributes=info.attributes,
        affine=np.asarray(prepared.affine, np.float64),
        facts=facts,
    )


def _on_prepared(
    flair: nib.Nifti1Image,
    brain: nib.Nifti1Image,
    prepared: nib.Nifti1Image,
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return image, target and brain on the isotropic grid; zero is outside the brain only."""
    inside = voxels(restore(brain, prepared)) > 0.5
    edge = float(voxel_spacing(np.asarray(prepared.affine))[0])
    soft = new_image(mask.astype(np.float32), np.asarray(flair.affine))
    target = voxels(resample(soft, edge)) > 0.5
    return zero_outside(voxels(prepared), inside), target, inside


def _facts(
    mask: NDArray[np.bool_], brain: NDArray[np.bool_], affine: NDArray[np.float64]
) -> dict[str, Any]:
    """Measure a mask against the brain, on the grid of the FLAIR.

    ``outside`` is the share of the lesions outside the brain, ``brain_dice`` the Dice of both.
    """
    lesion = int(np.count_nonzero(mask))
    outside = int(np.count_nonzero(mask & ~brain))
    unit = voxel_volume_ml(affine)
    return {
        "voxel_mm": [round(edge, 3) for edge in voxel_spacing(affine)],
        "lesion_ml": round(lesion * unit, 4),
        "brain_ml": round(int(np.count_nonzero(brain)) * unit, 2),
        "outside": round(outside / lesion, 4) if lesion else 0.0,
        "brain_dice": round(dice(mask, brain), 4) if lesion else 0.0,
    }


def flip_scores(
    image: NDArray[np.float32], target: NDArray[np.bool_], brain: NDArray[np.bool_]
) -> tuple[float, float]:
    """Correlate lesions with bright voxels, as drawn and mirrored left to right.

    A mask whose file was mirrored is so about the middle of the field of view, one drawn
    for the wrong side about that of the brain; of both the better one counts.

    Parameters
    ----------
    image : ndarray of float32, shape (X, Y, Z)
        Normalised; the first axis runs left to right.
    target : ndarray of bool, shape (X, Y, Z)
        Lesions.
    brain : ndarray of bool, shape (X, Y, Z)
        Brain.

    Returns
    -------
    tuple of float
        Correlations over the brain, as drawn and mirrored; zeros without lesion.
    """
    box = bounding_box(brain)
    if box is None or not target.any():
        return 0.0, 0.0
    axis_length, side = target.shape[0], box[0]
    about_field = target[::-1]
    shift = side.start + min(side.stop, axis_length) - axis_length
    about_brain = np.roll(about_field, shift, axis=0)
    values = image[brain]
    scores = [_correlation(values, each[brain]) for each in (target, about_field, about_brain)]
    return round(scores[0], 4), round(max(scores[1:]), 4)


def _correlation(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    share = float(mask.mean())
    spread = float(values.std())
    if not 0 < share < 1 or not spread:
        return 0.0
    apart = float(values[mask].mean()) - float(values[~mask].mean())
    return apart * float(np.sqrt(share * (1 - share))) / spread

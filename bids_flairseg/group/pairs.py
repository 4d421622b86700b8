"""Mask files of the same scan, compared on the grid that they share."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation
from numpy.typing import NDArray

from bids_flairseg.bids.masks import Mask
from bids_flairseg.errors import InputError
from bids_flairseg.group.lesions import LesionColumns
from bids_flairseg.measure.agreement import Agreement, agreement
from bids_flairseg.measure.arrays import bounding_box, voxel_volume_ml
from bids_flairseg.measure.detection import RULES, Detection, detect
from bids_flairseg.measure.surfaces import SurfaceDistances, surface_distances
from bids_flairseg.preprocess.mask import (
    check_grid,
    open_mask,
    read_label,
    read_mask,
    turn_between,
)


@dataclass(frozen=True)
class PairNumbers:
    """All that is measured of a prediction and a reference; plain, so that it can be kept.

    Attributes
    ----------
    values : mapping of str to (float or None)
        By column of ``group_agreement.tsv``.
    lesions : LesionColumns
        One for each row of ``group_detection.tsv``: the lesions of both masks.
    """

    values: Mapping[str, float | None]
    lesions: LesionColumns


def compare_files(
    predicted: Mask,
    references: Sequence[Mask],
    *,
    min_lesion_ml: float = 0.0,
    regions: Path | None = None,
) -> PairNumbers:
    """Compare a mask file with a reference, or with what most of several raters marked.

    Axes in another order or direction are the same grid; nothing is ever interpolated.

    Parameters
    ----------
    predicted : Mask
        A NIfTI file of 0 and one other value, or of whole numbers, of which all above 0 count
        unless the mask names its labels; of probabilities only where it names a threshold.
    references : sequence of Mask
        One or more; of several, a voxel counts that more than half of them have.
    min_lesion_ml : float
        Smaller lesions of either mask do not count as lesions, only as volume.
    regions : Path, optional
        What `region_map` gave for this scan.

    Returns
    -------
    PairNumbers
        Overlap, volumes, distances and lesions.

    Raises
    ------
    GridError
        The grids differ.
    InputError
        A file cannot be read, or is no mask.
    """
    image, found, true = read_pair(predicted, references)
    voxel_ml = voxel_volume_ml(image.affine)
    box = bounding_box(found | true)
    places = None if regions is None else _regions(image, regions)
    if box is not None:  # the rest is empty in both
        found, true = found[box], true[box]
        places = None if places is None else places[box]
    detection = detect(found, true, voxel_ml=voxel_ml, min_ml=min_lesion_ml, regions=places)
    values = _values(
        agreement(found, true, voxel_ml=voxel_ml),
        detection,
        surface_distances(found, true, image.affine),
    )
    return PairNumbers(values, LesionColumns.of(detection))


def read_pair(
    predicted: Mask, references: Sequence[Mask]
) -> tuple[nib.Nifti1Image, NDArray[np.bool_], NDArray[np.bool_]]:
    """Read a prediction, and what more than half of the references have, on its grid.

    Parameters
    ----------
    predicted : Mask
        The prediction.
    references : sequence of Mask
        One or more.

    Returns
    -------
    Nifti1Image
        The prediction's image, for its grid.
    ndarray of bool, ndarray of bool
        Both masks, of its shape.

    Raises
    ------
    GridError
        The grids differ.
    InputError
        A file cannot be read, or is no mask.
    """
    image = open_mask(predicted.path)
    found = _read(image, predicted)
    marked = [_on_grid(image, reference) for reference in references]
    true = marked[0] if len(marked) == 1 else np.sum(marked, axis=0) * 2 > len(marked)
    return image, found, np.asarray(true, dtype=bool)


def _values(
    overlap: Agreement, detection: Detection, distances: SurfaceDistances | None
) -> dict[str, float | None]:
    """Arrange the numbers of one pair by column."""
    values: dict[str, float | None] = {
        "dice": overlap.dice,
        "jaccard": overlap.jaccard,
        "sensitivity": overlap.sensitivity,
        "precision": overlap.precision,
        "hausdorff95_mm": distances.hausdorff95_mm if distances else None,
        "surface_distance_mm": distances.mean_mm if distances else None,
        "predicted_volume_ml": overlap.predicted_ml,
        "reference_volume_ml": overlap.reference_ml,
        "volume_difference_ml": overlap.difference_ml,
        "volume_difference_percent": overlap.difference_percent,
        "predicted_lesions": detection.predicted.count,
        "reference_lesions": detection.reference.count,
    }
    for rule in RULES:
        counts = detection.counts(rule)
        values |= {
            f"detected_{rule}": counts.detected,
            f"missed_{rule}": counts.missed,
            f"false_{rule}": counts.false,
            f"lesion_f1_{rule}": counts.f1,
        }
    return values | {"panoptic_quality": detection.panoptic_quality}


def _regions(first: nib.Nifti1Image, path: Path) -> NDArray[np.uint8] | None:
    """Read the regions on the grid of an image, its axes turned where need be."""
    try:
        image = open_mask(path)
        turn = turn_between(first, image)
        check_grid(first, image, turn, path)
        data = np.asanyarray(image.dataobj).reshape(image.shape[:3])
    except (InputError, OSError, EOFError, ValueError, zlib.error):
        return None  # regions are an extra; the overlap stands without them
    return np.asarray(apply_orientation(data, turn), dtype=np.uint8)


def _on_grid(first: nib.Nifti1Image, reference: Mask) -> NDArray[np.bool_]:
    """Read a mask on the grid of an image, its axes turned where need be."""
    second = open_mask(reference.path)
    turn = turn_between(first, second)
    check_grid(first, second, turn, reference.path)
    turned: NDArray[np.bool_] = apply_orientation(_read(second, reference), turn)
    return turned


def _read(image: nib.Nifti1Image, mask: Mask) -> NDArray[np.bool_]:
    """Read the lesion voxels of a mask."""
    if mask.labels:
        return read_label(image, mask.path, mask.labels)
    if mask.threshold is None:
        return read_mask(image, mask.path)
    try:
        data = np.asanyarray(image.dataobj).reshape(image.shape[:3])
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f"{mask.path}: expected a NIfTI image, but it cannot be read ({error}). Copy or "
            "make it again."
        ) from error
    return np.asarray(data >= mask.threshold, dtype=bool)

"""Skull stripping: of three ways to a brain mask, the one that fits the image."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from nibabel.nifti1 import Nifti1Image

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.brain import (
    MIN_BRAIN_ML,
    Anatomy,
    Predict,
    brain_mask_from_classes,
    classes_on_grid,
    find_anatomy,
    is_skull_stripped,
    outside_fraction,
    stripped_mask,
)
from bids_flairseg.preprocess.grid import conform, new_image, restore, voxel_sizes
from bids_flairseg.preprocess.orientation import orientation_hints
from bids_flairseg.preprocess.quality import MIN_COVERAGE_MM, cut_faces

LOGGER = logging.getLogger(__name__)

SAME_GRID_MM = 0.1
"""Distance from which a voxel of a supplied mask lies elsewhere than that of the image."""

MAX_OUTSIDE = 0.35
"""Most of the foreground that may lie outside the network's brain if no head is there: a tumour
of 270 ml that the network takes for none of it has 0.26; a head has half."""

WHOLE_CM2 = 25.0
"""Most of the brain on a face of an image that still shows all of it; half a head has 80."""


@dataclass(frozen=True)
class Brain:
    """The brain of a scan and its parts.

    Attributes
    ----------
    mask : Nifti1Image
        uint8, 1 in the brain, on the grid of the image.
    classes : Nifti1Image
        uint8, anatomy classes on the same grid, 0 outside the mask.
    source : str
        ``network``, ``supplied``, ``resampled`` (supplied, on another grid) or ``stripped``.
    warnings : tuple of str
        What is unusual about a supplied mask, and about how the head lies.
    """

    mask: Nifti1Image
    classes: Nifti1Image
    source: str
    warnings: tuple[str, ...] = ()


def find_brain(
    image: Nifti1Image, predict: Predict, *, supplied: Nifti1Image | None = None, multiple: int = 16
) -> Brain:
    """Find the brain in a FLAIR.

    A supplied mask is taken as it is, or resampled with a warning if it lies on another
    grid. An image that is skull-stripped already, by its
    intensities and because the network sees no head around the brain, keeps all of its
    foreground. In all others the network's envelope is the mask.

    Parameters
    ----------
    image : Nifti1Image
        FLAIR on the conformed grid.
    predict : callable
        The anatomy network: (X, Y, Z) to (X, Y, Z, 7).
    supplied : Nifti1Image, optional
        Brain mask on any grid that covers the brain.
    multiple : int
        Voxels of which each edge of the network's input is a multiple.

    Returns
    -------
    Brain
        Mask, classes, and where the mask comes from.

    Raises
    ------
    InputError
        There is no brain, or the supplied mask has none within the image.
    """
    anatomy = find_anatomy(image, predict, multiple=multiple)
    warnings: tuple[str, ...] = ()
    if supplied is not None:
        mask, warnings = _on_grid(supplied, image), _compare_grids(supplied, image)
        source = "resampled" if warnings else "supplied"
    else:
        mask, source = _own_mask(image, anatomy)
    classes = classes_on_grid(anatomy.probabilities, anatomy.affine, mask)
    if _is_whole(mask):
        warnings = (*warnings, *orientation_hints(anatomy, predict))
    return Brain(mask, classes, source, warnings)


def _is_whole(mask: Nifti1Image) -> bool:
    """Whether the image shows all of the brain: part of one may be taken for another part."""
    zooms = voxel_sizes(np.asarray(mask.affine))
    if (np.array(mask.shape) * zooms).min() < MIN_COVERAGE_MM:
        return False
    return max(cut_faces(np.asanyarray(mask.dataobj) > 0, zooms).values()) <= WHOLE_CM2


def _own_mask(image: Nifti1Image, anatomy: Anatomy) -> tuple[Nifti1Image, str]:
    """Return the mask of a stripped image, or else the network's."""
    stripped = is_skull_stripped(image)
    try:
        mask = brain_mask_from_classes(anatomy.probabilities, anatomy.affine, image)
    except InputError as error:
        if not stripped:
            raise InputError(f"{error} The image has {_say_grid(image)}.") from error
        return stripped_mask(image), "stripped"
    if stripped and outside_fraction(image, mask) <= MAX_OUTSIDE:
        LOGGER.info("the image is skull-stripped already")
        return stripped_mask(image), "stripped"
    return mask, "network"


def _compare_grids(supplied: Nifti1Image, image: Nifti1Image) -> tuple[str, ...]:
    """Warn of a mask whose voxels are not those of the image, in whatever order."""
    turned = conform(supplied)
    difference = np.asarray(turned.affine) - np.asarray(conform(image).affine)
    last = np.array(turned.shape) - 1
    farthest = np.abs(difference[:3, :3]) @ last + np.abs(difference[:3, 3])  # mm, at most
    if turned.shape == conform(image).shape and farthest.max() < SAME_GRID_MM:
        return ()
    return (
        (
            f"The supplied brain mask ({_say_grid(supplied)}) lies on another grid than the FLAIR "
            f"({_say_grid(image)}): it was resampled to the nearest voxel."
        ),
    )


def _say_grid(image: Nifti1Image) -> str:
    edges = " x ".join(f"{edge:.3g}" for edge in voxel_sizes(np.asarray(image.affine)))
    return f"{' x '.join(map(str, image.shape))} voxels of {edges} mm"


def _on_grid(supplied: Nifti1Image, image: Nifti1Image) -> Nifti1Image:
    """Bring a supplied mask to the grid of the image."""
    inside = np.asanyarray(supplied.dataobj) > 0
    binary = new_image(inside, np.asarray(supplied.affine))
    mask = restore(binary, image, order=0)
    volume = np.count_nonzero(np.asanyarray(mask.dataobj)) / 1000
    volume *= float(np.prod(voxel_sizes(np.asarray(image.affine))))
    if volume < MIN_BRAIN_ML:
        raise InputError(
            f"expected a mask with the brain of this image, found {volume:.0f} ml of it within "
            "the image. Check that both lie in the same space."
        )
    return mask

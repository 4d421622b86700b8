"""Standard space: a brain's affine to the ICBM 152 template, and masks brought there.

Template: MNI152NLin2009aSym (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033), whose tissue
maps come with nilearn. Its left and right half are alike, so that neither is preferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.grid import new_image, resample, restore, voxel_sizes, voxels

#: Name of the template's space in BIDS.
SPACE = "MNI152NLin2009aSym"
ZOOM_MM = 2.0
"""Voxel edge in standard space."""

WHITE, GREY, FLUID = 0.6, 0.75, 0.15
"""Brightness of the template's tissues on a FLAIR."""

RANGE = (0.05, 1.0)
"""Brightness within the brain; what lies outside is 0."""

MOST_STRETCH = 1.6
"""A head's longest change of length over its shortest; more is no match."""


@dataclass(frozen=True)
class Match:
    """How a scan lies in standard space.

    Attributes
    ----------
    affine : ndarray of float, shape (4, 4)
        From the scan's RAS mm to those of the template.
    overlap : float
        Dice of both brains, 0 to 1.
    """

    affine: NDArray[np.float64]
    overlap: float


@lru_cache(maxsize=1)
def load_template() -> Nifti1Image:
    """Make the FLAIR-like template.

    Returns
    -------
    Nifti1Image
        float32, 0 outside the brain, 2 mm, axes towards right, front and top.
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    images = (load_mni152_gm_template(), load_mni152_wm_template())
    coarse = [resample(image, ZOOM_MM) for image in images]
    grey, white = (voxels(image) for image in coarse)
    tissue = np.clip(grey + white, 0, 1)
    flair = _close(tissue > 0.3) * (GREY * grey + WHITE * white + FLUID * (1 - tissue))
    return new_image(flair.astype(np.float32), np.asarray(coarse[0].affine))


def _close(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close sulci and cisterns of up to 16 mm, and fill what is inside."""
    steps = round(8 / ZOOM_MM)
    padded = np.pad(mask, steps + 1)
    grown = ndimage.distance_transform_edt(~padded) <= steps
    closed = ndimage.binary_fill_holes(ndimage.distance_transform_edt(grown) > steps)
    inner = slice(steps + 1, -steps - 1)
    return np.asarray(closed[inner, inner, inner], dtype=bool)


def match_template(brain: Nifti1Image, template: Nifti1Image | None = None) -> Match:
    """Find the affine from a brain to the template.

    First the middle and size of both are matched, then ANTs maximises their mutual information
    (Mattes) with all 12 parameters. The number of threads is that of
    ``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS`` in the environment of the process.

    Parameters
    ----------
    brain : Nifti1Image
        FLAIR on any grid, 0 outside the brain.
    template : Nifti1Image, optional
        What `load_template` gives.

    Returns
    -------
    Match
        Affine, and how well the outlines agree.

    Raises
    ------
    InputError
        There is no brain, or what was found is no affine that a head can have.
    """
    target = load_template() if template is None else template
    first = _first_guess(brain, target)
    moved = _move(_scaled(brain), first, target)
    affine = _refine(target, moved) @ first
    lengths = np.linalg.svd(affine[:3, :3], compute_uv=False)
    if np.linalg.det(affine[:3, :3]) <= 0 or lengths.max() > MOST_STRETCH * lengths.min():
        raise InputError("expected a brain that fits the template, found none that does.")
    there = voxels(_move(_outline(brain), affine, target)) > 0.5
    wanted = voxels(target) > 0
    overlap = 2.0 * float((there & wanted).sum()) / float(there.sum() + wanted.sum())
    return Match(affine, overlap)


def to_template(mask: Nifti1Image, affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bring a mask to standard space.

    Parameters
    ----------
    mask : Nifti1Image
        On any grid of the scan; above 0 counts.
    affine : ndarray of float, shape (4, 4)
        Of a `Match`.

    Returns
    -------
    ndarray of float32, shape of the template
        Share of each voxel that is marked, 0 to 1.
    """
    marked = new_image(np.asanyarray(mask.dataobj) > 0, np.asarray(mask.affine, dtype=np.float64))
    share = resample(new_image(voxels(marked), np.asarray(marked.affine)), ZOOM_MM)
    return np.clip(voxels(_move(share, affine, load_template())), 0, 1)


def _first_guess(brain: Nifti1Image, target: Nifti1Image) -> NDArray[np.float64]:
    """Match middle and size, nothing turned."""
    (here, size), (there, wanted) = _middle(brain), _middle(target)
    guess = np.eye(4)
    guess[:3, :3] *= (wanted / size) ** (1 / 3)
    guess[:3, 3] = there - guess[:3, :3] @ here
    return guess


def _middle(image: Nifti1Image) -> tuple[NDArray[np.float64], float]:
    """Return the centre of what is not 0, in mm, and its volume in mm^3."""
    affine = np.asarray(image.affine, dtype=np.float64)
    inside = np.argwhere(voxels(image) != 0)
    if len(inside) < 1000:
        raise InputError("expected a brain in the image, found none.")
    centre = affine[:3, :3] @ inside.mean(axis=0) + affine[:3, 3]
    return centre, float(len(inside) * np.prod(voxel_sizes(affine)))


def _outline(brain: Nifti1Image) -> Nifti1Image:
    return new_image((voxels(brain) != 0).astype(np.float32), np.asarray(brain.affine))


def _scaled(brain: Nifti1Image) -> Nifti1Image:
    """Bring the intensities of the brain to a common range, 0 staying 0."""
    data = voxels(brain)
    inside = data != 0
    low, high = np.percentile(data[inside], (1, 99))
    share = np.clip((data - low) / max(float(high - low), 1e-6), 0, 1)
    scaled = np.where(inside, RANGE[0] + (RANGE[1] - RANGE[0]) * share, 0)
    return new_image(scaled.astype(np.float32), np.asarray(brain.affine))


def _move(image: Nifti1Image, affine: NDArray[np.float64], target: Nifti1Image) -> Nifti1Image:
    """Sample an image where an affine puts it, on the grid of the target."""
    return restore(new_image(voxels(image), affine @ np.asarray(image.affine)), target)


def _refine(target: Nifti1Image, moved: Nifti1Image) -> NDArray[np.float64]:
    """Return the affine, from RAS mm of the second to those of the first, that ANTs finds.

    Both have the grid of the target, whose axes are those of RAS, and ANTs is given RAS mm for
    its physical space: no axis ever changes its sense.
    """
    import ants

    place = np.asarray(target.affine, dtype=np.float64)
    fixed, moving = (
        ants.from_numpy(voxels(image), origin=place[:3, 3].tolist(), spacing=[ZOOM_MM] * 3)
        for image in (target, moved)
    )
    with TemporaryDirectory() as folder:
        found = ants.registration(
            fixed,
            moving,
            "Affine",
            outprefix=str(Path(folder) / "to_"),
            aff_iterations=(1000, 500, 200),
            aff_shrink_factors=(4, 2, 1),
            aff_smoothing_sigmas=(2, 1, 0),
            random_seed=1,
        )
        # what ANTs keeps takes points of the fixed image to the moving one
        pull = ants.read_transform(found["fwdtransforms"][0])
        parameters, centre = np.asarray(pull.parameters), np.asarray(pull.fixed_parameters)
    matrix = parameters[:9].reshape(3, 3)
    backward = np.eye(4)
    backward[:3, :3] = matrix
    backward[:3, 3] = parameters[9:] + centre - matrix @ centre
    return np.asarray(np.linalg.inv(backward), dtype=np.float64)

"""A made-up scan, its masks, and what the main workflow would make of it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.preprocess.grid import new_image, resample, restore, voxels
from bids_flairseg.preprocess.normalise import normalise_array
from bids_flairseg.train.cases import CaseInfo, LabelOptions, build_case
from bids_flairseg.train.store import StoredCase

SHAPE = (40, 48, 40)


def draw(
    seed: int = 0, *, lesions: int = 3, zoom: float = 1.0, shape: tuple[int, int, int] = SHAPE
) -> tuple[nib.Nifti1Image, NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw an ellipsoid brain with bright balls on its left; return image, brain and lesions."""
    rng = np.random.default_rng(seed)
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    centre = [(n - 1) / 2 for n in shape]
    radius = sum(((g - c) / (0.42 * n)) ** 2 for g, c, n in zip(grid, centre, shape, strict=True))
    brain = np.asarray(radius < 1)
    data = np.where(brain, 100, 0) + np.where(radius < 0.1, -60, 0)
    mask = np.zeros(shape, bool)
    for _ in range(lesions):
        middle = [c + rng.uniform(-0.15, 0.15) * n for c, n in zip(centre, shape, strict=True)]
        middle[0] = centre[0] - rng.uniform(0.12, 0.25) * shape[0]
        mask |= sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)) < 3.0**2
    data = data + 60 * mask + rng.normal(0, 4, shape) * brain
    affine = np.diag([zoom, zoom, zoom, 1.0])
    return new_image(data.astype(np.float32), affine), brain, mask & brain


def save_mask(path: Path, mask: NDArray[np.generic], image: nib.Nifti1Image) -> Path:
    """Write a mask on the grid of an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), path)
    return path


def make_case(
    folder: Path,
    name: str = "sub-1",
    *,
    seed: int = 0,
    lesions: int = 3,
    mask: NDArray[np.generic] | None = None,
    values: tuple[int, ...] = (),
    zoom: float = 1.0,
    shape: tuple[int, int, int] = SHAPE,
) -> StoredCase:
    """Build a case as the workflow does, in memory."""
    image, brain, drawn = draw(seed, lesions=lesions, zoom=zoom, shape=shape)
    path = save_mask(folder / f"{name}_mask.nii.gz", drawn if mask is None else mask, image)
    prepared = resample(image, 1.0)
    brain_image = new_image(brain.astype(np.uint8), np.asarray(image.affine))
    inside = voxels(restore(brain_image, prepared)) > 0.5
    scaled = normalise_array(voxels(prepared), inside, kind="robust")
    return build_case(
        CaseInfo(name, name.removeprefix("sub-").split("_")[0], (path,), {"site": "A"}),
        LabelOptions(values=values),
        flair=image,
        brain=brain_image,
        prepared=new_image(scaled, np.asarray(prepared.affine)),
    )

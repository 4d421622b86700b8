"""A brain with lesions that no flip leaves where they are."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform
from numpy.typing import NDArray

from tests.conftest import rotation

SHAPE = (24, 30, 20)
#: Lesion 1: on the right, at the back, high; lesion 2: one voxel on the left, in front, low.
FIRST = (slice(16, 20), slice(6, 9), slice(12, 15))
SECOND = (7, 22, 7)


def make_head(
    zooms: tuple[float, float, float] = (6.0, 5.0, 7.0),
    *,
    axes: str = "RAS",
    tilt: float = 0.0,
    lesions: bool = True,
) -> tuple[nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image]:
    """Draw FLAIR, brain mask and numbered lesions, and store their axes in an order.

    The FLAIR is 0 outside the brain, 50 in it and 200 in lesions.
    """
    affine = np.eye(4)
    affine[:3, :3] = rotation(tilt, 0) @ rotation(tilt / 2, 2) @ np.diag(zooms)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    middle = (np.array(SHAPE) - 1) / 2
    brain = (((grid - middle) / (10.0, 13.0, 8.0)) ** 2).sum(axis=-1) < 1.0
    labels = np.zeros(SHAPE, dtype=np.int32)
    if lesions:
        labels[FIRST], labels[SECOND] = 1, 2
    flair = np.where(labels > 0, 200, np.where(brain, 50, 0)).astype(np.int16)
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))

    def stored(data: NDArray[np.generic]) -> nib.Nifti1Image:
        image: nib.Nifti1Image = nib.Nifti1Image(data, affine).as_reoriented(turn)
        return image

    return stored(flair), stored(brain.astype(np.uint8)), stored(labels)

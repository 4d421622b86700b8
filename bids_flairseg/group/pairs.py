"""Two mask files of the same scan, compared on the grid that they share."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import (
    apply_orientation,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.measure.agreement import Agreement, agreement
from bids_flairseg.measure.arrays import voxel_spacing, voxel_volume_ml

# Corners of two equal grids may lie this share of a voxel's shortest edge apart.
_TOLERANCE = 0.1
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)


class GridError(InputError):
    """Two masks do not lie on the same grid."""


def compare_files(predicted: Path, reference: Path) -> Agreement:
    """Compare two mask files.

    Axes in another order or direction are the same grid; nothing is ever interpolated.

    Parameters
    ----------
    predicted, reference : Path
        NIfTI files of 0 and one other value, or of whole numbers, of which all above 0 count.

    Returns
    -------
    Agreement
        Dice and both volumes.

    Raises
    ------
    GridError
        The grids differ.
    InputError
        A file cannot be read, or is no mask.
    """
    first, second = _open(predicted), _open(reference)
    turn = ornt_transform(io_orientation(second.affine), io_orientation(first.affine))
    _check_grid(first, second, turn, reference)
    turned = apply_orientation(_read_mask(second, reference), turn)
    return agreement(_read_mask(first, predicted), turned, voxel_ml=voxel_volume_ml(first.affine))


def _open(path: Path) -> nib.Nifti1Image:
    """Read the header of a mask; its data stays on the disk."""
    try:
        image = nib.Nifti1Image.from_filename(path)
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    if len(image.shape) < 3 or any(length != 1 for length in image.shape[3:]):
        raise InputError(f"{path}: expected a 3D mask, got shape {image.shape}. Take one volume.")
    if not np.isfinite(image.affine).all() or not np.linalg.det(image.affine):
        raise InputError(
            f"{path}: expected an affine that gives every voxel its place, got one without "
            "volume. Copy the header of the FLAIR to it."
        )
    return image


def _unreadable(path: Path, error: Exception) -> InputError:
    """Say that a file is damaged."""
    return InputError(
        f"{path}: expected a NIfTI image, but it cannot be read ({error}). Copy or make it again."
    )


def _check_grid(
    first: nib.Nifti1Image, second: nib.Nifti1Image, turn: NDArray[np.float64], path: Path
) -> None:
    """Make sure that one image has the grid of the other, once its axes are turned."""
    shape = tuple(second.shape[axis] for axis in np.argsort(turn[:, 0]))
    wanted = first.shape[:3]
    if shape != wanted:
        raise GridError(
            f"{path}: expected the grid of the FLAIR, {_by(wanted)} voxels, got {_by(shape)}. "
            "Resample the reference to the FLAIR."
        )
    affine = second.affine @ inv_ornt_aff(turn, second.shape[:3])
    corners = np.array([[*c, 1] for c in itertools.product(*((0, n - 1) for n in shape))])
    apart = np.linalg.norm((corners @ (affine - first.affine).T)[:, :3], axis=1).max()
    if apart > _TOLERANCE * min(voxel_spacing(first.affine)):
        raise GridError(
            f"{path}: expected the grid of the FLAIR, but its voxels lie up to {apart:.2g} mm "
            "off. Resample the reference to the FLAIR, or repair its header."
        )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


def _read_mask(image: nib.Nifti1Image, path: Path) -> NDArray[np.bool_]:
    """Read the data of a mask, whatever its number for lesion is."""
    try:
        data = np.asanyarray(image.dataobj).reshape(image.shape[:3])
        values = np.unique(data[data != 0])
    except (*_BROKEN, MemoryError) as error:
        raise _unreadable(path, error) from error
    whole = values.dtype.kind in "biu" or (
        values.dtype.kind == "f" and bool(np.all(values == np.rint(values)))
    )
    if values.size > 1 and not whole:
        raise InputError(
            f"{path}: expected a mask, got values between {values[0]:.4g} and {values[-1]:.4g} "
            "that are no whole numbers. Threshold probabilities first."
        )
    mask: NDArray[np.bool_] = data > 0
    return mask

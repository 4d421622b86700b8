"""Masks from their files: read with care, on the grid of their image or brought to it."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.grid import new_image, restore, voxel_sizes
from bids_flairseg.preprocess.image import CheckedImage, load_image

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
# Axes of two grids that may be resampled to each other are this parallel (cosine of 5 degrees).
_PARALLEL = np.cos(np.deg2rad(5))
# So much of the image's field of view, at least, is in that of its mask.
_COVERED = 0.5
#: Begins the note on a mask in which none of the values is found that mean lesion.
NO_SUCH_VALUE = "no lesion of value"
_ADVICE = "Resample the mask to the FLAIR with the tool that made it, or repair its header."


class GridError(InputError):
    """A mask does not lie on the grid of its image."""


def load_brain_mask(path: Path) -> CheckedImage:
    """Read a brain mask; the brain may fill it, and what is no number lies outside.

    Parameters
    ----------
    path : Path
        A NIfTI file.

    Returns
    -------
    CheckedImage
        uint8, 1 where the file has more than 0, and what is unusual about the file.

    Raises
    ------
    InputError, MissingInputError, StorageError
        See `load_image`.
    """
    loaded = load_image(path)
    inside = np.asarray(loaded.image.dataobj) > 0  # which NaN is not
    return CheckedImage(new_image(inside, np.asarray(loaded.image.affine)), loaded.warnings)


def open_mask(path: Path) -> nib.Nifti1Image:
    """Read the header of a mask; its data stays on the disk.

    Parameters
    ----------
    path : Path
        A NIfTI file.

    Returns
    -------
    Nifti1Image
        Of three dimensions, or of more that are one voxel long.

    Raises
    ------
    InputError
        The file cannot be read, has several volumes, or an affine without volume.
    """
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


def read_mask(image: nib.Nifti1Image, path: Path) -> NDArray[np.bool_]:
    """Read the data of a mask, whatever its number for lesion is.

    Parameters
    ----------
    image : Nifti1Image
        What `open_mask` gave.
    path : Path
        Its file, for messages.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        Voxels above 0.

    Raises
    ------
    InputError
        The data cannot be read, or is no mask.
    """
    data, _ = _read_values(image, path)
    mask: NDArray[np.bool_] = data > 0
    return mask


def read_label(image: nib.Nifti1Image, path: Path, values: Sequence[int]) -> NDArray[np.bool_]:
    """Read the data of a mask in which some values may mean something else than lesion.

    Parameters
    ----------
    image : Nifti1Image
        What `open_mask` gave.
    path : Path
        Its file, for messages.
    values : sequence of int
        Those that mean lesion; none where the mask has one value besides 0.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        Lesion.

    Raises
    ------
    InputError
        The data cannot be read, is no mask, or has several values of which none is chosen.
    """
    data, found = _read_values(image, path)
    if values:
        return np.isin(data, values)
    if found.size > 1:
        listed = ", ".join(f"{value:g}" for value in found[:8])
        raise InputError(
            f"{path}: expected a mask of 0 and one other value, got 0 and {listed}"
            f"{', ...' if found.size > 8 else ''}. Say which mean lesion: --label-value "
            f"{found[0]:g}"
        )
    mask: NDArray[np.bool_] = data > 0
    return mask


def _read_values(image: nib.Nifti1Image, path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the voxels (X, Y, Z) of a mask and its values other than 0, in their order."""
    try:
        data = np.asanyarray(image.dataobj).reshape(image.shape[:3])
        values = np.unique(data[data != 0])
    except (*_BROKEN, MemoryError) as error:
        raise _unreadable(path, error) from error
    whole = values.dtype.kind in "biu" or (
        values.dtype.kind == "f" and bool(np.all(values == np.rint(values)))
    )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(
            f"{path}: expected a mask of numbers, found voxels that are none (NaN or infinite). "
            "Set them to 0, or make the mask again."
        )
    if values.size > 1 and not whole:
        raise InputError(
            f"{path}: expected a mask, got values between {values[0]:.4g} and {values[-1]:.4g} "
            "that are no whole numbers. Threshold probabilities first."
        )
    return data, values


def turn_between(first: nib.Nifti1Image, second: nib.Nifti1Image) -> NDArray[np.float64]:
    """Return the orientation transform that turns the axes of the second image like the first."""
    turn: NDArray[np.float64] = ornt_transform(
        io_orientation(second.affine), io_orientation(first.affine)
    )
    return turn


def check_grid(
    first: nib.Nifti1Image, second: nib.Nifti1Image, turn: NDArray[np.float64], path: Path
) -> None:
    """Make sure that one image has the grid of the other, once its axes are turned.

    Parameters
    ----------
    first, second : Nifti1Image
        Image, and what is to lie on its grid.
    turn : ndarray
        What `turn_between` gives.
    path : Path
        File of the second, for messages.

    Raises
    ------
    GridError
        Shapes differ, or corners lie more than a tenth of a voxel apart.
    """
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
    if apart > _TOLERANCE * voxel_sizes(first.affine).min():
        raise GridError(
            f"{path}: expected the grid of the FLAIR, but its voxels lie up to {apart:.2g} mm "
            "off. Resample the reference to the FLAIR, or repair its header."
        )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


def label_on_grid(
    path: Path, flair: nib.Nifti1Image, values: Sequence[int] = ()
) -> tuple[NDArray[np.bool_], str]:
    """Read a lesion mask and bring it to the grid of its FLAIR.

    Axes in another order are turned. A mask on another grid is resampled linearly and cut
    at one half, if the axes of both are parallel to 5 degrees, at least half of the FLAIR's
    field of view lies in the mask's, and no lesion beyond it.

    Parameters
    ----------
    path : Path
        The mask.
    flair : Nifti1Image
        Gives the grid; its voxels are not read.
    values : sequence of int
        See `read_label`.

    Returns
    -------
    mask : ndarray of bool, shape (X, Y, Z)
        Lesion on the grid of the FLAIR.
    note : str
        What was done beyond reading, or that a mask with other values than `values` counts
        as empty (then it begins with `NO_SUCH_VALUE`); empty if there is nothing to say.

    Raises
    ------
    GridError
        The grids have nothing to do with each other; the message has both.
    InputError
        See `read_label`.
    """
    image = open_mask(path)
    mask = new_image(read_label(image, path, values), np.asarray(image.affine))
    absent = _absent(image, path, values) if values and not np.any(mask.dataobj) else ""
    try:
        check_grid(flair, image, turn_between(flair, image), path)
    except GridError:
        _check_compatible(mask, flair, path)
        soft = restore(nib.Nifti1Image(mask.dataobj, mask.affine), flair)
        note = f"label resampled from {_by(mask.shape)} to {_by(flair.shape[:3])} voxels"
        return np.asarray(soft.dataobj) > 0.5, "; ".join(filter(None, (absent, note)))
    return np.asarray(restore(mask, flair, order=0).dataobj) > 0, absent


def _absent(image: nib.Nifti1Image, path: Path, values: Sequence[int]) -> str:
    """Say what a mask has that has none of the values that mean lesion; nothing if it is empty."""
    _, found = _read_values(image, path)
    if not found.size:
        return ""
    wanted = ", ".join(map(str, values))
    listed = ", ".join(f"{value:g}" for value in found[:8])
    return f"{NO_SUCH_VALUE} {wanted}: {path.name} has {listed}"


def _check_compatible(mask: nib.Nifti1Image, flair: nib.Nifti1Image, path: Path) -> None:
    """Refuse a mask of which nobody can say where it lies on its FLAIR."""
    cosines = _directions(flair.affine).T @ _directions(mask.affine)
    reason = ""
    if np.abs(cosines).max(axis=0).min() < _PARALLEL:
        reason = "their axes are not parallel"
    elif (covered := _covered(flair, mask)) < _COVERED:
        reason = f"only {covered:.0%} of the FLAIR's field of view lies within the mask's"
    elif _outside(mask, flair):
        reason = "part of the lesions lies beyond the FLAIR's field of view"
    if reason:
        raise GridError(
            f"{path}: expected a mask in the space of its FLAIR, but {reason}. FLAIR: "
            f"{_grid(flair)}. Mask: {_grid(mask)}. {_ADVICE}"
        )


def _directions(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(affine[:3, :3] / voxel_sizes(affine))


def _covered(flair: nib.Nifti1Image, mask: nib.Nifti1Image) -> float:
    """Return the share of a lattice over one field of view that lies in the other."""
    axes = [np.linspace(0, length - 1, 12) for length in flair.shape[:3]]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return float(_within(points, flair, mask).mean())


def _outside(mask: nib.Nifti1Image, flair: nib.Nifti1Image) -> bool:
    """Tell whether more than a hundredth of the lesion voxels lie beyond another image."""
    points = np.argwhere(np.asarray(mask.dataobj))
    return len(points) > 0 and float(_within(points, mask, flair).mean()) < 0.99


def _within(
    points: NDArray[Any], source: nib.Nifti1Image, target: nib.Nifti1Image
) -> NDArray[np.bool_]:
    """Tell which voxels of one image lie in the field of view of another."""
    to_target = np.linalg.inv(target.affine) @ source.affine
    there = points @ to_target[:3, :3].T + to_target[:3, 3]
    inside: NDArray[np.bool_] = np.all(
        (there >= -0.51) & (there <= np.array(target.shape[:3]) - 0.49), axis=1
    )
    return inside


def _grid(image: nib.Nifti1Image) -> str:
    rows = "; ".join(" ".join(f"{v:.4g}" for v in row) for row in np.asarray(image.affine)[:3])
    return f"shape {_by(image.shape[:3])}, affine [{rows}]"

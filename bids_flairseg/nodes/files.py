"""Images between nodes: plain NIfTI files in the work folder, quick to write and to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import DTypeLike, NDArray

from bids_flairseg.errors import StorageError
from bids_flairseg.preprocess.grid import save_like


def load(path: str | Path) -> Nifti1Image:
    """Load an image that an earlier node saved.

    Parameters
    ----------
    path : str or Path
        Its file.

    Returns
    -------
    Nifti1Image
        Its voxels are read.

    Raises
    ------
    StorageError
        It is gone or incomplete: somebody tidied up the work folder.
    """
    try:
        image = Nifti1Image.from_filename(path)
        data = np.asanyarray(image.dataobj)
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise StorageError(
            f"{path}: expected an intermediate image, but it is gone or incomplete ({error}). "
            "Leave the work folder alone during a run, and run the same command again."
        ) from error
    return Nifti1Image(data, image.affine, image.header)


def load_array(path: str | Path) -> NDArray[Any]:
    """Load the voxels (X, Y, Z) alone, see `load`."""
    return np.asarray(load(path).dataobj)


def save(image: Nifti1Image, path: Path) -> str:
    """Save an image for later nodes and return its path as Nipype wants it."""
    save_like(np.asanyarray(image.dataobj), image, path, image.get_data_dtype(), durable=False)
    return str(path)


def save_array(data: NDArray[np.generic], like: Nifti1Image, path: Path, dtype: DTypeLike) -> str:
    """Save voxels (X, Y, Z) with the geometry of an image, see `save`."""
    save_like(data, like, path, dtype, durable=False)
    return str(path)

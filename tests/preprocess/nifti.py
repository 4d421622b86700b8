"""NIfTI files made byte by byte, so that any field of the header may be wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SHAPE = (12, 11, 10)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 2.5, 0.5, -7], [0, -0.5, 3, 4], [0, 0, 0, 1]])


def ramp(shape: tuple[int, ...] = SHAPE, dtype: str = "<f4") -> NDArray[Any]:
    """Return voxels that differ, from 0 on."""
    return (np.arange(np.prod(shape)) % 120).reshape(shape).astype(dtype)


def content(data: NDArray[Any] | None = None, **fields: Any) -> bytes:
    """Return the bytes of a NIfTI file, with header fields set afterwards as they are."""
    voxels = ramp() if data is None else data
    header = nib.Nifti1Header(endianness=">" if voxels.dtype.byteorder == ">" else "<")
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_xyzt_units("mm")
    header.set_qform(AFFINE, 1)
    header.set_sform(AFFINE, 1)
    header["magic"], header["vox_offset"], header["scl_slope"] = b"n+1", 352, 1
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock) + bytes(4) + voxels.tobytes(order="F")


def put(folder: Path, data: bytes, name: str = "sub-01_FLAIR.nii") -> Path:
    """Write bytes, compressed if the name says so."""
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def pixdim(*edges: float) -> list[float]:
    """Return the header field for these voxel edges."""
    return [1, *edges, 0, 0, 0, 0]

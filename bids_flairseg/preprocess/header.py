"""What a NIfTI header promises, checked before a voxel is read.

Fields and their meaning are those of the NIfTI-1 standard
(https://nifti.nimh.nih.gov/nifti-1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from bids_flairseg.errors import InputError

HEADER_BYTES = 540
"""Length of the longer, NIfTI-2, header."""

MAX_VOXELS = 2**29
"""Most voxels of an image, 2 GiB as float32; a head at 0.5 mm has a quarter of it."""

VOXEL_MM = (0.1, 20.0)
"""Smallest and largest voxel edge in mm that a scan of a head can have."""

MAX_OFFSET_MM = 1e5
"""Farthest origin in mm; beyond it float32 coordinates are no better than 0.01 mm."""

MIN_CELL = 0.5
"""Least volume of the cell of unit axis vectors; 1 is orthogonal, 0 singular."""

FEW_SLICES = 10
"""An edge with fewer voxels than this draws a warning."""

FORM_TOLERANCE_MM = 1.0
"""Displacement from which qform and sform count as different."""

EDGE_TOLERANCE = 0.02
"""Share of a voxel's edge by which pixdim and sform may differ without a word."""

RECONVERT = "Convert the scan again from its DICOM files, or leave it out with --bids-filter-file."


@dataclass(frozen=True)
class Layout:
    """Where the voxels of a file are and what they mean.

    Parameters
    ----------
    header : Nifti1Header
        As in the file, singleton axes after the third removed.
    affine : ndarray of float64, shape (4, 4)
        Voxel indices to RAS mm.
    dtype : dtype
        Type of the stored voxels, with their byte order.
    offset : int
        Bytes before the first voxel.
    scale : tuple of float
        Slope and intercept that turn stored into true intensities.
    warnings : tuple of str
        What is unusual but can be used.
    """

    header: Nifti1Header
    affine: NDArray[np.float64]
    dtype: np.dtype[np.generic]
    offset: int
    scale: tuple[float, float]
    warnings: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes."""
        x, y, z = (int(edge) for edge in self.header["dim"][1:4])
        return x, y, z

    @property
    def data_bytes(self) -> int:
        """Bytes that the voxels take when decompressed."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_layout(block: bytes, path: Path) -> Layout:
    """Parse and check a header.

    Parameters
    ----------
    block : bytes
        First ``HEADER_BYTES`` bytes of the decompressed file, or all of a shorter one.
    path : Path
        Named in errors.

    Returns
    -------
    layout : Layout
        What :func:`parse_header` found, checked.

    Raises
    ------
    InputError
        If this is no NIfTI image, or not one of a head in three dimensions.
    """
    header = parse_header(block, path)
    _mend_qfac(header)
    dtype = _checked_type(header, path)
    warnings = [*_check_shape(header, path), *_check_voxel_size(header, path)]
    affine, more = _checked_affine(header, path)
    return Layout(
        header=header,
        affine=affine,
        dtype=dtype,
        offset=_offset(header, path),
        scale=_scale(header),
        warnings=(*warnings, *more),
    )


def parse_header(block: bytes, path: Path) -> Nifti1Header:
    """Read the first bytes of a decompressed file as a NIfTI-1 header.

    Parameters
    ----------
    block : bytes
        Up to ``HEADER_BYTES`` bytes. A NIfTI-2 header is converted.
    path : Path
        Named in errors.

    Returns
    -------
    header : Nifti1Header
        Unchecked and unrepaired.

    Raises
    ------
    InputError
        If the bytes are not the header of a single-file NIfTI image.
    """
    for order in "<>":
        size = struct.unpack(f"{order}i", block[:4])[0] if len(block) >= 4 else 0
        if size == 348 <= len(block) and block[344:347] == b"n+1":
            return Nifti1Header(block[:348], endianness=order, check=False)
        if size == 540 <= len(block) and block[4:7] == b"n+2":
            return _as_nifti1(Nifti2Header(block[:540], endianness=order, check=False), path)
    raise InputError(f"{path}: expected a NIfTI image, {_describe(block)}. {RECONVERT}")


def _describe(block: bytes) -> str:
    """Say what a file is that is no NIfTI image."""
    if block[344:347] == b"ni1":
        return "found the header of a .hdr/.img pair"
    start = block[:64]
    if start and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        return f"found text that begins {start[:24].decode('ascii')!r}"
    if len(block) < 348:
        return f"found {len(block)} bytes, fewer than a header"
    return "found a file of another kind"


def _as_nifti1(wide: Nifti2Header, path: Path) -> Nifti1Header:
    """Narrow a NIfTI-2 header to the fields of NIfTI-1."""
    if max(wide["dim"]) > np.iinfo(np.int16).max:
        raise _too_large(path, tuple(int(edge) for edge in wide["dim"][1:4]))
    header = Nifti1Header(endianness=wide.endianness)
    for name in wide.keys():  # noqa: SIM118 -- iterating the header itself gives values
        if name not in ("sizeof_hdr", "magic", "eol_check", "unused_str"):
            header[name] = wide[name]
    return header


def _too_large(path: Path, shape: tuple[int, ...]) -> InputError:
    return InputError(
        f"{path}: expected at most {MAX_VOXELS} voxels, the header promises "
        f"{' x '.join(map(str, shape))}. {RECONVERT}"
    )


def _mend_qfac(header: Nifti1Header) -> None:
    """Take the sign of the third axis, pixdim[0], for 1 where it is 0 (NIfTI-1) or senseless."""
    if header["pixdim"][0] not in (1, -1):
        header["pixdim"][0] = 1


def _checked_type(header: Nifti1Header, path: Path) -> np.dtype[np.generic]:
    """Return the type of the voxels; refuse complex, colour and unknown ones."""
    code = int(header["datatype"])
    try:
        dtype: np.dtype[np.generic] = header.get_data_dtype()
    except (KeyError, ValueError):
        dtype = np.dtype("V1")
    if dtype.kind in "iuf" and dtype.itemsize <= 8:
        return dtype
    kind = "complex" if dtype.kind == "c" else "colour (RGB)" if dtype.names else "unknown"
    raise InputError(
        f"{path}: expected real intensities, found {kind} voxels (datatype {code}). "
        "Export the magnitude image."
    )


def _check_shape(header: Nifti1Header, path: Path) -> list[str]:
    """Drop singleton axes after the third; refuse what is not 3D or too large."""
    count = int(header["dim"][0])
    shape = tuple(int(edge) for edge in header["dim"][1 : count + 1]) if 0 < count < 8 else ()
    if not shape or min(shape) < 1:
        raise InputError(
            f"{path}: expected positive dimensions, the header has "
            f"{header['dim'].tolist()}. {RECONVERT}"
        )
    if any(edge > 1 for edge in shape[3:]):
        raise InputError(
            f"{path}: expected a 3D image, found shape {shape}. "
            "Extract one volume, or leave the file out with --bids-filter-file."
        )
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise InputError(
            f"{path}: expected several slices, found shape {shape}. "
            "Convert the whole series, or leave the file out with --bids-filter-file."
        )
    if int(np.prod(shape, dtype=object)) > MAX_VOXELS:
        raise _too_large(path, shape)
    header["dim"] = [3, *shape[:3], 1, 1, 1, 1]
    if min(shape[:3]) >= FEW_SLICES:
        return []
    return [f"The image has only {min(shape[:3])} slices: most of the brain may be missing."]


def _check_voxel_size(header: Nifti1Header, path: Path) -> list[str]:
    """Refuse voxel edges that no scan of a head has; warn of units other than mm."""
    edges = [float(edge) for edge in header["pixdim"][1:4]]
    if not all(VOXEL_MM[0] <= edge <= VOXEL_MM[1] for edge in edges):
        raise InputError(
            f"{path}: expected voxel edges of {VOXEL_MM[0]} to {VOXEL_MM[1]:g} mm, found "
            f"{', '.join(f'{edge:g}' for edge in edges)} in pixdim. {RECONVERT}"
        )
    unit = int(header["xyzt_units"]) & 7
    if unit == 2:
        return []
    name = {0: "no unit", 1: "metres", 3: "micrometres"}.get(unit, f"the unknown unit {unit}")
    return [f"The header gives {name} for voxel sizes; they are taken as mm."]


def _checked_affine(
    header: Nifti1Header, path: Path
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return voxel-to-world: sform, else qform, else voxel sizes alone."""
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if has_sform:
        affine = np.asarray(header.get_sform(), dtype=np.float64)
        _check_affine(affine, "sform", path)
        forms = _compare_forms(header, affine) if has_qform else ()
        return affine, (*_compare_edges(header, affine), *forms)
    if has_qform:
        qform = _qform(header)
        if qform is None:
            raise InputError(
                f"{path}: expected a rotation, the quaternion of the qform has a length above 1. "
                f"{RECONVERT}"
            )
        _check_affine(qform, "qform", path)
        return qform, ()
    warning = (
        "The header has neither qform nor sform: left and right are a guess "
        "(first axis to the left, second to the front, third to the top)."
    )
    return np.asarray(header.get_base_affine(), dtype=np.float64), (warning,)


def _qform(header: Nifti1Header) -> NDArray[np.float64] | None:
    """Return the affine of the quaternion, None if it is no rotation."""
    try:
        affine = header.get_qform()
    except (ValueError, HeaderDataError):
        return None
    return np.asarray(affine, dtype=np.float64) if np.isfinite(affine).all() else None


def _check_affine(affine: NDArray[np.float64], name: str, path: Path) -> None:
    """Refuse an affine that cannot place a head in space."""
    finding = ""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all():
        finding = "with NaN or infinity"
    elif not ((edges >= VOXEL_MM[0]) & (edges <= VOXEL_MM[1])).all():
        finding = f"with voxel edges of {', '.join(f'{edge:g}' for edge in edges)} mm"
    elif abs(np.linalg.det(affine[:3, :3] / edges)) < MIN_CELL:
        finding = "whose axes are (nearly) parallel"
    elif np.abs(affine[:3, 3]).max() > MAX_OFFSET_MM:
        finding = f"with an origin {np.abs(affine[:3, 3]).max():g} mm away"
    if finding:
        raise InputError(
            f"{path}: expected an invertible affine of {VOXEL_MM[0]} to {VOXEL_MM[1]:g} mm "
            f"voxels, found {name} {finding}. {RECONVERT}"
        )


def _compare_edges(header: Nifti1Header, sform: NDArray[np.float64]) -> tuple[str, ...]:
    """Warn where pixdim gives other voxel edges than the sform, which is used."""
    edges = np.linalg.norm(sform[:3, :3], axis=0)
    given = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if np.all(np.abs(given - edges) <= EDGE_TOLERANCE * edges):
        return ()
    first, second = (" x ".join(f"{edge:.4g}" for edge in each) for each in (given, edges))
    return (
        (
            f"pixdim says voxels of {first} mm, the sform {second} mm; the sform is used, and all "
            "volumes and lengths follow it."
        ),
    )


def _compare_forms(header: Nifti1Header, sform: NDArray[np.float64]) -> tuple[str, ...]:
    """Warn where the qform puts the image elsewhere than the sform, which is used."""
    qform = _qform(header)
    if qform is None:
        return ("The quaternion of the qform is no rotation; the sform is used.",)
    last = header["dim"][1:4].astype(np.float64) - 1
    corners = np.stack(np.meshgrid(*((0.0, edge) for edge in last), indexing="ij"), axis=-1)
    moved = corners.reshape(-1, 3) @ (qform - sform)[:3, :3].T + (qform - sform)[:3, 3]
    distance = float(np.linalg.norm(moved, axis=1).max())
    if distance < FORM_TOLERANCE_MM:
        return ()
    mirrored = np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0
    side = ", one being the mirror image of the other" if mirrored else ""
    return (f"qform and sform differ by up to {distance:.1f} mm{side}; the sform is used.",)


def _offset(header: Nifti1Header, path: Path) -> int:
    """Return the bytes before the voxels; fewer than a header has mean none given."""
    offset = float(header["vox_offset"])
    if not 0 <= offset < 2**31:
        raise InputError(
            f"{path}: expected voxels after the header, found vox_offset {offset:g}. {RECONVERT}"
        )
    return max(int(offset), 352)


def _scale(header: Nifti1Header) -> tuple[float, float]:
    """Return slope and intercept; a slope of zero or NaN means none (NIfTI-1)."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0

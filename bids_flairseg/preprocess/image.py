"""A FLAIR image from its file: checked, in float32, on its own grid."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.errors import InputError, MissingInputError, StorageError
from bids_flairseg.preprocess.header import HEADER_BYTES, RECONVERT, Layout, read_layout
from bids_flairseg.preprocess.morphology import fill

MAX_REPAIRED = 0.01
"""Largest fraction of NaN or infinite voxels that is filled in rather than refused."""

NAN_CORNERS = 6
"""Corners that are NaN, of eight, if that is what lies around a brain."""

MAX_TRAILING_BYTES = 2**26
"""How far a file is read beyond its voxels, to reach the checksum of the gzip."""

_GZIP_MAGIC = b"\x1f\x8b"
_NO_GZIP = "Not a gzipped file"  # Python's words for what begins in another way
_MAX_DEFLATE = 1032  # bytes from one compressed byte (zlib's technical notes)
_CHUNK_BYTES = 2**23


@dataclass(frozen=True)
class CheckedImage:
    """An image that the rest of the program can rely on.

    Parameters
    ----------
    image : Nifti1Image
        Finite float32 voxels, shape (X, Y, Z); affine, qform, sform and their
        codes as in the file.
    warnings : tuple of str
        What is unusual about it, one sentence each.
    """

    image: Nifti1Image
    warnings: tuple[str, ...]


def load_flair(path: Path) -> CheckedImage:
    """Read a FLAIR and check all that can be wrong with its file and its voxels.

    Parameters
    ----------
    path : Path
        A ``.nii`` or ``.nii.gz`` file, NIfTI-1 or NIfTI-2.

    Returns
    -------
    checked : CheckedImage
        The image and what is unusual about it.

    Raises
    ------
    InputError
        If the file is no 3D image with intensities.
    MissingInputError
        If it is not there or may not be read.
    StorageError
        If the disk fails.
    """
    loaded = load_image(path)
    data = np.asarray(loaded.image.dataobj)  # no copy
    repaired = _repair(data, path)
    _check_contents(data, path)
    return CheckedImage(loaded.image, (*loaded.warnings, *repaired))


def load_image(path: Path) -> CheckedImage:
    """Read an image and check its file, whatever its voxels hold.

    The header is checked before memory is taken, and no more is read than it
    promises, so that neither a wrong header nor a gzip bomb fills the memory.

    Parameters
    ----------
    path : Path
        A file as for :func:`load_flair`.

    Returns
    -------
    loaded : CheckedImage
        The image, in which voxels may be NaN or infinite, and what is unusual about its file.

    Raises
    ------
    InputError
        If the file is no 3D image.
    MissingInputError
        If it is not there or may not be read.
    StorageError
        If the disk fails.
    """
    with _opened(path) as (stream, capacity):
        layout = _layout(stream, capacity, path)
        data = _voxels(stream, layout, path)
        rest = _finish(stream)
    image = Nifti1Image(data, layout.affine, _float_header(layout))
    return CheckedImage(image, (*layout.warnings, *rest))


def load_grid(path: Path) -> Nifti1Image:
    """Read the grid of an image and not its voxels.

    Parameters
    ----------
    path : Path
        A file that :func:`load_flair` accepts.

    Returns
    -------
    image : Nifti1Image
        Zeros that take no memory, with shape, affine, qform, sform and codes of
        the file.

    Raises
    ------
    InputError
        If the header is not that of a 3D image.
    MissingInputError
        If the file is not there or may not be read.
    StorageError
        If the disk fails.
    """
    with _opened(path) as (stream, capacity):
        layout = _layout(stream, capacity, path)
    zeros = np.broadcast_to(np.float32(0), layout.shape)
    return Nifti1Image(zeros, layout.affine, _float_header(layout))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedIOBase, int]]:
    """Give the decompressed stream and the most bytes it can hold; name every failure."""
    try:
        _check_file(path)
        size = path.stat().st_size
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if compressed:
                with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                    yield stream, size * _MAX_DEFLATE
            else:
                yield raw, size
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: expected an intact gzip file, found it damaged or cut short ({error}). "
            "Copy or download it again."
        ) from error
    except PermissionError as error:
        raise MissingInputError(
            f"{path}: expected a readable file, reading is not permitted. "
            "Change its permissions or those of its folder."
        ) from error
    except OSError as error:
        raise StorageError(
            f"{path}: expected to read the file, the system reports: {error.strerror or error}. "
            "Check the disk or the network drive."
        ) from error


def _check_file(path: Path) -> None:
    """Refuse what is no file with content."""
    if path.is_symlink() and not path.exists():
        raise MissingInputError(
            f"{path}: expected an image, found a link to {path.readlink()}, which is not there. "
            "Fetch the content first ('datalad get' or 'git annex get')."
        )
    if not path.exists():
        raise MissingInputError(f"{path}: expected an image, found no file. Check the path.")
    if not path.is_file():
        raise InputError(
            f"{path}: expected a file, found a folder or device. "
            "Rename it, or leave it out with --bids-filter-file."
        )
    if path.stat().st_size == 0:
        raise InputError(
            f"{path}: expected an image, found an empty file. Copy or download it again."
        )


def _layout(stream: BufferedIOBase, capacity: int, path: Path) -> Layout:
    """Read the header and refuse it if the file cannot hold what it promises."""
    block = stream.read(HEADER_BYTES)
    if block.startswith(b"/annex/objects/"):
        raise MissingInputError(
            f"{path}: expected an image, found a git-annex pointer. "
            "Fetch the content first ('datalad get' or 'git annex get')."
        )
    layout = read_layout(block, path)
    needed = layout.offset + layout.data_bytes
    if needed > capacity:
        raise InputError(
            f"{path}: expected {needed} bytes for {' x '.join(map(str, layout.shape))} voxels, "
            f"found a file that holds at most {capacity}. Copy or download it again."
        )
    stream.seek(layout.offset)
    return layout


def _voxels(stream: BufferedIOBase, layout: Layout, path: Path) -> NDArray[np.float32]:
    """Read the voxels piece by piece into float32, so that they are in memory once."""
    slope, intercept = layout.scale
    scaled = slope != 1 or intercept != 0
    data = np.empty(int(np.prod(layout.shape)), dtype=np.float32)
    step = _CHUNK_BYTES // layout.dtype.itemsize
    for start in range(0, data.size, step):
        piece = data[start : start + step]
        raw = stream.read(piece.size * layout.dtype.itemsize)
        if len(raw) < piece.size * layout.dtype.itemsize:
            raise InputError(
                f"{path}: expected {layout.data_bytes} bytes of voxels, found "
                f"{start * layout.dtype.itemsize + len(raw)}. Copy or download the file again."
            )
        stored = np.frombuffer(raw, dtype=layout.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, counted later
            piece[:] = stored * slope + intercept if scaled else stored
    return data.reshape(layout.shape, order="F")


def _finish(stream: BufferedIOBase) -> tuple[str, ...]:
    """Read to the end, where the gzip's checksum is; warn if there is more than voxels."""
    rest = 0
    try:
        while rest < MAX_TRAILING_BYTES and (chunk := stream.read(_CHUNK_BYTES)):
            rest += len(chunk)
    except gzip.BadGzipFile as error:
        if not str(error).startswith(_NO_GZIP):  # a wrong checksum, then
            raise
        return ("The file holds bytes beyond its gzip data; they are not read.",)
    if not rest:
        return ()
    amount = f"{rest}" if rest < MAX_TRAILING_BYTES else f"over {rest}"
    return (f"The file holds {amount} bytes beyond the voxels; they are not read.",)


def _repair(data: NDArray[np.float32], path: Path) -> tuple[str, ...]:
    """Fill NaN and infinite voxels in place: all around, and a few within."""
    around = _fill_around(data)
    good = np.isfinite(data)
    bad = data.size - int(np.count_nonzero(good))
    if not bad:
        return around
    if bad > MAX_REPAIRED * data.size:
        raise InputError(
            f"{path}: expected finite intensities, found {bad} of {data.size} voxels NaN or "
            "infinite. Convert the scan again, or set them to zero if they are background."
        )
    data[~good] = 0
    total = ndimage.uniform_filter(data, 3, mode="constant")
    weight = ndimage.uniform_filter(good.astype(np.float32), 3, mode="constant")
    data[~good] = total[~good] / np.maximum(weight[~good], 1e-3)
    within = f"{bad} voxels were NaN or infinite; they got the mean of their neighbours."
    return (*around, within)


def _fill_around(data: NDArray[np.float32]) -> tuple[str, ...]:
    """Make a background of NaN, as some tools leave around a brain, as dark as the darkest."""
    missing = np.isnan(data)
    ends = tuple(slice(None, None, edge - 1) for edge in data.shape)
    if np.count_nonzero(missing[ends]) < NAN_CORNERS or not np.isfinite(data).any():
        return ()
    data[~fill(~missing)] = data[np.isfinite(data)].min()
    return ("The background is NaN; it counts as the darkest there is.",)


def _check_contents(data: NDArray[np.float32], path: Path) -> None:
    """Refuse an image in which there is nothing to see."""
    low, high = float(data.min()), float(data.max())
    if low == high:
        finding = "only zeros" if low == 0 else f"{low:g} in every voxel"
        raise InputError(f"{path}: expected an image of a head, found {finding}. {RECONVERT}")


def _float_header(layout: Layout) -> Nifti1Header:
    """Return the header for float32 voxels; nibabel keeps its qform, sform and codes."""
    header: Nifti1Header = layout.header.as_byteswapped(sys.byteorder)
    header.set_data_dtype(np.float32)
    header["scl_slope"], header["scl_inter"] = 1, 0
    return header

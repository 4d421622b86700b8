"""Grids: conform, resample, restore, and save on the grid of another image.

Voxel i of an axis covers [i - 0.5, i + 0.5]; its affine gives the centre. The
field of view of n voxels is therefore [-0.5, n - 0.5], and sampling within it but
beyond the outermost centre takes the outermost voxel.
"""

from __future__ import annotations

import gzip
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import DTypeLike, NDArray
from scipy import ndimage, sparse

from bids_flairseg.storage import atomic_path

FWHM = 2 * np.sqrt(2 * np.log(2))
"""Full width at half maximum of a Gaussian of standard deviation 1."""

ALIAS_FACTOR = 1.5
"""Down-sampling by more than this is preceded by smoothing."""

_GEOMETRY = (
    "pixdim", "xyzt_units", "dim_info", "qform_code", "sform_code",
    "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z",
)  # fmt: skip
_EXACT = 1e-3  # voxels: less is the rounding of a stored affine
_SAME = 5e-3  # share of an edge: so much more or less, and voxels have the size that is wanted
_NEGLIGIBLE = 1e-4  # share of a neighbour, relative to the nearest voxel's
_PARALLEL = 1e-2  # voxels of drift along an axis that still count as parallel


def voxels(image: Nifti1Image) -> NDArray[np.float32]:
    """Return the voxels of an image as float32 of shape (X, Y, Z)."""
    return np.asanyarray(image.dataobj).astype(np.float32, copy=False)


def voxel_sizes(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of a voxel in mm, shape (3,)."""
    edges: NDArray[np.float64] = np.linalg.norm(affine[:3, :3], axis=0)
    return edges


def new_image(data: NDArray[np.generic], affine: NDArray[np.float64]) -> Nifti1Image:
    """Make an image whose qform and sform both say where it is.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        Of a type that NIfTI knows; bool becomes uint8.
    affine : ndarray, shape (4, 4)
        Voxel indices to RAS mm.

    Returns
    -------
    image : Nifti1Image
        With both codes 1 and mm as unit; the qform leaves out a shear.
    """
    image = Nifti1Image(data.astype(np.uint8) if data.dtype == bool else data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_sform(affine, code=1)
    image.header.set_qform(affine, code=1)
    return image


def conform(image: Nifti1Image) -> Nifti1Image:
    """Turn and swap axes until they run closest to right, anterior, superior.

    Parameters
    ----------
    image : Nifti1Image
        On any grid, oblique and left-handed ones too.

    Returns
    -------
    conformed : Nifti1Image
        The same voxels in another order; an oblique grid stays oblique.
    """
    affine = _affine(image)
    orientation = io_orientation(affine)
    data = apply_orientation(np.asanyarray(image.dataobj), orientation)
    turned = affine @ inv_ornt_aff(orientation, image.shape)
    return new_image(np.ascontiguousarray(data), turned)


def resample(
    image: Nifti1Image, zoom_mm: float, *, order: int = 1, antialias: bool = True
) -> Nifti1Image:
    """Sample an image on an isotropic grid with the same axes and field of view.

    The new field of view has the old one's centre and is, where the sizes do not
    divide, less than one new voxel wider. Axes whose voxels have that edge within
    half a percent stay as they are: the last digit of a header shifts nothing.

    Parameters
    ----------
    image : Nifti1Image
        On any grid.
    zoom_mm : float
        Edge of the new voxels in mm, within half a percent.
    order : int
        1 for linear, 0 for the nearest voxel (labels).
    antialias : bool
        With order 1, smooth along the axes that get coarser by more than
        ``ALIAS_FACTOR``, with the Gaussian that widens a voxel's FWHM to the new edge.

    Returns
    -------
    resampled : Nifti1Image
        float32 for order 1, the image's type for order 0.
    """
    affine = _affine(image)
    factors = zoom_mm / voxel_sizes(affine)
    factors = np.where(np.abs(factors - 1) < _SAME, 1.0, factors)
    edges = np.array(image.shape)
    count = np.maximum(np.ceil(edges / factors - _EXACT), 1).astype(int)
    first = (edges - 1) / 2 - factors * (count - 1) / 2  # of the new voxels, in old ones
    positions = [first[axis] + factors[axis] * np.arange(count[axis]) for axis in range(3)]
    blurred = (factors > ALIAS_FACTOR) & antialias & (order > 0)
    sigma = np.sqrt(np.maximum(factors**2 - 1, 0)) / FWHM * blurred
    data = _sample(np.asanyarray(image.dataobj), positions, sigma, order=order)
    new = affine.copy()
    new[:3, :3] *= factors
    new[:3, 3] += affine[:3, :3] @ first
    return new_image(data, new)


def restore(
    image: Nifti1Image, reference: Nifti1Image, *, order: int = 1, fill: float = 0.0
) -> Nifti1Image:
    """Sample an image on the grid of another, by their affines.

    Parameters
    ----------
    image : Nifti1Image
        On any grid.
    reference : Nifti1Image
        Gives shape and affine; its voxels are not read.
    order : int
        1 for linear, 0 for the nearest voxel.
    fill : float
        Value outside the image's field of view.

    Returns
    -------
    restored : Nifti1Image
        float32 for order 1, the image's type for order 0. Where the voxels of
        both grids coincide, their values do.
    """
    target = _affine(reference)
    to_image = np.linalg.inv(_affine(image)) @ target  # reference voxel -> image voxel
    axes = _parallel_axes(to_image, reference.shape)
    data = np.asanyarray(image.dataobj)
    if axes is None:
        return new_image(_sample_oblique(data, to_image, reference.shape, order, fill), target)
    positions = [
        to_image[source, axis] * np.arange(reference.shape[axis]) + to_image[source, 3]
        for axis, source in enumerate(axes)
    ]
    out = _sample(data.transpose(axes), positions, np.zeros(3), order=order)
    for axis, source in enumerate(axes):
        outside = _outside(positions[axis], data.shape[source])
        if outside.any():
            out[(slice(None),) * axis + (outside,)] = fill
    return new_image(out, target)


def save_like(
    data: NDArray[np.generic],
    reference: Nifti1Image,
    path: Path,
    dtype: DTypeLike,
    *,
    durable: bool = True,
) -> None:
    """Write voxels as a NIfTI file that lies exactly where another image does.

    The file appears under its name only when it is complete. The same voxels give
    the same bytes: the gzip header carries neither time nor name.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        Voxels on the grid of ``reference``.
    reference : Nifti1Image
        Gives affine, qform, sform, both codes and units, copied bit by bit.
    path : Path
        A ``.nii`` or ``.nii.gz`` file; its folder is made if it is not there.
    dtype : dtype
        Type of the stored voxels, without scaling.
    durable : bool
        Wait until the disk has the file; intermediate ones need not.

    Raises
    ------
    ValueError
        If data and reference differ in shape.
    OutputError, StorageError
        See `atomic_path`.
    """
    if data.shape != reference.shape:
        raise ValueError(f"{path}: expected shape {reference.shape}, got {data.shape}")
    header = _header_like(reference.header, data.shape, np.dtype(dtype))
    stored = np.asarray(data, dtype=header.get_data_dtype())
    content = header.binaryblock + bytes(4) + stored.tobytes(order="F")
    with atomic_path(path, durable=durable) as temporary, temporary.open("xb") as stream:
        _write(content, stream, compress=path.name.endswith(".gz"))


def _header_like(
    source: Nifti1Header, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Nifti1Header:
    """Return a little-endian header with the geometry of another, bit by bit."""
    header = Nifti1Header(endianness="<")
    for name in _GEOMETRY:
        header[name] = source[name]
    header.set_data_dtype(dtype)
    header["dim"] = [3, *shape, 1, 1, 1, 1]
    header["vox_offset"] = 352
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["descrip"] = b"flairseg"
    header["magic"] = b"n+1"
    return header


def _write(content: bytes, stream: BufferedWriter, *, compress: bool) -> None:
    """Write bytes, as a gzip without time and name if they are to be compressed."""
    if not compress:
        stream.write(content)
        return
    with gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed:
        packed.write(content)


def _affine(image: Nifti1Image) -> NDArray[np.float64]:
    return np.asarray(image.affine, dtype=np.float64)


def _outside(position: NDArray[np.float64], edge: int) -> NDArray[np.bool_]:
    """Tell which positions lie beyond the field of view of an axis."""
    outside: NDArray[np.bool_] = (position < -0.5 - _EXACT) | (position > edge - 0.5 + _EXACT)
    return outside


def _parallel_axes(
    to_image: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """Return the image axis along each reference axis, or None if they are oblique."""
    drift = np.abs(to_image[:3, :3]) * np.maximum(np.array(shape[:3]) - 1, 1)
    axes = np.argmax(np.abs(to_image[:3, :3]), axis=0)
    if len(set(axes.tolist())) < 3:
        return None
    drift[axes, range(3)] = 0
    if drift.max() > _PARALLEL:
        return None
    first, second, third = axes.tolist()
    return first, second, third


def _sample(
    data: NDArray[np.generic],
    positions: list[NDArray[np.float64]],
    sigma: NDArray[np.float64],
    *,
    order: int,
) -> NDArray[np.generic]:
    """Sample along each axis in turn; positions and sigma are in voxels of the data."""
    steps = []
    for axis, position in enumerate(positions):
        nearest = np.rint(position)
        snap = (np.abs(position - nearest) < _EXACT) | (order == 0)
        within = np.clip(np.where(snap, nearest, position), 0, data.shape[axis] - 1)
        steps.append((axis, within))
    # the axis that shrinks most goes first: the others then have less to do
    for axis, position in sorted(steps, key=lambda step: step[1].size / data.shape[step[0]]):
        if sigma[axis] == 0 and np.array_equal(position, np.rint(position)):
            data = np.take(data, position.astype(int), axis=axis)
        else:
            data = _weigh(data, _weights(position, data.shape[axis], sigma[axis]), axis)
    return data.astype(np.float32, copy=False) if order else data


def _weights(position: NDArray[np.float64], edge: int, sigma: float) -> sparse.csr_array:
    """Return the share of each old voxel in each new one, shape (new, old), rows of sum 1."""
    distance = np.abs(position[:, None] - np.arange(edge))
    shares = np.exp(-0.5 * (distance / sigma) ** 2) if sigma else np.maximum(1 - distance, 0)
    shares[shares < _NEGLIGIBLE] = 0
    shares /= shares.sum(axis=1, keepdims=True)
    return sparse.csr_array(shares.astype(np.float32))


def _weigh(data: NDArray[np.generic], weights: sparse.csr_array, axis: int) -> NDArray[np.float32]:
    """Multiply along one axis; sparse products take a tenth of the time of dense ones here."""
    values = np.ascontiguousarray(data, dtype=np.float32)
    if axis == 0:
        flat = weights @ values.reshape(values.shape[0], -1)  # (new, Y * Z)
        return np.asarray(flat.reshape(-1, *values.shape[1:]))
    shape = list(values.shape)
    shape[axis] = weights.shape[0]
    out = np.empty(shape, dtype=np.float32)
    for plane, result in zip(values, out, strict=True):  # (Y, Z) each
        result[:] = weights @ plane if axis == 1 else (weights @ plane.T).T
    return out


def _sample_oblique(
    data: NDArray[np.generic],
    to_image: NDArray[np.float64],
    shape: tuple[int, ...],
    order: int,
    fill: float,
) -> NDArray[np.generic]:
    """Sample along axes that are parallel to none of the data's."""
    values: NDArray[Any] = data.astype(np.float32, copy=False) if order else data
    out = ndimage.affine_transform(
        values, to_image[:3, :3], to_image[:3, 3], shape, order=1 if order else 0, mode="nearest"
    )
    index = np.ogrid[tuple(slice(0, edge) for edge in shape)]
    for source in range(3):
        position = sum(to_image[source, axis] * index[axis] for axis in range(3))
        out[_outside(position + to_image[source, 3], data.shape[source])] = fill
    sampled: NDArray[np.generic] = out
    return sampled

"""Images on common, upright axes, and the slices of them that a figure shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from numpy.typing import NDArray

Box: TypeAlias = tuple[slice, slice, slice]
AnyArray: TypeAlias = NDArray[Any]

SAGITTAL, CORONAL, AXIAL = range(3)
#: Letters at the left and the right edge of a slice along each axis: neurological, so the
#: patient's left is on the left, and sagittal slices look to the right.
SIDES: Mapping[int, tuple[str, str]] = {
    SAGITTAL: ("P", "A"),
    CORONAL: ("L", "R"),
    AXIAL: ("L", "R"),
}
NAMES: Mapping[int, str] = {SAGITTAL: "sagittal", CORONAL: "coronal", AXIAL: "axial"}
# Voxels this much longer than wide are slices, and slices are looked at as acquired.
_THICK = 2.0


@dataclass(frozen=True)
class Grid:
    """Voxels whose axes run as nearly as they can to the right, front and top.

    Attributes
    ----------
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ mm; oblique where the acquisition was.
    shape : tuple of three int
        Voxels along the axes.
    """

    affine: NDArray[np.float64]
    shape: tuple[int, int, int]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edges in mm."""
        edges = voxel_sizes(self.affine)
        return float(edges[0]), float(edges[1]), float(edges[2])

    @property
    def slice_axis(self) -> int:
        """The axis of the acquired slices; the vertical one where voxels are nearly cubes."""
        edges = self.spacing
        thick = int(np.argmax(edges))
        return thick if edges[thick] > _THICK * sorted(edges)[1] else AXIAL

    def crop(self, box: Box) -> Grid:
        """Return the grid of a part of the image."""
        affine = self.affine.copy()
        affine[:3, 3] = apply_affine(self.affine, [part.start for part in box])
        x, y, z = (part.stop - part.start for part in box)
        return Grid(affine=affine, shape=(x, y, z))

    def position(self, axis: int, index: int) -> float:
        """Return where the middle of a slice lies along its axis, in mm."""
        middle = (np.array(self.shape) - 1) / 2
        middle[axis] = index
        return float(apply_affine(self.affine, middle)[axis])


@dataclass(frozen=True)
class Scan:
    """What is drawn, all on one grid and cut to what is worth seeing.

    Attributes
    ----------
    grid : Grid
        Where the voxels are.
    flair : ndarray, shape (X, Y, Z)
        Intensities.
    brain : ndarray of bool, shape (X, Y, Z)
        Brain mask; empty where there is none.
    lesions : ndarray of int, shape (X, Y, Z)
        Lesions numbered from 1.
    window : tuple of two float
        Intensities that are drawn black and white.
    """

    grid: Grid
    flair: AnyArray
    brain: NDArray[np.bool_]
    lesions: NDArray[np.integer]
    window: tuple[float, float]

    def crop(self, box: Box) -> Scan:
        """Return a part of all images."""
        return Scan(
            grid=self.grid.crop(box),
            flair=self.flair[box],
            brain=self.brain[box],
            lesions=self.lesions[box],
            window=self.window,
        )

    def gray(self, axis: int, index: int) -> NDArray[np.uint8]:
        """Return one slice, upright, from black (0) to white (255); shape (rows, columns)."""
        low, high = self.window
        plane = upright(self.flair, axis, index).astype(np.float32)
        scaled = np.nan_to_num((plane - low) / (high - low)).clip(0.0, 1.0)
        pixels: NDArray[np.uint8] = (scaled * 255.0 + 0.5).astype(np.uint8)
        return pixels


def upright(data: AnyArray, axis: int, index: int) -> AnyArray:
    """Take a slice and lay it out as it is looked at.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        Image on RAS+ axes.
    axis, index : int
        The axis that the slice is taken along, and where.

    Returns
    -------
    ndarray, shape (rows, columns)
        Columns run to the right, or to the front in a sagittal slice; rows run down, from
        the front in an axial slice and from the top in the others.
    """
    return data[(slice(None),) * axis + (index,)].T[::-1]


def load(
    flair: nib.Nifti1Image,
    *,
    brain: nib.Nifti1Image | None = None,
    lesions: nib.Nifti1Image | None = None,
) -> Scan:
    """Bring images of one scan onto upright axes.

    Parameters
    ----------
    flair : nibabel image
        On any grid: permuted, flipped, oblique.
    brain, lesions : nibabel image, optional
        Brain mask, and lesions numbered from 1, in the same space and with the same voxels;
        their axes may be stored in another order.

    Returns
    -------
    Scan
        Uncropped.

    Raises
    ------
    ValueError
        The voxels of the images are not the same.
    """
    upright_flair = nib.as_closest_canonical(flair)
    x, y, z = upright_flair.shape[:3]
    grid = Grid(affine=np.asarray(upright_flair.affine, dtype=np.float64), shape=(x, y, z))
    data = np.asanyarray(upright_flair.dataobj).reshape(grid.shape)
    inside = _on_grid(brain, grid) != 0
    labels = _on_grid(lesions, grid).astype(np.int32)
    return Scan(
        grid=grid,
        flair=data,
        brain=inside,
        lesions=labels,
        window=_window(data, inside | (labels > 0)),
    )


def _on_grid(image: nib.Nifti1Image | None, grid: Grid) -> AnyArray:
    if image is None:
        return np.zeros(grid.shape, dtype=np.uint8)
    turned = nib.as_closest_canonical(image)
    if turned.shape[:3] != grid.shape or not np.allclose(turned.affine, grid.affine, atol=1e-3):
        raise ValueError(
            f"expected a mask with the voxels of the FLAIR, shape {grid.shape}; "
            f"got shape {turned.shape} or another affine"
        )
    voxels: AnyArray = np.asanyarray(turned.dataobj).reshape(grid.shape)
    return voxels


def _window(data: AnyArray, inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Return intensities for black and white: the brain's range, or that of all but zero."""
    if not inside.any():
        inside = data != 0
    values = data[inside]
    values = values[:: max(values.size // 200_000, 1)].astype(np.float32)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.8)))
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def brain_box(scan: Scan, *, margin_mm: float) -> Box:
    """Return the box around brain and lesions; that of the head where there are none."""
    inside = scan.brain | (scan.lesions > 0)
    return (
        _box(inside, scan.grid, margin_mm) if inside.any() else head_box(scan, margin_mm=margin_mm)
    )


def head_box(scan: Scan, *, margin_mm: float) -> Box:
    """Return the box around all that is brighter than the background, and the brain."""
    low, high = scan.window
    bright = scan.flair > max(low, 0.0) + 0.1 * (high - max(low, 0.0))
    return _box(bright, scan.grid, margin_mm, inside=scan.brain)


def _box(
    mask: NDArray[np.bool_],
    grid: Grid,
    margin_mm: float,
    *,
    inside: NDArray[np.bool_] | None = None,
) -> Box:
    """Return the box around a mask; with a second one, lone voxels of the first may be cut."""
    parts = []
    for axis, edge in enumerate(grid.spacing):
        others = tuple(other for other in range(3) if other != axis)
        profile = mask.mean(axis=others)
        wanted = profile > (0.0 if inside is None else 0.02)
        if inside is not None:
            wanted |= inside.any(axis=others)
        found = np.flatnonzero(wanted)
        first, last = (found[0], found[-1]) if found.size else (0, profile.size - 1)
        margin = int(np.ceil(margin_mm / edge))
        parts.append(slice(max(int(first) - margin, 0), min(int(last) + 1 + margin, profile.size)))
    return parts[0], parts[1], parts[2]

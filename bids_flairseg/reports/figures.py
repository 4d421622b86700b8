"""The three figures of a scan: all lesions, the largest one, the brain mask.

All are drawn on the voxels of the FLAIR, never resampled, on axes as near as they come to
right, front and top: an oblique scan stays oblique, and thick slices look as acquired. The
patient's left is on the left (neurological convention).
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_flairseg.reports.panels import Slice, draw
from bids_flairseg.reports.slices import areas, cover, fill
from bids_flairseg.reports.views import (
    AXIAL,
    CORONAL,
    NAMES,
    SAGITTAL,
    Box,
    Scan,
    brain_box,
    head_box,
    load,
)

_COLUMNS = 5
# Slices of a mosaic at least, and beyond those that show the lesions.
_CONTEXT, _MORE = 15, 2
# The close-up of a lesion: its own size times this, and no less than so many mm.
_CLOSE_UP, _CLOSE_UP_MM = 1.6, 50.0


def draw_lesions(
    flair: nib.Nifti1Image, lesions: nib.Nifti1Image, brain: nib.Nifti1Image | None = None
) -> str:
    """Draw the acquired slices on which every lesion is seen at least once.

    Slices are axial, or run along the slices of a thick-slice scan.

    Parameters
    ----------
    flair : nibabel image
        The FLAIR, on any grid.
    lesions : nibabel image
        Lesions numbered from 1, with the voxels of the FLAIR; all zero without lesions.
    brain : nibabel image, optional
        Brain mask with the voxels of the FLAIR: sets contrast and field of view.

    Returns
    -------
    str
        An SVG file.

    Raises
    ------
    ValueError
        The images have other voxels than the FLAIR.
    """
    whole = load(flair, brain=brain, lesions=lesions)
    scan = whole.crop(brain_box(whole, margin_mm=4.0))
    axis = scan.grid.slice_axis
    chosen = cover(areas(scan.lesions, axis))
    first, last = _range(scan, axis)
    rows = -(-max(len(chosen) + _MORE, _CONTEXT) // _COLUMNS)
    indices = fill(chosen, first=first, last=last, count=rows * _COLUMNS)
    count = int(scan.lesions.max(initial=0))
    found = f"{count} lesions outlined and numbered" if count else "no lesion was found"
    return draw(
        [Slice(scan, axis, index, "lesions") for index in indices],
        columns=_COLUMNS,
        description=f"{len(indices)} {NAMES[axis]} FLAIR slices, left is left; {found}.",
    )


def draw_brain(flair: nib.Nifti1Image, brain: nib.Nifti1Image) -> str:
    """Draw the outline of the brain mask on slices along all three axes.

    Parameters
    ----------
    flair : nibabel image
        The FLAIR, on any grid.
    brain : nibabel image
        Brain mask with the voxels of the FLAIR.

    Returns
    -------
    str
        An SVG file.

    Raises
    ------
    ValueError
        The mask has other voxels than the FLAIR.
    """
    whole = load(flair, brain=brain)
    scan = whole.crop(head_box(whole, margin_mm=3.0))
    slices = [
        Slice(scan, axis, index, "brain")
        for axis, count in ((AXIAL, 2 * _COLUMNS), (CORONAL, _COLUMNS), (SAGITTAL, _COLUMNS))
        for index in fill([], first=_range(scan, axis)[0], last=_range(scan, axis)[1], count=count)
    ]
    return draw(
        slices,
        columns=_COLUMNS,
        description="Axial, coronal and sagittal FLAIR slices, left is left, "
        "with the brain mask outlined.",
    )


def draw_largest(
    flair: nib.Nifti1Image, lesions: nib.Nifti1Image, brain: nib.Nifti1Image | None = None
) -> str:
    """Draw three planes through the largest lesion and a close-up, each without and with it.

    The planes meet in the middle of the largest ball that the lesion holds.

    Parameters
    ----------
    flair, lesions, brain : nibabel image
        As for `draw_lesions`; at least one lesion.

    Returns
    -------
    str
        An SVG file.

    Raises
    ------
    ValueError
        There is no lesion 1, or the images have other voxels than the FLAIR.
    """
    whole = load(flair, brain=brain, lesions=lesions)
    scan = whole.crop(brain_box(whole, margin_mm=4.0))
    centre = deepest(scan)
    slices = []
    for axis in (AXIAL, CORONAL, SAGITTAL):
        slices += [
            Slice(scan, axis, centre[axis]),
            Slice(scan, axis, centre[axis], "lesions", cross=centre),
        ]
    axis = scan.grid.slice_axis
    box = _close_up(scan, axis, centre)
    near = scan.crop(box)
    width = near.grid.shape[0 if axis else 1] * near.grid.spacing[0 if axis else 1]
    caption = f"{width:.0f} mm wide"
    index = centre[axis] - box[axis].start
    slices += [
        Slice(near, axis, index, caption=caption),
        Slice(near, axis, index, "lesions", caption=caption),
    ]
    return draw(
        slices,
        columns=4,
        description="Axial, coronal and sagittal FLAIR slices through the largest lesion and a "
        "close-up, left is left, each without and with outlines.",
    )


def _range(scan: Scan, axis: int) -> tuple[int, int]:
    """Return the slices between which the brain, or else all of the scan, is worth seeing."""
    others = tuple(other for other in range(3) if other != axis)
    found = np.flatnonzero(scan.brain.any(axis=others))
    first, last = (found[0], found[-1]) if found.size else (0, scan.grid.shape[axis] - 1)
    # The outermost slices graze the brain and show little.
    rim = round((last - first) * 0.06)
    return int(first) + rim, int(last) - rim


def deepest(scan: Scan) -> tuple[int, int, int]:
    """Find the voxel of the largest lesion that lies deepest inside it.

    Parameters
    ----------
    scan : Scan
        With lesion 1 somewhere.

    Returns
    -------
    tuple of three int
        Voxel indices.

    Raises
    ------
    ValueError
        There is no lesion 1.
    """
    found = ndimage.find_objects(scan.lesions, max_label=1)
    if not found or found[0] is None:
        raise ValueError("expected a lesion with the number 1, got none")
    mask = np.pad(scan.lesions[found[0]] == 1, 1)
    depth = ndimage.distance_transform_edt(mask, sampling=scan.grid.spacing)
    inside = np.unravel_index(int(np.argmax(depth)), mask.shape)
    x, y, z = (int(i) - 1 + part.start for i, part in zip(inside, found[0], strict=True))
    return x, y, z


def _close_up(scan: Scan, axis: int, centre: tuple[int, int, int]) -> Box:
    """Return a square box around the largest lesion of one slice, all slices included."""
    plane = np.moveaxis(scan.lesions, axis, 0)[centre[axis]] == 1
    found = ndimage.find_objects(plane.astype(np.uint8))[0]
    sides = [other for other in range(3) if other != axis]
    edges = [scan.grid.spacing[side] for side in sides]
    lengths = [(part.stop - part.start) * edge for part, edge in zip(found, edges, strict=True)]
    half = max(_CLOSE_UP * max(lengths), _CLOSE_UP_MM) / 2
    box = [slice(0, length) for length in scan.grid.shape]
    for side, part, edge in zip(sides, found, edges, strict=True):
        middle, reach = (part.start + part.stop) // 2, max(round(half / edge), 1)
        start, stop = max(middle - reach, 0), min(middle + reach, scan.grid.shape[side])
        box[side] = slice(start, stop)
    return box[0], box[1], box[2]

"""From slices to one SVG: pixels as JPEG, borders and numbers as vectors on top.

All that belongs to a slice is drawn in one frame, whose unit is the shorter edge of a
pixel, with the origin at the outer corner of the first pixel. So an outline cannot move
against its image, whatever the zoom; and as the slices are JPEG and the outlines are steps
along pixel edges, a mosaic of 40 slices stays well below a megabyte.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.reports.numbers import Number, place_numbers
from bids_flairseg.reports.outline import path_data, trace
from bids_flairseg.reports.page import environment
from bids_flairseg.reports.views import SAGITTAL, SIDES, Scan, upright

#: Width of every figure in its own pixels, and the space between two panels.
WIDTH, GAP = 1100, 4
BRAIN_COLOUR = "#3fd0c9"
#: Of lesions, one after the other; seen on gray matter as well as on a white lesion.
LESION_COLOURS = ("#ff5a4f", "#2fb8ff", "#ffb000", "#35d06b", "#ff6ad5", "#b58cff")
_QUALITY = 85
# Sagittal slices this near to the middle belong to no side.
_MIDDLE_MM = 5.0
# Pixels of the image per pixel of the figure; more would not be seen on a fine screen.
_FINEST = 2.0


def colour(lesion: int) -> str:
    """Return the colour of a lesion in all figures and tables, as ``#rrggbb``."""
    return LESION_COLOURS[(lesion - 1) % len(LESION_COLOURS)]


@dataclass(frozen=True)
class Slice:
    """One panel to be drawn.

    Attributes
    ----------
    scan : Scan
        Cut to what the panel shows.
    axis, index : int
        Which slice of it.
    layer : str
        What is outlined: ``lesions``, with their numbers, ``brain``, ``pair`` (a reference
        in the brain's place, and all lesions in one colour) or ``none``.
    cross : tuple of three int, optional
        Voxel at which a crosshair points.
    caption : str, optional
        Text at the lower edge; by default the position in mm.
    """

    scan: Scan
    axis: int
    index: int
    layer: str = "none"
    cross: tuple[int, int, int] | None = None
    caption: str | None = None

    @property
    def edges(self) -> tuple[float, float]:
        """Width and height of a pixel in mm."""
        first, second = (axis for axis in range(3) if axis != self.axis)
        return self.scan.grid.spacing[first], self.scan.grid.spacing[second]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in mm."""
        first, second = (axis for axis in range(3) if axis != self.axis)
        shape = self.scan.grid.shape
        return shape[first] * self.edges[0], shape[second] * self.edges[1]

    @property
    def text(self) -> str:
        """What stands at the lower edge."""
        if self.caption is not None:
            return self.caption
        position = round(self.scan.grid.position(self.axis, self.index))
        text = f"{'xyz'[self.axis]} = {position} mm".replace("-", "\N{MINUS SIGN}")
        return text + (self._side if self.axis == SAGITTAL else "")

    @property
    def _side(self) -> str:
        """On which side of the middle of what is shown a sagittal slice lies."""
        grid = self.scan.grid
        offset = (self.index + 0.5 - grid.shape[SAGITTAL] / 2) * grid.spacing[SAGITTAL]
        if abs(offset) < _MIDDLE_MM:
            return ", middle"
        return ", right" if offset > 0 else ", left"


@dataclass(frozen=True)
class Outline:
    """A border and its colour; the lesion's number, or 0 for the brain."""

    lesion: int
    colour: str
    path: str


@dataclass(frozen=True)
class Panel:
    """What the template draws; see ``_figure.svg.j2``."""

    x: float
    y: float
    scale: float
    width: float
    height: float
    stroke: float
    href: str
    outlines: Sequence[Outline]
    numbers: Sequence[Number]
    crosshair: str
    left: str
    right: str
    caption: str
    right_edge: float
    bottom: float


def draw(slices: Sequence[Slice], *, columns: int, description: str) -> str:
    """Lay slices out in rows and draw them, all at one scale.

    Parameters
    ----------
    slices : sequence of Slice
        In reading order; at least one.
    columns : int
        Panels in a row.
    description : str
        What the figure shows, for those who cannot see it.

    Returns
    -------
    str
        The SVG file.
    """
    cell = (WIDTH - GAP * (columns - 1)) / columns
    rows = [slices[start : start + columns] for start in range(0, len(slices), columns)]
    panels, top = [], 0.0
    for row in rows:
        scales = [_scale(item, slices, cell) for item in row]
        height = max(item.size[1] * scale for item, scale in zip(row, scales, strict=True))
        for column, (item, scale) in enumerate(zip(row, scales, strict=True)):
            left = column * (cell + GAP) + (cell - item.size[0] * scale) / 2
            panels.append(_panel(item, scale, (left, top + (height - item.size[1] * scale) / 2)))
        top += height + GAP
    return (
        environment()
        .get_template("_figure.svg.j2")
        .render(
            panels=panels,
            width=WIDTH,
            height=round(top - GAP, 1),
            description=description,
            colour=colour,
        )
    )


def _scale(item: Slice, slices: Sequence[Slice], cell: float) -> float:
    """Return pixels per mm: the same for all panels that show the same part of the scan."""
    same = [other for other in slices if other.scan is item.scan]
    return cell / max(other.size[0] for other in same)


def _panel(item: Slice, scale: float, corner: tuple[float, float]) -> Panel:
    """Draw one slice."""
    unit = min(item.edges)
    pixel = (item.edges[0] / unit, item.edges[1] / unit)
    gray = item.scan.gray(item.axis, item.index)  # (rows, columns)
    size = (item.size[0] * scale, item.size[1] * scale)
    labels = _labels(item)
    return Panel(
        x=round(corner[0], 2),
        y=round(corner[1], 2),
        scale=round(unit * scale, 5),
        width=round(gray.shape[1] * pixel[0], 2),
        height=round(gray.shape[0] * pixel[1], 2),
        stroke=round(1.1 / (unit * scale), 3),
        href=_jpeg(gray, size),
        outlines=_outlines(item, labels, pixel),
        numbers=_numbers(labels, size) if item.layer == "lesions" else (),
        crosshair=_crosshair(item, scale) if item.cross else "",
        left=SIDES[item.axis][0],
        right=SIDES[item.axis][1],
        caption=item.text,
        right_edge=round(size[0] - 4, 1),
        bottom=round(size[1] - 5, 1),
    )


def _labels(item: Slice) -> NDArray[np.integer]:
    """Return the numbers to outline on a slice; the brain is number 1."""
    if item.layer == "brain":
        return upright(item.scan.brain, item.axis, item.index).astype(np.uint8)
    labels: NDArray[np.integer] = upright(item.scan.lesions, item.axis, item.index)
    return labels if item.layer == "lesions" else np.zeros_like(labels)


def _outlines(
    item: Slice, labels: NDArray[np.integer], pixel: tuple[float, float]
) -> list[Outline]:
    brain = item.layer == "brain"
    if item.layer == "pair":
        masks = (item.scan.brain, item.scan.lesions > 0)
        drawn = [upright(mask, item.axis, item.index) for mask in masks]
        return [
            Outline(lesion=0, colour=shown, path=path_data(trace(mask), scale=pixel))
            for mask, shown in zip(drawn, (BRAIN_COLOUR, colour(1)), strict=True)
        ]
    return [
        Outline(
            lesion=0 if brain else int(number),
            colour=BRAIN_COLOUR if brain else colour(int(number)),
            path=path_data(trace(labels == number), scale=pixel),
        )
        for number in np.unique(labels)
        if number > 0
    ]


def _numbers(labels: NDArray[np.integer], size: tuple[float, float]) -> list[Number]:
    width, height = round(size[0]), round(size[1])
    top, bottom = slice(0, 16), slice(height - 16, height)
    reserved = (
        (top, slice(0, 16)),
        (top, slice(width - 16, width)),
        (bottom, slice(0, 76)),
    )
    return place_numbers(labels, size=(width, height), reserved=reserved)


def _crosshair(item: Slice, scale: float) -> str:
    """Return two lines through the middle of a voxel, open around it, as path data."""
    cross = item.cross or (0, 0, 0)
    first, second = (axis for axis in range(3) if axis != item.axis)
    width, height = (length * scale for length in item.size)
    x = (cross[first] + 0.5) * item.edges[0] * scale
    y = height - (cross[second] + 0.5) * item.edges[1] * scale
    gap = 14.0
    lines = (
        (0.0, y, x - gap, y),
        (x + gap, y, width, y),
        (x, 0.0, x, y - gap),
        (x, y + gap, x, height),
    )
    return "".join(f"M{a:.2f} {b:.2f}L{c:.2f} {d:.2f}" for a, b, c, d in lines if c > a or d > b)


def _jpeg(gray: NDArray[np.uint8], size: tuple[float, float]) -> str:
    """Write a slice as a data URI, with no more pixels than are seen."""
    from PIL import Image

    image = Image.fromarray(gray)
    finest = (int(size[0] * _FINEST), int(size[1] * _FINEST))
    if image.width > finest[0] or image.height > finest[1]:
        target = (min(image.width, finest[0]), min(image.height, finest[1]))
        image = image.resize(target, Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

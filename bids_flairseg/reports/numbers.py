"""Where to write the numbers of lesions: near them, off them, and off each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Height of the digits' box and width of one digit, in pixels of the figure.
HEIGHT, DIGIT_WIDTH = 11, 7
# A number farther from its lesion than this is tied to it by a line.
_NEAR = 11.0
# How far around a lesion a place is looked for first.
_REACH = 36


@dataclass(frozen=True)
class Number:
    """A lesion's number on a panel, in pixels of the figure.

    Attributes
    ----------
    lesion : int
        The number.
    x, y : float
        Middle of its box.
    tie : tuple of two float, or None
        Where on the lesion the line starts that ties a distant number to it.
    """

    lesion: int
    x: float
    y: float
    tie: tuple[float, float] | None = None


def place_numbers(
    labels: NDArray[np.integer],
    *,
    size: tuple[int, int],
    reserved: tuple[tuple[slice, slice], ...] = (),
) -> list[Number]:
    """Find a place for the number of every lesion on a slice.

    The smallest lesions come first, since a large one is easily told from afar.

    Parameters
    ----------
    labels : ndarray of int, shape (rows, columns)
        One slice as it is drawn.
    size : tuple of two int
        Width and height of the panel in pixels of the figure.
    reserved : tuple of (rows, columns)
        Slices of the panel that hold other text.

    Returns
    -------
    list of Number
        One for each lesion on the slice, the smallest first.
    """
    rows = (np.arange(size[1]) + 0.5) * labels.shape[0] / size[1]
    columns = (np.arange(size[0]) + 0.5) * labels.shape[1] / size[0]
    drawn = labels[rows.astype(int)][:, columns.astype(int)]  # (height, width)
    taken = drawn > 0
    for part in reserved:
        taken[part] = True
    areas = np.bincount(drawn.ravel())
    present = [int(n) for n in np.flatnonzero(areas) if n > 0]
    placed = []
    for lesion in sorted(present, key=lambda n: areas[n]):
        number = _place(drawn == lesion, taken, lesion)
        taken[_box(number)] = True
        placed.append(number)
    return placed


def _width(lesion: int) -> int:
    return DIGIT_WIDTH * len(str(lesion)) + 2


def _box(number: Number) -> tuple[slice, slice]:
    left, top = int(number.x - _width(number.lesion) / 2), int(number.y - HEIGHT / 2)
    return (
        slice(max(top, 0), top + HEIGHT + 1),
        slice(max(left, 0), left + _width(number.lesion) + 1),
    )


def _place(mask: NDArray[np.bool_], taken: NDArray[np.bool_], lesion: int) -> Number:
    """Take the free place nearest to a lesion, in its neighbourhood if there is one."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    near = tuple(
        slice(max(part.start - _REACH, 0), min(part.stop + _REACH, length))
        for part, length in zip(found, mask.shape, strict=True)
    )
    for window in (near, (slice(None), slice(None))):
        number = _nearest(mask[window], taken[window], lesion)
        if number is not None:
            top, left = window[0].start or 0, window[1].start or 0
            tie = number.tie and (number.tie[0] + left, number.tie[1] + top)
            return Number(lesion, number.x + left, number.y + top, tie)
    row, column = ndimage.center_of_mass(mask)
    return Number(lesion, float(column), float(row))


def _nearest(mask: NDArray[np.bool_], taken: NDArray[np.bool_], lesion: int) -> Number | None:
    """Take the free place nearest to a lesion in a window, if there is one."""
    box = (HEIGHT, _width(lesion))
    blocked = ndimage.maximum_filter(taken, size=box, mode="constant", cval=1)
    if blocked.all():
        return None
    distance, (rows, columns) = ndimage.distance_transform_edt(~mask, return_indices=True)
    distance[blocked] = np.inf
    row, column = np.unravel_index(int(distance.argmin()), distance.shape)
    tie = None
    if distance[row, column] > _NEAR:
        tie = (float(columns[row, column]) + 0.5, float(rows[row, column]) + 0.5)
    return Number(lesion, float(column) + 0.5, float(row) + 0.5, tie)

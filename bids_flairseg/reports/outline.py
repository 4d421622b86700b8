"""Borders of a mask in one slice, exactly along the edges of its pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Corner: TypeAlias = tuple[int, int]

# Headings of an edge, clockwise: east, south, west, north; as (columns, rows).
_STEPS: tuple[Corner, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))


def trace(mask: NDArray[np.bool_]) -> list[list[Corner]]:
    """Follow the borders of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
        One slice as it is drawn: row 0 on top.

    Returns
    -------
    list of list of (column, row)
        One closed polygon per border, holes included, without repeating the first corner.
        Pixel (r, c) covers columns c to c + 1 and rows r to r + 1. The mask lies to the
        right of the walking direction, and pixels that touch by a corner share a border.

    Examples
    --------
    >>> trace(np.array([[False, True], [False, True]]))
    [[(1, 0), (2, 0), (2, 2), (1, 2)]]
    """
    edges = _edges(mask)
    # In reading order, the first eastward edge left over starts at a corner.
    starts = sorted(edges[0], key=lambda corner: (corner[1], corner[0]))
    return [_walk(edges, start) for start in starts if start in edges[0]]


def _edges(mask: NDArray[np.bool_]) -> list[set[Corner]]:
    """Return where the edges of each heading start."""
    padded = np.pad(mask, 1)
    north_west, north_east = padded[:-1, :-1], padded[:-1, 1:]
    south_west, south_east = padded[1:, :-1], padded[1:, 1:]
    pairs = (
        (south_east, north_east),
        (south_west, south_east),
        (north_west, south_west),
        (north_east, north_west),
    )
    found = []
    for inside, outside in pairs:
        rows, columns = np.nonzero(inside & ~outside)
        found.append(set(zip(columns.tolist(), rows.tolist(), strict=True)))
    return found


def _walk(edges: list[set[Corner]], start: Corner) -> list[Corner]:
    """Take the edges of one border away and return its corners."""
    corners, heading, here = [start], 0, start
    while True:
        edges[heading].remove(here)
        here = (here[0] + _STEPS[heading][0], here[1] + _STEPS[heading][1])
        if here == start and not _turns(edges, here, heading):
            return corners
        # Left first: it keeps pixels that touch by a corner inside one border.
        turn = _turns(edges, here, heading)[0]
        if turn != heading:
            corners.append(here)
        heading = turn


def _turns(edges: Sequence[set[Corner]], here: Corner, heading: int) -> list[int]:
    """Return the headings in which a border goes on, leftmost first."""
    ways = ((heading + turn) % 4 for turn in (-1, 0, 1))
    return [way for way in ways if here in edges[way]]


def path_data(
    polygons: Iterable[Sequence[Corner]], *, scale: tuple[float, float] = (1.0, 1.0)
) -> str:
    """Write polygons of right angles as SVG path data.

    Parameters
    ----------
    polygons : iterable of sequence of (column, row)
        What `trace` gives: the first edge runs along a row, and edges take turns.
    scale : tuple of two float
        Width and height of a pixel; coordinates are rounded to 0.01.

    Returns
    -------
    str
        The attribute ``d``, in steps from corner to corner.

    Examples
    --------
    >>> path_data([[(1, 0), (2, 0), (2, 2), (1, 2)]])
    'M1 0h1v2h-1z'
    """
    return "".join(_polygon_data(polygon, scale) for polygon in polygons)


def _polygon_data(polygon: Sequence[Corner], scale: tuple[float, float]) -> str:
    # Absolute corners are rounded, not steps: errors do not add up.
    points = [(round(x * scale[0], 2), round(y * scale[1], 2)) for x, y in polygon]
    parts = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for number, (before, after) in enumerate(itertools.pairwise(points)):
        axis = number % 2
        parts.append(f"{'hv'[axis]}{round(after[axis] - before[axis], 2):g}")
    return "".join(parts) + "z"

"""Which slices to show: few, and every lesion on one of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Extent:
    """Consecutive slices on which something is well seen, both ends included."""

    first: int
    last: int


def areas(labels: NDArray[np.integer], axis: int) -> NDArray[np.int64]:
    """Count the pixels of every label on every slice.

    Parameters
    ----------
    labels : ndarray of int, shape (X, Y, Z)
        Lesions numbered from 1; 0 outside.
    axis : int
        The axis that slices are taken along.

    Returns
    -------
    ndarray of int64, shape (n_labels, n_slices)
        Row 0 is that of label 1.
    """
    count, length = int(labels.max(initial=0)), labels.shape[axis]
    positions = np.nonzero(labels)
    cells = (labels[positions].astype(np.int64) - 1) * length + positions[axis]
    return np.bincount(cells, minlength=count * length).reshape(count, length)


def extent(area: NDArray[np.int64]) -> Extent:
    """Return the run of slices around the largest one that show half of its area or more.

    Parameters
    ----------
    area : ndarray of int, shape (n_slices,)
        Pixels of one lesion; some are above zero.

    Returns
    -------
    Extent
        First and last slice of the run.
    """
    peak = int(area.argmax())
    poor = np.flatnonzero(2 * area < area[peak])
    before, after = poor[poor < peak], poor[poor > peak]
    return Extent(
        first=int(before[-1]) + 1 if before.size else 0,
        last=int(after[0]) - 1 if after.size else area.size - 1,
    )


def cover(area: NDArray[np.int64]) -> list[int]:
    """Choose the fewest slices on which every lesion is well seen.

    Taking the end of the extent that ends first, and leaving out all that it meets, gives
    the smallest number of points that meet all intervals. Among the slices that would do
    as well, the one is taken that shows most of its lesions.

    Parameters
    ----------
    area : ndarray of int, shape (n_labels, n_slices)
        What `areas` gives. Labels without a pixel are left out.

    Returns
    -------
    list of int
        Slices in ascending order.
    """
    shown = area[area.any(axis=1)]
    left = [(extent(row), row / row.max()) for row in shown]
    chosen = []
    while left:
        end = min(item.last for item, _ in left)
        group = [(item, share) for item, share in left if item.first <= end]
        left = [(item, share) for item, share in left if item.first > end]
        start = max(item.first for item, _ in group)
        seen = np.sum([share[start : end + 1] for _, share in group], axis=0)
        chosen.append(start + int(seen.argmax()))
    return chosen


def fill(chosen: Sequence[int], *, first: int, last: int, count: int) -> list[int]:
    """Add slices between those chosen, as evenly as may be, so that the whole brain is seen.

    Parameters
    ----------
    chosen : sequence of int
        Slices that are shown anyway, in ascending order.
    first, last : int
        Range to be seen, both ends included.
    count : int
        Slices in all, where there are as many.

    Returns
    -------
    list of int
        Slices in ascending order, each once.
    """
    fixed = sorted({min(first, *chosen, first) - 1, *chosen, max(last, *chosen, last) + 1})
    gaps = [after - before for before, after in itertools.pairwise(fixed)]
    parts = [1] * len(gaps)
    for _ in range(count - len(chosen)):
        widest = max(range(len(gaps)), key=lambda gap: gaps[gap] / parts[gap])
        if parts[widest] == gaps[widest]:
            break
        parts[widest] += 1
    added = [
        start + round(gap * step / part)
        for start, gap, part in zip(fixed, gaps, parts, strict=False)
        for step in range(1, part)
    ]
    return sorted({*chosen, *added})

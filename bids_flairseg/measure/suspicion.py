"""Values that lie far from what the others would make one expect."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Below so many values nobody can say what is usual.
FEWEST = 6
# 1.4826 times the median absolute deviation estimates the SD of a normal distribution.
_TO_SD = 1.4826


def robust_z(values: ArrayLike, groups: Sequence[Hashable] = ()) -> NDArray[np.float64]:
    """Say how many robust SD each value lies above the median.

    Parameters
    ----------
    values : array of float, shape (n,)
        NaN where there is none.
    groups : sequence of hashable, optional
        Groups whose medians differ; those with fewer than 6 values are one group together.

    Returns
    -------
    ndarray of float, shape (n,)
        0 where nothing can be said: no value, too few others, or all alike.

    Examples
    --------
    >>> robust_z([1, 2, 3, 4, 5, 6, 90]).round(1)[[0, -1]]
    array([-1., 29.])
    """
    data = np.asarray(values, dtype=np.float64)
    there = np.isfinite(data)
    found = np.zeros(data.size)
    if there.sum() < FEWEST:
        return found
    rest = data - _centres(data, there, groups)
    spread = _TO_SD * float(np.median(np.abs(rest[there])))
    if spread > 0:
        found[there] = rest[there] / spread
    return found


def _centres(
    data: NDArray[np.float64], there: NDArray[np.bool_], groups: Sequence[Hashable]
) -> NDArray[np.float64]:
    """Return the median of each value's group."""
    centres = np.full(data.size, float(np.median(data[there])))
    places: dict[Hashable, list[int]] = {}
    for place, name in enumerate(groups):
        if there[place]:
            places.setdefault(name, []).append(place)
    for members in places.values():
        if len(members) >= FEWEST:
            centres[members] = float(np.median(data[members]))
    return centres


def without_trend(values: ArrayLike, trend: ArrayLike) -> NDArray[np.float64]:
    """Take a linear trend off, such as that of lesion volume with age.

    Parameters
    ----------
    values, trend : array of float, shape (n,)
        NaN where there is none.

    Returns
    -------
    ndarray of float, shape (n,)
        Values as they would be at the median of the trend; unchanged where the trend is
        unknown, or known of fewer than 10.
    """
    data, x = np.asarray(values, dtype=np.float64), np.asarray(trend, dtype=np.float64)
    both = np.isfinite(data) & np.isfinite(x)
    changed = data.copy()
    if both.sum() >= 10 and np.ptp(x[both]) > 0:
        slope = float(np.polyfit(x[both], data[both], 1)[0])
        changed[both] -= slope * (x[both] - float(np.median(x[both])))
    return changed

"""Coefficients of agreement of two measurements, with intervals that know repeated scans."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_flairseg.measure.summaries import FEWEST, Interval, draw_clusters, interval_of

SPEARMAN, PEARSON, LIN, ICC = "Spearman", "Pearson", "Lin's concordance", "ICC(2,1)"
BIAS, LOWER, UPPER = "bias", "lower limit of agreement", "upper limit of agreement"

# Numbers that are ranked at a time.
_PART = 1_000_000


def coefficient_intervals(
    first: ArrayLike, second: ArrayLike, codes: NDArray[np.int64], *, seed: int = 0
) -> dict[str, Interval | None]:
    """Return the 95 % intervals of all coefficients by a bootstrap over participants.

    A participant that is drawn brings all its scans (Field and Welsh 2007, J R Stat Soc B
    69:369); percentile method.

    Parameters
    ----------
    first, second : array of float, shape (n,)
        Two measurements of the same scans, both finite.
    codes : ndarray of int, shape (n,)
        Participant of each scan, as `encode` numbers them.
    seed : int
        Same seed, same intervals.

    Returns
    -------
    dict of str to (Interval or None)
        By name; None for fewer than 6 participants, or where most resamples give nothing.
    """
    names = (SPEARMAN, PEARSON, LIN, ICC, BIAS, LOWER, UPPER)
    if not codes.size or codes.max() + 1 < FEWEST:
        return dict.fromkeys(names)
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    shift = float(one.mean())  # far from 0, squares would lose digits
    one, other = one - shift, other - shift
    columns = (np.ones_like(one), one, other, one**2, other**2, one * other)
    sums = np.stack([np.bincount(codes, weights=column) for column in columns], axis=1)
    found: list[NDArray[np.float64]] = []
    for drawn in draw_clusters(len(sums), seed=seed):
        pieces = np.array_split(drawn, 1 + len(drawn) * len(codes) // _PART)
        ranks = np.concatenate([_spearman(one, other, piece[:, codes]) for piece in pieces])
        found.append(np.vstack([ranks, _from_sums((drawn.astype(np.float64) @ sums).T)]))
    return dict(zip(names, map(interval_of, np.hstack(found)), strict=True))


def _spearman(
    one: NDArray[np.float64], other: NDArray[np.float64], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the rank correlation of every resample.

    Parameters
    ----------
    one, other : ndarray of float, shape (n,)
        Both measurements.
    times : ndarray of int, shape (resamples, n)
        How often each scan was drawn.

    Returns
    -------
    ndarray of float, shape (resamples,)
        NaN where a measurement has one value only.
    """
    count = times.sum(axis=1, keepdims=True)
    a, b = (_ranks(values, times) - (count + 1) / 2 for values in (one, other))
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.sqrt((times * a**2).sum(axis=1) * (times * b**2).sum(axis=1))
        found: NDArray[np.float64] = (times * a * b).sum(axis=1) / size
    return found


def _ranks(values: NDArray[np.float64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rank values that are there so many times each, ties by their mean, as SciPy's `rankdata`."""
    levels, level = np.unique(values, return_inverse=True)
    alike = np.zeros((len(times), len(levels)))
    np.add.at(alike.T, level, times.T)
    ranks: NDArray[np.float64] = np.cumsum(alike, axis=1) - (alike - 1) / 2
    return ranks[:, level]


def _from_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute all other coefficients of every resample from its sums.

    Parameters
    ----------
    sums : ndarray, shape (6, resamples)
        Count, sums of both measurements, of their squares, and of their product.

    Returns
    -------
    ndarray, shape (6, resamples)
        Pearson's r, Lin's concordance, ICC(2,1), bias and both limits.
    """
    n, x, y, xx, yy, xy = sums
    gap = (x - y) / n
    var_x, var_y, shared = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2, xy / n - x * y / n**2
    with np.errstate(divide="ignore", invalid="ignore"):
        pearson = shared / np.sqrt(var_x * var_y)
        lin = 2 * shared / (var_x + var_y + gap**2)
        # mean squares between cases, between measurements, and the rest
        scale = n / (2 * (n - 1))
        cases, rest = scale * (var_x + var_y + 2 * shared), scale * (var_x + var_y - 2 * shared)
        sides = n * gap**2 / 2
        icc = (cases - rest) / (cases + rest + 2 * (sides - rest) / n)
        reach = 1.96 * np.sqrt(np.maximum(2 * rest, 0))
    return np.stack([pearson, lin, icc, gap, gap - reach, gap + reach])

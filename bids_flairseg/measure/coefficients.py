"""Coefficients of agreement of two measurements, with intervals that know repeated scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from bids_flairseg.measure.concordance import icc, lin_concordance
from bids_flairseg.measure.summaries import Interval, bootstrap

SPEARMAN, PEARSON, LIN, ICC = "Spearman", "Pearson", "Lin's concordance", "ICC(2,1)"
BIAS, LOWER, UPPER = "bias", "lower limit of agreement", "upper limit of agreement"


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def _limit(sign: float) -> Callable[[NDArray[np.float64], NDArray[np.float64]], float]:
    def of(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        gap = one - other
        return float(gap.mean() + sign * 1.96 * gap.std(ddof=1))

    return of


_OF: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.float64]], float]] = {
    SPEARMAN: lambda one, other: _pearson(rankdata(one), rankdata(other)),
    PEARSON: _pearson,
    LIN: lin_concordance,
    ICC: lambda one, other: icc(np.stack([one, other], axis=1)),
    BIAS: lambda one, other: float((one - other).mean()),
    LOWER: _limit(-1.0),
    UPPER: _limit(1.0),
}


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
        By name; None for fewer than three participants, or where most resamples give nothing.
    """
    table = np.stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)], axis=1)
    if not codes.size or codes.max() < 2:
        return dict.fromkeys(_OF)
    return dict(
        zip(_OF, bootstrap(table, _all_of, codes=codes, seed=seed, width=len(_OF)), strict=True)
    )


def _all_of(table: NDArray[np.float64]) -> NDArray[np.float64]:
    one, other = table[:, 0].copy(), table[:, 1].copy()
    return np.array([of(one, other) for of in _OF.values()])

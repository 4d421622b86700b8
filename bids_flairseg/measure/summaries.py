"""Many values in few numbers, with intervals that know which values belong together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Resamples of the bootstrap.
RESAMPLES = 2000
#: Of fewer participants a bootstrap's interval is too narrow by far, and none is given.
FEWEST = 6
# With so many participants, a quarter of them gives the same two digits.
_MANY = 2000
# Resampled indices are drawn in parts of this size, to keep memory small.
_PART = 4_000_000


@dataclass(frozen=True)
class Interval:
    """Limits between which a number lies with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """Values summed up.

    Attributes
    ----------
    n, clusters : int
        Values, and participants that they come from.
    median, low, high : float
        Median, 25th and 75th centile (linear between values).
    mean : float
        Arithmetic mean.
    interval : Interval or None
        Of the mean, by bootstrap over participants; None for fewer than 6 of them.
    """

    n: int
    clusters: int
    median: float
    low: float
    high: float
    mean: float
    interval: Interval | None


def summarise(
    values: ArrayLike, *, clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> Summary:
    """Sum up values.

    Parameters
    ----------
    values : array of float, shape (n,)
        Finite; at least one.
    clusters : sequence of hashable, optional
        To whom each value belongs; by default each to its own.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Summary
        Median, quartiles, mean and its interval.
    """
    data = np.asarray(values, dtype=np.float64)
    codes = encode(clusters, data.size)
    low, middle, high = np.percentile(data, (25, 50, 75))
    return Summary(
        n=data.size,
        clusters=int(codes.max()) + 1,
        median=float(middle),
        low=float(low),
        high=float(high),
        mean=float(data.mean()),
        interval=mean_interval(data, codes, seed=seed),
    )


def encode(clusters: Sequence[Hashable] | None, n: int) -> NDArray[np.int64]:
    """Assign numbers to clusters in the order of their first value.

    Parameters
    ----------
    clusters : sequence of hashable, or None
        Cluster of each value; None: each value is its own.
    n : int
        Number of values.

    Returns
    -------
    ndarray of int64, shape (n,)
        0, 1, ...
    """
    if clusters is None:
        return np.arange(n)
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=np.int64)


def mean_interval(
    values: NDArray[np.float64], codes: NDArray[np.int64], *, seed: int = 0
) -> Interval | None:
    """Return the interval of a mean by a bootstrap that draws whole participants.

    Percentile method (Efron and Tibshirani 1993, chapter 13); a participant that is drawn
    brings all its values (Field and Welsh 2007, J R Stat Soc B 69:369).

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        The values.
    codes : ndarray of int, shape (n,)
        Participant of each, as `encode` numbers them.
    seed : int
        Same seed, same interval.

    Returns
    -------
    Interval or None
        None where there are fewer than 6 participants.
    """
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes)
    if sums.size < FEWEST:
        return None
    random = np.random.default_rng(seed)
    resamples = RESAMPLES if sums.size < _MANY else RESAMPLES // 4
    rows = max(1, _PART // sums.size)
    means = []
    for start in range(0, resamples, rows):
        drawn = random.integers(0, sums.size, (min(rows, resamples - start), sums.size))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return Interval(float(low), float(high))


def draw_clusters(people: int, *, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Draw participants with replacement, as often as a bootstrap needs.

    Parameters
    ----------
    people : int
        How many there are.
    seed : int
        Same seed, same draws.

    Yields
    ------
    ndarray of int, shape (rows, people)
        How often each participant was drawn; a row for each resample, in parts.
    """
    random = np.random.default_rng(seed)
    resamples = RESAMPLES if people < _MANY else RESAMPLES // 4
    rows = max(1, _PART // people)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        yield random.multinomial(people, np.full(people, 1 / people), size)


def interval_of(found: NDArray[np.float64]) -> Interval | None:
    """Return the middle 95 % of resampled statistics, None where most are not finite."""
    finite = found[np.isfinite(found)]
    if finite.size < found.size / 2 or not finite.size:
        return None
    low, high = np.percentile(finite, (2.5, 97.5))
    return Interval(float(low), float(high))


def per_cluster(
    values: ArrayLike, clusters: Sequence[Hashable]
) -> tuple[NDArray[np.float64], list[Hashable]]:
    """Average the values of each participant, so that each counts once.

    Parameters
    ----------
    values : array of float, shape (n,)
        The values.
    clusters : sequence of hashable
        Participant of each.

    Returns
    -------
    ndarray of float
        One mean per participant.
    list of hashable
        The participants, in the order of their first value.

    Examples
    --------
    >>> per_cluster([1.0, 3.0, 5.0], ["a", "a", "b"])
    (array([2., 5.]), ['a', 'b'])
    """
    data = np.asarray(values, dtype=np.float64)
    codes = encode(clusters, data.size)
    means = np.bincount(codes, weights=data) / np.bincount(codes)
    return means, list(dict.fromkeys(clusters))

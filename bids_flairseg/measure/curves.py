"""A learning curve fitted to Dice by number of training cases, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from bids_flairseg.measure.summaries import FEWEST, Interval, encode

#: Exponents that are tried: from almost logarithmic to a quick plateau.
EXPONENTS = tuple(float(value) for value in np.round(np.linspace(0.1, 2.0, 39), 3))
#: Nothing is said beyond so many times the largest number of cases that was tried.
FARTHEST = 4
RESAMPLES = 500


@dataclass(frozen=True)
class Curve:
    """``plateau - gain (k + 1)^-exponent``, the inverse power law.

    Figueroa et al. 2012, BMC Med Inform Decis Mak 12:8; one is added to k, so that no case
    is a point of the curve like any other.
    """

    plateau: float
    gain: float
    exponent: float

    def at(self, cases: float) -> float:
        """Return the Dice expected with so many cases."""
        return float(self.plateau - self.gain * (cases + 1.0) ** -self.exponent)

    def cases_for(self, target: float) -> float:
        """Return how many cases reach a Dice, infinity if none do."""
        if self.at(0) >= target:
            return 0.0
        room = self.plateau - target
        if room <= 0 or self.gain <= 0:
            return math.inf
        return float(max((self.gain / room) ** (1.0 / self.exponent) - 1.0, 0.0))


@dataclass(frozen=True)
class LearningCurve:
    """A curve, its band, and the answer that it gives.

    Attributes
    ----------
    curve : Curve
        Fitted to all participants.
    cases : ndarray of float
        Where the band is given.
    low, high : ndarray of float, same shape
        95 % band of the curve.
    target : float
        Dice to be reached.
    needed : float
        Cases that reach it; infinity where none do within `FARTHEST` times what was tried.
    interval : Interval or None
        Of that number, 95 %; its end may be infinite. None for fewer than 6 participants.
    reached : float
        Share of the resamples in which the target is reached at all.
    """

    curve: Curve
    cases: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    target: float
    needed: float
    interval: Interval | None
    reached: float


def fit_curve(cases: NDArray[np.float64], dice: NDArray[np.float64]) -> Curve:
    """Fit the inverse power law by least squares.

    For each exponent the rest is linear; the gain is never negative, so that more cases never
    make it worse, and the plateau is 1 at most.

    Parameters
    ----------
    cases, dice : ndarray of float, shape (n,)
        At least two different numbers of cases.

    Returns
    -------
    Curve
        The best of all exponents.
    """
    best, smallest = Curve(float(dice.mean()), 0.0, 1.0), math.inf
    for exponent in EXPONENTS:
        falling = (cases + 1.0) ** -exponent
        # 1 - dice = (1 - plateau) + gain * falling, both parts at least 0
        (short, gain), rest = nnls(np.stack([np.ones_like(cases), falling], axis=1), 1.0 - dice)
        if rest < smallest - 1e-12:
            best, smallest = Curve(1.0 - float(short), float(gain), exponent), rest
    return best


def learning_curve(
    cases: Sequence[float],
    dice: Sequence[float],
    participants: Sequence[str],
    *,
    target: float,
    seed: int = 0,
) -> LearningCurve | None:
    """Fit a curve and ask how many cases reach a Dice.

    Parameters
    ----------
    cases, dice : sequence of float
        Number of training cases and Dice of every test scan.
    participants : sequence of str
        Whose scan; participants are resampled as a whole, with all models' results.
    target : float
        Dice to be reached on average.
    seed : int
        Of the bootstrap.

    Returns
    -------
    LearningCurve or None
        None for fewer than three numbers of cases: two points fit any curve.
    """
    x, y = np.asarray(cases, dtype=float), np.asarray(dice, dtype=float)
    tried = np.unique(x)
    if tried.size < 3:
        return None
    members = _members(participants)
    grid = np.linspace(0.0, float(tried[-1]) * 1.25, 60)
    random = np.random.default_rng(seed)
    limit = FARTHEST * float(tried[-1])
    lines, answers = [], []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
        # one mean per number of cases, weighted as it was drawn, is all that least squares needs
        curve = fit_curve(*_means(x[drawn], y[drawn]))
        lines.append([curve.at(k) for k in grid])
        answers.append(_within(curve.cases_for(target), limit))
    curve = fit_curve(*_means(x, y))
    low, high = np.percentile(lines, (2.5, 97.5), axis=0)
    found = np.sort(answers)
    ends = Interval(_rank(found, 0.025), _rank(found, 0.975))
    return LearningCurve(
        curve=curve,
        cases=grid,
        low=low,
        high=high,
        target=target,
        needed=_within(curve.cases_for(target), limit),
        interval=ends if len(members) >= FEWEST else None,
        reached=float(np.mean(np.isfinite(found))),
    )


def _members(participants: Sequence[str]) -> list[NDArray[np.int64]]:
    codes = encode(participants, len(participants))
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


def _means(
    cases: NDArray[np.float64], dice: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    levels, codes = np.unique(cases, return_inverse=True)
    return levels, np.bincount(codes, weights=dice) / np.bincount(codes)


def _within(value: float, limit: float) -> float:
    return value if value <= limit else math.inf


def _rank(found: NDArray[np.float64], share: float) -> float:
    """Return a centile without interpolation, which infinity does not survive."""
    return float(found[round(share * (found.size - 1))])

"""The signed-rank sum and its distribution, exact with ties where pairs are few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Up to so many pairs, p comes from the exact distribution, with ties or without.
EXACT_UP_TO = 50


@dataclass(frozen=True)
class SignedRanks:
    """Rank sums of differences, and how often chance gives as much.

    Attributes
    ----------
    above, below : float
        Sums of the ranks of the differences above and below 0; tied ones share their mean rank.
    p : float
        Two-sided.
    p_above : float
        One-sided: that differences lie above 0.
    ties, exact : bool
        Whether sizes are tied; whether p is exact.
    """

    above: float
    below: float
    p: float
    p_above: float
    ties: bool
    exact: bool


def signed_ranks(difference: NDArray[np.float64]) -> SignedRanks:
    """Rank differences by their size (Wilcoxon 1945, Biometrics Bull 1:80).

    With few pairs p is that of all ways to give signs to the ranks at hand, ties included
    (Hollander, Wolfe and Chicken 2014, section 3.1, comment 11); with more it is normal, with
    the corrections for ties and continuity.

    Parameters
    ----------
    difference : ndarray of float, shape (n,)
        None of them 0; at least one.

    Returns
    -------
    SignedRanks
        Both sums and p.
    """
    ranks = stats.rankdata(np.abs(difference))
    above, below = float(ranks[difference > 0].sum()), float(ranks[difference < 0].sum())
    ties = bool(np.unique(ranks).size < ranks.size)
    if difference.size <= EXACT_UP_TO:
        lower, upper = _tails(ranks, above)
        p = min(1.0, 2 * min(lower, upper))
        return SignedRanks(above, below, p, upper, ties, exact=True)
    two, one = (
        stats.wilcoxon(difference, method="approx", correction=True, alternative=side)
        for side in ("two-sided", "greater")
    )
    return SignedRanks(above, below, float(two.pvalue), float(one.pvalue), ties, exact=False)


def _tails(ranks: NDArray[np.float64], observed: float) -> tuple[float, float]:
    """Return how probable a sum of at most, and of at least, the observed one is."""
    steps = np.rint(2 * ranks).astype(int)  # shared ranks are halves
    chance = np.zeros(int(steps.sum()) + 1)
    chance[0] = 1.0
    for step in steps:
        chance[step:] = (chance[step:] + chance[:-step]) / 2
        chance[:step] /= 2
    place = round(2 * observed)
    return float(chance[: place + 1].sum()), float(chance[place:].sum())

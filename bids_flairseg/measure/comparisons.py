"""Tests whether groups differ, each with its effect size and with what it rests on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bids_flairseg.measure.signed_rank import signed_ranks

#: Up to so many values without ties, p comes from the exact distribution.
EXACT_UP_TO = 25
#: Ends the conditions of a test that says next to nothing, whatever it finds.
TOO_FEW = "too few values for more than a hint"
# Below so many values in a group, and below so many pairs that differ, the smallest p that can
# come out is about 0.05 or above, even where all differ the same way.
_FEW, _FEW_PAIRS = 4, 6
# Rank correlations of so few pairs are tested by all permutations.
_PERMUTED = 7


@dataclass(frozen=True)
class TestResult:
    """What a test says.

    Attributes
    ----------
    test : str
        Its name.
    statistic : float
        In the unit of the test.
    p : float
        Two-sided unless the name says otherwise; NaN where it could not be computed.
    effect_name : str
        Which effect size.
    effect : float
        Its value.
    conditions : str
        What was checked, in words.
    df : float or None
        Degrees of freedom.
    """

    __test__ = False  # no test case of pytest

    test: str
    statistic: float
    p: float
    effect_name: str
    effect: float
    conditions: str
    df: float | None = None


def mann_whitney(first: ArrayLike, second: ArrayLike) -> TestResult:
    """Compare two unpaired groups by the Mann-Whitney U test.

    Exact up to 25 values a group without ties, otherwise normal with continuity and tie
    correction. Effect: rank-biserial correlation ``2 U / (n m) - 1`` (Kerby 2014,
    Compr Psychol 3:11), positive where the first group is higher.

    Parameters
    ----------
    first, second : array of float
        Values of independent participants.

    Returns
    -------
    TestResult
        U of the first group.
    """
    one, other = _finite(first), _finite(second)
    name, effect_name = "Mann-Whitney U", "rank-biserial"
    if not one.size or not other.size:
        return _impossible(name, effect_name, "a group is empty")
    together = np.concatenate([one, other])
    exact = max(one.size, other.size) <= EXACT_UP_TO and not _ties(together)
    found = stats.mannwhitneyu(one, other, method="exact" if exact else "asymptotic")
    effect = 2 * float(found.statistic) / (one.size * other.size) - 1
    p = 1.0 if np.ptp(together) == 0 else float(found.pvalue)
    conditions = _conditions((one.size, other.size), _ties(together), exact=exact)
    return TestResult(name, float(found.statistic), p, effect_name, effect, conditions)


def kruskal_wallis(groups: Sequence[ArrayLike]) -> TestResult:
    """Compare several unpaired groups by the Kruskal-Wallis H test.

    Effect: epsilon squared ``H / (n - 1)`` (Tomczak and Tomczak 2014, Trends Sport Sci 1:19).

    Parameters
    ----------
    groups : sequence of array of float
        Values of independent participants, two groups or more.

    Returns
    -------
    TestResult
        H, corrected for ties, with p from the chi-squared distribution.
    """
    data = [_finite(group) for group in groups]
    name, effect_name = "Kruskal-Wallis H", "epsilon squared"
    if len(data) < 2 or not all(group.size for group in data):
        return _impossible(name, effect_name, "a group is empty")
    together = np.concatenate(data)
    sizes = tuple(group.size for group in data)
    conditions = _conditions(sizes, _ties(together), exact=False)
    df = float(len(data) - 1)
    if np.ptp(together) == 0:
        return TestResult(name, 0.0, 1.0, effect_name, 0.0, f"all values equal; {conditions}", df)
    found = stats.kruskal(*data)
    effect = float(found.statistic) / (together.size - 1)
    return TestResult(
        name, float(found.statistic), float(found.pvalue), effect_name, effect, conditions, df
    )


def wilcoxon(first: ArrayLike, second: ArrayLike) -> TestResult:
    """Compare paired values by the Wilcoxon signed-rank test.

    Pairs without difference are left out (Wilcoxon 1945). Exact up to 50 pairs, with ties or
    without, otherwise normal; see `signed_ranks`. Differences of differences below 1e-10 are
    rounding, and ties. Effect: matched-pairs rank-biserial correlation (Kerby 2014), positive
    where the first is higher.

    Parameters
    ----------
    first, second : array of float, same shape
        Values of the same participants.

    Returns
    -------
    TestResult
        The smaller of the two rank sums.
    """
    difference = _finite(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))
    name, effect_name = "Wilcoxon signed-rank", "matched-pairs rank-biserial"
    if not difference.size:
        return _impossible(name, effect_name, "no pairs")
    kept = _without_rounding(difference)
    zeros = difference.size - kept.size
    if not kept.size:
        return TestResult(name, 0.0, 1.0, effect_name, 0.0, f"n = {zeros}, all pairs equal")
    found = signed_ranks(kept)
    effect = (found.above - found.below) / (found.above + found.below)
    conditions = _conditions((difference.size,), found.ties, exact=found.exact, few=0)
    if zeros:
        conditions += f"; {zeros} equal pairs left out"
    if kept.size < _FEW_PAIRS:
        conditions += f"; {TOO_FEW}"
    smaller = min(found.above, found.below)
    return TestResult(name, smaller, found.p, effect_name, effect, conditions)


def paired_t(first: ArrayLike, second: ArrayLike) -> TestResult:
    """Compare repeated trainings by the paired t test, as the paper does.

    Effect: Cohen's d of the differences. Their normality is checked by Shapiro and Wilk.

    Parameters
    ----------
    first, second : array of float, same shape
        One value per training, such as the median Dice.

    Returns
    -------
    TestResult
        Student's t.
    """
    difference = _finite(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))
    name, effect_name = "paired t", "Cohen's d"
    n = difference.size
    if n < 2:
        return _impossible(name, effect_name, "fewer than two pairs")
    spread = float(difference.std(ddof=1))
    if np.ptp(difference) <= 1e-12:
        return _impossible(name, effect_name, f"n = {n}, all differences equal")
    effect = float(difference.mean()) / spread
    t = effect * math.sqrt(n)
    conditions = f"n = {n}"
    if n >= 3:
        conditions += f"; normality of differences: Shapiro-Wilk P = {_shapiro(difference):.2g}"
    p = float(2 * stats.t.sf(abs(t), n - 1))
    return TestResult(name, t, p, effect_name, effect, conditions, float(n - 1))


def non_inferior(model: ArrayLike, rater: ArrayLike, *, margin: float) -> TestResult:
    """Test whether a model is worse than a rater by less than a margin.

    One-sided Wilcoxon signed-rank test of ``model - rater + margin > 0``; a small p says that
    the model is not inferior.

    Parameters
    ----------
    model, rater : array of float, same shape
        Dice of the same participants.
    margin : float
        Largest difference that does not matter, above 0.

    Returns
    -------
    TestResult
        Sum of the positive ranks; effect: median of model minus rater.
    """
    difference = _finite(np.asarray(model, dtype=float) - np.asarray(rater, dtype=float))
    name, effect_name = "non-inferiority (one-sided Wilcoxon)", "median difference"
    if not difference.size:
        return _impossible(name, effect_name, "no pairs")
    shifted = _without_rounding(difference + margin)
    effect = float(np.median(difference))
    if not shifted.size:
        return TestResult(name, 0.0, 1.0, effect_name, effect, "all pairs lie at the margin")
    found = signed_ranks(shifted)
    conditions = _conditions((difference.size,), found.ties, exact=found.exact, few=_FEW_PAIRS)
    conditions = f"margin {margin:g}; {conditions}"
    return TestResult(name, found.above, found.p_above, effect_name, effect, conditions)


def spearman(first: ArrayLike, second: ArrayLike) -> TestResult:
    """Correlate two variables by their ranks.

    Parameters
    ----------
    first, second : array of float, same shape
        Values of the same participants.

    Returns
    -------
    TestResult
        Spearman's rho as statistic and effect.
    """
    return _correlation("Spearman", first, second)


def pearson(first: ArrayLike, second: ArrayLike) -> TestResult:
    """Correlate two variables linearly.

    Parameters
    ----------
    first, second : array of float, same shape
        Values of the same participants.

    Returns
    -------
    TestResult
        Pearson's r as statistic and effect.
    """
    return _correlation("Pearson", first, second)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p values of a family (Holm 1979, Scand J Stat 6:65).

    Parameters
    ----------
    p_values : sequence of float
        Those that are NaN stay so and do not count.

    Returns
    -------
    list of float
        In the same order, never smaller than before.

    Examples
    --------
    >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    corrected = np.full(p.size, np.nan)
    there = np.flatnonzero(np.isfinite(p))
    order = there[np.argsort(p[there], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(value) for value in corrected]


def _correlation(name: str, first: ArrayLike, second: ArrayLike) -> TestResult:
    pairs = np.stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])
    one, other = pairs[:, np.isfinite(pairs).all(axis=0)]
    if one.size < 3:
        return _impossible(name, "r", f"n = {one.size}, fewer than three pairs")
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return _impossible(name, "r", f"n = {one.size}, all values of one side equal")
    found = stats.spearmanr(one, other) if name == "Spearman" else stats.pearsonr(one, other)
    r, p = float(found.statistic), float(found.pvalue)
    exact = name == "Spearman" and one.size <= _PERMUTED
    if exact:
        p = _permuted(one, other)
    conditions = _conditions((one.size,), _ties(one) or _ties(other), exact=exact)
    return TestResult(name, r, p, "r", r, conditions)


def _permuted(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the two-sided p of a rank correlation from all orders of few values."""
    one, other = (stats.rankdata(values) - (first.size + 1) / 2 for values in (first, second))
    orders = np.array(list(itertools.permutations(other)))
    sums = np.abs(orders @ one)
    return float(np.mean(sums >= abs(float(one @ other)) - 1e-9))


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64)
    finite: NDArray[np.float64] = data[np.isfinite(data)]
    return finite


def _without_rounding(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out differences of zero, and make alike what differs by rounding alone."""
    rounded = np.round(difference, 10)
    kept: NDArray[np.float64] = rounded[rounded != 0]
    return kept


def _ties(values: NDArray[np.float64]) -> bool:
    return np.unique(values).size < values.size


def _conditions(sizes: tuple[int, ...], ties: bool, *, exact: bool, few: int = _FEW) -> str:
    """Say what a rank test rests on."""
    parts = ["n = " + " + ".join(str(size) for size in sizes)]
    parts.append("ties" if ties else "no ties")
    parts.append("exact p" if exact else "asymptotic p")
    if min(sizes) < few:
        parts.append(TOO_FEW)
    return "; ".join(parts)


def _impossible(name: str, effect_name: str, why: str) -> TestResult:
    return TestResult(name, math.nan, math.nan, effect_name, math.nan, f"not computed: {why}")


def _shapiro(values: NDArray[np.float64]) -> float:
    return float(stats.shapiro(values).pvalue)

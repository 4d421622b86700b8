"""Tests against published examples: textbooks, R's manual pages, and the paper itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bids_flairseg.measure.comparisons import (
    TestResult,
    holm,
    kruskal_wallis,
    mann_whitney,
    non_inferior,
    paired_t,
    pearson,
    spearman,
    wilcoxon,
)


def test_mann_whitney_of_hollander_and_wolfe() -> None:
    """Permeability constants, Hollander and Wolfe 1973, p. 69; R gives W = 35, p = 0.2544."""
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    found = mann_whitney(term, early)
    assert found.statistic == 35
    assert found.p == pytest.approx(0.2544, abs=1e-4)
    assert found.effect == pytest.approx(2 * 35 / 50 - 1)
    assert mann_whitney(early, term).effect == pytest.approx(-found.effect)


def test_wilcoxon_of_hollander_and_wolfe() -> None:
    """Depression scores, Hollander and Wolfe 1973, p. 29; R gives V = 40, one-sided 0.01953."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    found = wilcoxon(before, after)
    assert found.p == pytest.approx(2 * 0.01953, abs=1e-5)
    assert found.statistic == 45 - 40
    assert found.effect == pytest.approx((40 - 5) / 45)
    assert non_inferior(before, after, margin=1e-9).p == pytest.approx(0.01953, abs=1e-5)


# differences with ties and zeros: pingouin's example, whole numbers; and Dice of two decimals,
# whose differences are tied but for rounding
TIED = {
    "whole numbers": (
        [20, 22, 19, 20, 22, 18, 24, 20, 19, 24, 26, 13],
        [38, 37, 33, 29, 14, 12, 20, 22, 17, 25, 26, 16],
    ),
    "decimals": (
        [0.71, 0.64, 0.80, 0.55, 0.77, 0.69, 0.74, 0.81, 0.60, 0.72],
        [0.68, 0.61, 0.77, 0.57, 0.77, 0.67, 0.71, 0.82, 0.58, 0.69],
    ),
}


@pytest.mark.parametrize("pairs", TIED.values(), ids=TIED)
def test_wilcoxon_with_ties_and_zeros_is_that_of_all_signs(
    pairs: tuple[list[float], list[float]],
) -> None:
    gaps = np.round(np.subtract(*pairs), 6)
    gaps = gaps[gaps != 0]
    ranks = stats.rankdata(np.abs(gaps))
    signs = np.array(list(itertools.product((0, 1), repeat=gaps.size)))
    sums, seen = signs @ ranks, ranks[gaps > 0].sum()
    middle = ranks.sum() / 2
    found = wilcoxon(*pairs)
    assert "; ties; exact p" in found.conditions
    assert found.p == pytest.approx(np.mean(np.abs(sums - middle) >= abs(seen - middle)))
    assert found.statistic == min(seen, ranks.sum() - seen)
    assert "equal pairs left out" in found.conditions
    shifted = np.round(np.subtract(*pairs), 6) + 0.05
    ranks = stats.rankdata(np.round(np.abs(shifted), 9))
    signs = np.array(list(itertools.product((0, 1), repeat=shifted.size)))
    expected = np.mean(signs @ ranks >= ranks[shifted > 0].sum() - 1e-9)
    assert non_inferior(*pairs, margin=0.05).p == pytest.approx(expected)


def test_wilcoxon_agrees_with_scipy_where_that_is_exact_or_asymptotic() -> None:
    random = np.random.default_rng(1)
    few = random.normal(0.3, 1, 40)
    exact = stats.wilcoxon(few, method="exact")
    found = wilcoxon(few, np.zeros(40))
    assert (found.statistic, found.p) == pytest.approx((exact.statistic, exact.pvalue), rel=1e-9)
    many = np.round(random.normal(0.03, 0.1, 90), 2)  # ties and zeros
    normal = stats.wilcoxon(many[many != 0], method="approx", correction=True)
    found = wilcoxon(many, np.zeros(90))
    assert (found.statistic, found.p) == pytest.approx((normal.statistic, normal.pvalue))
    assert "asymptotic p" in found.conditions


def test_kruskal_of_hollander_and_wolfe() -> None:
    """Mucociliary efficiency, Hollander and Wolfe 1973, p. 116; R gives 0.77143, p = 0.68."""
    groups = [2.9, 3.0, 2.5, 2.6, 3.2], [3.8, 2.7, 4.0, 2.4], [2.8, 3.4, 3.7, 2.2, 2.0]
    found = kruskal_wallis(groups)
    assert found.statistic == pytest.approx(0.77143, abs=1e-5)
    assert found.p == pytest.approx(0.68, abs=1e-3)
    assert found.df == 2
    assert found.effect == pytest.approx(0.77143 / 13, abs=1e-6)


def test_paired_t_of_student() -> None:
    """Sleep data of Student 1908; R gives t = -4.0621, df = 9, p = 0.002833."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired_t(one, two)
    assert found.statistic == pytest.approx(-4.0621, abs=1e-4)
    assert found.p == pytest.approx(0.002833, abs=1e-6)
    assert found.effect == pytest.approx(-4.0621 / math.sqrt(10), abs=1e-4)


def test_correlations_of_hollander_and_wolfe() -> None:
    """Tuna quality, Hollander and Wolfe 1973, p. 187; R gives r = 0.5712, rho = 0.6."""
    hunter = [44.4, 45.9, 41.9, 53.3, 44.7, 44.1, 50.7, 45.2, 60.1]
    panel = [2.6, 3.1, 2.5, 5.0, 3.6, 4.0, 5.2, 2.8, 3.8]
    assert pearson(hunter, panel).effect == pytest.approx(0.5711816, abs=1e-6)
    assert pearson(hunter, panel).p == pytest.approx(0.1082, abs=1e-4)
    assert spearman(hunter, panel).effect == pytest.approx(0.6)
    assert spearman([1, 2, 3], [4, 5, 9]).p == pytest.approx(2 / 6)
    assert spearman(hunter[:5], panel[:5]).p == pytest.approx(10 / 120)  # rho = 0.9


def test_holm_of_r() -> None:
    """``p.adjust(c(.01, .02, .03, .04, .05))`` of R."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, math.nan, 0.01])[1:] == pytest.approx([math.nan, 0.02], nan_ok=True)


@pytest.mark.parametrize(("h", "groups", "p"), [(6.83, 10, 0.66), (0.68, 3, 0.71)])
def test_kruskal_of_the_paper(h: float, groups: int, p: float) -> None:
    """Dice by scanner type and by manufacturer: published H and P (which are rounded)."""
    assert float(stats.chi2.sf(h, groups - 1)) == pytest.approx(p, abs=0.006)
    random = np.random.default_rng(0)
    found = kruskal_wallis([random.random(6) for _ in range(groups)])
    assert found.p == pytest.approx(float(stats.chi2.sf(found.statistic, groups - 1)))


def test_repeated_trainings_of_the_paper() -> None:
    """Five trainings: the median Dice falls by 0.027 to 0.059, mean 0.042; published P = .001.

    Of all five differences that fit, equal ones in the middle give the smallest P: .001.
    """
    middle = (5 * 0.042 - 0.027 - 0.059) / 3
    found = paired_t([0.027, middle, middle, middle, 0.059], np.zeros(5))
    assert round(found.p, 3) == 0.001
    spread = paired_t([0.027, 0.027, 0.038, 0.059, 0.059], np.zeros(5))
    assert found.p < spread.p < 0.005


@pytest.mark.parametrize(("test", "r"), [(spearman, 0.98), (pearson, 0.90)])
def test_correlations_of_the_paper(test: Callable[..., TestResult], r: float) -> None:
    """Volumes of 51 patients: Spearman 0.98 and Pearson 0.90, both published with P < .001."""
    random = np.random.default_rng(0)
    x = random.normal(size=51)
    rest = random.normal(size=51)
    rest -= np.polyval(np.polyfit(x, rest, 1), x)
    found = test(x, r * x / x.std() + math.sqrt(1 - r**2) * rest / rest.std())
    assert found.effect == pytest.approx(r, abs=0.02 if test is spearman else 1e-9)
    t = found.effect * math.sqrt(49 / (1 - found.effect**2))
    assert found.p == pytest.approx(float(2 * stats.t.sf(t, 49)), rel=1e-6)
    assert found.p < 0.001


@pytest.mark.parametrize("test", [mann_whitney, wilcoxon, spearman, pearson, paired_t])
def test_nothing_and_all_the_same(test: type) -> None:
    assert math.isnan(test([], []).p)
    assert "not computed" in test([], []).conditions
    same = test([0.5] * 6, [0.5] * 6)
    assert math.isnan(same.p) or same.p == 1.0
    assert math.isnan(test([math.nan] * 3, [math.nan] * 3).p)


def test_conditions_are_said() -> None:
    assert "exact p" in mann_whitney([1, 2, 3], [4, 5, 6]).conditions
    assert "ties; asymptotic p" in mann_whitney([1, 2, 2], [4, 5, 6]).conditions
    assert "too few" in mann_whitney([1, 2, 3], [4, 5, 6]).conditions
    shift = np.arange(1.0, 7.0)
    assert wilcoxon(shift, 0 * shift).p < 0.05 < wilcoxon(shift[1:], 0 * shift[1:]).p
    assert "too few" not in wilcoxon(shift, 0 * shift).conditions
    assert "too few" in wilcoxon(shift[1:], 0 * shift[1:]).conditions
    assert "too few" in wilcoxon(shift, np.r_[shift[:2], 0, 0, 0, 0]).conditions
    assert "2 equal pairs left out" in wilcoxon([1, 2, 3, 4], [1, 2, 1, 1]).conditions


def test_non_inferiority_needs_its_margin() -> None:
    random = np.random.default_rng(3)
    rater = random.uniform(0.6, 0.9, 40)
    model = rater - 0.02 + random.normal(0, 0.02, 40)
    assert non_inferior(model, rater, margin=0.05).p < 0.001
    assert non_inferior(model, rater, margin=0.01).p > 0.5

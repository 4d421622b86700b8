"""Intervals of coefficients: those of the textbooks, and no narrower for copied scans."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bids_flairseg.measure.coefficients import (
    BIAS,
    ICC,
    LIN,
    LOWER,
    PEARSON,
    SPEARMAN,
    UPPER,
    _from_sums,
    _spearman,
    coefficient_intervals,
)
from bids_flairseg.measure.concordance import bland_altman, icc, lin_concordance


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    one = random.normal(20, 5, 120)
    return one, one + random.normal(0.5, 3, 120)


def test_intervals_agree_with_those_of_normal_theory(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    found = coefficient_intervals(*pairs, np.arange(120))
    r = stats.pearsonr(*pairs).confidence_interval(0.95)  # Fisher's z
    altman = bland_altman(*pairs)
    assert altman is not None
    expected = {
        PEARSON: (r.low, r.high),
        BIAS: (altman.bias_interval.low, altman.bias_interval.high),
        LOWER: (altman.lower_interval.low, altman.lower_interval.high),
        UPPER: (altman.upper_interval.low, altman.upper_interval.high),
    }
    for name, (low, high) in expected.items():
        interval = found[name]
        assert interval is not None
        width = high - low
        assert interval.low == pytest.approx(low, abs=0.2 * width), name
        assert interval.high == pytest.approx(high, abs=0.2 * width), name


def test_resampled_rank_correlations_are_those_of_the_repeated_scans() -> None:
    random = np.random.default_rng(3)
    one, other = random.integers(0, 9, (2, 30)).astype(float)  # with ties
    times = random.multinomial(30, np.full(30, 1 / 30), 20)
    times[0] = 0
    times[0, 4] = 30
    found = _spearman(one, other, times)
    expected = [
        stats.spearmanr(np.repeat(one, row), np.repeat(other, row)).statistic for row in times[1:]
    ]
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx(expected)


def test_every_coefficient_lies_in_its_interval(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    found = coefficient_intervals(*pairs, np.arange(120))
    values = {
        SPEARMAN: stats.spearmanr(*pairs).statistic,
        PEARSON: stats.pearsonr(*pairs).statistic,
        LIN: lin_concordance(*pairs),
        ICC: icc(np.stack(pairs, axis=1)),
    }
    for name, value in values.items():
        interval = found[name]
        assert interval is not None
        assert interval.low < value < interval.high


def test_copies_of_a_participant_tell_no_more(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = pairs[0][:30], pairs[1][:30]
    first, second = np.repeat(one, 6), np.repeat(other, 6)
    alone = coefficient_intervals(one, other, np.arange(30))
    together = coefficient_intervals(first, second, np.repeat(np.arange(30), 6))
    naive = coefficient_intervals(first, second, np.arange(180))
    for name in (SPEARMAN, PEARSON, LIN, ICC, BIAS):
        own, same, narrow = alone[name], together[name], naive[name]
        assert own is not None
        assert same is not None
        assert narrow is not None
        assert (same.low, same.high) == pytest.approx((own.low, own.high), abs=0.02), name
        assert narrow.high - narrow.low < 0.7 * (own.high - own.low), name


def test_of_few_participants_nothing_is_said(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = pairs[0][:12], pairs[1][:12]
    assert set(coefficient_intervals(one, other, np.arange(12) % 5).values()) == {None}
    assert None not in coefficient_intervals(one, other, np.arange(12) % 6).values()


def test_sums_give_what_the_coefficients_say(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = pairs
    columns = (np.ones_like(one), one, other, one**2, other**2, one * other)
    found = _from_sums(np.array([column.sum() for column in columns])[:, None])[:, 0]
    altman = bland_altman(one, other)
    assert altman is not None
    expected = [
        stats.pearsonr(one, other).statistic,
        lin_concordance(one, other),
        icc(np.stack(pairs, axis=1)),
        altman.bias,
        altman.lower,
        altman.upper,
    ]
    assert found == pytest.approx(expected)

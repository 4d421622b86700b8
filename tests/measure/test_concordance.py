"""Concordance against published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bids_flairseg.measure.concordance import (
    bland_altman,
    icc,
    lin_concordance,
    outliers,
    repeatability,
)
from bids_flairseg.measure.summaries import (
    RESAMPLES,
    draw_clusters,
    encode,
    interval_of,
    summarise,
)

# Peak expiratory flow by two meters, first readings: Bland and Altman 1986, table 1.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
SECOND_WRIGHT = [
    490,
    397,
    512,
    401,
    470,
    611,
    415,
    431,
    638,
    429,
    420,
    633,
    275,
    492,
    165,
    372,
    421,
]


def test_bland_altman_of_1986() -> None:
    found = bland_altman(WRIGHT, MINI)
    assert found is not None
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    # published with 2 SD: -79.7 and 75.5; intervals with t = 2.12
    assert found.bias - 2 * found.sd == pytest.approx(-79.7, abs=0.1)
    assert found.bias_interval.low == pytest.approx(-22.0, abs=0.1)
    assert found.bias_interval.high == pytest.approx(17.8, abs=0.1)
    # published half-width of a limit's interval: 34.5, with SE sqrt(3 s^2 / n)
    half = found.upper_interval.high - found.upper
    assert half == pytest.approx(34.5, abs=0.6)


def test_repeatability_of_1986() -> None:
    """Coefficient of repeatability of the Wright meter: 2 SD of differences of 15.3 = 30.6."""
    names = [*range(17), *range(17)]
    found = repeatability([*WRIGHT, *SECOND_WRIGHT], names)
    assert found is not None
    assert found.within_sd == pytest.approx(15.3, abs=0.05)
    assert (found.participants, found.scans) == (17, 34)
    assert found.smallest_change == pytest.approx(1.96 * math.sqrt(2) * found.within_sd)


def test_cv_of_known_pairs() -> None:
    found = repeatability([9.0, 11.0, 90.0, 110.0, 5.0], list("aabbc"))
    assert found is not None
    assert found.cv_percent == pytest.approx(100 * math.sqrt(2) / 10)
    assert repeatability([1.0, 2.0], ["a", "b"]) is None


def test_icc_of_shrout_and_fleiss() -> None:
    """Six targets, four judges: ICC(2,1) = 0.29."""
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc(table) == pytest.approx(0.2898, abs=1e-4)
    assert math.isnan(icc([[1.0, 2.0]]))
    assert icc(np.stack([WRIGHT, WRIGHT], axis=1)) == pytest.approx(1.0)


def test_lin_of_the_peak_flow_data() -> None:
    """Steichen and Cox 1998 (Stata Tech Bull 43) give 0.943 for these data."""
    assert lin_concordance(WRIGHT, MINI) == pytest.approx(0.9427, abs=5e-4)
    assert lin_concordance(WRIGHT, WRIGHT) == pytest.approx(1.0)
    assert math.isnan(lin_concordance([1.0, 1.0], [1.0, 1.0]))


def test_proportional_bias_is_seen() -> None:
    truth = np.linspace(1, 100, 30)
    found = bland_altman(1.2 * truth, truth)
    assert found is not None
    assert found.slope == pytest.approx(0.2 / 1.1)
    assert found.slope_p < 1e-9
    assert bland_altman([1.0], [2.0]) is None
    flat = bland_altman([1.0] * 4, [1.0] * 4)
    assert flat is not None
    assert math.isnan(flat.slope_p)


def test_outliers_are_those_of_the_paper() -> None:
    values = [10.0] * 30 + [500.0]
    assert outliers(values).tolist() == [False] * 30 + [True]
    assert not outliers([1.0, 2.0]).any()


def test_summary_and_its_interval() -> None:
    random = np.random.default_rng(0)
    values = random.normal(10, 2, 400)
    found = summarise(values)
    assert found.interval is not None
    half = 1.96 * 2 / math.sqrt(400)
    assert found.interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.interval.high == pytest.approx(values.mean() + half, abs=0.03)
    assert summarise(values) == found
    assert summarise(values[:5]).interval is None
    assert summarise(values[:6]).interval is not None


def test_repeated_scans_widen_the_interval() -> None:
    """Ten copies of each participant tell no more than one."""
    random = np.random.default_rng(1)
    once = random.normal(0, 1, 40)
    names = np.repeat(np.arange(40), 10)
    copied = np.repeat(once, 10)
    alone, together = summarise(once).interval, summarise(copied, clusters=list(names)).interval
    naive = summarise(copied).interval
    assert alone is not None
    assert together is not None
    assert naive is not None
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))
    assert naive.high - naive.low < 0.5 * (alone.high - alone.low)


def test_a_bootstrap_draws_as_many_as_there_are() -> None:
    drawn = np.concatenate(list(draw_clusters(50)))
    assert drawn.shape == (RESAMPLES, 50)
    assert set(drawn.sum(axis=1)) == {50}
    assert drawn.mean(axis=0) == pytest.approx(np.ones(50), abs=0.15)
    assert interval_of(np.full(10, np.nan)) is None
    assert encode(["b", "a", "b"], 3).tolist() == [0, 1, 0]

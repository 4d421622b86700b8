"""Several raters, one mask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.train.raters import RULES, combine, staple

SHAPE = (30, 30, 30)


def ball(radius: float, centre: float = 15.0) -> NDArray[np.bool_]:
    grid = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    return np.asarray(sum((axis - centre) ** 2 for axis in grid) < radius**2)


@pytest.mark.parametrize("rule", RULES)
def test_one_rater_is_always_right(rule: str) -> None:
    np.testing.assert_array_equal(combine([ball(5)], rule), ball(5))


def test_rules_on_nested_masks() -> None:
    masks = [ball(4), ball(6), ball(8)]
    np.testing.assert_array_equal(combine(masks, "first"), ball(4))
    np.testing.assert_array_equal(combine(masks, "majority"), ball(6))
    np.testing.assert_array_equal(combine(masks, "union"), ball(8))


def test_half_of_an_even_number_is_a_majority() -> None:
    np.testing.assert_array_equal(combine([ball(4), ball(6)], "majority"), ball(6))


def test_staple_trusts_the_raters_that_agree_and_says_how_much() -> None:
    rng = np.random.default_rng(0)
    truth = ball(7)
    good = [truth ^ (rng.random(SHAPE) < 0.03) for _ in range(3)]
    bad = truth ^ (rng.random(SHAPE) < 0.4)
    found, performance = staple([*good, bad])
    errors = np.count_nonzero(found ^ truth)
    assert errors < min(np.count_nonzero(mask ^ truth) for mask in good) / 5
    assert performance[:3].min() > 0.93
    np.testing.assert_allclose(performance[3], 0.6, atol=0.05)


def test_staple_outvotes_a_majority_of_bad_raters_that_err_alike_nowhere() -> None:
    rng = np.random.default_rng(1)
    truth = ball(7)
    masks = [truth, truth, *(truth ^ (rng.random(SHAPE) < 0.45) for _ in range(3))]
    by_votes = np.count_nonzero(combine(masks, "majority") ^ truth)
    assert np.count_nonzero(combine(masks, "staple") ^ truth) < by_votes / 10


@pytest.mark.parametrize("rule", RULES)
def test_empty_masks_stay_empty(rule: str) -> None:
    assert not combine([np.zeros(SHAPE, bool)] * 3, rule).any()


def test_staple_hears_every_rater_and_refuses_more_than_it_can() -> None:
    rng = np.random.default_rng(2)
    truth = ball(7)
    deaf = [np.zeros(SHAPE, bool)] * 16  # the first ones find nothing
    heard = [truth ^ (rng.random(SHAPE) < 0.03) for _ in range(48)]
    found, performance = staple([*deaf, *heard])
    assert performance.shape == (64, 2)
    assert performance[:16, 0].max() < 0.05
    assert performance[16:].min() > 0.93
    np.testing.assert_array_equal(found, truth)
    with pytest.raises(InputError, match="at most 64 masks of one scan, found 65"):
        combine([*deaf, *heard, truth], "staple")


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="staple"):
        combine([ball(3)], "best")

"""Intervals of a card: heads are drawn, with all that is known of each."""

import numpy as np
import pytest

from bids_flairseg.train.intervals import bootstrap_interval, estimate
from bids_flairseg.train.scores import area_over_heads


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    heads = np.random.default_rng(0).normal(0.5, 0.1, 100)
    half = 1.96 * heads.std() / 10
    found = bootstrap_interval(heads.tolist(), np.mean)
    assert found == pytest.approx([heads.mean() - half, heads.mean() + half], abs=0.003)


def test_of_heads_that_are_alike_nothing_is_uncertain() -> None:
    assert bootstrap_interval([0.25] * 9, np.median) == [0.25, 0.25]


def test_more_lesions_of_the_same_heads_do_not_narrow_an_interval() -> None:
    rng = np.random.default_rng(0)
    heads = [(rng.random(5) + 0.1 * head, rng.random(5) < 0.6) for head in range(10)]
    copied = [(np.tile(value, 20), np.tile(true, 20)) for value, true in heads]
    alone = bootstrap_interval(heads, area_over_heads)
    assert alone is not None
    assert bootstrap_interval(copied, area_over_heads) == alone
    more = bootstrap_interval(heads * 20, area_over_heads)
    assert more is not None
    assert more[1] - more[0] < 0.5 * (alone[1] - alone[0])


def test_one_head_has_a_number_and_no_interval() -> None:
    assert estimate("dice", [0.25], np.mean) == {"dice": 0.25, "dice_95": None}


def test_where_most_draws_give_nothing_there_is_no_interval() -> None:
    heads = [(np.array([0.5]), np.array([True]))] * 8
    assert estimate("area", heads, area_over_heads) == {"area": None, "area_95": None}

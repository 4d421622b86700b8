"""Learning curves: what was put in comes out, and no more is claimed than was seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bids_flairseg.measure.curves import Curve, LearningCurve, fit_curve, learning_curve

TRUE = Curve(0.78, 0.10, 0.8)
TRIED = (0, 2, 4, 8, 16, 34)


def simulate(noise: float, people: int, target: float, curve: Curve = TRUE) -> LearningCurve | None:
    random = np.random.default_rng(7)
    skill = random.normal(0, 0.08, people)
    cases = [k for k in TRIED for _ in range(people)]
    dice = [curve.at(k) + skill[p] + random.normal(0, noise) for k in TRIED for p in range(people)]
    names = [f"sub-{p}" for _ in TRIED for p in range(people)]
    return learning_curve(cases, dice, names, target=target)


def test_a_curve_without_noise_is_found() -> None:
    cases = np.array(TRIED, dtype=float)
    found = fit_curve(cases, np.array([TRUE.at(k) for k in TRIED]))
    assert (found.plateau, found.gain, found.exponent) == pytest.approx((0.78, 0.10, 0.8), abs=1e-6)
    assert found.cases_for(found.at(10)) == pytest.approx(10)


def test_the_answer_lies_in_its_interval() -> None:
    found = simulate(0.01, 40, 0.74)
    assert found is not None
    assert found.interval is not None
    truth = TRUE.cases_for(0.74 + 0.0)
    assert found.interval.low <= found.needed <= found.interval.high
    assert found.interval.low - 3 < truth < found.interval.high + 3
    assert (found.low <= found.high).all()


def test_a_target_out_of_reach_is_said_to_be() -> None:
    found = simulate(0.01, 20, 0.95)
    assert found is not None
    assert math.isinf(found.needed)
    assert found.reached < 0.05


def test_a_target_reached_without_any_case() -> None:
    found = simulate(0.0, 20, 0.1)
    assert found is not None
    assert found.needed == 0.0


def test_no_gain_is_flat_and_less_is_no_gain() -> None:
    cases = np.array(TRIED, dtype=float)
    assert fit_curve(cases, np.full(6, 0.7)).at(100) == pytest.approx(0.7)
    assert fit_curve(cases, np.linspace(0.8, 0.6, 6)).gain == pytest.approx(0.0, abs=1e-9)


def test_two_numbers_of_cases_are_no_curve() -> None:
    assert learning_curve([0, 8], [0.6, 0.7], ["a", "a"], target=0.7) is None

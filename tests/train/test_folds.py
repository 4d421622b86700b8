"""Folds: every case once, families together, parts alike; choices nested."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from bids_flairseg.errors import UsageError
from bids_flairseg.train.folds import hold_out, make_folds, take


@dataclass(frozen=True)
class Simple:
    name: str
    participant: str
    lesion_ml: float
    attributes: Mapping[str, str] = field(default_factory=dict)


def dataset(people: int, *, sessions: int = 1, diagnoses: int = 1, seed: int = 0) -> list[Simple]:
    volumes = np.random.default_rng(seed).lognormal(2, 1, people)
    return [
        Simple(
            f"sub-{p:02d}_ses-{s}", f"{p:02d}", float(volumes[p]), {"diagnosis": str(p % diagnoses)}
        )
        for p in range(people)
        for s in range(sessions if p % 3 == 0 else 1)
    ]  # fmt: skip


def of(cases: list[Simple], names: tuple[str, ...]) -> list[Simple]:
    return [case for case in cases if case.name in names]


@pytest.mark.parametrize(("people", "folds"), [(3, 3), (51, 3), (20, 7), (5, 2)])
def test_every_case_is_in_one_fold_and_participants_are_not_divided(
    people: int, folds: int
) -> None:
    cases = dataset(people, sessions=3, diagnoses=2)
    parts = make_folds(cases, folds=folds, seed=1)
    assert sorted(name for part in parts for name in part) == sorted(case.name for case in cases)
    owners = [{case.participant for case in of(cases, part)} for part in parts]
    assert sum(map(len, owners)) == people
    assert all(owners)


def test_folds_are_alike_in_diagnosis_and_volume() -> None:
    cases = dataset(51, diagnoses=17)
    parts = make_folds(cases, folds=3, seed=4)
    for part in parts:  # as in the paper: one participant of each of 17 diagnoses in each
        assert sorted(case.attributes["diagnosis"] for case in of(cases, part)) == sorted(
            map(str, range(17))
        )
    cases = dataset(60)
    medians = [
        np.median([case.lesion_ml for case in of(cases, part)])
        for part in make_folds(cases, folds=3, seed=4)
    ]
    assert max(medians) < 1.5 * min(medians)


def test_folds_hang_on_the_seed_and_not_on_the_order_of_cases() -> None:
    cases = dataset(12)
    parts = make_folds(cases, folds=3, seed=5)
    assert make_folds(cases[::-1], folds=3, seed=5) == parts
    assert any(make_folds(cases, folds=3, seed=seed) != parts for seed in range(3))


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(UsageError, match="found 4 folds and 3 participants"):
        make_folds(dataset(3, sessions=4), folds=4, seed=0)
    with pytest.raises(UsageError, match="expected 2 or more"):
        make_folds(dataset(3), folds=1, seed=0)


def test_held_out_participants_are_not_trained_on() -> None:
    cases = dataset(20, sessions=2)
    train, held = hold_out(cases, share=0.2, seed=3)
    assert sorted(train + held) == sorted(case.name for case in cases)
    people = [{case.participant for case in of(cases, names)} for names in (train, held)]
    assert not people[0] & people[1]
    assert len(people[1]) == 4


@pytest.mark.parametrize(
    ("people", "share", "held"), [(1, 0.5, 0), (2, 0.2, 0), (3, 0.2, 1), (2, 0.9, 1)]
)
def test_one_is_always_left_to_train_on(people: int, share: float, held: int) -> None:
    assert len(hold_out(dataset(people), share=share, seed=0)[1]) == held


@pytest.mark.parametrize(("ill", "well", "share"), [(2, 1, 0.25), (3, 2, 0.25), (2, 6, 0.25)])
def test_who_chooses_the_epoch_has_a_lesion(ill: int, well: int, share: float) -> None:
    cases = dataset(ill)
    cases += [Simple(f"sub-well{n}", f"well{n}", 0.0) for n in range(well)]
    for seed in range(20):
        train, held = hold_out(cases, share=share, seed=seed)
        assert any(case.lesion_ml for case in of(cases, held))
        assert any(case.lesion_ml for case in of(cases, train))


def test_nobody_chooses_where_one_or_none_has_a_lesion() -> None:
    well = [Simple(f"sub-well{n}", f"well{n}", 0.0) for n in range(8)]
    assert hold_out(well, share=0.5, seed=0)[1] == ()
    assert hold_out([*well, *dataset(1)], share=0.5, seed=0)[1] == ()


def test_a_smaller_amount_of_data_is_part_of_a_larger_one() -> None:
    cases = dataset(10, sessions=2)
    chosen = [set(take(cases, count=count, seed=2)) for count in range(1, 11)]
    assert all(a < b for a, b in itertools.pairwise(chosen))
    assert chosen[-1] == {case.name for case in cases}
    with pytest.raises(UsageError, match="1 to 10 participants"):
        take(cases, count=11, seed=2)

"""Which cases are trained on and which are tested: by participant, and evenly spread.

Sessions of a participant always stay together, and the parts are alike in diagnosis and
lesion volume. The same cases and seed give the same parts, in whatever order cases come.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bids_flairseg.errors import UsageError


class Case(Protocol):
    """What has to be known of a case to sort it in."""

    @property
    def name(self) -> str:
        """Name of the scan, once among all."""

    @property
    def participant(self) -> str:
        """Whose scan it is."""

    @property
    def lesion_ml(self) -> float:
        """Volume of the labelled lesions."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """Columns of participants.tsv and the like; ``diagnosis`` is used."""


@dataclass(frozen=True)
class _Person:
    """All cases of a participant, and what they are sorted by."""

    names: tuple[str, ...]
    diagnosis: str
    volume: float


def make_folds(cases: Sequence[Case], *, folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Divide cases into parts for cross-validation.

    Participants are sorted by diagnosis and, within it, by lesion volume; each run of as many
    neighbours as there are folds is dealt out by lot, the larger families of scans to the
    folds with fewer.

    Parameters
    ----------
    cases : sequence of Case
        Each with a name of its own.
    folds : int
        Parts, 2 or more.
    seed : int
        Of the lots.

    Returns
    -------
    parts : tuple of tuple of str
        Names of the cases of each fold, sorted; every case is in one fold.

    Raises
    ------
    UsageError
        There are fewer than two folds, or fewer participants than folds.
    """
    people = _people(cases)
    if folds < 2:
        raise UsageError(f"--folds: expected 2 or more, found {folds}.")
    if len(people) < folds:
        raise UsageError(
            f"--folds: expected no more folds than participants with labels, found {folds} folds "
            f"and {len(people)} participants. Take fewer folds, or label more participants."
        )
    rng = np.random.default_rng(seed)
    parts: list[list[str]] = [[] for _ in range(folds)]
    for _, same in itertools.groupby(people, key=lambda person: person.diagnosis):
        group = list(same)
        for start in range(0, len(group), folds):
            _deal(group[start : start + folds], parts, rng)
    return tuple(tuple(sorted(part)) for part in parts)


def hold_out(
    cases: Sequence[Case], *, share: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set cases apart that choose the epoch and the threshold.

    Parameters
    ----------
    cases : sequence of Case
        Each with a name of its own.
    share : float
        Share of the participants that is held out, 0 to 1.
    seed : int
        Of the lots.

    Returns
    -------
    train, held : tuple of str
        Names of the cases, sorted. Nobody is held out where the share comes to less than half
        a participant; one with lesions is always left to train on, and one is among those held
        out: who finds nothing in the others would be the best.
    """
    people = _people(cases)
    ill = [person for person in people if person.volume > 0]
    well = [person for person in people if person.volume <= 0]
    count = int(share * len(people) + 0.5)
    healthy = int(count * len(well) / len(people)) if people else 0
    with_lesions = min(count - healthy, len(ill) - 1)
    rng = np.random.default_rng(seed)
    chosen = _spread(ill, with_lesions, rng) if with_lesions > 0 else []
    if chosen and healthy:
        chosen += _spread(well, healthy, rng)
    held = {name for person in chosen for name in person.names}
    rest = {case.name for case in cases} - held
    return tuple(sorted(rest)), tuple(sorted(held))


def take(cases: Sequence[Case], *, count: int, seed: int) -> tuple[str, ...]:
    """Choose some participants, as for the staged amounts of data of the paper's Figure 4.

    A smaller choice with the same seed is part of every larger one.

    Parameters
    ----------
    cases : sequence of Case
        Each with a name of its own.
    count : int
        Participants, 1 to all.
    seed : int
        Of the lots.

    Returns
    -------
    names : tuple of str
        Cases of the chosen, sorted.

    Raises
    ------
    UsageError
        There are fewer participants, or none is wanted.
    """
    people = _people(cases)
    if not 1 <= count <= len(people):
        raise UsageError(
            f"--train-count: expected 1 to {len(people)} participants with labels, found {count}. "
            "Take fewer, or label more."
        )
    order = np.random.default_rng(seed).permutation(len(people))
    chosen = [people[index] for index in order[:count]]
    return tuple(sorted(name for person in chosen for name in person.names))


def _deal(block: list[_Person], parts: list[list[str]], rng: np.random.Generator) -> None:
    """Give each participant to another fold, large families first, to the smallest folds."""
    lots = rng.permutation(len(parts))
    order = sorted(range(len(parts)), key=lambda fold: (len(parts[fold]), lots[fold]))
    for person, fold in zip(sorted(block, key=lambda p: -len(p.names)), order, strict=False):
        parts[fold].extend(person.names)


def _spread(people: list[_Person], count: int, rng: np.random.Generator) -> list[_Person]:
    """Take one at random from each of `count` equal stretches of the sorted list."""
    edges = np.linspace(0, len(people), count + 1)
    return [
        people[int(rng.integers(int(low), max(int(high), int(low) + 1)))]
        for low, high in itertools.pairwise(edges)
    ]


def _people(cases: Sequence[Case]) -> list[_Person]:
    """Gather the scans of each participant; sort by diagnosis, volume and name."""
    families: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        families[case.participant].append(case)
    people = [
        _Person(
            names=tuple(sorted(case.name for case in family)),
            diagnosis=min(case.attributes.get("diagnosis", "") for case in family),
            volume=sum(case.lesion_ml for case in family) / len(family),
        )
        for family in families.values()
    ]
    return sorted(people, key=lambda person: (person.diagnosis, person.volume, person.names))

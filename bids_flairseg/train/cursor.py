"""How far a training has come, and how well it does there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class CaseScore:
    """How well one held-out case was segmented.

    Attributes
    ----------
    name : str
        Of the case.
    dice : float
        At the threshold of the bundle that training began with, or at the one chosen since.
    reference_ml, predicted_ml : float
        Volumes.
    curve, volumes : tuple of float
        Dice, and predicted ml, at each of :data:`bids_flairseg.train.scores.THRESHOLDS`.
    """

    name: str
    dice: float
    reference_ml: float
    predicted_ml: float
    curve: tuple[float, ...] = ()
    volumes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Where a training is.

    Attributes
    ----------
    epoch, epochs, step, steps : int
        Counted from 1; steps are those of the epoch.
    loss : float
        Mean over the epoch so far.
    dice : float or None
        Latest mean over held-out cases.
    seconds_left : float or None
        To the last epoch, at the speed of this process; None before it is known.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    dice: float | None = None
    seconds_left: float | None = None


@dataclass
class Cursor:
    """How far a training has come: what a checkpoint holds beside the arrays.

    Attributes
    ----------
    epoch, step : int
        Epochs done, and rounds (micro-batches) done of the current one.
    micro_batch : int
        Patches of a round: as the first process chose it.
    rounds : int
        Rounds of an epoch.
    loss_sum : float
        Sum of the losses of the rounds done of the current epoch.
    factor : float
        By which the rate was lowered after NaN.
    setbacks : int
        How often that happened.
    stale : int
        Looks at held-out cases since the best one.
    best_epoch : int
        Of the best one; 0 is the beginning.
    best_dice : float
        Its mean Dice; below zero before the first look.
    dice : float or None
        Of the latest look.
    seconds : float
        Time of all processes so far.
    rows : list of dict
        History.
    before : list of CaseScore
        Scores of the parent.
    notes : list of str
        Told to the user along the way.
    """

    epoch: int = 0
    step: int = 0
    micro_batch: int = 0
    rounds: int = 0
    loss_sum: float = 0.0
    factor: float = 1.0
    setbacks: int = 0
    stale: int = 0
    best_epoch: int = 0
    best_dice: float = -1.0
    dice: float | None = None
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    before: list[CaseScore] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Cursor:
        """Build a cursor from what ``dataclasses.asdict`` gave and JSON kept."""
        before = [
            CaseScore(**row | {name: tuple(row[name]) for name in ("curve", "volumes")})
            for row in values["before"]
        ]
        return cls(**values | {"before": before})


def mean_dice(scores: Sequence[CaseScore]) -> float | None:
    """Return the mean Dice of cases, None for no case."""
    return float(np.mean([score.dice for score in scores])) if scores else None

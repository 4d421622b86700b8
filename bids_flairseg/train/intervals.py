"""Numbers of a model's card, with intervals that know what belongs to one head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any, SupportsFloat, TypeVar

import numpy as np

from bids_flairseg.measure.summaries import FEWEST, RESAMPLES, interval_of

Head = TypeVar("Head")


def estimate(
    name: str,
    heads: Sequence[Head],
    statistic: Callable[[Sequence[Head]], SupportsFloat | None],
    *,
    digits: int = 3,
) -> dict[str, Any]:
    """Work out a statistic of heads as a card has it.

    Parameters
    ----------
    name : str
        Name in the card.
    heads : sequence
        What is known of each head.
    statistic : callable
        From heads to a number, or to None where they have none.
    digits : int
        Digits after the point.

    Returns
    -------
    numbers : dict
        NAME, and NAME_95, its interval.
    """
    value = statistic(heads)
    return {
        name: None if value is None else round(float(value), digits),
        f"{name}_95": bootstrap_interval(heads, statistic, digits=digits),
    }


def bootstrap_interval(
    heads: Sequence[Head],
    statistic: Callable[[Sequence[Head]], SupportsFloat | None],
    *,
    digits: int = 3,
    seed: int = 0,
) -> list[float] | None:
    """Return the 95 % interval of a statistic by a bootstrap that draws whole heads.

    Percentile method (Efron and Tibshirani 1993, chapter 13). What cannot be negative and is
    nearly 0, such as a calibration error on the heads of the calibration, is larger in most
    draws, and may lie below its interval.

    Parameters
    ----------
    heads : sequence
        What is known of each head.
    statistic : callable
        From heads to a number, or to None where they have none.
    digits : int
        Digits after the point.
    seed : int
        Seed of the draws.

    Returns
    -------
    interval : list of float, or None
        2.5th and 97.5th centile; None for fewer than 6 heads, or where most draws give nothing.
    """
    if len(heads) < FEWEST:
        return None
    drawn = np.random.default_rng(seed).integers(len(heads), size=(RESAMPLES, len(heads)))
    found = [statistic([heads[index] for index in row]) for row in drawn]
    interval = interval_of(np.array(found, np.float64))
    return None if interval is None else [round(end, digits) for end in astuple(interval)]

"""Models and raters on equal terms: both against each rater of a scan, and averaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bids_flairseg.group.observations import Observation
from bids_flairseg.group.sources import CONSENSUS, MODEL, RATER
from bids_flairseg.group.statistic import with_value

#: Reference of what is a mean over the raters of a scan; no NAME of -d can be it.
RATERS = "the raters"


def among_raters(pairs: Iterable[Observation]) -> list[Observation]:
    """Average the Dice of each scan over all pairs of its raters.

    Parameters
    ----------
    pairs : iterable of Observation
        All pairs.

    Returns
    -------
    list of Observation
        One per scan that several raters have marked.
    """
    return _means(replace(item, model=RATERS) for item in pairs if item.kind == RATER)


def against_raters(pairs: Iterable[Observation]) -> list[Observation]:
    """Average the Dice of each model and scan over the raters, their consensus left out.

    A model has as much disagreement between persons to bear so as they have among each other;
    a consensus has less of it.

    Parameters
    ----------
    pairs : iterable of Observation
        All pairs.

    Returns
    -------
    list of Observation
        One per model and scan, of the scans that several raters have marked.
    """
    pairs = list(pairs)
    scans = {item.scan for item in pairs if item.kind == RATER}
    return _means(
        item
        for item in pairs
        if item.kind == MODEL and item.reference != CONSENSUS and item.scan in scans
    )


def _means(observations: Iterable[Observation]) -> list[Observation]:
    """Average the Dice of all observations of a model and scan."""
    own: dict[tuple[str, str], list[Observation]] = {}
    for item in with_value(observations, "dice"):
        own.setdefault((item.model, item.scan), []).append(item)
    return [
        replace(
            items[0],
            reference=RATERS,
            values={"dice": float(np.mean([item.value("dice") for item in items]))},
        )
        for items in own.values()
    ]

"""Lesions found and false, by size and by region, over all scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_flairseg.group.agreement import Comparison
from bids_flairseg.group.lesions import FOUND, PREDICTED, REFERENCE, LesionColumns
from bids_flairseg.group.observations import reference_of
from bids_flairseg.group.sources import MODEL
from bids_flairseg.group.statistic import Statistic
from bids_flairseg.measure.regions import REGIONS
from bids_flairseg.measure.summaries import encode, mean_interval

#: Upper ends of the bins of lesion size in ml, with their names.
SIZES: tuple[tuple[float, str], ...] = (
    (0.03, "<0.03 ml"),
    (0.1, "0.03-0.1 ml"),
    (1.0, "0.1-1 ml"),
    (10.0, "1-10 ml"),
    (float("inf"), ">=10 ml"),
)
_SIDES = {REFERENCE: "share of reference lesions found", PREDICTED: "share of lesions true"}


def size_bins(volumes_ml: ArrayLike) -> NDArray[np.intp]:
    """Sort lesions by size.

    Parameters
    ----------
    volumes_ml : array of float, shape (n,)
        In ml.

    Returns
    -------
    ndarray of int, shape (n,)
        Places in `SIZES`.

    Examples
    --------
    >>> [SIZES[place][1] for place in size_bins([0.02, 0.1, 12.0])]
    ['<0.03 ml', '0.1-1 ml', '>=10 ml']
    """
    limits = [limit for limit, _ in SIZES]
    return np.searchsorted(limits, np.asarray(volumes_ml, dtype=float), side="right")


def detection_statistics(comparisons: Iterable[Comparison], seed: int = 0) -> Iterator[Statistic]:
    """Count lesions by size and region for every model and reference.

    Parameters
    ----------
    comparisons : iterable of Comparison
        All pairs.
    seed : int
        Of the bootstrap.

    Yields
    ------
    Statistic
        One per model, reference, side, bin and rule that has a lesion.
    """
    found: dict[tuple[str, str], list[LesionColumns]] = {}
    people: dict[tuple[str, str], list[str]] = {}
    for item in comparisons:
        if item.kind == MODEL and item.outcome.numbers is not None:
            reference = reference_of(item)
            found.setdefault((item.model, reference), []).append(item.outcome.numbers.lesions)
            people.setdefault((item.model, reference), []).append(item.entities["sub"])
    for (model, reference), own in found.items():
        codes = encode(people[model, reference], len(own))
        for side in _SIDES:
            hits = np.concatenate([each.found[each.side(side)] for each in own])
            whose = np.repeat(codes, [each.volume_ml[each.side(side)].size for each in own])
            base = Statistic("detection", "", model, reference)
            volumes = np.concatenate([each.volume_ml[each.side(side)] for each in own])
            bins = size_bins(volumes)
            for place, (_, name) in enumerate(SIZES):
                row = replace(base, factor="lesion size", group_a=name)
                there = bins == place
                yield from _shares(row, side, hits[there], whose[there], seed)
            for name in REGIONS:
                inside = np.concatenate([each.in_region(name)[each.side(side)] for each in own])
                row = replace(base, factor="region", group_a=name)
                yield from _shares(row, side, hits[inside], whose[inside], seed)


def _shares(
    base: Statistic, side: str, hits: NDArray[np.uint8], whose: NDArray[np.int64], seed: int
) -> Iterator[Statistic]:
    """Yield the share of lesions found by each rule, its interval over participants, if any."""
    for bit, rule in enumerate(FOUND if hits.size else ()):
        own = (hits >> bit & 1).astype(np.float64)
        codes = np.unique(whose, return_inverse=True)[1]
        ends = mean_interval(own, codes, seed=seed)
        share = float(own.mean())
        yield replace(
            base,
            metric=rule,
            n_a=hits.size,
            participants_a=int(codes.max()) + 1,
            effect_name=_SIDES[side],
            effect=share,
            difference=share,
            difference_low=ends.low if ends else None,
            difference_high=ends.high if ends else None,
        )

"""Lesions found and false, by size and by region, over all scans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bids_flairseg.group.agreement import Comparison
from bids_flairseg.group.statistic import Statistic
from bids_flairseg.measure.regions import REGIONS

#: Upper ends of the bins of lesion size in ml, with their names.
SIZES: tuple[tuple[float, str], ...] = (
    (0.03, "<0.03 ml"),
    (0.1, "0.03-0.1 ml"),
    (1.0, "0.1-1 ml"),
    (10.0, "1-10 ml"),
    (float("inf"), ">=10 ml"),
)
_RULES = ("found_any", "found_iou10", "found_iou50")
_SIDES = {"reference": "share of reference lesions found", "predicted": "share of lesions true"}


def size_bin(volume_ml: float) -> str:
    """Return the bin of a lesion's size.

    Parameters
    ----------
    volume_ml : float
        In ml.

    Returns
    -------
    str
        A name of `SIZES`.

    Examples
    --------
    >>> size_bin(0.02), size_bin(0.1), size_bin(12.0)
    ('<0.03 ml', '0.1-1 ml', '>=10 ml')
    """
    return next(name for limit, name in SIZES if volume_ml < limit)


def detection_statistics(comparisons: Iterable[Comparison]) -> Iterator[Statistic]:
    """Count lesions by size and region for every model and reference.

    Parameters
    ----------
    comparisons : iterable of Comparison
        All pairs.

    Yields
    ------
    Statistic
        One per model, reference, side, bin and rule that has a lesion.
    """
    lesions: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in comparisons:
        if item.kind == "model" and item.outcome.numbers is not None:
            reference = f"{item.reference}:{item.rater}" if item.rater else item.reference
            lesions.setdefault((item.model, reference), []).extend(item.outcome.numbers.lesions)
    by_size = ("lesion size", [name for _, name in SIZES], _size)
    by_region = ("region", list(REGIONS), _region)
    for (model, reference), own in lesions.items():
        for side in _SIDES:
            these = [lesion for lesion in own if lesion["mask"] == side]
            for factor, levels, level_of in (by_size, by_region):
                if factor == "region" and side == "reference":
                    continue  # what was missed has no region
                base = Statistic("detection", "", model, reference, factor, test="")
                yield from _shares(base, these, levels, level_of)


def _size(lesion: Mapping[str, Any]) -> str:
    return size_bin(float(lesion["volume_ml"]))


def _region(lesion: Mapping[str, Any]) -> str:
    return str(lesion.get("region"))


def _shares(
    base: Statistic,
    lesions: Iterable[Mapping[str, Any]],
    levels: Iterable[str],
    level_of: Callable[[Mapping[str, Any]], str],
) -> Iterator[Statistic]:
    """Yield the share of lesions found in every bin that has any."""
    own = list(lesions)
    for level in levels:
        these = [lesion for lesion in own if level_of(lesion) == level]
        for rule in _RULES if these else ():
            yield Statistic(
                base.analysis,
                rule,
                base.model,
                base.reference,
                base.factor,
                group_a=level,
                n_a=len(these),
                effect_name=_SIDES[str(these[0]["mask"])],
                effect=sum(bool(lesion[rule]) for lesion in these) / len(these),
            )

"""Statistics of volumes: against a reference, and between scans of a participant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.group.observations import Observation
from bids_flairseg.group.statistic import (
    Statistic,
    by_model,
    participants_of,
    with_test,
    with_value,
)
from bids_flairseg.measure.comparisons import pearson, spearman
from bids_flairseg.measure.concordance import (
    bland_altman,
    icc,
    lin_concordance,
    outliers,
    repeatability,
)

VOLUME = "lesion_volume_ml"


def volume_statistics(models: Sequence[Observation]) -> Iterator[Statistic]:
    """Say how well volumes agree with those of the references."""
    for (model, reference), own in by_model(models).items():
        predicted = np.array([item.value("predicted_volume_ml") for item in own])
        true = np.array([item.value("reference_volume_ml") for item in own])
        base = Statistic("volumes", "volume_ml", model, reference, n_a=len(own))
        for result in (spearman(predicted, true), pearson(predicted, true)):
            yield with_test(replace(base, factor="correlation"), result, own)
        for name, value in (
            ("Lin's concordance", lin_concordance(predicted, true)),
            ("ICC(2,1)", icc(np.stack([predicted, true], axis=1))),
        ):
            yield replace(base, factor="agreement", effect_name=name, effect=value)
        far = outliers(true)
        yield from _limits(
            base, predicted[~far], true[~far], [own[i].scan for i in np.flatnonzero(far)]
        )


def _limits(
    base: Statistic, predicted: NDArray[np.float64], true: NDArray[np.float64], far: Sequence[str]
) -> Iterator[Statistic]:
    """Bland and Altman's numbers, cases over 3 SD listed and left out."""
    found = bland_altman(predicted, true)
    if found is None:
        return
    said = f"n = {found.n}"
    if far:
        said += f"; over 3 SD above the mean and left out: {', '.join(far)}"
    base = replace(base, factor="Bland-Altman", n_a=found.n, conditions=said)
    for name, value, interval in (
        ("bias", found.bias, found.bias_interval),
        ("lower limit of agreement", found.lower, found.lower_interval),
        ("upper limit of agreement", found.upper, found.upper_interval),
    ):
        yield replace(
            base,
            effect_name=name,
            effect=value,
            difference=value,
            difference_low=interval.low,
            difference_high=interval.high,
        )
    yield replace(
        base,
        effect_name="slope of difference on mean",
        effect=found.slope,
        test="proportional bias",
        p=found.slope_p,
    )


def repeat_statistics(scans: Sequence[Observation]) -> Iterator[Statistic]:
    """Say how far the volumes of a participant's scans scatter."""
    for (model, _), own in by_model(scans).items():
        there = with_value(own, VOLUME)
        found = repeatability([item.value(VOLUME) for item in there], participants_of(there))
        if found is None:
            continue
        base = Statistic("repeatability", VOLUME, model, n_a=found.scans)
        base = replace(base, participants_a=found.participants)
        said = "includes real change between sessions"
        for name, value in (
            ("within-subject SD (ml)", found.within_sd),
            ("within-subject coefficient of variation (%)", found.cv_percent),
            ("smallest detectable change (ml)", found.smallest_change),
        ):
            yield replace(base, effect_name=name, effect=value, conditions=said)

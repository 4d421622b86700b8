"""Statistics of volumes: against a reference, and between scans of a participant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bids_flairseg.group.observations import Observation
from bids_flairseg.group.statistic import (
    Statistic,
    by_model,
    participants_of,
    with_test,
    with_value,
)
from bids_flairseg.measure.coefficients import (
    BIAS,
    ICC,
    LIN,
    LOWER,
    UPPER,
    coefficient_intervals,
)
from bids_flairseg.measure.comparisons import pearson, spearman
from bids_flairseg.measure.concordance import (
    bland_altman,
    icc,
    lin_concordance,
    outliers,
    repeatability,
)
from bids_flairseg.measure.summaries import Interval, encode, per_cluster

VOLUME = "lesion_volume_ml"


def volume_statistics(models: Sequence[Observation], seed: int = 0) -> Iterator[Statistic]:
    """Say how well volumes agree with those of the references.

    Parameters
    ----------
    models : sequence of Observation
        Models against references.
    seed : int
        Of the bootstrap.

    Yields
    ------
    Statistic
        Correlations, tested on one mean per participant; concordance; Bland and Altman's numbers.
    """
    for (model, reference), own in by_model(models).items():
        predicted = np.array([item.value("predicted_volume_ml") for item in own])
        true = np.array([item.value("reference_volume_ml") for item in own])
        names = participants_of(own)
        codes = encode(names, len(own))
        base = Statistic("volumes", "volume_ml", model, reference, n_a=len(own))
        base = replace(base, participants_a=len(set(names)))
        ends = coefficient_intervals(predicted, true, codes, seed=seed)
        one, other = (per_cluster(values, names)[0] for values in (predicted, true))
        repeated = one.size < len(own)
        of_means = (
            coefficient_intervals(one, other, encode(None, one.size), seed=seed)
            if repeated
            else ends
        )
        for result in (spearman(one, other), pearson(one, other)):
            row = with_test(replace(base, factor="correlation"), result, own)
            yield _with_interval(row, of_means[result.test])
        for name, value in (
            (LIN, lin_concordance(predicted, true)),
            (ICC, icc(np.stack([predicted, true], axis=1))),
        ):
            row = replace(base, factor="agreement", effect_name=name, effect=value)
            yield _with_interval(row, ends[name])
        far = outliers(true)
        left_out = [own[i].scan for i in np.flatnonzero(far)]
        kept = [item for item, out in zip(own, far, strict=True) if not out]
        yield from _limits(base, kept, left_out, seed)


def _with_interval(row: Statistic, ends: Interval | None) -> Statistic:
    if ends is None:
        return row
    return replace(row, difference=row.effect, difference_low=ends.low, difference_high=ends.high)


def _limits(
    base: Statistic, own: Sequence[Observation], far: Sequence[str], seed: int
) -> Iterator[Statistic]:
    """Bland and Altman's numbers, cases over 3 SD listed and left out."""
    predicted = np.array([item.value("predicted_volume_ml") for item in own])
    true = np.array([item.value("reference_volume_ml") for item in own])
    found = bland_altman(predicted, true)
    if found is None:
        return
    names = participants_of(own)
    repeated = len(set(names)) < len(own)
    said = f"n = {found.n}"
    if far:
        said += f"; over 3 SD above the mean and left out: {', '.join(far)}"
    if repeated:
        said += "; intervals by a bootstrap over participants, some have several scans"
    base = replace(
        base, factor="Bland-Altman", n_a=found.n, participants_a=len(set(names)), conditions=said
    )
    ends: dict[str, Interval | None] = {
        BIAS: found.bias_interval,
        LOWER: found.lower_interval,
        UPPER: found.upper_interval,
    }
    if repeated:
        ends = coefficient_intervals(predicted, true, encode(names, len(own)), seed=seed)
    for name, value in ((BIAS, found.bias), (LOWER, found.lower), (UPPER, found.upper)):
        row = replace(base, effect_name=name, effect=value, difference=value)
        yield _with_interval(row, ends[name])
    one, other = (per_cluster(values, names)[0] for values in (predicted, true))
    slope = bland_altman(one, other) if repeated else found
    if slope is None:
        return
    if repeated:
        base = replace(base, conditions=f"n = {slope.n}; scans of a participant averaged first")
    yield replace(
        base,
        effect_name="slope of difference on mean",
        effect=slope.slope,
        test="proportional bias",
        p=slope.slope_p,
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

"""All statistics of a dataset, one row each."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bids_flairseg.config import GroupConfig
from bids_flairseg.group.observations import (
    VOLUME_BIN,
    Observation,
    as_number,
    factors_of,
    levels_of,
)
from bids_flairseg.group.raters import RATERS, against_raters, among_raters
from bids_flairseg.group.sources import MODEL, RATER
from bids_flairseg.group.statistic import (
    Statistic,
    by_model,
    corrected,
    means_of,
    participants_of,
    with_first,
    with_second,
    with_test,
    with_value,
)
from bids_flairseg.group.volumes import VOLUME, repeat_statistics, volume_statistics
from bids_flairseg.measure.comparisons import (
    kruskal_wallis,
    mann_whitney,
    non_inferior,
    paired_t,
    spearman,
    wilcoxon,
)
from bids_flairseg.measure.summaries import encode, mean_interval, per_cluster

#: Metrics that are summed up for every model and reference.
METRICS: tuple[str, ...] = (
    "dice",
    "sensitivity",
    "precision",
    "hausdorff95_mm",
    "surface_distance_mm",
    "volume_difference_ml",
    "volume_difference_percent",
    "lesion_f1_any",
    "lesion_f1_iou10",
    "lesion_f1_iou50",
    "panoptic_quality",
)
DICE = "dice"
#: Factor of the summaries of two raters.
AMONG_RATERS = "raters"
# A factor of more levels than this that are all numbers is a quantity and no grouping.
_MOST_GROUPS = 8
_MOST_PAIRWISE = 6
#: Names of models that were trained several times: the name, and the number of the training.
TRAINING = re.compile(r"^(.+?)[-_.]?(?:run|seed|train)-?(\d+)$")


def all_statistics(
    config: GroupConfig, scans: Sequence[Observation], pairs: Sequence[Observation]
) -> list[Statistic]:
    """Compute all statistics of a dataset.

    Parameters
    ----------
    config : GroupConfig
        Columns to group by, margin and seed.
    scans : sequence of Observation
        One per scan.
    pairs : sequence of Observation
        One per scan, model and reference, and per pair of raters.

    Returns
    -------
    list of Statistic
        In the order: summaries, groups, models, raters, volumes, repeated scans.
    """
    models = [item for item in pairs if item.kind == MODEL]
    raters = [item for item in pairs if item.kind == RATER]
    rows = list(_summaries(models, METRICS, config.random_seed))
    rows += _summaries(raters, METRICS, config.random_seed, AMONG_RATERS)
    rows += _summaries(scans, (VOLUME, "lesion_count", "lesion_load_percent"), config.random_seed)
    rows += _groups(models, DICE, config)
    rows += _groups(scans, VOLUME, config)
    rows += _between_models([*models, *against_raters(pairs)], config.random_seed)
    rows += _repeated_trainings(models)
    rows += _against_raters(pairs, config)
    rows += volume_statistics(models, config.random_seed)
    rows += repeat_statistics(scans)
    return corrected(rows)


def _summaries(
    observations: Sequence[Observation], metrics: Sequence[str], seed: int, factor: str = ""
) -> Iterator[Statistic]:
    """Sum up every metric of every model and reference."""
    for (model, reference), own in by_model(observations).items():
        for metric in metrics:
            if with_value(own, metric):
                yield with_first(Statistic("summary", metric, model, reference, factor), own, seed)


def _groups(
    observations: Sequence[Observation], metric: str, config: GroupConfig
) -> Iterator[Statistic]:
    """Compare the groups of every factor."""
    for (model, reference), own in by_model(observations).items():
        for factor in factors_of(own, config.group_by):
            if metric == VOLUME and factor == VOLUME_BIN:
                continue  # volumes by their own bins say nothing
            base = Statistic("group", metric, model, reference, factor)
            yield from _factor(base, with_value(own, metric), config.random_seed)


def _factor(base: Statistic, own: Sequence[Observation], seed: int) -> Iterator[Statistic]:
    """Compare the groups of one factor, or correlate with it where it is a quantity."""
    levels = levels_of(own, base.factor)
    numbers = [as_number(level) for level in levels]
    if len(levels) > _MOST_GROUPS and not any(math.isnan(number) for number in numbers):
        yield _correlated(base, own)
        return
    grouped = {
        level: [item for item in own if item.groups.get(base.factor) == level] for level in levels
    }
    for level, members in grouped.items():
        yield with_first(replace(base, group_a=level), members, seed)
    if len(grouped) > 2:
        result = kruskal_wallis([means_of(members, base.metric) for members in grouped.values()])
        row = with_test(replace(base, analysis="unpaired", group_a="all groups"), result, own)
        yield _with_overlap(row, list(grouped.values()))
    if 2 <= len(grouped) <= _MOST_PAIRWISE:
        kind = "unpaired" if len(grouped) == 2 else "pairwise"
        for (first, one), (second, other) in itertools.combinations(grouped.items(), 2):
            row = replace(base, analysis=kind, group_a=first, group_b=second)
            row = with_second(with_first(row, one, seed), other)
            result = mann_whitney(means_of(one, base.metric), means_of(other, base.metric))
            yield _with_overlap(with_test(row, result, [*one, *other]), [one, other])


def _correlated(base: Statistic, own: Sequence[Observation]) -> Statistic:
    """Correlate a metric with a quantity, where both are known."""
    quantities = [as_number(item.groups.get(base.factor)) for item in own]
    known = [item for item, number in zip(own, quantities, strict=True) if not math.isnan(number)]
    names = participants_of(known)
    one, _ = per_cluster([number for number in quantities if not math.isnan(number)], names)
    other, _ = per_cluster([item.value(base.metric) for item in known], names)
    row = replace(base, analysis="correlation", n_a=len(known), participants_a=one.size)
    return with_test(row, spearman(one, other), known)


def _with_overlap(row: Statistic, groups: Sequence[Sequence[Observation]]) -> Statistic:
    """Say how many participants have scans in several groups, which the test takes for others."""
    people = Counter(name for members in groups for name in set(participants_of(members)))
    shared = sum(count > 1 for count in people.values())
    if not shared:
        return row
    who = f"{shared} participant{'' if shared == 1 else 's'}"
    said = f"{row.conditions}; not independent: {who} in more than one group"
    return replace(row, conditions=said)


def _between_models(models: Sequence[Observation], seed: int) -> Iterator[Statistic]:
    """Compare models with each other on the scans that both have."""
    by_reference: dict[str, dict[str, list[Observation]]] = {}
    for (model, reference), own in by_model(models).items():
        by_reference.setdefault(reference, {})[model] = own
    for reference, those in by_reference.items():
        for first, second in itertools.combinations(those, 2):
            one, other = _shared(those[first], those[second], DICE)
            base = Statistic("paired", DICE, "", reference, "model", first, second)
            yield _paired(base, one, other, seed)


def _shared(
    first: Sequence[Observation], second: Sequence[Observation], metric: str
) -> tuple[list[Observation], list[Observation]]:
    """Return the observations of the scans that both have, in the same order."""
    others = {item.scan: item for item in with_value(second, metric)}
    one = [item for item in with_value(first, metric) if item.scan in others]
    return one, [others[item.scan] for item in one]


def _paired(
    base: Statistic, one: Sequence[Observation], other: Sequence[Observation], seed: int
) -> Statistic:
    """Compare two values of each scan."""
    row = with_second(with_first(base, one, seed), other)
    gaps = [a.value(base.metric) - b.value(base.metric) for a, b in zip(one, other, strict=True)]
    row = _with_difference(row, gaps, participants_of(one), seed)
    return with_test(row, wilcoxon(means_of(one, base.metric), means_of(other, base.metric)), one)


def _with_difference(
    row: Statistic, gaps: Sequence[float], names: Sequence[str], seed: int
) -> Statistic:
    """Add the mean difference and its interval."""
    if not gaps:
        return row
    interval = mean_interval(np.asarray(gaps), encode(names, len(gaps)), seed=seed)
    return replace(
        row,
        difference=float(np.mean(gaps)),
        difference_low=interval.low if interval else None,
        difference_high=interval.high if interval else None,
    )


def _repeated_trainings(models: Sequence[Observation]) -> Iterator[Statistic]:
    """Compare models that were trained several times by their median Dice."""
    medians: dict[tuple[str, str], dict[int, float]] = {}
    for (model, reference), own in by_model(models).items():
        found = TRAINING.match(model)
        values = [item.value(DICE) for item in with_value(own, DICE)]
        if found and values:
            key = (reference, found[1])
            medians.setdefault(key, {})[int(found[2])] = float(np.median(values))
    for (key, one), (second, other) in itertools.combinations(medians.items(), 2):
        runs = sorted(one.keys() & other.keys())
        if key[0] != second[0] or len(runs) < 2:
            continue
        base = Statistic("trainings", "median dice", "", key[0], "model", key[1], second[1])
        first, then = ([those[run] for run in runs] for those in (one, other))
        gap = float(np.mean(first) - np.mean(then))
        row = replace(base, n_a=len(runs), n_b=len(runs), difference=gap)
        yield with_test(row, paired_t(first, then))


def _against_raters(pairs: Sequence[Observation], config: GroupConfig) -> Iterator[Statistic]:
    """Compare model-to-rater with rater-to-rater agreement on the same scans."""
    among = among_raters(pairs)
    for (model, _), own in by_model(against_raters(pairs)).items():
        one, other = _shared(own, among, DICE)
        base = Statistic("non-inferiority", DICE, model, RATERS, "", model, RATERS)
        row = _paired(base, one, other, config.random_seed)
        result = non_inferior(means_of(one, DICE), means_of(other, DICE), margin=config.margin)
        yield with_test(row, result, one)

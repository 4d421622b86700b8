"""Which charts a dataset gets, with captions that state numbers and tests."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bids_flairseg.bids.atomic import remove_stale, write_json, write_text, write_tsv
from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.config import GroupConfig
from bids_flairseg.group.observations import (
    FACTOR_WORDS,
    VOLUME_BIN,
    Observation,
    as_number,
    factors_of,
    levels_of,
)
from bids_flairseg.group.sources import CONSENSUS, MODEL, RATER
from bids_flairseg.group.statistic import Statistic, by_model, with_value
from bids_flairseg.group.volumes import VOLUME
from bids_flairseg.group.wording import coefficient_in_words, test_in_words
from bids_flairseg.measure.concordance import bland_altman, outliers
from bids_flairseg.reports.charts import Chart, Series
from bids_flairseg.reports.plots import (
    Limits,
    VolumePairs,
    factor_chart,
    group_chart,
    volume_chart,
)
from bids_flairseg.storage import atomic_path

#: Folder of the figures, below the output folder.
FIGURES = "group_figures"
_ENDS = (".png", ".svg", ".tsv", ".json")
_MOST_MODELS, _MOST_PANELS, _MOST_LEVELS, _MOST_NAMES = 12, 6, 12, 10
_HOW = (
    "Points are scans, bars medians, shaded boxes the middle half; above 400 scans a group is "
    "drawn as its distribution."
)


def draw_charts(
    config: GroupConfig,
    scans: Sequence[Observation],
    pairs: Sequence[Observation],
    statistics: Sequence[Statistic],
) -> list[Chart]:
    """Draw all charts that there is something to draw for.

    Parameters
    ----------
    config : GroupConfig
        Columns to group by.
    scans, pairs : sequence of Observation
        All scans, and all pairs that have numbers.
    statistics : sequence of Statistic
        For the captions.

    Returns
    -------
    list of Chart
        In the order of the paper's figures.
    """
    models = [item for item in pairs if item.kind == MODEL]
    main = main_reference(models)
    own = [item for item in models if item.reference == main]
    charts = [*_by_model(pairs, main, statistics), *_volumes(own, statistics)]
    first = shown_pairs(pairs)
    charts += _by_factor("dice_by_group", "Dice by group", first, "dice", config, statistics)
    charts += _by_factor(
        "volume_by_group", "Lesion volume by group", scans, VOLUME, config, statistics
    )
    return charts


def shown_pairs(pairs: Sequence[Observation]) -> list[Observation]:
    """Choose the first model, that of this folder, against the reference that charts show.

    Parameters
    ----------
    pairs : sequence of Observation
        All pairs.

    Returns
    -------
    list of Observation
        One per scan.
    """
    models = [item for item in pairs if item.kind == MODEL]
    main = main_reference(models)
    own = [item for item in models if item.reference == main]
    return [item for item in own if item.model == own[0].model]


def main_reference(models: Sequence[Observation]) -> str:
    """Choose the reference that charts show: the consensus, or else the first with most scans.

    Parameters
    ----------
    models : sequence of Observation
        Models against references.

    Returns
    -------
    str
        Its name, empty if there is none.
    """
    counts: dict[str, int] = {}
    for item in models:
        counts[item.reference] = counts.get(item.reference, 0) + 1
    if CONSENSUS in counts:
        return CONSENSUS
    return max(counts, key=lambda name: counts[name]) if counts else ""


def _series(own: Sequence[Observation], metric: str, label: str, colour: int) -> Series:
    there = with_value(own, metric)
    values = tuple(item.value(metric) for item in there)
    return Series(label, values, tuple(item.scan for item in there), colour)


def _by_model(
    pairs: Sequence[Observation], main: str, statistics: Sequence[Statistic]
) -> Iterator[Chart]:
    """Draw Dice of every model, and of raters among each other."""
    series: list[Series] = []
    for (model, reference), own in by_model(pairs).items():
        if own[0].kind == MODEL and reference == main:
            series.append(_series(own, "dice", model, len(series)))
    raters = [item for item in pairs if item.kind == RATER]
    if raters:
        series.append(_series(raters, "dice", "raters", 6))
    series = [group for group in series if group.values][:_MOST_MODELS]
    if not series:
        return
    tests = [row for row in statistics if row.analysis == "paired" and row.reference == main]
    said = [f"{row.group_a} vs {row.group_b}: {test_in_words(row)}" for row in tests[:10]]
    caption = (
        f"Dice against {main}. {_HOW} Dashed: the median of {series[0].label}. "
        "n = "
        + ", ".join(f"{len(group.values):,} ({group.label})" for group in series)
        + ". "
        + ("; ".join(said) + "." if said else "No test, as there is one model.")
    )
    line = float(np.median(series[0].values))
    yield group_chart("dice_by_model", ("Dice by model", caption), series, label="Dice", line=line)


def _volumes(own: Sequence[Observation], statistics: Sequence[Statistic]) -> Iterator[Chart]:
    """Draw volumes and Dice by volume."""
    pairs = []
    for (model, _), these in list(by_model(own).items())[:_MOST_MODELS]:
        predicted = np.array([item.value("predicted_volume_ml") for item in these])
        true = np.array([item.value("reference_volume_ml") for item in these])
        kept = ~outliers(true)
        found = bland_altman(predicted[kept], true[kept])
        limits = Limits(found.bias, found.lower, found.upper) if found else None
        names = tuple(item.scan for item in these)
        pairs.append(VolumePairs(model, predicted, true, names, kept, limits))
    if not pairs:
        return
    first = [item for item in own if item.model == pairs[0].label]
    bins = [
        _series([o for o in first if o.groups.get(VOLUME_BIN) == level], "dice", level, place)
        for place, level in enumerate(levels_of(first, VOLUME_BIN))
    ]
    yield volume_chart(("Volumes", _volume_words(own, pairs, statistics)), pairs, bins)


def _volume_words(
    own: Sequence[Observation], pairs: Sequence[VolumePairs], statistics: Sequence[Statistic]
) -> str:
    """Write the caption of the chart of volumes."""
    reference = own[0].reference
    first = (
        f"A, Total lesion volume predicted and by {reference}, n = {len(pairs[0].names):,}; "
        "dashed: equal volumes; volumes below 0.01 ml stand at 0.01."
    )
    parts = [first]
    parts += [
        f"{row.model}: {row.test} r = {coefficient_in_words(row.effect)}."
        for row in statistics
        if (row.analysis, row.factor, row.reference) == ("volumes", "correlation", reference)
        and row.effect is not None
        and not math.isnan(row.effect)
    ]
    parts.append(
        "B, Bland-Altman plot: solid line bias, dashed lines 1.96 standard deviations around it."
    )
    left_out = [n for n, kept in zip(pairs[0].names, pairs[0].kept, strict=True) if not kept]
    if left_out:
        parts.append(
            "Over 3 standard deviations above the mean, not in B: "
            f"{enumerate_some(left_out, _MOST_NAMES)}."
        )
    parts.append(f"C, Dice of {pairs[0].label} by reference volume.")
    parts += [
        f"{row.group_a} vs {row.group_b}: {test_in_words(row)}."
        if row.group_b
        else f"{test_in_words(row)}."
        for row in statistics
        if row.factor == VOLUME_BIN
        and row.test
        and (row.model, row.reference) == (pairs[0].label, reference)
    ]
    return " ".join(parts)


def _by_factor(
    name: str,
    title: str,
    own: Sequence[Observation],
    metric: str,
    config: GroupConfig,
    statistics: Sequence[Statistic],
) -> Iterator[Chart]:
    """Draw the groups of every factor but volume, which has its own chart."""
    factors: dict[str, list[Series]] = {}
    for factor in factors_of(own, config.group_by):
        levels = levels_of(own, factor)
        numbers = all(not math.isnan(as_number(level)) for level in levels)
        if factor == VOLUME_BIN or (numbers and len(levels) > 8):
            continue
        series = [
            _series([o for o in own if o.groups.get(factor) == level], metric, level, place)
            for place, level in enumerate(levels[:_MOST_LEVELS])
        ]
        factors[FACTOR_WORDS.get(factor, factor)] = [group for group in series if group.values]
    factors = {k: v for k, v in list(factors.items())[:_MOST_PANELS] if len(v) > 1}
    if not factors:
        return
    models = dict.fromkeys(item.model for item in own)
    said = [
        f"{FACTOR_WORDS.get(row.factor, row.factor)}: {test_in_words(row)}"
        for row in statistics
        if row.analysis == "unpaired"
        and row.metric == metric
        and FACTOR_WORDS.get(row.factor, row.factor) in factors
        and row.model in models
        and row.reference == own[0].reference
    ]
    named = f"Dice of {own[0].model} against {own[0].reference}. " if own[0].reference else ""
    tested = f" {'; '.join(said)}." if said else ""
    caption = f"{named}{_HOW}{tested}"
    label = "Dice" if metric == "dice" else "Lesion volume (ml)"
    yield factor_chart(name, (title, caption), factors, label=label)


def write_charts(charts: Sequence[Chart], output_dir: Path) -> None:
    """Write PNG, SVG, table and caption of every chart, and remove those of earlier runs.

    Parameters
    ----------
    charts : sequence of Chart
        All of this run.
    output_dir : Path
        They go to ``group_figures`` below it.

    Raises
    ------
    OutputError, StorageError
        A file cannot be written.
    """
    folder = output_dir / FIGURES
    kept = {f"{chart.name}{end}" for chart in charts for end in _ENDS}
    for old in folder.glob("[!.]*"):  # what is hidden another run may be writing
        if old.suffix in _ENDS and old.name not in kept:
            old.unlink(missing_ok=True)
    remove_stale(folder, before=time.time())
    for chart in charts:
        base = folder / chart.name
        write_text(base.with_suffix(".svg"), chart.svg + "\n")
        with atomic_path(base.with_suffix(".png")) as temporary:
            temporary.write_bytes(chart.png)
        write_tsv(base.with_suffix(".tsv"), list(chart.columns), chart.rows)
        content = {"Title": chart.title, "Caption": chart.caption, **chart.columns}
        write_json(base.with_suffix(".json"), content)

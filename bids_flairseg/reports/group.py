"""The page of the whole dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from bids_flairseg.reports.charts import Chart
from bids_flairseg.reports.dots import dot_plot
from bids_flairseg.reports.page import render
from bids_flairseg.reports.text import hints_in_words

Row = Mapping[str, str]

# Columns of the page: heading, unit and decimals (None for text). The tables have them all.
_SHOWN: Mapping[str, tuple[str, str, int | None]] = {
    "lesion_volume_ml": ("Volume", "ml", 2),
    "lesion_count": ("Lesions", "", 0),
    "largest_lesion_ml": ("Largest", "ml", 2),
    "periventricular_ml": ("Periventricular", "ml", 2),
    "juxtacortical_ml": ("Juxtacortical", "ml", 2),
    "deep_white_ml": ("Deep white", "ml", 2),
    "infratentorial_ml": ("Infratentorial", "ml", 2),
    "other_ml": ("Other", "ml", 2),
    "brain_volume_ml": ("Brain", "ml", 0),
    "lesion_load_percent": ("Load", "%", 2),
}
_MOST_JOINED = 6
# Of what could not be compared, so many are shown.
_MOST_LISTED = 100


@dataclass(frozen=True)
class Review:
    """One scan that is worth a look.

    Attributes
    ----------
    scan, link : str
        Its name, and the participant's page; empty where there is none.
    suspicion : float
        0 for nothing unusual.
    reasons : tuple of str
        What is unusual.
    verdict, note : str
        What a reviewer has said; empty where nobody has.
    figure : str or None
        Outlines as markup that was checked.
    """

    scan: str
    link: str
    suspicion: float
    reasons: tuple[str, ...]
    verdict: str = ""
    note: str = ""
    figure: str | None = None


@dataclass(frozen=True)
class GroupPage:
    """What the page is made of; all text is as in the tables and is escaped by the page.

    Attributes
    ----------
    dataset : str
        Name of the input dataset.
    rows : sequence of mapping
        Rows of ``group_lesions.tsv``.
    joined : sequence of str
        Their columns that come from participants.tsv.
    links : mapping of str to str
        Path of the participant's page, relative to this one, by name of the scan.
    comparisons : sequence of mapping
        Rows of ``group_agreement.tsv``.
    problems : sequence of str
        What a reader should know, a sentence or two each.
    paragraphs : sequence of str
        Results in words.
    study : sequence of str
        What the learning curve answers.
    review : sequence of Review
        Scans about which something is unusual, the most suspicious first, and those that
        somebody has seen.
    verdicts : sequence of (str, str, str)
        Scan, verdict and note of all that a reviewer has seen.
    charts : sequence of Chart
        Figures; their markup is ours and goes in as it is.
    statistics : sequence of mapping
        Rows of ``group_statistics.tsv`` to show.
    """

    dataset: str
    rows: Sequence[Row]
    joined: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    comparisons: Sequence[Row] = ()
    problems: Sequence[str] = ()
    paragraphs: Sequence[str] = ()
    study: Sequence[str] = ()
    review: Sequence[Review] = ()
    verdicts: Sequence[tuple[str, str, str]] = ()
    charts: Sequence[Chart] = ()
    statistics: Sequence[Row] = ()


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what is shown, and what sorting goes by."""

    text: str
    value: str
    numeric: bool = False


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some values, and their extremes."""

    n: int
    middle: float
    low: float
    high: float
    least: float
    most: float


@dataclass(frozen=True)
class RaterSummary:
    """Agreement of a model with one reference and rater over all scans."""

    model: str
    reference: str
    rater: str
    dice: Spread
    difference: Spread


def render_group(page: GroupPage) -> str:
    """Write the page.

    Parameters
    ----------
    page : GroupPage
        Its content.

    Returns
    -------
    str
        Self-contained HTML.
    """
    volumes = {row["scan"]: float(row["lesion_volume_ml"]) for row in page.rows}
    counts = [row.get("lesion_count", "n/a") for row in page.rows]
    compared = [row for row in page.comparisons if row["status"] == "ok"]
    failed = [row for row in page.comparisons if row["status"] not in ("ok", _UNPAIRED)]
    unpaired = [row for row in page.comparisons if row["status"] == _UNPAIRED]
    raters = summarise(page.comparisons)
    return render(
        "group.html.j2",
        dataset=page.dataset,
        problems=page.problems,
        participants=len({row["participant_id"] for row in page.rows}),
        volumes=spread(list(volumes.values())),
        lesions=sum(int(count) for count in counts if count.isdecimal()),
        without=sum(volume == 0 for volume in volumes.values()),
        plot=dot_plot(volumes),
        heads=[(head, unit) for head, unit, _ in _SHOWN.values()],
        joined=page.joined[:_MOST_JOINED],
        more_joined=len(page.joined[_MOST_JOINED:]),
        scans=[_scan_row(row, page) for row in page.rows],
        hints=any(row.get("warnings", "n/a") != "n/a" for row in page.rows),
        compared=[(row, _agreement_cells(row)) for row in compared],
        raters=raters,
        headline=_headline(raters, page.comparisons),
        failed=failed[:_MOST_LISTED],
        more_failed=len(failed[_MOST_LISTED:]),
        unpaired=unpaired[:_MOST_LISTED],
        more_unpaired=len(unpaired[_MOST_LISTED:]),
        paragraphs=page.paragraphs,
        study=page.study,
        review=[
            (item, Markup(item.figure) if item.figure else None, quote(item.link))
            for item in page.review
        ],
        unusual=sum(bool(item.reasons) for item in page.review),
        verdicts=page.verdicts,
        charts=[(chart, Markup(chart.svg)) for chart in page.charts],
        statistics=[_statistic_row(row) for row in page.statistics],
    )


_UNPAIRED = "missing_reference"
_STATISTIC = ("n_a", "median_a", "q1_a", "q3_a", "median_b", "difference", "statistic", "effect")


def _statistic_row(row: Row) -> dict[str, Any]:
    """Arrange one statistic for the table."""
    groups = [row[name] for name in ("group_a", "group_b") if row[name] != "n/a"]
    what = [row[name] for name in ("analysis", "metric", "model", "reference", "factor")]
    return {
        "words": ["" if text == "n/a" else text for text in what] + [" / ".join(groups)],
        "cells": [_cell(row[name], 0 if name == "n_a" else 3) for name in _STATISTIC],
        "test": "" if row["test"] == "n/a" else row["test"],
        "p": [Cell(row[name], row[name], numeric=True) for name in ("p", "p_holm")],
        "name": "" if row["effect_name"] == "n/a" else row["effect_name"],
        "conditions": "" if row["conditions"] == "n/a" else row["conditions"],
    }


def spread(values: Sequence[float]) -> Spread | None:
    """Sum up values.

    Parameters
    ----------
    values : sequence of float
        In any order.

    Returns
    -------
    Spread or None
        None where there are no values.
    """
    if not values:
        return None
    low, high = np.percentile(values, (25, 75))
    return Spread(len(values), median(values), float(low), float(high), min(values), max(values))


def summarise(comparisons: Sequence[Row]) -> list[RaterSummary]:
    """Sum up the agreement with each reference and rater.

    Parameters
    ----------
    comparisons : sequence of mapping
        Rows of ``group_agreement.tsv``.

    Returns
    -------
    list of RaterSummary
        In the order of their first row, of pairs that have numbers.
    """
    summaries = []
    grouped: dict[tuple[str, str, str], list[Row]] = {}
    for row in comparisons:
        key = (row["model"], row["reference"], row["rater"])
        grouped.setdefault(key, []).extend([row] if row["status"] == "ok" else [])
    for key, own in grouped.items():
        dice = spread([float(row["dice"]) for row in own])
        difference = spread([float(row["volume_difference_ml"]) for row in own])
        if dice and difference:
            summaries.append(RaterSummary(*key, dice, difference))
    return summaries


def _headline(raters: Sequence[RaterSummary], comparisons: Sequence[Row]) -> RaterSummary | None:
    """Choose what the first lines say: our model against the consensus, or most scans."""
    first = next((row["model"] for row in comparisons if row["model"] != "n/a"), "")
    own = [rater for rater in raters if rater.model == first]
    return max(own, key=lambda r: (r.reference == "consensus", r.dice.n), default=None)


def _scan_row(row: Row, page: GroupPage) -> dict[str, Any]:
    """Arrange one scan for the table."""
    link = page.links.get(row["scan"])
    return {
        "name": row["scan"],
        "link": quote(link) if link else None,
        "cells": [_cell(row.get(name, "n/a"), shown[2]) for name, shown in _SHOWN.items()],
        "joined": [_cell(row.get(name, "n/a"), None) for name in page.joined[:_MOST_JOINED]],
        "hints": hints_in_words(row.get("warnings", "n/a")),
    }


def _agreement_cells(row: Row) -> list[Cell]:
    """Arrange the numbers of one comparison."""
    decimals = {
        "dice": 3,
        "predicted_volume_ml": 2,
        "reference_volume_ml": 2,
        "volume_difference_ml": 2,
        "hausdorff95_mm": 1,
        "lesion_f1_any": 3,
    }
    return [_cell(row[name], places) for name, places in decimals.items()]


def _cell(text: str, decimals: int | None) -> Cell:
    """Print a number with the decimals of its column; everything else as it is."""
    try:
        number = float(text)
    except ValueError:
        return Cell(text, text, numeric=decimals is not None)
    shown = text if decimals is None else f"{number:.{decimals}f}"
    return Cell(shown, text, numeric=True)

"""Dice against number of local training cases (Figure 4 of the paper in kind)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_flairseg.measure.curves import LearningCurve
from bids_flairseg.measure.summaries import encode, mean_interval
from bids_flairseg.reports.charts import (
    COLOURS,
    MOST_POINTS,
    ONE_COLUMN,
    Chart,
    baseline,
    drawing,
    finish,
    jitter,
    mark,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LearningPoints:
    """What is drawn.

    Attributes
    ----------
    cases, dice : tuple of float
        Of every scan and model.
    names : tuple of str
        Scan and model.
    participants : tuple of str
        Whose scan.
    target : float
        Where the dashed line goes.
    target_words : str
        What it is.
    """

    cases: tuple[float, ...]
    dice: tuple[float, ...]
    names: tuple[str, ...]
    participants: tuple[str, ...]
    target: float
    target_words: str


def learning_chart(
    words: tuple[str, str], points: LearningPoints, curve: LearningCurve | None
) -> Chart:
    """Draw scans, means, the fitted curve with its band, and the line to be reached.

    Parameters
    ----------
    words : tuple of str
        Title and caption.
    points : LearningPoints
        The scans.
    curve : LearningCurve or None
        None where no curve could be fitted.

    Returns
    -------
    Chart
        With its table.
    """
    levels = sorted(set(points.cases))
    width = 0.012 * max(levels[-1], 1)
    with drawing(ONE_COLUMN * 1.5, 3.0) as (figure, axes):
        if curve is not None:
            axes.fill_between(
                curve.cases, curve.low, curve.high, color=COLOURS[0], alpha=0.15, linewidth=0
            )
            fitted = [curve.curve.at(k) for k in curve.cases]
            axes.plot(curve.cases, fitted, color=COLOURS[0], linewidth=1.2)
        names: list[Sequence[str]] = []
        if len(points.dice) <= MOST_POINTS:
            shifted = [
                k + s for k, s in zip(points.cases, jitter(len(points.dice), width), strict=True)
            ]
            mark(axes, 0, shifted, points.dice, COLOURS[4])
            names.append([f"{n}: {d:.3f}" for n, d in zip(points.names, points.dice, strict=True)])
        for level in levels:
            _mean(axes, level, points)
        _target(axes, points)
        shade(axes, "Dice")
        axes.set_xlabel("Local training cases")
        axes.set_xticks(levels)
        svg, png = finish(figure, names)
    columns = {
        "local_cases": {"Description": "Local cases that the model was trained with"},
        "scan_and_model": {"Description": "Name of the FLAIR without suffix, and the model"},
        "dice": {"Description": "Dice against the reference"},
    }
    rows = [
        {"local_cases": k, "scan_and_model": n, "dice": round(d, 4)}
        for k, n, d in zip(points.cases, points.names, points.dice, strict=True)
    ]
    return Chart("learning_curve", *words, svg, png, columns, rows)


def _target(axes: Axes, points: LearningPoints) -> None:
    """Draw the line to be reached, and name it at its right end."""
    baseline(axes, points.target)
    axes.annotate(
        points.target_words.split(",")[0],
        (1.0, points.target),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize=5.5,
    )


def _mean(axes: Axes, level: float, points: LearningPoints) -> None:
    """Draw the mean of one number of cases with its interval over participants."""
    places = [place for place, cases in enumerate(points.cases) if cases == level]
    data = np.array([points.dice[place] for place in places])
    people = [points.participants[place] for place in places]
    middle, interval = float(data.mean()), mean_interval(data, encode(people, data.size))
    if interval:
        axes.vlines(level, interval.low, interval.high, colors="#1a222e", linewidth=1.2, zorder=6)
    axes.scatter([level], [middle], s=26, c=COLOURS[1], marker="D", zorder=7)

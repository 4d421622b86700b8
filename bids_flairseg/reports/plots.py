"""The charts of the paper in kind: Dice by group, volumes, and Dice by volume and scanner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.reports.charts import (
    COLOURS,
    LINEAR_BELOW,
    MOST_POINTS,
    ONE_COLUMN,
    TWO_COLUMNS,
    Chart,
    Series,
    baseline,
    draw_groups,
    drawing,
    finish,
    mark,
    plain_numbers,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#1a222e"


@dataclass(frozen=True)
class Limits:
    """Lines of a Bland-Altman plot, in ml."""

    bias: float
    lower: float
    upper: float


@dataclass(frozen=True)
class VolumePairs:
    """Predicted and reference volumes of one model.

    Attributes
    ----------
    label : str
        Name of the model.
    predicted, reference : ndarray of float, shape (n,)
        In ml.
    names : tuple of str
        Scans.
    kept : ndarray of bool, shape (n,)
        False for cases over 3 SD, which are listed and not drawn among differences.
    limits : Limits or None
        Of the differences that are kept.
    """

    label: str
    predicted: NDArray[np.float64]
    reference: NDArray[np.float64]
    names: tuple[str, ...]
    kept: NDArray[np.bool_]
    limits: Limits | None


def group_chart(
    name: str, words: tuple[str, str], series: Sequence[Series], *, label: str, line: float | None
) -> Chart:
    """Draw one set of groups (Figure 2 of the paper in kind).

    Parameters
    ----------
    name : str
        Of the files.
    words : tuple of str
        Title and caption.
    series : sequence of Series
        The groups.
    label : str
        Of the vertical axis.
    line : float or None
        Where a dashed line goes.

    Returns
    -------
    Chart
        With its table.
    """
    wide = len(series) > 4
    with drawing(TWO_COLUMNS if wide else ONE_COLUMN, 2.8) as (figure, axes):
        names = draw_groups(axes, series, 0)
        if line is not None:
            baseline(axes, line)
        shade(axes, label)
        _scale(axes, series, label)
        svg, png = finish(figure, names)
    return Chart(name, *words, svg, png, *_table({"": series}, label), wide=wide)


def factor_chart(
    name: str, words: tuple[str, str], factors: Mapping[str, Sequence[Series]], *, label: str
) -> Chart:
    """Draw the groups of several factors side by side (Figure 6 of the paper in kind).

    Parameters
    ----------
    name : str
        Of the files.
    words : tuple of str
        Title and caption.
    factors : mapping of str to sequence of Series
        Groups by factor.
    label : str
        Of the vertical axis.

    Returns
    -------
    Chart
        With its table.
    """
    columns = min(2, len(factors))
    rows = -(-len(factors) // columns)
    grid = {"nrows": rows, "ncols": columns, "squeeze": False}
    width = TWO_COLUMNS if columns > 1 else ONE_COLUMN
    with drawing(width, 2.6 * rows, **grid) as (figure, axes):
        names: list[tuple[str, ...]] = []
        panels = list(axes.flat)
        for letter, (factor, series), panel in zip(
            "ABCDEFGHIJKL", factors.items(), panels, strict=False
        ):
            names += draw_groups(panel, series, len(names), skewed=_skewed(series, label))
            shade(panel, label)
            _scale(panel, series, label)
            panel.set_title(f"{letter}  {factor}", loc="left", fontsize=8, fontweight="bold")
        for panel in panels[len(factors) :]:
            panel.set_visible(False)
        svg, png = finish(figure, names)
    return Chart(name, *words, svg, png, *_table(factors, label), wide=columns > 1)


def volume_chart(
    words: tuple[str, str], pairs: Sequence[VolumePairs], bins: Sequence[Series]
) -> Chart:
    """Draw volumes, their differences, and Dice by volume (Figure 5 of the paper in kind).

    Parameters
    ----------
    words : tuple of str
        Title and caption.
    pairs : sequence of VolumePairs
        One per model.
    bins : sequence of Series
        Dice by bin of reference volume, of the first model.

    Returns
    -------
    Chart
        With its table.
    """
    with drawing(TWO_COLUMNS, 2.7, ncols=3) as (figure, (left, middle, right)):
        names: list[tuple[str, ...]] = []
        for place, own in enumerate(pairs):
            names += _correlate(left, own, COLOURS[place % len(COLOURS)], len(names))
        _identity(left, pairs)
        for place, own in enumerate(pairs):
            names += _differ(middle, own, COLOURS[place % len(COLOURS)], len(names))
        shade(middle, "Predicted minus reference (ml)")
        middle.set_xlabel("Reference volume (ml)")
        names += draw_groups(right, bins, len(names))
        shade(right, "Dice")
        _scale(right, bins, "Dice")
        right.set_xlabel("Reference volume")
        for letter, panel in zip("ABC", (left, middle, right), strict=True):
            panel.set_title(letter, loc="left", fontsize=8, fontweight="bold")
        if len(pairs) > 1:
            left.legend(frameon=False, fontsize=6, loc="upper left")
        svg, png = finish(figure, names)
    columns = {
        "model": {"Description": "Whose prediction"},
        "scan": {"Description": "Name of the FLAIR without suffix"},
        "reference_volume_ml": {"Description": "Volume of the reference", "Units": "mL"},
        "predicted_volume_ml": {"Description": "Volume of the prediction", "Units": "mL"},
        "outlier": {"Description": "More than 3 SD above the mean: not in panel B"},
    }
    rows = [
        {
            "model": own.label,
            "scan": own.names[place],
            "reference_volume_ml": round(float(own.reference[place]), 4),
            "predicted_volume_ml": round(float(own.predicted[place]), 4),
            "outlier": not own.kept[place],
        }
        for own in pairs
        for place in range(len(own.names))
    ]
    return Chart("volumes", *words, svg, png, columns, rows, wide=True)


def _correlate(axes: Axes, own: VolumePairs, colour: str, first: int) -> list[tuple[str, ...]]:
    """Draw predicted against reference volume; what is 0 stands at the edge."""
    x, y = np.maximum(own.reference, 0.01), np.maximum(own.predicted, 0.01)
    if len(x) > MOST_POINTS:
        axes.hexbin(
            x,
            y,
            gridsize=40,
            xscale="log",
            yscale="log",
            mincnt=1,
            cmap="viridis",
            linewidths=0,
            bins="log",
        )
        return []
    mark(axes, first, list(x), list(y), colour)
    axes.collections[-1].set_label(own.label)
    titles = zip(own.names, own.reference, own.predicted, strict=True)
    return [tuple(f"{n}: reference {r:.2f} ml, predicted {p:.2f} ml" for n, r, p in titles)]


def _identity(axes: Axes, pairs: Sequence[VolumePairs]) -> None:
    """Draw the line of equal volumes on logarithmic axes."""
    together = np.concatenate([np.r_[own.reference, own.predicted] for own in pairs])
    low, high = max(float(together.min()) / 2, 0.005), max(float(together.max()) * 2, 1.0)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    plain_numbers(axes, "x", "y")
    axes.plot([low, high], [low, high], color=_INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlabel("Reference volume (ml)")
    shade(axes, "Predicted volume (ml)")


def _differ(axes: Axes, own: VolumePairs, colour: str, first: int) -> list[tuple[str, ...]]:
    """Draw differences against the reference, with bias and limits of agreement."""
    x, y = own.reference[own.kept], (own.predicted - own.reference)[own.kept]
    named: list[tuple[str, ...]] = []
    if len(x) > MOST_POINTS:
        axes.hexbin(x, y, gridsize=40, mincnt=1, cmap="viridis", linewidths=0, bins="log")
    elif len(x):
        mark(axes, first, list(x), list(y), colour)
        names = [n for n, kept in zip(own.names, own.kept, strict=True) if kept]
        named.append(tuple(f"{n}: {v:+.2f} ml" for n, v in zip(names, y, strict=True)))
    if own.limits:
        axes.axhline(own.limits.bias, color=colour, linewidth=1.0)
        for value in (own.limits.lower, own.limits.upper):
            axes.axhline(value, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
    return named


def _scale(axes: Axes, series: Sequence[Series], label: str) -> None:
    """Choose the range of the vertical axis."""
    if label == "Dice":
        values = [value for group in series for value in group.values]
        axes.set_ylim(min(-0.02, min(values, default=0)), 1.02)
    elif _skewed(series, label):
        axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
        axes.set_ylim(bottom=0)
        plain_numbers(axes, "y")


def _skewed(series: Sequence[Series], label: str) -> bool:
    """Tell whether a few volumes are so large that the others would lie on the axis."""
    values = [value for group in series for value in group.values]
    if not values or not label.endswith("(ml)"):
        return False
    return max(values) > 20 * max(float(np.median(values)), LINEAR_BELOW)


def _table(
    factors: Mapping[str, Sequence[Series]], label: str
) -> tuple[dict[str, dict[str, str]], list[dict[str, Any]]]:
    """Return columns and rows of what is drawn."""
    columns = {
        "factor": {"Description": "What the groups differ in"},
        "group": {"Description": "The group"},
        "scan": {"Description": "Name of the FLAIR without suffix"},
        "value": {"Description": label},
    }
    rows = [
        {"factor": factor, "group": group.label, "scan": scan, "value": round(value, 4)}
        for factor, series in factors.items()
        for group in series
        for scan, value in zip(group.names, group.values, strict=True)
    ]
    return columns, rows

"""Example scans with the outlines of prediction and reference (Figure 3 of the paper in kind)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.reports.charts import COLOURS, TWO_COLUMNS, Chart, drawing, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Columns of the figure.
PLACES = ("worst", "median", "best")
#: Of a group of one scan; in the first column.
ONLY = "only scan"


@dataclass(frozen=True)
class Example:
    """One axial slice of one scan, rows from front to back, columns from right to left.

    Attributes
    ----------
    group, place : str
        Row and column of the figure.
    scan : str
        Name of the FLAIR without suffix.
    dice : float
        Of the whole scan.
    image : ndarray of float, shape (rows, columns)
        FLAIR, in any unit.
    predicted, reference : ndarray of bool, same shape
        Lesion.
    aspect : float
        Height over width of a pixel.
    """

    group: str
    place: str
    scan: str
    dice: float
    image: NDArray[np.floating]
    predicted: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    aspect: float = 1.0


def overlay_chart(words: tuple[str, str], examples: Sequence[Example]) -> Chart:
    """Draw examples in a grid of groups by place.

    Parameters
    ----------
    words : tuple of str
        Title and caption.
    examples : sequence of Example
        At most one per group and place.

    Returns
    -------
    Chart
        With the table of scans.
    """
    groups = list(dict.fromkeys(item.group for item in examples))
    grid = {"nrows": len(groups), "ncols": len(PLACES), "squeeze": False}
    with drawing(TWO_COLUMNS, 2.45 * len(groups), **grid) as (figure, axes):
        panels: Any = axes
        for panel in panels.flat:
            panel.set_axis_off()
        for item in examples:
            column = PLACES.index(item.place) if item.place in PLACES else 0
            _draw(panels[groups.index(item.group), column], item)
        svg, png = finish(figure)
    columns = {
        "group": {"Description": "Group of scans"},
        "place": {"Description": "Which scan of the group, by Dice"},
        "scan": {"Description": "Name of the FLAIR without suffix"},
        "dice": {"Description": "Dice of the whole scan"},
    }
    rows = [
        {"group": e.group, "place": e.place, "scan": e.scan, "dice": round(e.dice, 4)}
        for e in examples
    ]
    return Chart("examples", *words, svg, png, columns, rows, wide=True)


def _draw(axes: Axes, example: Example) -> None:
    inside = example.image[example.image > 0]
    low, high = np.percentile(inside, (1, 99.5)) if inside.size else (0.0, 1.0)
    axes.imshow(
        example.image,
        cmap="gray",
        vmin=float(low),
        vmax=float(high),
        aspect=example.aspect,
        interpolation="nearest",
    )
    for mask, colour in ((example.reference, COLOURS[5]), (example.predicted, COLOURS[4])):
        if mask.any() and not mask.all():
            axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.7)
    side: dict[str, Any] = {
        "color": "white",
        "fontsize": 6,
        "transform": axes.transAxes,
        "va": "top",
    }
    axes.text(0.02, 0.98, "L", ha="left", **side)
    axes.text(0.98, 0.98, "R", ha="right", **side)
    first = f"{_short(example.group, 28)}, {example.place}: Dice {example.dice:.2f}"
    axes.set_title(f"{first}\n{_short(example.scan, 44)}", fontsize=6, pad=3)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"

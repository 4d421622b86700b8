"""Charts for a paper: drawn once, kept as PNG, SVG and table, and shown in the page."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that all kinds of colour vision tell apart (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31")
#: Width of one and of two columns of a journal, in inches (85 and 174 mm).
ONE_COLUMN, TWO_COLUMNS = 3.35, 6.85
#: Above so many values, a group is drawn as a distribution and not as points.
MOST_POINTS = 400
#: Skewed volumes stand on an axis that is linear up to so many ml, and logarithmic above.
LINEAR_BELOW = 0.1
# Letters that a cell of a table may hold and XML may not.
_UNPRINTABLE = dict.fromkeys({*range(32), 127} - {9, 10, 13})
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_POINTS = "points-"
# Letters of a group's label on one line.
_LINE = 14
_INK, _GREY = "#1a222e", "#8a94a3"


@dataclass(frozen=True)
class Series:
    """One group of values.

    Attributes
    ----------
    label : str
        What stands below the axis.
    values : tuple of float
        Finite.
    names : tuple of str
        Scan of each value.
    colour : int
        Place in `COLOURS`.
    """

    label: str
    values: tuple[float, ...]
    names: tuple[str, ...]
    colour: int = 0


@dataclass(frozen=True)
class Chart:
    """One figure with all that belongs to it.

    Attributes
    ----------
    name : str
        Of its files.
    title, caption : str
        Plain text.
    svg : str
        Markup; points have a title that names the scan.
    png : bytes
        300 dots per inch.
    columns : mapping
        Meaning of the columns of its table.
    rows : sequence of mapping
        What is drawn.
    wide : bool
        It takes two columns.
    """

    name: str
    title: str
    caption: str
    svg: str
    png: bytes
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    wide: bool = False


@contextmanager
def drawing(width: float, height: float, **grid: Any) -> Iterator[tuple[Figure, Any]]:
    """Give a figure and its axes in the style of all charts.

    Parameters
    ----------
    width, height : float
        In inches.
    **grid : object
        For `Figure.subplots`.

    Yields
    ------
    Figure
        Not known to pyplot, so that nothing global stays behind.
    Axes or ndarray of Axes
        As `Figure.subplots` gives them.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 7,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "text.color": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "svg.fonttype": "none",
        "svg.hashsalt": "flairseg",
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(**grid)


def finish(figure: Figure, names: Sequence[Sequence[str]] = ()) -> tuple[str, bytes]:
    """Turn a figure into files.

    Parameters
    ----------
    figure : Figure
        Drawn within `drawing`.
    names : sequence of sequence of str
        Titles of the points, for each call of `mark` in its order.

    Returns
    -------
    str
        SVG for a page.
    bytes
        PNG of 300 dots per inch.
    """
    png, svg = io.BytesIO(), io.StringIO()
    with warnings.catch_warnings():
        # a letter that the font lacks is a box in the PNG; the SVG holds it as text
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(png, format="png", dpi=300, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "flairseg"})
    return _with_titles(svg.getvalue(), names), png.getvalue()


def _with_titles(text: str, names: Sequence[Sequence[str]]) -> str:
    """Name every point, and leave out what a page does not need."""
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(text.translate(_UNPRINTABLE))
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    for group in root.iter(f"{{{_SVG}}}g"):
        place = group.get("id", "")
        if place.startswith(_POINTS):
            _name_points(group, names[int(place.removeprefix(_POINTS))])
    return ET.tostring(root, encoding="unicode")


def _name_points(group: ET.Element, names: Sequence[str]) -> None:
    defined = {id(item) for defs in group.iter(f"{{{_SVG}}}defs") for item in defs.iter()}
    shapes = [
        item
        for item in group.iter()
        if item.tag in (f"{{{_SVG}}}use", f"{{{_SVG}}}path") and id(item) not in defined
    ]
    for shape, name in zip(shapes, names, strict=False):
        ET.SubElement(shape, f"{{{_SVG}}}title").text = name.translate(_UNPRINTABLE)


def mark(axes: Axes, number: int, x: Sequence[float], y: Sequence[float], colour: str) -> None:
    """Draw points that can be named.

    Parameters
    ----------
    axes : Axes
        Where.
    number : int
        Place of their names in what `finish` is given.
    x, y : sequence of float
        Data coordinates.
    colour : str
        Of the points.
    """
    points = axes.scatter(x, y, s=9, c=colour, alpha=0.75, linewidths=0.3, edgecolors="white")
    points.set_gid(f"{_POINTS}{number}")
    points.set_zorder(5)


def jitter(count: int, width: float) -> list[float]:
    """Spread points sideways, always in the same way.

    Parameters
    ----------
    count : int
        Points.
    width : float
        Largest distance from the middle.

    Returns
    -------
    list of float
        Offsets.
    """
    share = (np.arange(count) * 0.6180339887 + 0.5) % 1.0
    return [float(value) for value in (2 * share - 1) * width]


def draw_groups(
    axes: Axes, series: Sequence[Series], first: int, *, skewed: bool = False
) -> list[tuple[str, ...]]:
    """Draw groups side by side: every value, the quartiles as a box, the median as a bar.

    Parameters
    ----------
    axes : Axes
        Where.
    series : sequence of Series
        None of them empty.
    first : int
        Number of the first call of `mark`.
    skewed : bool
        The axis will be logarithmic above `LINEAR_BELOW`, so distributions are estimated there.

    Returns
    -------
    list of tuple of str
        Names of the points of each call.
    """
    from matplotlib.patches import Rectangle

    named: list[tuple[str, ...]] = []
    for place, group in enumerate(series):
        colour = COLOURS[group.colour % len(COLOURS)]
        values = np.asarray(group.values)
        low, middle, high = np.percentile(values, (25, 50, 75))
        if values.size > MOST_POINTS:
            _violin(axes, place, values, colour, skewed=skewed)
        else:
            x = [place + shift for shift in jitter(values.size, 0.24)]
            mark(axes, first + len(named), x, list(group.values), colour)
            named.append(
                tuple(f"{n}: {v:.3g}" for n, v in zip(group.names, group.values, strict=True))
            )
        box = Rectangle((place - 0.32, low), 0.64, high - low, facecolor=colour, alpha=0.16)
        axes.add_patch(box)
        axes.hlines(middle, place - 0.32, place + 0.32, colors=_INK, linewidth=1.6, zorder=4)
    words = ["\n".join(textwrap.wrap(_short(group.label), _LINE)) for group in series]
    labels = [f"{w}\nn = {len(group.values):,}" for w, group in zip(words, series, strict=True)]
    turned = len(series) > 5 or any(len(line) > _LINE for w in words for line in w.splitlines())
    axes.set_xticks(
        range(len(series)),
        labels,
        rotation=35 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else None,
    )
    axes.set_xlim(-0.6, len(series) - 0.4)
    axes.tick_params(axis="x", length=0)
    return named


def _violin(
    axes: Axes, place: int, values: np.ndarray[Any, Any], colour: str, *, skewed: bool
) -> None:
    """Draw a distribution, estimated on the scale that its axis has."""
    if np.ptp(values) == 0:
        return
    from matplotlib.cbook import violin_stats
    from scipy.stats import gaussian_kde

    def density(data: np.ndarray[Any, Any], at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(gaussian_kde(data)(at))

    (body,) = violin_stats(np.log1p(values / LINEAR_BELOW) if skewed else values, density)
    if skewed:
        body["coords"] = LINEAR_BELOW * np.expm1(body["coords"])
    parts: Any = axes.violin([body], [place], widths=0.8, showextrema=False)
    for body in parts["bodies"]:
        body.set(facecolor=colour, alpha=0.4)


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "\N{HORIZONTAL ELLIPSIS}"


def shade(axes: Axes, label: str) -> None:
    """Draw what all axes share: a light grid and the name of the values.

    Parameters
    ----------
    axes : Axes
        Where.
    label : str
        Of the vertical axis.
    """
    axes.set_ylabel(label)
    axes.grid(axis="y", color=_GREY, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)


def plain_numbers(axes: Axes, *which: str) -> None:
    """Print powers of ten as plain numbers.

    Parameters
    ----------
    axes : Axes
        With a logarithmic scale.
    *which : str
        ``x`` and ``y``.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def baseline(axes: Axes, value: float) -> None:
    """Draw the dashed line that groups are compared with."""
    axes.axhline(value, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)

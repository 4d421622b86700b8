"""How often lesions lie where, on slices of the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.reports.charts import TWO_COLUMNS, Chart, drawing, finish

#: Heights of the slices in mm of standard space.
HEIGHTS: tuple[float, ...] = (-36.0, -24.0, -12.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 62.0)
_ROWS = 2
# Less than this share of the highest is not drawn, so that the template stays to be seen.
_FAINT = 0.02
# Brightness of the template that is white: more than it has, so that the map stands out.
_WHITE = 1.4


@dataclass(frozen=True)
class Atlas:
    """A map in standard space.

    Attributes
    ----------
    template : ndarray of float, shape (X, Y, Z)
        Brightness, 0 outside the brain; axes towards right, front and top.
    shares : ndarray of float, shape (X, Y, Z)
        Share of participants with lesion.
    affine : ndarray of float, shape (4, 4)
        Of both.
    rows : sequence of mapping
        Scans that went in.
    """

    template: NDArray[np.floating]
    shares: NDArray[np.floating]
    affine: NDArray[np.float64]
    rows: Sequence[Mapping[str, Any]]

    @property
    def peak(self) -> tuple[float, tuple[float, float, float]]:
        """Highest share and where it is, in mm."""
        place = np.unravel_index(int(np.argmax(self.shares)), self.shares.shape)
        x, y, z = self.affine[:3, :3] @ np.array(place) + self.affine[:3, 3]
        return float(self.shares[place]), (float(x), float(y), float(z))

    def level(self, height: float) -> int:
        """Return the slice nearest to a height in mm."""
        index = (height - self.affine[2, 3]) / self.affine[2, 2]
        return int(np.clip(round(float(index)), 0, self.shares.shape[2] - 1))


def upright(volume: NDArray[np.floating], level: int) -> NDArray[np.floating]:
    """Turn an axial slice as it is shown: front at the top, left of the brain on the left.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Axes towards right, front and top.
    level : int
        Index of the slice.

    Returns
    -------
    ndarray, shape (Y, X)
        Rows from front to back, columns from left to right.
    """
    return np.asarray(volume[:, ::-1, level].T)


def atlas_chart(words: tuple[str, str], atlas: Atlas) -> Chart:
    """Draw a map on axial slices.

    Parameters
    ----------
    words : tuple of str
        Title and caption.
    atlas : Atlas
        The map.

    Returns
    -------
    Chart
        With the table of scans.
    """
    columns = len(HEIGHTS) // _ROWS
    highest = max(float(atlas.shares.max()), 1e-6)
    box = _box(atlas.template)
    grid = {"nrows": _ROWS, "ncols": columns, "squeeze": False}
    with drawing(TWO_COLUMNS, 3.4, **grid) as (figure, axes):
        shown: Any = None
        for panel, height in zip(axes.flat, HEIGHTS, strict=True):
            level = atlas.level(height)
            panel.set_axis_off()
            panel.imshow(upright(atlas.template, level)[box], cmap="gray", vmin=0, vmax=_WHITE)
            shares = upright(atlas.shares, level)[box]
            visible = np.where(shares < _FAINT * highest, np.nan, 100 * shares)  # NaN: not drawn
            shown = panel.imshow(visible, cmap="plasma", vmin=0, vmax=100 * highest)
            _label(panel, height)
        bar = figure.colorbar(shown, ax=axes, shrink=0.8, aspect=30, pad=0.02)
        bar.set_label("Participants with lesion (%)")
        bar.outline.set_linewidth(0.4)
        svg, png = finish(figure)
    meaning = {
        "scan": {"Description": "Name of the FLAIR without suffix"},
        "participant_id": {"Description": "Participant"},
        "overlap": {"Description": "Dice of the scan's brain and the template's"},
        "weight": {"Description": "Share of the scan in the map"},
    }
    return Chart("lesion_map", *words, svg, png, meaning, atlas.rows, wide=True)


def _box(template: NDArray[np.floating]) -> tuple[slice, slice]:
    """Return rows and columns that hold the brain at any height."""
    seen = upright((template > 0).any(axis=2, keepdims=True).astype(float), 0) > 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _label(panel: Any, height: float) -> None:
    """Write sides and height of a slice."""
    text = {"fontsize": 6, "transform": panel.transAxes, "va": "top"}
    panel.text(0.02, 0.98, "L", ha="left", color="white", **text)
    panel.text(0.98, 0.98, "R", ha="right", color="white", **text)
    level = f"{height:.0f}".replace("-", "\N{MINUS SIGN}")
    panel.text(0.5, -0.01, f"z = {level} mm", ha="center", **text)

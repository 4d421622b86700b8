"""A dot plot of volumes: every scan one dot, or bars where there are too many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

# Width of the drawing, left and right end of the axis, and its top, in units of the drawing.
_WIDTH, _LEFT, _RIGHT, _TOP = 1000.0, 110.0, 970.0, 10.0
# The piles of dots get as much height as they need, within these limits.
_LOWEST_PLOT, _HIGHEST_PLOT = 66.0, 264.0
# Room for what is written below the axis.
_FOOT = 60.0
# Where scans without lesions stand, left of the logarithmic axis.
_NONE = 45.0
_RADIUS = 6.0
_MOST_DOTS = 400

# Volume in ml and name of the scans of each bin, by the place of the bin.
_Stacks: TypeAlias = dict[float, list[tuple[float, str]]]


@dataclass(frozen=True)
class Dot:
    """One scan."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Bar:
    """All scans of one bin."""

    x: float
    y: float
    height: float
    text: str


@dataclass(frozen=True)
class DotPlot:
    """Everything that the template draws, in units of the drawing.

    Attributes
    ----------
    dots, bars : tuple
        One of the two is empty.
    ticks : tuple of (float, str)
        Places on the axis and what to write there.
    quartiles : tuple of three float
        Places of the 25th centile, the median and the 75th centile.
    base, top, left, right : float
        Edges of the room for dots; the axis lies at its base.
    width, height : float
        Size of the drawing.
    radius : float
        Of a dot; a bar is twice as wide.
    """

    dots: tuple[Dot, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    quartiles: tuple[float, float, float]
    base: float
    top: float = _TOP
    left: float = _LEFT
    right: float = _RIGHT
    width: float = _WIDTH
    radius: float = _RADIUS

    @property
    def height(self) -> float:
        """Height of the drawing."""
        return self.base + _FOOT


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis from one power of ten to another; what is not above 0 stands left."""

    lowest: int
    highest: int

    def place(self, value: float) -> float:
        """Return the place of a value on the drawing."""
        if value <= 0:
            return _NONE
        share = (math.log10(value) - self.lowest) / (self.highest - self.lowest)
        return _LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return the powers of ten with their places."""
        powers = range(self.lowest, self.highest + 1)
        return tuple((self.place(10.0**power), f"{10.0**power:g}") for power in powers)


def dot_plot(volumes: Mapping[str, float]) -> DotPlot | None:
    """Arrange volumes on a logarithmic axis.

    Parameters
    ----------
    volumes : mapping of str to float
        Volume in ml by the name of the scan; those of 0 stand apart, left of the axis.

    Returns
    -------
    DotPlot or None
        None where there is nothing to draw.
    """
    if not volumes:
        return None
    values = np.array(list(volumes.values()))
    positive = values[values > 0]
    lowest = math.floor(math.log10(positive.min())) if positive.size else 0
    highest = math.ceil(math.log10(positive.max())) if positive.size else 1
    axis = _Axis(min(lowest, highest - 2), highest)
    first, middle, last = (axis.place(float(v)) for v in np.percentile(values, (25, 50, 75)))
    stacks = _stack(volumes, axis)
    needed = 2 * _RADIUS * max(len(stack) for stack in stacks.values())
    base = _TOP + min(max(needed, _LOWEST_PLOT), _HIGHEST_PLOT)
    many = len(volumes) > _MOST_DOTS
    return DotPlot(
        dots=() if many else _dots(stacks, base),
        bars=_bars(stacks, base) if many else (),
        ticks=axis.ticks(),
        quartiles=(first, middle, last),
        base=base,
    )


def _stack(volumes: Mapping[str, float], axis: _Axis) -> _Stacks:
    """Sort scans into bins as wide as a dot; by the place of the bin, smallest volume first."""
    stacks: _Stacks = {}
    for name, volume in sorted(volumes.items(), key=lambda item: item[1]):
        place = axis.place(volume)
        if volume > 0:
            step = round((place - _LEFT) / (2 * _RADIUS))
            place = _LEFT + 2 * _RADIUS * step
        stacks.setdefault(place, []).append((volume, name))
    return stacks


def _dots(stacks: _Stacks, base: float) -> tuple[Dot, ...]:
    """Pile the scans of each bin up, closer where a pile would not fit."""
    highest = max(len(stack) for stack in stacks.values())
    step = min(2 * _RADIUS, (base - _TOP - 2 * _RADIUS) / max(highest - 1, 1))
    return tuple(
        Dot(round(x, 1), round(base - _RADIUS - level * step, 1), f"{name}: {volume:.2f} ml")
        for x, stack in stacks.items()
        for level, (volume, name) in enumerate(stack)
    )


def _bars(stacks: _Stacks, base: float) -> tuple[Bar, ...]:
    """Draw each bin as a bar."""
    highest = max(len(stack) for stack in stacks.values())
    bars = []
    for x, stack in stacks.items():
        height = (base - _TOP) * len(stack) / highest
        text = f"{len(stack)} scans of {stack[0][0]:.2f} to {stack[-1][0]:.2f} ml"
        bars.append(Bar(round(x, 1), round(base - height, 1), round(height, 1), text))
    return tuple(bars)

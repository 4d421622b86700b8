"""The plot of volumes: places are right, and nothing leaves the drawing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bids_flairseg.reports.dots import dot_plot
from bids_flairseg.reports.group import spread


def test_nothing_to_draw() -> None:
    assert dot_plot({}) is None
    assert spread([]) is None


def test_larger_volumes_stand_to_the_right() -> None:
    plot = dot_plot({"c": 80.0, "a": 0.0, "b": 0.05})
    assert plot is not None
    places = {dot.text[0]: dot.x for dot in plot.dots}
    assert places["a"] < plot.left <= places["b"] < places["c"] <= plot.right
    ticks = {text: x for x, text in plot.ticks}
    assert ticks["0.01"] < places["b"] < ticks["0.1"]
    assert ticks["10"] < places["c"] < ticks["100"]


@pytest.mark.parametrize("count", [1, 2, 60, 400, 401, 3000])
def test_every_scan_is_drawn_inside(count: int) -> None:
    volumes = np.random.default_rng(count).lognormal(0, 0.2, count)
    plot = dot_plot({f"sub-{number}": float(volume) for number, volume in enumerate(volumes)})
    assert plot is not None
    assert (len(plot.dots) == count) != bool(plot.bars)
    for x, y in [(d.x, d.y - plot.radius) for d in plot.dots] + [(b.x, b.y) for b in plot.bars]:
        assert plot.top - 0.1 <= y <= plot.base
        assert 0 <= x <= plot.width
    assert plot.height < 400


@pytest.mark.parametrize("volume", [0.0, 1.0, 1e-6, 1e6])
def test_equal_volumes_have_an_axis(volume: float) -> None:
    plot = dot_plot({"a": volume, "b": volume})
    assert plot is not None
    assert len(plot.ticks) >= 2
    assert all(math.isfinite(x) for x in plot.quartiles)


def test_quartiles_are_those_of_the_volumes() -> None:
    summary = spread([1.0, 2.0, 3.0, 4.0, 100.0])
    assert summary is not None
    assert (summary.low, summary.middle, summary.high) == (2.0, 3.0, 4.0)
    assert (summary.least, summary.most, summary.n) == (1.0, 100.0, 5)

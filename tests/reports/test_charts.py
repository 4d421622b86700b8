"""Charts: the same bytes again, every point named, nothing of the data taken for markup."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from bids_flairseg.reports.charts import Chart, Series, draw_groups, drawing
from bids_flairseg.reports.overlays import ONLY, Example, overlay_chart
from bids_flairseg.reports.plots import (
    Limits,
    VolumePairs,
    factor_chart,
    group_chart,
    volume_chart,
)

EVIL = '<script>alert("$x_1$")</script>'


def groups(count: int, n: int = 8) -> list[Series]:
    random = np.random.default_rng(count)
    return [
        Series(f"group {g}", tuple(random.random(n)), tuple(f"sub-{g}{i}" for i in range(n)), g)
        for g in range(count)
    ]


def draw(series: list[Series]) -> Chart:
    return group_chart("dice", ("Dice", "n = 8"), series, label="Dice", line=0.7)


def titles(chart: Chart) -> list[str]:
    root = ET.fromstring(chart.svg)
    return [item.text or "" for item in root.iter("{http://www.w3.org/2000/svg}title")]


def test_every_point_is_named_once() -> None:
    chart = draw(groups(3))
    found = sorted(text.split(":")[0] for text in titles(chart))
    assert found == sorted(name for group in groups(3) for name in group.names)
    assert len(chart.rows) == 24


def test_the_same_again_is_the_same() -> None:
    first, second = draw(groups(2)), draw(groups(2))
    assert (first.svg, first.png) == (second.svg, second.png)


def test_a_distribution_is_widest_where_its_axis_shows_most() -> None:
    values = np.random.default_rng(0).lognormal(np.log(5), 1.2, 2000)
    series = [Series("a", tuple(values), ("",) * 2000)]
    with drawing(3, 3) as (_, axes):
        draw_groups(axes, series, 0, skewed=True)
        (outline,) = axes.collections[0].get_paths()
        x, y = outline.vertices.T
    assert 3 < y[np.argmax(x)] < 8  # of ml on a linear axis, it would be near 1
    assert y.max() == pytest.approx(values.max(), rel=1e-6)


def test_column_width_and_resolution() -> None:
    image = Image.open(io.BytesIO(draw(groups(2)).png))
    assert image.size[0] == pytest.approx(3.35 * 300, abs=2)
    assert image.info["dpi"][0] == pytest.approx(300, abs=0.5)
    assert draw(groups(9)).wide


def test_values_of_the_dataset_stay_text() -> None:
    evil = [Series(EVIL, (0.5, 0.6), (EVIL, "sub-2"))]
    chart = factor_chart("f", ("t", "c"), {EVIL: [*evil, *groups(1)]}, label="Dice")
    assert "<script" not in chart.svg
    assert EVIL in "".join(ET.fromstring(chart.svg).itertext())


def test_many_values_become_a_distribution() -> None:
    chart = draw(groups(1, n=5000))
    assert titles(chart) == []
    assert len(chart.svg) < 60_000


def test_volumes() -> None:
    true = np.array([0.0, 1.0, 10.0, 50.0, 600.0])
    names = tuple(f"sub-{n}" for n in range(5))
    kept = true < 100
    own = VolumePairs("base", true * 1.1, true, names, kept, Limits(0.5, -1.0, 2.0))
    chart = volume_chart(("Volumes", "c"), [own], groups(2))
    assert len(titles(chart)) == 5 + 4 + 16
    assert [row["outlier"] for row in chart.rows] == [False] * 4 + [True]
    assert not re.search(r"mathdefault|\$", chart.svg)


def test_one_group_of_equal_values() -> None:
    same = [Series("a", (0.5,) * 3, ("x", "y", "z")), Series("b", (0.0,), ("w",))]
    assert draw(same).png
    assert draw([Series("a", (0.5,) * 600, ("x",) * 600)]).png


def test_examples() -> None:
    image = np.random.default_rng(0).random((40, 30))
    mask = np.zeros((40, 30), dtype=bool)
    mask[10:14, 8:12] = True
    items = [Example("MS", "worst", "sub-1", 0.2, image, mask, ~mask & False, 1.2)]
    chart = overlay_chart(("Examples", "c"), items)
    assert "sub-1" in chart.svg
    assert chart.rows == [{"group": "MS", "place": "worst", "scan": "sub-1", "dice": 0.2}]


def test_a_groups_only_scan_stands_below_the_worst_of_others() -> None:
    image = np.random.default_rng(0).random((40, 30))
    mask = np.zeros((40, 30), dtype=bool)
    items = [
        Example("MS", "worst", "sub-1", 0.2, image, mask, mask),
        Example("glioma", ONLY, "sub-2", 0.9, image, mask, mask),
    ]
    svg = overlay_chart(("Examples", "c"), items).svg
    lefts = re.findall(r'<image [^>]*\bx="([-0-9.]+)"', svg)
    assert len(lefts) == 2
    assert lefts[0] == lefts[1]

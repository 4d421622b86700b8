"""Spots that are put into brains to see whether a network finds them."""

from __future__ import annotations

import runpy
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def implants(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return runpy.run_path(str(BENCHMARKS / "implants.py"))


def test_spots_lie_in_plain_tissue_away_from_lesions_and_are_as_bright_as_asked(
    implants: dict[str, Any],
) -> None:
    image = np.zeros((90, 90, 90), np.float32)
    brain = np.s_[10:80, 10:80, 10:80]
    image[brain] = np.random.default_rng(0).normal(-0.5, 0.1, (70, 70, 70))
    image[10:80, 10:80, 60:80] = 1.2  # grey matter
    lesion = np.zeros(image.shape, bool)
    lesion[40:50, 40:50, 40:50] = True
    changed, spots = implants["implant"](("brain", image, lesion), 60, 3.0)
    assert {layer for layer, _ in spots} == {0, 1, 2}
    added = changed - image
    free = added.copy()
    reach = implants["_REACH"]
    for layer, box in spots:
        middle = [side.start + reach for side in box]
        depth = min(min(m - 9, 80 - m) for m in middle)
        low, high = implants["DEPTHS_MM"][layer : layer + 2]
        assert low <= depth < high
        assert middle[2] < 60  # not in grey matter
        assert added[tuple(middle)] == pytest.approx(3, abs=0.1)
        assert 30 < (added[box] > 1.5).sum() < 110
        free[box] = 0
    assert not free.any()
    assert added[lesion].max() < 1
    assert not added[image == 0].any()


def test_the_same_brain_has_the_same_spots(implants: dict[str, Any]) -> None:
    image = np.zeros((60, 60, 60), np.float32)
    image[5:55, 5:55, 5:55] = -0.5
    lesion = np.zeros(image.shape, bool)
    first, again = (implants["implant"](("a", image, lesion), 60, 3.0)[0] for _ in range(2))
    other, _ = implants["implant"](("b", image, lesion), 60, 3.0)
    assert (first == again).all()
    assert (first != image).any()
    assert (first != other).any()

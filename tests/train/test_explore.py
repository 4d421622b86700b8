"""The benchmark that compares choices of training."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.train.pool import write_example
from tests.conftest import ROOT

LESION = (slice(8, 14), slice(8, 14), slice(8, 14))


@pytest.fixture(scope="module")
def explore() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "explore.py")))


@pytest.fixture
def heads(tmp_path: Path) -> list[Path]:
    """Two heads with a bright cube and one without."""
    paths = []
    for index in range(3):
        image = np.random.default_rng(index).normal(0, 0.2, (24, 24, 24)).astype(np.float16)
        target = np.zeros(image.shape, np.uint8)
        if index < 2:
            target[LESION], image[LESION] = 1, 3
        paths.append(write_example(tmp_path, index, (image, target)))
    return paths


def test_who_finds_all_and_no_more_scores_one(explore: SimpleNamespace, heads: list[Path]) -> None:
    row = explore.score(lambda image: np.where(image > 1.5, 0.9, 0.0), heads)
    assert row["dice"] == 1
    assert row["false_ml"] == 0
    nothing = explore.score(np.zeros_like, heads)
    assert nothing["dice"] == 0


def test_false_volume_is_that_of_healthy_heads(explore: SimpleNamespace, heads: list[Path]) -> None:
    row = explore.score(np.ones_like, heads)
    assert row["false_ml"] == pytest.approx(24**3 / 1000)
    assert 0 < row["dice"] < 0.1


def test_the_mode_of_the_brain_comes_to_zero(explore: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((30, 30, 30), np.float32)
    image[5:] = rng.normal(0.6, 0.1, (25, 30, 30))  # white matter
    image[25:] = 1.5
    moved = explore.from_mode(image)
    assert (moved[:5] == 0).all()
    assert abs(np.median(moved[5:25])) < 0.05
    assert moved[25:].mean() == pytest.approx(0.9, abs=0.05)


def test_variants_see_the_same_crops(explore: SimpleNamespace, heads: list[Path]) -> None:
    def first(name: str) -> NDArray[np.float32]:
        image, target = next(explore.batches(explore.VARIANTS[name], heads))
        assert image.shape == target.shape
        return np.asarray(image)

    np.testing.assert_array_equal(first("base"), first("residual"))
    assert first("crops of 64^3").shape == (1, 64, 64, 64, 1)


def test_other_voxels_keep_what_lies_where(explore: SimpleNamespace) -> None:
    image = np.zeros((24, 24, 24), np.float32)
    image[LESION] = 1
    same = explore.sampled(image, np.array([24.0, 24, 24]))
    np.testing.assert_array_equal(same, image)
    thick = explore.sampled(image, np.array([24.0, 24, 6]))
    back = explore.sampled(thick, np.array([24.0, 24, 24]))
    for each, edge in ((thick, 4), (back, 1)):
        middle = (np.argwhere(each > 0.4).mean(0) + 0.5) * (1, 1, edge)
        np.testing.assert_allclose(middle, 11, atol=1)


def test_every_crop_fits_its_network(explore: SimpleNamespace) -> None:
    for name, variant in explore.VARIANTS.items():
        multiple = variant.recipe.network.multiple
        assert all(edge % multiple == 0 for edge in variant.recipe.crop), name

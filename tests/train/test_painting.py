"""How lesions are painted, and what a rater outlines of them."""

from __future__ import annotations

import numpy as np
import pytest

from bids_flairseg.train.synthesis import painting
from bids_flairseg.train.synthesis.outline import rated, visible


def test_only_what_a_rater_can_see_is_outlined() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.3, (40, 40, 20)).astype(np.float32)
    bright, faint, hollow = (np.zeros(image.shape, bool) for _ in range(3))
    bright[4:10, 4:10, 4:10] = True
    faint[4:10, 24:30, 4:10] = True
    hollow[22:34, 10:22, 4:16] = True
    image[bright] += 2
    image[faint] += 0.4
    image[hollow] += 3
    image[24:32, 12:20, 6:14] = -3
    crumb = np.zeros(image.shape, bool)
    crumb[14:17, 4, 15] = True
    image[crumb] += 4
    small, large = np.zeros((2, *image.shape), bool)  # as bright as each other, and not bright
    small[36:39, 28:31, 14:17], large[12:20, 30:38, 10:18] = True, True
    image[small | large] += 1.1
    faint |= small
    hollow |= large
    assert np.array_equal(visible(image, bright | faint | hollow | crumb), bright | hollow)


def test_an_outline_follows_what_the_image_shows() -> None:
    soft, core, change = np.zeros((3, 30, 30, 30), np.float32)
    soft[5:15, 5:15, 5:15] = change[5:15, 5:15, 5:15] = 1
    change[5:15, 5:15, 5:15] = 2
    change[11:15, 5:15, 5:15] = 0.1  # a part that nobody would see
    soft[20:24, 20:24, 20:24] = 0.3  # a small lesion in a slice thicker than itself
    change[20:24, 20:24, 20:24] = 1.5
    soft[20:24, 5:9, 5:9] = core[20:24, 5:9, 5:9] = 1  # a mass as dark as its surroundings
    found = rated(soft, core, change)
    assert found[6:10, 6:14, 6:14].all()
    assert not found[13:16].any()
    assert found[20:24, 20:24, 20:24].mean() > 0.4
    assert found[20:24, 5:9, 5:9].all()
    assert not rated(0 * soft, 0 * core, 0 * change).any()


def test_small_lesions_are_painted_brighter_and_each_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soft = np.zeros((40, 40, 40), np.float32)
    soft[4:6, 4:6, 4:6], soft[20:30, 20:30, 20:30] = 1, 1
    for voxel_mm in (1.0, 2.0):
        own, small = painting._own_levels(np.random.default_rng(0), soft, voxel_mm)
        assert small[4, 4, 4] == pytest.approx(np.exp(-8 * voxel_mm**3 / painting.SMALL_MM3))
        assert small[25, 25, 25] < 1e-3
        assert small[0, 39, 39] < 1e-3  # where there is none
        assert small[3, 3, 3] == small[4, 4, 4]  # and around it
    own, small = painting._own_levels(np.random.default_rng(0), soft, 1.0)
    monkeypatch.setattr(painting, "BRIGHTER", 0.0)
    plain, _ = painting._own_levels(np.random.default_rng(0), soft, 1.0)
    np.testing.assert_allclose(own / plain, 1 + 0.4 * small, rtol=1e-5)
    assert plain[4, 4, 4] != plain[25, 25, 25]

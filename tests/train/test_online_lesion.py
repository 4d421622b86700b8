"""Brains with lesions that are drawn on the device: what must hold whatever the dice say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.noise import normalise_noisy
from bids_flairseg.train.online.heads import NUMBERS, draw_map, pack_head
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis import outline
from bids_flairseg.train.synthesis.places import Places

jax = pytest.importorskip("jax", reason="no JAX in this environment (extra bids-flairseg[jax])")

from bids_flairseg.train.online import contrast, lesion  # noqa: E402
from bids_flairseg.train.online.draws import Draws  # noqa: E402

Labels = NDArray[np.uint16]
INDEX = np.zeros(1024, np.int32)
INDEX[list(NUMBERS)] = np.arange(len(NUMBERS))


def draws(seed: int) -> Draws:
    return Draws(jax.random.key(seed))


def test_holes_are_as_dark_as_fluid(head: Labels) -> None:
    far = np.zeros(head.shape, np.float32)
    image = np.where(np.isin(head, lb.VENTRICLES), 0.2, 1).astype(np.float32)
    hole = np.isin(head, lb.CORTEX).astype(np.float32)
    for numbers in (head, np.minimum(head, 3)):  # with ventricles and without
        anatomy = contrast.Anatomy(INDEX[numbers], 0 * far, 0 * far, far, far, far)
        filled = np.asarray(lesion._hollow(draws(1), image, hole, anatomy))
        assert (filled[hole == 0] == image[hole == 0]).all()
        assert filled[hole > 0].min() == filled[hole > 0].max()
        assert 0.16 <= filled[hole > 0].max() <= 0.4


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_the_normalisation_is_that_of_the_main_job(noise: float) -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 60)] * 3, indexing="ij"))
    inside = (grid**2).sum(0) < 0.9
    image = 1 + 0.1 * np.sin(9 * grid).sum(0) + rng.normal(0, noise, inside.shape)
    image[28:32, 28:32] = 0.1
    image = np.clip(image, 0.01, None).astype(np.float32)
    expected, share = normalise_noisy(image, inside, kind="robust")
    found, unit = lesion._normalise_noisy(image, inside)
    assert (share > 0) == (noise > 0.1)
    assert np.abs(np.asarray(found) - expected).max() < 0.15
    assert float(unit) > 0


def test_lesions_are_outlined_as_by_the_other_synthesis() -> None:
    rng = np.random.default_rng(0)
    soft, core, change = np.zeros((3, 40, 40, 40), np.float32)
    for corner in rng.integers(3, 30, (12, 3)):
        box = tuple(slice(c, c + 6) for c in corner)
        soft[box] = rng.uniform(0.3, 1)
        change[box] = rng.uniform(0.2, 3)
    core[20:24, 5:9, 5:9] = soft[20:24, 5:9, 5:9] = 1
    expected = outline.rated(soft, core, change)
    found = np.asarray(lesion._rated(soft, core, change))
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.97


def test_only_what_a_rater_can_see_is_outlined() -> None:
    image = np.random.default_rng(0).normal(0, 0.3, (40, 40, 20)).astype(np.float32)
    lesions, number = np.zeros(image.shape, bool), np.zeros(image.shape, np.int32)
    for part, (x, y, gain) in enumerate(((6, 6, 2.0), (6, 26, 0.4)), start=1):
        number[x - 3 : x + 9, y - 3 : y + 9, 3:13] = part
        lesions[x : x + 6, y : y + 6, 6:10] = True
        image[x : x + 6, y : y + 6, 6:10] += gain
    crumb = np.s_[30:33, 10, 15]
    number[crumb], lesions[crumb], image[crumb] = 3, True, 4
    # two that are as bright as each other, and not bright: the small one is overlooked
    for part, (x, y, size) in enumerate(((20, 4, 3), (20, 20, 8)), start=4):
        number[x - 3 : x + size + 3, y - 3 : y + size + 3, 2:18] = part
        box = np.s_[x : x + size, y : y + size, 5 : 5 + size]
        lesions[box], image[box] = True, image[box] + 1.1
    found = np.asarray(lesion._visible(image, lesions, number))
    assert (found == (lesions & np.isin(number, (1, 5)))).all()


def test_small_lesions_are_known_by_their_voxels() -> None:
    soft, number = np.zeros((20, 20, 20), np.float32), np.zeros((20, 20, 20), np.int32)
    soft[2:4, 2:4, 2:4], number[:7, :7, :7] = 1, 1
    soft[10:18, 10:18, 10:18], number[8:, 8:, 8:] = 1, 2
    small = np.asarray(lesion._smallness(soft, number))
    assert (small[:7, :7, :7] > 0.85).all()
    assert (small[8:, 8:, 8:] < 0.01).all()
    assert not small[number == 0].any()


@pytest.mark.slow
def test_a_lesion_example_is_bright_where_its_target_is(head: Labels) -> None:
    places = Places.of_head(head)
    packed = pack_head(places.labels, places.to_ventricles)
    make = jax.jit(lambda key, found: lesion.lesion_example(key, packed, found, shape=(48, 56, 48)))
    gains, healthy = [], 0
    for seed in range(16):
        found = draw_map(np.random.default_rng(seed), places, None)
        image, target = (np.asarray(a) for a in make(jax.random.key(seed), found))
        again, _ = make(jax.random.key(seed), found)
        assert (np.asarray(again) == image).all()
        assert np.isfinite(image).all()
        # a voxel at the border may have the median, which is zero
        assert np.count_nonzero(target[~ndimage.binary_fill_holes(image != 0)]) < 5
        if not found.level:
            healthy += 1
            assert not target.any()
        elif target.any():
            gains.append(
                np.median(image[target > 0]) - np.median(image[(target == 0) & (image != 0)])
            )
    assert healthy > 0
    assert len(gains) > 4
    assert np.median(gains) > 0.8

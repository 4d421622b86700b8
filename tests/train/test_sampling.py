"""Patches: balanced, the same for the same seed, and made with bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.train.augment import Augmentation, augment
from bids_flairseg.train.sampling import Sampling, Volume, make_schedule
from bids_flairseg.train.store import StoredCase
from tests.train.cases import make_case

SMALL = Sampling(
    patch=16, batch=4, lesion_patches=5, free_patches=5, augmentations=2, volumes_in_memory=3
)
STILL: dict[str, Any] = {"rotation_deg": 0.0, "shift_mm": 0.0, "scale": 0.0, "bend_mm": 0.0}
SHADES = ("bias", "blur", "slices", "noise", "gamma")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[StoredCase]:
    folder = tmp_path_factory.mktemp("cases")
    return [
        make_case(folder, "sub-1"),
        make_case(folder, "sub-2", seed=2),
        make_case(folder, "sub-3", seed=3, lesions=0),
    ]


def volume(case: StoredCase, sampling: Sampling, epoch: int = 0) -> Volume:
    return Volume(case, sampling, seed=1, epoch=epoch, augmentation=0)


def test_an_epoch_takes_every_volume_once_and_all_its_patches(cases: list[StoredCase]) -> None:
    schedule = make_schedule(cases, replace(SMALL, batch=1), seed=1, epoch=0)
    assert sorted(schedule.volumes) == [(case, k) for case in range(3) for k in range(2)]
    kinds = Counter((schedule.volumes[draw.volume][0], draw.lesion) for (draw,) in schedule.batches)
    assert kinds == {(0, True): 10, (0, False): 10, (1, True): 10, (1, False): 10, (2, False): 10}


def test_order_depends_on_seed_and_epoch_alone(cases: list[StoredCase]) -> None:
    one = make_schedule(cases, SMALL, seed=1, epoch=4)
    assert one == make_schedule(cases, SMALL, seed=1, epoch=4)
    assert one != make_schedule(cases, SMALL, seed=1, epoch=5)
    assert one != make_schedule(cases, SMALL, seed=2, epoch=4)


def test_few_volumes_are_needed_at_a_time(cases: list[StoredCase]) -> None:
    many = [replace(cases[0], name=f"sub-{number}") for number in range(30)]
    schedule = make_schedule(many, replace(SMALL, volumes_in_memory=4), seed=0, epoch=0)
    first: dict[int, int] = {}
    for index, batch in enumerate(schedule.batches):
        for draw in batch:
            first.setdefault(draw.volume, index)
    alive = [
        sum(first[v] <= index <= schedule.last[v] for v in first)
        for index in range(len(schedule.batches))
    ]
    assert max(alive) <= 4 + 2
    mixed = [len({draw.volume for draw in batch}) for batch in schedule.batches]
    assert np.mean(mixed) > 2.5


@pytest.mark.parametrize("steps", [1, 5, 200])
def test_steps_limit_or_prolong_an_epoch(cases: list[StoredCase], steps: int) -> None:
    sampling = replace(SMALL, steps_per_epoch=steps)
    schedule = make_schedule(cases, sampling, seed=0, epoch=0)
    assert len(schedule.batches) == steps
    assert all(len(batch) == 4 for batch in schedule.batches)
    assert len(set(schedule.volumes)) == len(schedule.volumes)
    if steps == 5:
        assert len({case for case, _ in schedule.volumes}) >= 2


def test_patches_have_lesion_or_none(cases: list[StoredCase]) -> None:
    source = volume(cases[0], replace(SMALL, **STILL))
    for number in range(20):
        assert source.cut(number, lesion=True)[1].any()
        image, target = source.cut(number, lesion=False)
        assert not target.any()
        assert (image != 0).mean() > 0.05
    assert source.cut(0, lesion=True)[0].shape == (16, 16, 16)


def test_a_case_without_lesion_gives_patches_without(cases: list[StoredCase]) -> None:
    assert not volume(cases[2], SMALL).cut(0, lesion=True)[1].any()


def test_a_patch_larger_than_the_volume_holds_all_of_it(cases: list[StoredCase]) -> None:
    source = volume(cases[0], replace(SMALL, patch=64, mirror=False, **STILL))
    for lesion in (True,):
        image, target = source.cut(3, lesion=lesion)
        assert np.count_nonzero(image) == np.count_nonzero(cases[0].image)
        assert target.sum() == cases[0].target.sum()


def test_draws_depend_on_seed_case_and_epoch(cases: list[StoredCase]) -> None:
    one = volume(cases[0], SMALL).cut(2, lesion=True)[0]
    np.testing.assert_array_equal(one, volume(cases[0], SMALL).cut(2, lesion=True)[0])
    assert not np.array_equal(one, volume(cases[0], SMALL, epoch=1).cut(2, lesion=True)[0])
    assert not np.array_equal(one, volume(cases[0], SMALL).cut(3, lesion=True)[0])


def test_augmentation_moves_image_and_target_alike(cases: list[StoredCase]) -> None:
    image, target = augment(
        np.random.default_rng(0), cases[0].image, cases[0].target, Augmentation()
    )
    assert not np.array_equal(target, cases[0].target)
    assert int(target.sum()) == pytest.approx(int(cases[0].target.sum()), rel=0.4)
    before = _contrast(np.asarray(cases[0].image), np.asarray(cases[0].target))
    assert _contrast(image, target) > 0.7 * before
    assert not target[image == 0].any()


@pytest.mark.parametrize("rotation_deg", [0.0, 6.0])
def test_heads_are_turned_by_no_more_than_the_recipe_says(rotation_deg: float) -> None:
    """A rod from front to back stays within the angle of its axis."""
    image = np.zeros((48, 48, 48), np.float16)
    image[23:25, 4:44, 23:25] = 1
    turned = []
    for seed in range(12):
        config = Augmentation(**STILL | {"rotation_deg": rotation_deg, "shift_mm": 0.01})
        moved, _ = augment(np.random.default_rng(seed), image, (image > 0).astype(np.uint8), config)
        points = np.argwhere(np.asarray(moved) > 0.5)
        axis = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]
        turned.append(np.degrees(np.arccos(min(abs(axis[1]), 1.0))))
    assert max(turned) < rotation_deg * np.sqrt(2) + 1.5
    assert max(turned) > rotation_deg / 2 - 0.5


def _contrast(image: NDArray[np.float16], target: NDArray[np.uint8]) -> float:
    values = image.astype(np.float32)
    return float(values[target > 0].mean() - values[(image != 0) & (target == 0)].mean())


@pytest.mark.parametrize("name", SHADES)
def test_another_scanner_changes_intensities_and_nothing_else(
    cases: list[StoredCase], name: str
) -> None:
    config = Augmentation(**STILL, **{name: 1.0})
    source = np.asarray(cases[0].image)
    image, target = augment(np.random.default_rng(3), source, cases[0].target, config)
    np.testing.assert_array_equal(image == 0, source == 0)
    np.testing.assert_array_equal(target, cases[0].target)
    assert not np.array_equal(image, source)
    inside, before = image[source != 0].astype(float), source[source != 0].astype(float)
    assert inside.mean() == pytest.approx(before.mean(), abs=0.1)
    assert inside.std() == pytest.approx(before.std(), rel=0.1)
    assert _contrast(image, target) > 0.3 * _contrast(source, np.asarray(cases[0].target))


def test_no_augmentation_changes_nothing(cases: list[StoredCase]) -> None:
    image, target = augment(
        np.random.default_rng(0), cases[0].image, cases[0].target, Augmentation(**STILL)
    )
    np.testing.assert_array_equal(image, cases[0].image)
    np.testing.assert_array_equal(target, cases[0].target)

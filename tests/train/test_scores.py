"""Scores of synthetic heads: what is perfect scores perfectly, what is wrong does not."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import Card, load_bundle, save_bundle
from bids_flairseg.train.export import bundle_config
from bids_flairseg.train.pool import write_example
from bids_flairseg.train.recipes import RECIPES
from bids_flairseg.train.scores import Answer, ask, score_lesions

SHAPE = (24, 24, 24)
CONFIG = bundle_config("lesion", RECIPES["lesion"])


def answer(seed: int, *, lesion: bool, false: bool = False, shift: int = 0) -> Answer:
    """A brain of 20 voxels across, a lesion of 6 in it, or a false one of 4."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(SHAPE, bool)
    probability = np.zeros(SHAPE, np.float32)
    probability[2:22, 2:22, 2:22] = 0.01 + 0.02 * rng.random((20, 20, 20))
    if lesion:
        truth[8:14, 8:14, 8:14] = True
        probability[np.roll(truth, shift, 0)] = 0.9
    if false:
        probability[16:20, 16:20, 16:20] = 0.6
    return Answer((probability,), truth)


def test_right_answers_score_one_and_nothing_false() -> None:
    scores = score_lesions([answer(0, lesion=True), answer(1, lesion=False)], CONFIG)
    assert scores["mean_dice"] == 1
    assert scores["false_ml"]["median"] == 0
    assert (scores["lesions"]["true"], scores["lesions"]["false"]) == (1, 0)


def test_false_volume_and_shifted_lesions_are_told() -> None:
    scores = score_lesions(
        [answer(0, lesion=True, shift=3), answer(1, lesion=False, false=True)], CONFIG
    )
    assert scores["mean_dice"] == pytest.approx(0.5)
    assert scores["false_ml"]["largest"] == pytest.approx(0.064)
    assert scores["lesions"]["area_under_curve"] == 1


def test_what_the_main_job_leaves_out_and_takes_in_counts_as_it_does_there() -> None:
    found, healthy = answer(0, lesion=True), answer(1, lesion=False)
    healthy.passes[0][4:6, 4:6, 4:6] = 0.9  # 8 voxels: less than 0.01 ml
    found.passes[0][7, 8:14, 8:14] = 0.4  # beside a lesion that is not large: not enough
    scores = score_lesions([found, healthy], CONFIG)
    assert scores["false_ml"]["largest"] == 0
    assert scores["mean_dice"] == 1
    large = replace(CONFIG, inference=replace(CONFIG.inference, large_ml=0.2, large_share=0.7))
    assert score_lesions([found, healthy], large)["mean_dice"] < 1


def intervals(numbers: dict[str, Any]) -> dict[str, tuple[float | None, list[float] | None]]:
    """Name each number that has an interval, with the interval."""
    own = {
        name: (numbers[name], numbers[f"{name}_95"]) for name in numbers if f"{name}_95" in numbers
    }
    parts = [intervals(part) for part in numbers.values() if isinstance(part, dict)]
    return own | {name: pair for part in parts for name, pair in part.items()}


def test_intervals_hold_what_they_are_of() -> None:
    ill = [answer(seed, lesion=True, shift=seed % 4, false=seed % 2 > 0) for seed in range(12)]
    healthy = [answer(seed, lesion=False, false=seed % 3 > 0) for seed in range(12)]
    for volume, each in enumerate(healthy):
        each.passes[0][16:20, 16:20, 16 : 16 + volume // 3] *= 0.01
    for each in ill[1::4]:
        each.passes[0][16:20, 16:20, 16:20] = 0.95  # false, and as sure as true ones
    scores = score_lesions([*ill, *healthy], CONFIG)
    found = intervals(scores)
    assert set(found) == {
        "mean_dice", "median_dice", "median", "centile_95", "expected_calibration_error",
        "area_under_curve",
    }  # fmt: skip
    for name, (value, interval) in found.items():
        assert value is not None
        assert interval is not None
        low, high = interval
        assert low <= value <= high, name
        assert low < high, name


def test_few_heads_have_numbers_and_no_intervals() -> None:
    scores = score_lesions([answer(0, lesion=True), answer(1, lesion=False)], CONFIG)
    assert {interval for _, interval in intervals(scores).values()} == {None}


def test_scaling_leaves_the_outside_at_zero_and_one_stays_above_another() -> None:
    before = answer(0, lesion=True)
    after = before.scaled(0.5, -0.2)
    np.testing.assert_array_equal(after.probability == 0, before.probability == 0)
    assert after.probability.max() < before.probability.max()
    probability, truth = after.of_brain
    assert probability.shape == truth.shape == (20**3,)


def test_the_mirrored_pass_is_turned_back_and_averaged(tmp_path: Path) -> None:
    """A network that sees lesion on the left only finds half of it on the right."""
    image = np.ones(SHAPE, np.float16)
    image[:, :, :4] = 0
    path = write_example(tmp_path, 0, (image, np.zeros(SHAPE, np.uint8)))

    def left(batch: NDArray[np.float32], *, training: bool) -> NDArray[np.float32]:
        answer = np.zeros_like(batch)
        answer[:, :4] = 1.0
        return answer

    [found] = ask(cast("keras.Model", left), [path])
    np.testing.assert_allclose(found.probability[:4, :, 4:], 0.5)
    np.testing.assert_allclose(found.probability[-4:, :, 4:], 0.5)
    np.testing.assert_allclose(found.probability[4:-4, :, 4:], 0, atol=1e-6)
    assert not found.probability[:, :, :4].any()


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_a_network_goes_beside_another_and_the_mean_of_both_comes_out(
    tmp_path: Path, parent: Path, share: float
) -> None:
    from bids_flairseg.model.unet import build_unet
    from bids_flairseg.train.members import join, members, part

    bundle = load_bundle(parent)
    own = replace(bundle.config.architecture, patch=1, head_kernel=1)
    model = build_unet(own)
    both, network = join(model, own, parent, share=share)
    assert network.beside == bundle.config.architecture
    edge = network.multiple
    image = np.random.default_rng(0).normal(size=(1, edge, edge, edge, 1)).astype(np.float32)
    logits = [np.log(p / (1 - p)) for p in (np.asarray(m(image)) for m in (model, bundle.model))]
    expected = 1 / (1 + np.exp(-np.average(logits, axis=0, weights=[share, 1 - share])))
    np.testing.assert_allclose(np.asarray(both(image)), expected, atol=1e-4)
    save_bundle(tmp_path / "both", both, replace(bundle.config, architecture=network), Card())
    again = load_bundle(tmp_path / "both").model
    np.testing.assert_allclose(np.asarray(again(image)), expected, atol=2e-3)
    mixed = [2 * share * logits[0], 2 * (1 - share) * logits[1]]
    for (found, shape), logit in zip(members(tmp_path / "both"), mixed, strict=True):
        answer = 1 / (1 + np.exp(-logit))
        np.testing.assert_allclose(np.asarray(found(image)), answer, atol=2e-3)
        same = part(tmp_path / "both", shape)
        np.testing.assert_allclose(np.asarray(same(image)), answer, atol=2e-3)
    assert [shape for _, shape in members(parent)] == [bundle.config.architecture]
    third, network = join(model, own, tmp_path / "both")
    assert network.members[1] == bundle.config.architecture
    assert third.count_params() == both.count_params()
    with pytest.raises(InputError, match=r"both: expected a network of the recipe's shape"):
        part(tmp_path / "both", replace(own, head_kernel=5))

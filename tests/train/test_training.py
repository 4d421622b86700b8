"""Pool, losses and training: resumed equals unbroken, and it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import Card, load_bundle, save_bundle
from bids_flairseg.model.unet import Stage, UNetConfig, build_unet
from bids_flairseg.train import beside, export, pool, pretrain, recipes, scores
from bids_flairseg.train.losses import binary_loss, class_loss, soft_dice

TINY = recipes.Recipe(
    network=UNetConfig(
        encoder=(Stage(4, 4, 8),), decoder=(Stage(8, 8, 4),), residual=False, head=(4,),
        head_kernel=3, head_activation="linear",
    ),
    crop=(16, 16, 16), voxel_mm=1.0, batch=1, learning_rate=1e-2, warm_up_steps=2,
    precision="float32", steps_per_epoch=3, ema=0.9,
)  # fmt: skip


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        target = np.zeros((20, 18, 16), np.uint8)
        target[tuple(slice(a, a + 6) for a in rng.integers(2, 9, 3))] = 1
        image = (target * 3 + rng.standard_normal(target.shape) * 0.3).astype(np.float16)
        pool.write_example(folder, seed, (image, target))
    return folder


def test_an_example_is_read_as_it_was_written(examples: Path) -> None:
    image, target = pool.read_example(examples / "example-000001.npy")
    assert image.dtype == np.float16
    assert target.sum() == 216
    assert not list(examples.glob("*.tmp"))


def test_filling_a_pool_makes_only_what_is_missing(examples: Path) -> None:
    made: list[int] = []

    def make(seed: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        made.append(seed)
        return np.zeros((4, 4, 4), np.float16), np.zeros((4, 4, 4), np.uint8)

    pool.fill(examples, make, range(5))
    assert made == [3, 4]


def test_losses_fall_from_wrong_to_right() -> None:
    truth = np.zeros((1, 12, 12, 12, 1), np.float32)
    truth[:, 3:9, 3:9, 3:9] = 1
    guesses = (1 - truth, np.full_like(truth, 0.5), truth)
    values = [float(binary_loss(truth, guess)) for guess in guesses]
    assert values[0] > values[1] > values[2] >= 0
    assert values[2] < 0.05
    classes = np.concatenate([1 - truth, truth], -1)
    right, wrong = float(class_loss(truth, classes)), float(class_loss(truth, 1 - classes))
    assert right < 0.05 < wrong


def test_false_foreground_costs_where_there_is_no_lesion() -> None:
    nothing = np.zeros((1, 12, 12, 12, 1), np.float32)
    some = nothing.copy()
    some[:, :6] = 1
    assert float(soft_dice(nothing, nothing)) == pytest.approx(0)
    assert float(soft_dice(nothing, some)) > 0.5


def test_losses_are_float32_and_finite_at_certainty() -> None:
    truth = np.ones((1, 4, 4, 4, 1), np.float32)
    certain = keras.ops.cast(truth, "bfloat16")
    loss = binary_loss(1 - truth, certain)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert np.isfinite(float(loss))


def test_a_crop_mirrors_image_and_target_together() -> None:
    target = np.zeros((20, 20, 20), np.uint8)
    target[3:6, 8:12, 8:12] = 1
    image = target.astype(np.float16) * 4
    for seed in range(12):
        crop, cut = TINY.augment(np.random.default_rng(seed), image, target)
        assert crop.shape == cut.shape == TINY.crop
        assert ((crop > 1) == (cut > 0)).all()


@pytest.mark.slow
def test_a_resumed_training_equals_an_unbroken_one(examples: Path, tmp_path: Path) -> None:
    unbroken = pretrain.train(TINY, examples, tmp_path / "a", steps=12)
    pretrain.train(TINY, examples, tmp_path / "b", steps=12, limit=0)
    resumed = pretrain.train(TINY, examples, tmp_path / "b", steps=12)
    for one, other in zip(unbroken.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_a_second_stage_begins_at_the_averages_and_leaves_the_normalisation(
    examples: Path, tmp_path: Path
) -> None:
    pretrain.train(TINY, examples, tmp_path / "a", steps=8)
    first = pretrain.averaged(TINY, tmp_path / "a")
    pretrain.train(TINY, examples, tmp_path / "b", steps=8, start=tmp_path / "a")
    second = pretrain.averaged(TINY, tmp_path / "b")
    for one, other in zip(first.layers, second.layers, strict=True):
        kept = isinstance(one, keras.layers.BatchNormalization)
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            assert np.array_equal(a, b) == kept
    middle = pretrain.averaged(TINY, tmp_path / "b", parent_share=0.5)
    for a, b, c in zip(*(m.get_weights() for m in (first, second, middle)), strict=True):
        np.testing.assert_allclose((a + b) / 2, c, atol=1e-6)
    with pytest.raises(InputError, match="Leave its parent's share at 0"):
        pretrain.averaged(TINY, tmp_path / "a", parent_share=0.5)


@pytest.fixture
def pair(examples: Path, tmp_path: Path) -> tuple[recipes.Recipe, Path]:
    """Return a recipe for the second of two networks, and a bundle to begin with."""
    network = replace(TINY.network, beside=replace(TINY.network, patch=2))
    model = build_unet(network)
    save_bundle(
        tmp_path / "two",
        model,
        export.bundle_config("lesion", replace(TINY, network=network)),
        Card(),
    )
    beside.main([str(tmp_path / "two"), str(examples)])
    return replace(TINY, network=network, beside=True), tmp_path / "two"


def test_an_answer_is_what_the_first_network_says_of_the_example(
    examples: Path, pair: tuple[recipes.Recipe, Path]
) -> None:
    """The learner, given it, says what both say."""
    model = load_bundle(pair[1]).model
    path = examples / "example-000001.npy"
    image = np.asarray(pool.read_example(path)[0], np.float32)
    padded = np.pad(image, [(0, -n % 32) for n in image.shape])[None, ..., None]
    answer = np.pad(beside.read_answer(path), [(0, -n % 32) for n in image.shape])[None, ..., None]
    both = np.asarray(model(padded))[0, :20, :18, :16]
    learner = np.asarray(beside.learner(model)([padded, answer]))[0, :20, :18, :16]
    np.testing.assert_allclose(learner, both, atol=2e-3)


def test_a_bundle_of_one_network_answers_nothing(examples: Path, tmp_path: Path) -> None:
    model = build_unet(TINY.network)
    save_bundle(tmp_path / "one", model, export.bundle_config("lesion", TINY), Card())
    with pytest.raises(InputError, match="expected a bundle of two networks, found one"):
        beside.main([str(tmp_path / "one"), str(examples)])


def test_a_pair_is_not_trained_without_a_bundle_or_answers(
    pair: tuple[recipes.Recipe, Path], tmp_path: Path
) -> None:
    recipe, bundle = pair
    with pytest.raises(InputError, match="expected a bundle of two networks to begin with"):
        pretrain.train(recipe, tmp_path / "pool", tmp_path / "run", steps=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected examples with answers, found none"):
        pretrain.train(recipe, tmp_path / "empty", tmp_path / "run", steps=3, start=bundle)


def test_image_answer_and_target_of_a_crop_are_of_one_place() -> None:
    grid = np.arange(24**3).reshape(24, 24, 24)
    image = grid.astype(np.float32)  # each value once
    target = (grid % 7 == 0).astype(np.uint8)
    cut = TINY.cut(np.random.default_rng(0), image, target, -image)
    assert [array.shape for array in cut] == [TINY.crop] * 3
    np.testing.assert_array_equal(cut[0], -cut[1])
    place = np.argwhere(image == cut[0][0, 0, 0])[0]
    box = tuple(slice(a, a + n) for a, n in zip(place, TINY.crop, strict=True))
    np.testing.assert_array_equal(target[box], cut[2])


@pytest.mark.slow
def test_a_network_beside_another_learns_alone(
    examples: Path, pair: tuple[recipes.Recipe, Path], tmp_path: Path
) -> None:
    recipe, bundle = pair
    run = tmp_path / "run"
    pretrain.train(recipe, examples, run, steps=6, start=bundle, limit=0)
    pretrain.train(recipe, examples, run, steps=6)
    old = {
        variable.path: np.array(variable.value) for variable in load_bundle(bundle).model.weights
    }
    last = pretrain.averaged(recipe, run)
    for variable in last.weights:
        same = np.array_equal(old[variable.path], variable.value)
        # the statistics of the normalisation stay in a second stage
        stays = "moving_" in variable.path or "_norm" in variable.path
        assert same == (stays or not variable.path.startswith("beside_")), variable.path


@pytest.mark.slow
def test_training_learns_and_its_export_is_a_bundle_that_finds_lesions(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "RECIPES", {"lesion": TINY})
    monkeypatch.setattr(export, "RECIPES", {"lesion": TINY})
    run = tmp_path / "run"
    pretrain.main(["lesion", "--pool", str(examples), "--run", str(run), "--steps", "120"])
    target = str(tmp_path / "bundle")
    export.main(["lesion", target, "--run", str(run), "--validation", str(examples)])
    bundle = load_bundle(Path(target))
    assert bundle.config.preprocessing.normalisation == "robust"
    image, truth = pool.read_example(examples / "example-000000.npy")
    found = scores.probabilities(bundle.model, image)[..., 0] > bundle.config.inference.threshold
    assert 2 * (found & (truth > 0)).sum() / (found.sum() + truth.sum()) > 0.8


def test_a_flat_curve_gives_the_threshold_nearest_to_a_half() -> None:
    flat = np.full(len(scores.THRESHOLDS), 0.6)
    flat[-1] += 0.005
    assert scores.THRESHOLDS[scores.choose_threshold(flat)] == 0.5
    steep = np.linspace(0.9, 0.1, len(scores.THRESHOLDS))
    assert scores.choose_threshold(steep) == 0

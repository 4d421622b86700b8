"""Pool, losses and training: resumed equals unbroken, and it learns."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import load_bundle
from bids_flairseg.model.unet import Stage, UNetConfig
from bids_flairseg.train import export, pool, pretrain, recipes, scores
from bids_flairseg.train.losses import binary_loss, class_loss, lesion_loss, soft_dice

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


def test_a_voxel_of_a_brain_counts_the_same_in_crops_of_any_size() -> None:
    """And missed lesion counts about as much as false lesion in a healthy brain."""
    truth = np.zeros((1, 24, 24, 24, 1), np.float32)
    truth[:, 8:12, 8:12, 8:12] = 1
    guess = np.where(truth > 0, 0.2, 1e-6).astype(np.float32)
    whole, part = (float(lesion_loss(truth[:, :n], guess[:, :n])) for n in (24, 12))
    assert whole == pytest.approx(part, rel=1e-3)

    healthy = np.zeros_like(truth)
    false = np.where(truth > 0, 0.8, 1e-6).astype(np.float32)
    missed = float(lesion_loss(truth, guess))
    assert 0.5 < missed / float(lesion_loss(healthy, false)) < 2


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
    rows = pretrain.read_history(tmp_path / "a")
    assert all(0 < row["cutting"] < 10 for row in rows)  # the first one is cut ahead


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


def test_an_empty_pool_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected examples, found none"):
        pretrain.train(TINY, tmp_path / "empty", tmp_path / "run", steps=3)


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

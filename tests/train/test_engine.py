"""Training of a site: learns, resumes, stops, survives, freezes, and leaves a bundle."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.errors import UsageError
from bids_flairseg.model.bundle import (
    Card,
    bundle_digest,
    load_bundle,
    read_card,
    save_bundle,
)
from bids_flairseg.model.predict import predict
from bids_flairseg.model.runtime import applied, set_up
from bids_flairseg.model.unet import build_unet
from bids_flairseg.train import checkpoint, engine, feed
from bids_flairseg.train.cursor import CaseScore
from bids_flairseg.train.job import FitResult, TrainingJob
from bids_flairseg.train.result import identify, known_cases, save_result
from bids_flairseg.train.scores import THRESHOLDS, lesion_mask
from bids_flairseg.train.validation import AFTER, pick_threshold, read_kept
from tests.train.blobs import TINY_CONFIG, TINY_NET, TINY_RECIPE, assert_same, ball_case, tiny_job

set_up(1, "cpu")

pytestmark = pytest.mark.usefixtures("every_round")


def test_the_result_is_told_in_table_curve_log_and_event_file(
    unbroken: tuple[TrainingJob, FitResult],
) -> None:
    import tensorflow as tf

    job, result = unbroken
    rows = (job.folder / "history.tsv").read_text().splitlines()
    assert len(rows) == 1 + TINY_RECIPE.epochs == 1 + len(result.history)
    assert (job.folder / "curve.svg").read_text().startswith("<svg")
    assert "epoch 3/3, step 4/4, loss" in (job.folder / "training.log").read_text()
    records = tf.data.TFRecordDataset(str(next(job.folder.glob("events.out.tfevents.*"))))
    assert len(list(records)) == 1 + TINY_RECIPE.epochs  # its checksums are right, too
    for case, score in zip(job.validation, result.after, strict=True):
        kept = read_kept(job.folder / AFTER, case.name)
        assert kept is not None
        volume = np.count_nonzero(lesion_mask(kept, result.config)) / 1000
        assert volume == pytest.approx(score.predicted_ml)


@pytest.mark.slow
@pytest.mark.parametrize("flip", [True, False])
def test_held_out_cases_are_mirrored_as_the_main_job_does_it(
    unbroken: tuple[TrainingJob, FitResult], tmp_path: Path, flip: bool
) -> None:
    job, result = unbroken
    if not flip:
        recipe = replace(TINY_RECIPE, epochs=1, steps_per_epoch=1)
        job = tiny_job(tmp_path / "run", recipe=recipe, flip=False)
        result = engine.fit(job)
    case = job.validation[0]
    image, apply = np.asarray(case.image, np.float32), applied(result.model)
    kept = read_kept(job.folder / AFTER, case.name)
    assert kept is not None
    distances = {
        way: np.abs(predict(apply, image, result.config, flip=way)[..., 0] - kept)[image != 0].max()
        for way in (True, False)
    }
    assert distances[flip] <= 1 / 200 + 1e-3 < distances[not flip]


def test_the_folder_of_another_training_is_refused_by_what_differs(
    unbroken: tuple[TrainingJob, FitResult],
) -> None:
    job = unbroken[0]
    with pytest.raises(UsageError, match=r"recipe.epochs \(3, now 4\)"):
        engine.fit(replace(job, recipe=replace(TINY_RECIPE, epochs=4)))
    with pytest.raises(UsageError, match="train"):
        engine.fit(replace(job, train=job.train[:2]))


def test_the_best_weights_are_those_of_the_epoch_that_is_asked_for(tmp_path: Path) -> None:
    keeper = checkpoint.Keeper(tiny_job(tmp_path / "run"))
    keeper.save_best([np.ones(2)], 2)
    for each in (keeper, checkpoint.Keeper(tiny_job(tmp_path / "run"))):  # memory, then disk
        assert each.best(3) is None
        assert_same(each.best(2) or [], [np.ones(2)])


def test_best_weights_that_are_gone_are_told_without_a_guess_why(
    unbroken: tuple[TrainingJob, FitResult], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken[0].folder, folder)
    (folder / "best.npz").unlink()
    result = engine.fit(replace(unbroken[0], folder=folder))
    assert result.best_epoch == TINY_RECIPE.epochs
    assert any("the best, are not in the folder of the training" in note for note in result.notes)


@pytest.mark.slow
def test_adding_up_gradients_does_what_a_large_batch_does(parent: Path, tmp_path: Path) -> None:
    recipe = replace(
        TINY_RECIPE, epochs=1, loss="cross-entropy", norm="keep", ema=0.0, schedule="constant",
        warm_up_steps=0,
    )  # fmt: skip
    weights = [
        engine.fit(
            tiny_job(tmp_path / str(size), parent=parent, recipe=replace(recipe, micro_batch=size))
        ).model.get_weights()
        for size in (1, 2)
    ]
    assert_same(*weights, atol=1e-4)


def test_synthetic_cases_are_mixed_in_by_their_share(tmp_path: Path) -> None:
    pool = tuple(ball_case(number) for number in range(20, 30))
    recipe = replace(TINY_RECIPE, synthetic_share=0.4)
    job = tiny_job(tmp_path, recipe=recipe, synthetic=pool)
    chosen = [
        {case.name for case in feed.open_epoch(job, epoch, 0, 1).cases[3:]} for epoch in (0, 1, 0)
    ]
    assert [len(names) for names in chosen] == [2, 2, 2]
    assert chosen[0] == chosen[2] != chosen[1]


@pytest.mark.slow
def test_nothing_better_than_the_parent_keeps_the_parent(parent: Path, tmp_path: Path) -> None:
    recipe = replace(TINY_RECIPE, learning_rate=0.5, warm_up_steps=0, early_stopping=1, epochs=9)
    result = engine.fit(tiny_job(tmp_path / "run", parent=parent, recipe=recipe))
    assert_same(result.model.get_weights(), load_bundle(parent).model.get_weights(), atol=0)
    assert result.best_epoch == 0
    assert len(result.history) < 9
    assert [score.dice for score in result.after] == [score.dice for score in result.before]
    assert any("its weights are kept" in note for note in result.notes)


@pytest.mark.slow
@pytest.mark.parametrize(("dice", "kept"), [(0.505, 0), (0.52, 1)])
def test_a_gain_that_may_be_chance_keeps_the_parent(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dice: float, kept: int
) -> None:
    found = iter([0.5, dice, dice])
    monkeypatch.setattr(
        engine, "score_cases", lambda *_, **__: [replace(scores(1, best=0.5)[0], dice=next(found))]
    )
    recipe = replace(TINY_RECIPE, epochs=1, steps_per_epoch=1, least_gain=0.01)
    result = engine.fit(tiny_job(tmp_path / "run", parent=parent, recipe=recipe))
    assert result.best_epoch == kept


@pytest.mark.slow
def test_the_parents_share_pulls_weights_towards_it(parent: Path, tmp_path: Path) -> None:
    old = load_bundle(parent).model.get_weights()
    distances = []
    for share in (0.0, 0.75, 1.0):
        recipe = replace(TINY_RECIPE, epochs=1, keep_best=False, parent_share=share)
        new = engine.fit(tiny_job(tmp_path / str(share), parent=parent, recipe=recipe))
        pairs = zip(new.model.get_weights(), old, strict=True)
        distances.append(sum(float(np.abs(a - b).sum()) for a, b in pairs))
    assert distances[1] == pytest.approx(0.25 * distances[0], rel=1e-3)
    assert distances[2] == pytest.approx(0, abs=1e-4)


def test_the_bundle_predicts_the_same_and_says_where_it_comes_from(
    parent: Path, tmp_path: Path
) -> None:
    recipe = replace(TINY_RECIPE, epochs=1)
    job = tiny_job(tmp_path / "run", parent=parent, recipe=recipe, name="ours")
    result = engine.fit(job)
    save_result(job, result, tmp_path / "bundle", command="flairseg ...")
    bundle, card = load_bundle(tmp_path / "bundle"), read_card(tmp_path / "bundle")
    assert bundle.config.name == "ours"
    image = np.asarray(job.train[0].image, np.float32)[None, :, :, :22, None]
    np.testing.assert_allclose(
        bundle.model.predict(image, verbose=0), result.model.predict(image, verbose=0), atol=0.02
    )
    (before,) = card.training["parents"]
    assert (before["name"], before["sha256"]) == ("site", bundle_digest(parent))
    assert before["cases"] == read_card(parent).training["cases"]
    assert card.training["recipe"] == asdict(recipe)
    assert card.use.startswith("Scans like those it was trained on")
    assert card.validation["held_out"]["cases"] == 2
    text = (tmp_path / "bundle" / "model.json").read_text()
    assert "sub-" not in text
    assert len(set(card.training["cases"])) == 3
    save_result(job, result, tmp_path / "named", share_ids=True)
    named = read_card(tmp_path / "named").training
    assert named["cases"] == card.training["cases"]
    assert named["case_names"][named["cases"][1]] == "sub-01"
    assert {identify(case) for case in (*job.train, *job.validation)} <= known_cases(
        tmp_path / "bundle"
    )


def scores(count: int, *, best: float) -> list[CaseScore]:
    curve = tuple(1 - abs(level - best) for level in THRESHOLDS)
    return [CaseScore(f"sub-{i}", 0.5, 1.0, 1.0, curve, curve) for i in range(count)]


def test_the_threshold_is_chosen_on_enough_cases_and_kept_on_few() -> None:
    recipe = replace(TINY_RECIPE, threshold_cases=4)
    assert pick_threshold(scores(4, best=0.3), recipe, 0.5)[0] == pytest.approx(0.3)
    kept, reason = pick_threshold(scores(3, best=0.3), recipe, 0.5)
    assert kept == 0.5
    assert "held-out cases with lesions: 3" in reason
    empty = [replace(score, reference_ml=0.0) for score in scores(9, best=0.3)]
    assert pick_threshold(empty, recipe, 0.5)[0] == 0.5
    assert pick_threshold(scores(9, best=0.3), replace(recipe, threshold="keep"), 0.5)[0] == 0.5


def test_a_bundle_that_tells_many_classes_cannot_be_fine_tuned(tmp_path: Path) -> None:
    network = replace(TINY_NET, classes=3)
    config = replace(TINY_CONFIG, architecture=network, classes=("a", "b", "c"))
    save_bundle(tmp_path / "many", build_unet(network), config, Card())
    with pytest.raises(UsageError, match="expected a bundle with one class, lesion, found a, b, c"):
        engine.fit(tiny_job(tmp_path / "run", parent=tmp_path / "many"))


def test_a_job_without_cases_or_with_one_on_both_sides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found none"):
        tiny_job(tmp_path, train=())
    with pytest.raises(UsageError, match="sub-10 more often"):
        tiny_job(tmp_path, train=(ball_case(10),))

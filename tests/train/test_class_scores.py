"""Scores of anatomy: lesions in the image, and the regions that two sets of classes give them."""

from pathlib import Path
from typing import cast

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.class_scores import add_balls, agreeing_regions, score_classes
from bids_flairseg.train.pool import write_example
from bids_flairseg.train.synthesis.labels import CLASSES


def head() -> NDArray[np.uint8]:
    """Ventricle in white matter in cortex, cerebellum below."""
    classes = np.zeros((40, 40, 40), np.uint8)
    classes[4:36, 4:36, 12:36] = 1
    classes[7:33, 7:33, 15:33] = 2
    classes[16:24, 12:28, 20:26] = 3
    classes[10:30, 4:20, 3:12] = 5
    return classes


def test_regions_agree_with_themselves_and_not_with_a_head_upside_down() -> None:
    truth = head()
    _, balls = add_balls(np.ones(truth.shape, np.float16), truth, seed=0)
    assert all(agreeing_regions(truth, truth.astype(int), balls))
    turned = agreeing_regions(truth, truth[:, :, ::-1].astype(int), balls)
    assert len(turned) == balls.max()
    assert np.mean(turned) < 0.7


def test_balls_are_bright_apart_and_in_tissue() -> None:
    truth = head()
    plain = np.full(truth.shape, 0.7, np.float16)
    image, balls = add_balls(plain, truth, seed=0)
    assert ndimage.label(balls > 0)[1] == balls.max() > 10
    assert np.isin(truth[balls > 0], (1, 2, 5, 6)).all()
    assert image[balls > 0].min() > 0.75
    far = ndimage.distance_transform_edt(balls == 0) > 3
    assert (image[far] == plain[far]).all()


def by_brightness(batch: NDArray[np.float32], *, training: bool) -> NDArray[np.float32]:
    """A network that takes tenths of the brightness for classes, so lesions for cerebellum."""
    return np.asarray(np.rint(10 * batch) == np.arange(len(CLASSES)), np.float32)


def test_scores_have_intervals_over_heads_from_six_of_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(6):
        noise = rng.normal(0, 0.02 * (1 + index), (40, 40, 40)) * (head() > 0)
        write_example(tmp_path, index, ((head() / 10 + noise).astype(np.float16), head()))
    model, paths = cast("keras.Model", by_brightness), sorted(tmp_path.iterdir())
    scores = score_classes(model, paths)
    for name in ("brain", "cortex", "white-and-deep-grey", "ventricles", "cerebellum"):
        low, high = scores["mean_dice_95"][name]
        assert low < scores["mean_dice"][name] < high
    regions = scores["regions"]
    assert regions["accuracy_95"][0] < regions["accuracy"] < regions["accuracy_95"][1]
    one = score_classes(model, paths[:1])
    assert set(one["mean_dice_95"].values()) == {one["regions"]["accuracy_95"]} == {None}

"""What a network scores on synthetic heads that its training never saw."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.confidence import confidence
from bids_flairseg.measure.lesions import label_lesions
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.synthesis.labels import CLASSES

LOGGER = logging.getLogger(__name__)

THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))
_BINS = 10
# Below this probability lies nearly all of the brain, and is right; it says nothing.
_CALIBRATED_FROM = 0.05
_DRAWS = 2000
_MIN_LESION_ML = 0.01


def probabilities(model: keras.Model, image: NDArray[np.float16]) -> NDArray[np.float32]:
    """Predict one example, padded to what the network takes.

    Parameters
    ----------
    model : keras.Model
        The network.
    image : ndarray of float16, shape (X, Y, Z)
        Example of a pool.

    Returns
    -------
    probability : ndarray of float32, shape (X, Y, Z, C)
        Of each output channel.
    """
    margin = [(0, -edge % 32) for edge in image.shape]
    padded = np.pad(np.asarray(image, np.float32), margin)[None, ..., None]
    answer = keras.ops.convert_to_numpy(model(padded, training=False))[0]
    return np.asarray(answer[tuple(slice(0, edge) for edge in image.shape)], np.float32)


def score_classes(model: keras.Model, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the mean Dice of each class, and of the brain as a whole.

    Parameters
    ----------
    model : keras.Model
        The anatomy network.
    paths : sequence of Path
        Examples.

    Returns
    -------
    scores : dict
        Dice by class name.
    """
    rows = []
    for path in paths:
        image, target = read_example(path)
        found = probabilities(model, image).argmax(-1)
        pairs = [(found == index, target == index) for index in range(1, len(CLASSES))]
        rows.append([_dice(found > 0, target > 0), *(_dice(a, b) for a, b in pairs)])
    names = ("brain", *CLASSES[1:])
    means: list[float] = np.nanmean(rows, axis=0).round(3).tolist()
    return {
        "examples": len(rows),
        "mean_dice": dict(zip(names, means, strict=True)),
    }


@dataclass
class Reliability:
    """How often voxels of each probability are lesion.

    Attributes
    ----------
    voxels, summed, lesion : ndarray of float, shape (10,)
        Voxels, sum of their probabilities and lesion voxels in tenths of the
        probability, from 0.05 on.
    """

    voxels: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_BINS))
    summed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_BINS))
    lesion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_BINS))

    def add(self, probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Count the voxels of one example."""
        chosen = probability >= _CALIBRATED_FROM
        values = probability[chosen].astype(np.float64)
        place = np.minimum((values * _BINS).astype(int), _BINS - 1)
        self.voxels += np.bincount(place, minlength=_BINS)
        self.summed += np.bincount(place, values, minlength=_BINS)
        self.lesion += np.bincount(place, truth[chosen], minlength=_BINS)

    def summary(self) -> dict[str, Any]:
        """Return the curve and the expected calibration error.

        Returns
        -------
        summary : dict
            Mean probability and share of lesion in each tenth that occurs; the
            error is the mean distance of both, weighted by voxels (Guo et al.
            2017, arXiv:1706.04599), over voxels of probability 0.05 and more.
        """
        there = self.voxels > 0
        mean = self.summed[there] / self.voxels[there]
        share = self.lesion[there] / self.voxels[there]
        error = float(np.average(np.abs(mean - share), weights=self.voxels[there]))
        return {
            "mean_probability": mean.round(3).tolist(),
            "share_of_lesion": share.round(3).tolist(),
            "expected_calibration_error": round(error, 4),
        }


def score_lesions(model: keras.Model, paths: Sequence[Path]) -> dict[str, Any]:
    """Score the lesion network: threshold, Dice, false volume, calibration, confidence.

    Parameters
    ----------
    model : keras.Model
        The lesion network.
    paths : sequence of Path
        Examples with and without lesions.

    Returns
    -------
    scores : dict
        The threshold, see :func:`choose_threshold`; Dice over examples with lesion,
        its mean with a bootstrap interval of 95 %; false volume in ml without lesion;
        the reliability curve; the area under the ROC curve with which the confidence
        of a lesion tells true from false ones at that threshold.
    """
    dices, false, reliability = [], [], Reliability()
    for probability, truth in _predictions(model, paths):
        reliability.add(probability, truth)
        if truth.any():
            dices.append([_dice(probability > level, truth) for level in THRESHOLDS])
        else:
            false.append([np.count_nonzero(probability > level) / 1000 for level in THRESHOLDS])
    table = np.array(dices)
    best = choose_threshold(table.mean(0))
    chosen = table[:, best]
    return {
        "examples_with_lesion": len(dices),
        "examples_without_lesion": len(false),
        "threshold": THRESHOLDS[best],
        "mean_dice": round(float(chosen.mean()), 3),
        "mean_dice_95": bootstrap_interval(chosen),
        "median_dice": round(float(np.median(chosen)), 3),
        "false_ml": _spread(np.array(false)[:, best]) if false else None,
        "mean_dice_by_threshold": dict(
            zip(map(str, THRESHOLDS), table.mean(0).round(3).tolist(), strict=True)
        ),
        "reliability": reliability.summary(),
        "lesions": score_confidence(_predictions(model, paths), THRESHOLDS[best]),
    }


def voxels_of_brains(
    model: keras.Model, paths: Sequence[Path]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield what a lesion network says of the voxels of each brain, and the truth.

    Parameters
    ----------
    model : keras.Model
        The lesion network.
    paths : sequence of Path
        Examples.

    Yields
    ------
    probability : ndarray of float32, shape (V,)
        Of the voxels within the brain.
    truth : ndarray of bool, shape (V,)
        Whether they are lesion.
    """
    for path in paths:
        image, target = read_example(path)
        inside = np.asarray(image) != 0
        yield probabilities(model, image)[..., 0][inside], np.asarray(target)[inside] > 0


def _predictions(
    model: keras.Model, paths: Sequence[Path]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield probability, zero outside the brain, and truth of each example."""
    for path in paths:
        image, target = read_example(path)
        found = probabilities(model, image)[..., 0]
        found[np.asarray(image) == 0] = 0
        yield found, np.asarray(target) > 0


def score_confidence(
    examples: Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]], threshold: float
) -> dict[str, Any]:
    """Score how well the confidence of a lesion tells true from false ones.

    Parameters
    ----------
    examples : iterator of tuple of ndarray, shape (X, Y, Z)
        Probability and truth at 1 mm.
    threshold : float
        Probability from which a voxel counts.

    Returns
    -------
    scores : dict
        Lesions found that touch the truth and that do not, and the area under the
        ROC curve of their confidence.
    """
    values: list[NDArray[np.float64]] = []
    true: list[NDArray[np.bool_]] = []
    for probability, truth in examples:
        labels = label_lesions(probability > threshold, voxel_ml=1e-3, min_ml=_MIN_LESION_ML)
        values.append(confidence(labels, probability))
        touched = np.bincount(labels[truth], minlength=int(labels.max()) + 1)[1:]
        true.append(touched > 0)
    score, positive = np.concatenate(values), np.concatenate(true)
    return {
        "true": int(positive.sum()),
        "false": int((~positive).sum()),
        "area_under_curve": _area_under_curve(score[positive], score[~positive]),
    }


def _area_under_curve(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float | None:
    """Share of pairs in which the first is larger, ties counting half."""
    if not positive.size or not negative.size:
        return None
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    up_to = np.searchsorted(ordered, positive, "right")
    return round(float((below + up_to).mean() / (2 * negative.size)), 3)


def choose_threshold(means: NDArray[np.float64]) -> int:
    """Choose a threshold by its mean Dice.

    The curve is flat over most of its range, where its highest point is chance; so of
    all that come within 0.01 of it, the one nearest to 0.5 is taken.

    Parameters
    ----------
    means : ndarray of float, shape (T,)
        Mean Dice at each of :data:`THRESHOLDS`.

    Returns
    -------
    index : int
        Into :data:`THRESHOLDS`.
    """
    close = np.flatnonzero(means >= means.max() - 0.01)
    return int(min(close, key=lambda index: abs(THRESHOLDS[index] - 0.5)))


def bootstrap_interval(values: NDArray[np.float64], *, seed: int = 0) -> list[float]:
    """Return the 95 % interval of a mean by resampling its cases.

    Parameters
    ----------
    values : ndarray of float, shape (N,)
        One value per case.
    seed : int
        Seed of the draws.

    Returns
    -------
    interval : list of float
        2.5th and 97.5th centile of the resampled means.
    """
    drawn = np.random.default_rng(seed).choice(values, (_DRAWS, len(values))).mean(1)
    interval: list[float] = np.percentile(drawn, [2.5, 97.5]).round(3).tolist()
    return interval


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 3),
        "centile_95": round(float(np.percentile(values, 95)), 3),
        "largest": round(float(values.max()), 3),
    }


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else float("nan")

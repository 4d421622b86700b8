"""What a lesion network scores on synthetic heads that its training never saw."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.confidence import confidence
from bids_flairseg.measure.lesions import label_lesions
from bids_flairseg.measure.outline import cut, fill_hollow
from bids_flairseg.model.settings import BundleConfig
from bids_flairseg.train.calibration import (
    calibration_error,
    count_tenths,
    reliability_curve,
    rescale,
)
from bids_flairseg.train.intervals import estimate
from bids_flairseg.train.pool import read_example

LOGGER = logging.getLogger(__name__)

THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))


def probabilities(model: keras.Model, image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Predict one example, padded to what the network takes.

    Parameters
    ----------
    model : keras.Model
        The network.
    image : ndarray of float, shape (X, Y, Z)
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


@dataclass(frozen=True)
class Answer:
    """What a lesion network says of one example and of its mirror image.

    Attributes
    ----------
    passes : tuple of ndarray of float32, shape (X, Y, Z)
        Probabilities, all turned back to the example; 0 exactly outside the brain, and
        nowhere else.
    truth : ndarray of bool, shape (X, Y, Z)
        Lesion.
    """

    passes: tuple[NDArray[np.float32], ...]
    truth: NDArray[np.bool_]

    @property
    def probability(self) -> NDArray[np.float32]:
        """Mean of the passes, as the main job has it."""
        return np.asarray(np.mean(self.passes, axis=0))

    @property
    def of_brain(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Probability in every pass, and truth, of the voxels within the brain: shape (V,)."""
        inside = self.passes[0] > 0
        values = np.concatenate([probability[inside] for probability in self.passes])
        return values, np.tile(self.truth[inside], len(self.passes))

    def scaled(self, slope: float, offset: float) -> Answer:
        """Return the answer with its logits scaled and shifted."""
        inside = self.passes[0] > 0
        passes = tuple(np.zeros_like(one) for one in self.passes)
        for old, new in zip(self.passes, passes, strict=True):
            new[inside] = rescale(old[inside], slope, offset)
        return Answer(passes, self.truth)


def ask(model: keras.Model, paths: Sequence[Path]) -> list[Answer]:
    """Let a lesion network predict examples and their mirror images, 40 MB each in memory.

    Parameters
    ----------
    model : keras.Model
        The network.
    paths : sequence of Path
        Examples.

    Returns
    -------
    answers : list of Answer
        In the order of the paths.
    """
    answers = []
    for path in paths:
        image, target = read_example(path)
        plain = probabilities(model, image)[..., 0]
        mirrored = probabilities(model, image[::-1])[::-1, ..., 0]
        outside = np.asarray(image) == 0
        least = np.finfo(np.float32).tiny
        passes = tuple(np.where(outside, 0, np.maximum(one, least)) for one in (plain, mirrored))
        answers.append(Answer(passes, np.asarray(target) > 0))
    return answers


def score_lesions(answers: Sequence[Answer], config: BundleConfig) -> dict[str, Any]:
    """Score a lesion network: threshold, Dice, false volume, calibration, confidence.

    Parameters
    ----------
    answers : sequence of Answer
        To examples with and without lesions.
    config : BundleConfig
        How a probability is cut, but for the threshold.

    Returns
    -------
    scores : dict
        The threshold, see :func:`choose_threshold`, and the mean Dice of plain masks by which
        it is chosen; then, of masks as the main job makes them, Dice over examples with lesion;
        false volume in ml without lesion; the reliability curve; the area under the ROC curve
        with which the confidence of a lesion tells true from false ones at that threshold.
        ``NAME_95`` is the interval of NAME, see
        :func:`~bids_flairseg.train.intervals.bootstrap_interval`.
    """
    dices, counts = [], []
    ill, healthy = list[Answer](), list[Answer]()
    for answer in answers:
        probability, truth = answer.probability, answer.truth
        counts.append(count_tenths(probability, truth))
        if truth.any():
            ill.append(answer)
            dices.append([overlap(probability > level, truth) for level in THRESHOLDS])
        else:
            healthy.append(answer)
    table = np.array(dices)
    best = choose_threshold(table.mean(0))
    used = replace(config, inference=replace(config.inference, threshold=THRESHOLDS[best]))
    chosen = [overlap(lesion_mask(a.probability, used), a.truth) for a in ill]
    false = [float(lesion_mask(a.probability, used).sum() / 1000) for a in healthy]
    return {
        "examples_with_lesion": len(dices),
        "examples_without_lesion": len(healthy),
        "threshold": THRESHOLDS[best],
        **estimate("mean_dice", chosen, np.mean),
        **estimate("median_dice", chosen, np.median),
        "false_ml": _spread(false) if healthy else None,
        "mean_dice_by_threshold": dict(
            zip(map(str, THRESHOLDS), table.mean(0).round(3).tolist(), strict=True)
        ),
        "reliability": reliability_curve(counts)
        | estimate("expected_calibration_error", counts, calibration_error, digits=4),
        "lesions": score_confidence(answers, used),
    }


def lesion_mask(
    probability: NDArray[np.float32], config: BundleConfig, *, min_lesion_ml: float = 0.01
) -> NDArray[np.bool_]:
    """Cut a prediction as the main job does.

    Parameters
    ----------
    probability : ndarray of float32, shape (X, Y, Z)
        Of lesion, on the grid of the bundle.
    config : BundleConfig
        Thresholds and voxel size.
    min_lesion_ml : float
        Smaller lesions are left out.

    Returns
    -------
    mask : ndarray of bool, shape (X, Y, Z)
        Lesion.
    """
    inference = config.inference
    voxel_ml = config.preprocessing.voxel_size_mm**3 / 1000
    mask = cut(
        probability,
        inference.threshold,
        voxel_ml=voxel_ml,
        large_ml=inference.large_ml,
        large_threshold=inference.large_threshold,
    )
    mask = fill_hollow(mask, probability, (config.preprocessing.voxel_size_mm,) * 3)
    return label_lesions(mask, voxel_ml=voxel_ml, min_ml=min_lesion_ml) > 0


def score_confidence(answers: Sequence[Answer], config: BundleConfig) -> dict[str, Any]:
    """Score how well the confidence of a lesion tells true from false ones.

    Parameters
    ----------
    answers : sequence of Answer
        At 1 mm.
    config : BundleConfig
        How a probability is cut.

    Returns
    -------
    scores : dict
        Lesions found that touch the truth and that do not, and the area under the
        ROC curve of their confidence.
    """
    heads = []
    for answer in answers:
        probability, truth = answer.probability, answer.truth
        labels = label_lesions(lesion_mask(probability, config), voxel_ml=1e-3, min_ml=0)
        touched = np.bincount(labels[truth], minlength=int(labels.max()) + 1)[1:]
        heads.append((confidence(labels, probability), touched > 0))
    true = np.concatenate([touched for _, touched in heads])
    return {
        "true": int(true.sum()),
        "false": int((~true).sum()),
        **estimate("area_under_curve", heads, area_over_heads),
    }


def area_over_heads(
    heads: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]],
) -> float | None:
    """Return the area under the ROC curve of the lesions of several heads.

    Parameters
    ----------
    heads : sequence of tuple of ndarray, shape (L,)
        A value for each lesion of a head, and whether the lesion is a true one.

    Returns
    -------
    area : float or None
        See :func:`area_under_curve`.
    """
    values, true = (np.concatenate(parts) for parts in zip(*heads, strict=True))
    return area_under_curve(values[true], values[~true])


def area_under_curve(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float | None:
    """Return the share of pairs in which the first is larger, ties counting half.

    Parameters
    ----------
    positive, negative : ndarray of float, shape (N,) and (M,)
        Values of what should have the larger ones, and of the rest.

    Returns
    -------
    area : float or None
        Under the ROC curve; None where one of them has no value.
    """
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


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        **estimate("median", values, np.median),
        **estimate("centile_95", values, lambda drawn: np.percentile(drawn, 95)),
        "largest": round(max(values), 3),
    }


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the Dice of two masks, NaN where both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else float("nan")

"""Probabilities that mean what they say: Platt's scaling in the last layer, and its check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.model.unet import END

_LIMIT = 14.0
_EDGES = np.linspace(-_LIMIT, _LIMIT, 281)
_ROUNDS = 50
_SAFE = 1e-7
_BINS = 10
# Below this probability lies nearly all of the brain, and is right; it says nothing.
_CALIBRATED_FROM = 0.05


def fit_scaling(
    examples: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]],
) -> tuple[float, float]:
    """Fit slope and offset of the logit to how often voxels are lesion.

    Parameters
    ----------
    examples : iterable of tuple of ndarray
        Probability and truth of the voxels of one example, of the same shape.

    Returns
    -------
    slope, offset : float
        The calibrated probability is ``sigmoid(slope * logit + offset)`` (Platt 1999);
        the likelihood is maximised by Newton's method over voxels counted by logit.
    """
    total, lesion = np.zeros(len(_EDGES) + 1), np.zeros(len(_EDGES) + 1)
    for probability, truth in examples:
        safe = np.clip(probability.astype(np.float64), _SAFE, 1 - _SAFE)
        place = np.digitize(np.log(safe / (1 - safe)), _EDGES).ravel()
        total += np.bincount(place, minlength=len(total))
        lesion += np.bincount(place, truth.ravel(), minlength=len(total))
    step = _EDGES[1] - _EDGES[0]
    logit = np.concatenate([[-_LIMIT], _EDGES]) + step / 2
    return _newton(logit, lesion, total)


def _newton(
    logit: NDArray[np.float64], lesion: NDArray[np.float64], total: NDArray[np.float64]
) -> tuple[float, float]:
    """Maximise the likelihood of counted voxels; a tiny prior keeps the slope finite."""
    design = np.stack([logit, np.ones_like(logit)], axis=1)  # (B, 2)
    weights = np.array([0.5, -1.0])
    for _ in range(_ROUNDS):
        share = 1 / (1 + np.exp(-(design @ weights)))
        gradient = design.T @ (lesion - total * share)
        curvature = (design * (total * share * (1 - share))[:, None]).T @ design
        change = np.linalg.solve(curvature + 1e-3 * np.eye(2), gradient)
        weights = weights + np.clip(change, -0.5, 0.5)
        if np.abs(change).max() < 1e-6:
            break
    return max(float(weights[0]), 0.05), float(weights[1])


def rescale(probability: NDArray[np.float32], slope: float, offset: float) -> NDArray[np.float32]:
    """Scale and shift the logit of probabilities.

    Parameters
    ----------
    probability : ndarray of float32
        Any shape.
    slope, offset : float
        See :func:`fit_scaling`.

    Returns
    -------
    calibrated : ndarray of float32
        Of the same shape.
    """
    safe = np.clip(probability.astype(np.float64), _SAFE, 1 - _SAFE)
    logit = slope * np.log(safe / (1 - safe)) + offset
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


def fold(model: keras.Model, slope: float, offset: float) -> None:
    """Put a scaling of the logit into a network whose last layer is a sigmoid.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    slope, offset : float
        See :func:`fit_scaling`.
    """
    gain, shift = np.float32(slope), np.float32(offset)
    for layer in model.layers:
        if layer.name.endswith(END):  # of two networks, whose mean it is, both
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * gain, bias * gain + shift])


def count_tenths(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count the voxels of one example by their probability.

    Parameters
    ----------
    probability : ndarray of float32
        Any shape.
    truth : ndarray of bool
        Lesion, of the same shape.

    Returns
    -------
    counts : ndarray of float, shape (3, 10)
        Voxels, sum of their probabilities and lesion voxels in tenths of the
        probability, from 0.05 on.
    """
    chosen = probability >= _CALIBRATED_FROM
    values = probability[chosen].astype(np.float64)
    place = np.minimum((values * _BINS).astype(int), _BINS - 1)
    weights = (None, values, truth[chosen])
    return np.stack([np.bincount(place, each, minlength=_BINS) for each in weights])


def reliability_curve(counts: Sequence[NDArray[np.float64]]) -> dict[str, list[float]]:
    """Return how often voxels of each probability are lesion.

    Parameters
    ----------
    counts : sequence of ndarray of float, shape (3, 10)
        Of each example, see :func:`count_tenths`.

    Returns
    -------
    curve : dict
        Mean probability and share of lesion in each tenth that occurs.
    """
    voxels, summed, lesion = np.sum(counts, axis=0)
    there = voxels > 0
    return {
        "mean_probability": (summed[there] / voxels[there]).round(3).tolist(),
        "share_of_lesion": (lesion[there] / voxels[there]).round(3).tolist(),
    }


def calibration_error(counts: Sequence[NDArray[np.float64]]) -> float | None:
    """Return the expected calibration error (Guo et al. 2017, arXiv:1706.04599).

    Parameters
    ----------
    counts : sequence of ndarray of float, shape (3, 10)
        Of each example, see :func:`count_tenths`.

    Returns
    -------
    error : float or None
        Distance of mean probability and share of lesion, averaged over voxels of
        probability 0.05 and more; None where there are none.
    """
    voxels, summed, lesion = np.sum(counts, axis=0)
    return float(np.abs(summed - lesion).sum() / voxels.sum()) if voxels.any() else None

"""Probabilities that mean what they say: Platt's scaling, folded into the last convolution."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from numpy.typing import NDArray

_LIMIT = 14.0
_EDGES = np.linspace(-_LIMIT, _LIMIT, 281)
_ROUNDS = 50
_OUTPUT = "head_out_conv"


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
        safe = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
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


def fold(model: keras.Model, slope: float, offset: float) -> None:
    """Put a scaling of the logit into a network whose last layer is a sigmoid.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    slope, offset : float
        See :func:`fit_scaling`.
    """
    layer = model.get_layer(_OUTPUT)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * np.float32(slope), bias * np.float32(slope) + np.float32(offset)])

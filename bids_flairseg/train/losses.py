"""Losses, always in float32 (bfloat16 rounds probabilities near 1 to 1)."""

from __future__ import annotations

from typing import Any

from keras import ops

_TINY = 1e-6


def soft_dice(truth: Any, probability: Any, *, smooth: float = 100.0) -> Any:
    """Return one minus the soft Dice coefficient of each class, averaged.

    Parameters
    ----------
    truth, probability : tensor, shape (N, X, Y, Z, C)
        One-hot or binary target, and probability.
    smooth : float
        Voxels added above and below, so that an example without foreground has
        a gradient against false foreground and no division by zero.

    Returns
    -------
    loss : tensor, scalar
        Between 0 and 1.
    """
    axes = (0, 1, 2, 3)
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    shared = ops.sum(truth * probability, axes)
    total = ops.sum(truth, axes) + ops.sum(probability, axes)
    return 1.0 - ops.mean((2.0 * shared + smooth) / (total + smooth))


def binary_loss(truth: Any, probability: Any) -> Any:
    """Return binary cross-entropy plus soft Dice.

    Parameters
    ----------
    truth : tensor, shape (N, X, Y, Z, 1)
        0 or 1.
    probability : tensor, shape (N, X, Y, Z, 1)
        Output of a sigmoid.

    Returns
    -------
    loss : tensor, scalar
        Mean over voxels of the first, plus the second.
    """
    truth = ops.cast(truth, "float32")
    safe = ops.clip(ops.cast(probability, "float32"), _TINY, 1.0 - _TINY)
    entropy = -ops.mean(truth * ops.log(safe) + (1.0 - truth) * ops.log(1.0 - safe))
    return entropy + soft_dice(truth, safe)


def class_loss(truth: Any, probability: Any) -> Any:
    """Return categorical cross-entropy plus the soft Dice of the foreground classes.

    Parameters
    ----------
    truth : tensor of int, shape (N, X, Y, Z, 1)
        Class of each voxel.
    probability : tensor, shape (N, X, Y, Z, C)
        Output of a softmax.

    Returns
    -------
    loss : tensor, scalar
        Mean over voxels of the first, plus the second.
    """
    safe = ops.clip(ops.cast(probability, "float32"), _TINY, 1.0)
    target = ops.one_hot(ops.squeeze(ops.cast(truth, "int32"), -1), safe.shape[-1])
    entropy = -ops.mean(ops.sum(target * ops.log(safe), -1))
    return entropy + soft_dice(target[..., 1:], safe[..., 1:])

"""Losses, always in float32 (bfloat16 rounds probabilities near 1 to 1)."""

from __future__ import annotations

from typing import Any

from keras import ops

_TINY = 1e-6
# Where half of 20 to 35 ml of lesion is known, slopes of entropy and overlap are alike at 0.5.
_ENTROPY_VOXELS = 90_000


def soft_dice(
    truth: Any, probability: Any, *, smooth: float = 100.0, miss_weight: float = 1.0
) -> Any:
    """Return one minus the soft Dice coefficient of each class, averaged.

    Parameters
    ----------
    truth, probability : tensor, shape (N, X, Y, Z, C)
        One-hot or binary target, and probability.
    smooth : float
        Voxels added above and below, so that an example without foreground has
        a gradient against false foreground and no division by zero.
    miss_weight : float
        Weight of a missed voxel, 0 to 2; that of a false one is 2 minus it. 1 is
        Dice, all else the Tversky index.

    Returns
    -------
    loss : tensor, scalar
        Between 0 and 1.
    """
    axes = (0, 1, 2, 3)
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    shared = ops.sum(truth * probability, axes)
    missed = miss_weight * (ops.sum(truth, axes) - shared)
    false = (2.0 - miss_weight) * (ops.sum(probability, axes) - shared)
    return 1.0 - ops.mean((2.0 * shared + smooth) / (2.0 * shared + missed + false + smooth))


def binary_entropy(truth: Any, probability: Any) -> Any:
    """Return the binary cross-entropy, as the paper has it.

    Parameters
    ----------
    truth : tensor, shape (N, X, Y, Z, 1)
        0 or 1.
    probability : tensor, shape (N, X, Y, Z, 1)
        Output of a sigmoid.

    Returns
    -------
    loss : tensor, scalar
        Mean over voxels.
    """
    return ops.mean(_voxel_entropy(truth, probability))


def _voxel_entropy(truth: Any, probability: Any) -> Any:
    truth = ops.cast(truth, "float32")
    safe = ops.clip(ops.cast(probability, "float32"), _TINY, 1.0 - _TINY)
    return -(truth * ops.log(safe) + (1.0 - truth) * ops.log(1.0 - safe))


def binary_loss(truth: Any, probability: Any) -> Any:
    """Return binary cross-entropy plus a Tversky loss that minds missed lesion more.

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
    return binary_entropy(truth, probability) + soft_dice(truth, probability, miss_weight=1.4)


def careful_loss(truth: Any, probability: Any) -> Any:
    """Return :func:`binary_loss` with ten times the entropy, and missed lesion minded less.

    A loss of overlap alone drives probabilities to 0 and 1 and is content with false
    lesions where there are none; entropy minds both.

    Parameters
    ----------
    truth, probability : tensor, shape (N, X, Y, Z, 1)
        As for :func:`binary_loss`.

    Returns
    -------
    loss : tensor, scalar
        Ten times the mean over voxels of the entropy, plus the Tversky loss.
    """
    entropy = binary_entropy(truth, probability)
    return 10.0 * entropy + soft_dice(truth, probability, miss_weight=1.2)


def lesion_loss(truth: Any, probability: Any) -> Any:
    """Return the loss of the bundled lesion networks, which learn whole brains one by one.

    In a brain, overlap alone minds a voxel the less the more lesion there is, and most of all
    the last drops of a healthy one; :func:`careful_loss` with its entropy averaged over all
    voxels leaves that as it is (its slope at missed lesion was a fortieth of that at the last
    false 0.1 ml of a healthy brain, in the median of ten). Here a voxel's entropy counts the
    same in a crop of any size and in a head with lesions of any size, and overlap begins to
    count at 1 ml.

    Parameters
    ----------
    truth, probability : tensor, shape (N, X, Y, Z, 1)
        As for :func:`binary_loss`; voxels of 1 mm.

    Returns
    -------
    loss : tensor, scalar
        Mean over examples of the entropy that their voxels have together, per 90,000 of them,
        plus the Tversky loss.
    """
    entropy = ops.mean(ops.sum(_voxel_entropy(truth, probability), (1, 2, 3, 4)))
    overlap = soft_dice(truth, probability, miss_weight=1.2, smooth=1000.0)
    return entropy / _ENTROPY_VOXELS + overlap


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

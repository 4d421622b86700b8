"""One mask out of those that several raters have drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.measure.arrays import bounding_box

#: Ways to combine the masks of several raters.
RULES = ("majority", "union", "first", "staple")
_MARGIN = 5  # voxels around all masks that STAPLE looks at
_MOST_RATERS = 64  # bits of the number that a voxel's decisions become
_ROUNDS = 100
_SETTLED = 1e-6
_LIMITS = (1e-4, 1 - 1e-4)


def combine(masks: Sequence[NDArray[np.bool_]], rule: str) -> NDArray[np.bool_]:
    """Combine the masks of several raters.

    Parameters
    ----------
    masks : sequence of ndarray of bool, shape (X, Y, Z)
        One per rater, in their order; at least one.
    rule : str
        ``majority``: more than half of the raters, or half of an even number;
        ``union``: any of them; ``first``: the first one; ``staple``: see `staple`.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        The mask to learn from.

    Raises
    ------
    ValueError
        There is no such rule.
    InputError
        There are more masks than `staple` takes.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; known are {', '.join(RULES)}")
    if rule == "first" or len(masks) == 1:
        return masks[0]
    if rule == "union":
        return _union(masks)
    if rule == "staple":
        return staple(masks)[0]
    votes = np.sum(masks, axis=0, dtype=np.int16)
    return np.asarray(2 * votes >= len(masks))


def _union(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.reduce(masks))


def staple(
    masks: Sequence[NDArray[np.bool_]],
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Estimate truth and raters' performance together (Warfield et al. 2004).

    Voxels beyond a margin of 5 around all masks have no part in it. As raters' decisions
    are all that counts, the voxels with the same decisions are treated as one.

    Parameters
    ----------
    masks : sequence of ndarray of bool, shape (X, Y, Z)
        One per rater, at most 64.

    Returns
    -------
    truth : ndarray of bool, shape (X, Y, Z)
        Where lesion is at least as probable as not.
    performance : ndarray of float, shape (R, 2)
        Sensitivity and specificity of each rater within the margin.

    Raises
    ------
    InputError
        There are more raters.
    """
    if len(masks) > _MOST_RATERS:
        raise InputError(
            f"--raters staple: expected at most {_MOST_RATERS} masks of one scan, found "
            f"{len(masks)}. Take --raters majority, or leave some masks out."
        )
    box = bounding_box(_union(masks), margin=(_MARGIN,) * 3)
    if box is None:
        return masks[0], np.ones((len(masks), 2))
    bits = np.arange(len(masks), dtype=np.uint64)
    pattern = np.zeros(masks[0][box].shape, np.uint64)
    for bit, mask in zip(bits, masks, strict=True):
        pattern |= mask[box].astype(np.uint64) << bit
    kinds, place, counts = np.unique(pattern, return_inverse=True, return_counts=True)
    decisions = (kinds[:, None] >> bits) & np.uint64(1) > 0  # (K, R)
    probability, performance = _maximise(decisions, counts)
    truth = np.zeros_like(masks[0])
    truth[box] = (probability >= 0.5)[place].reshape(truth[box].shape)
    return truth, performance


def _maximise(
    decisions: NDArray[np.bool_], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Alternate between truth, shape (K,), and performance, shape (R, 2), until they settle."""
    raters = decisions.shape[1]
    prior = float((decisions.mean(axis=1) * counts).sum() / counts.sum())
    prior = float(np.clip(prior, *_LIMITS))
    performance = np.full((raters, 2), 0.99)
    probability = np.zeros(len(counts))
    for _ in range(_ROUNDS):
        sensitivity, specificity = np.clip(performance, *_LIMITS).T
        lesion = np.where(decisions, sensitivity, 1 - sensitivity).prod(axis=1) * prior
        none = np.where(decisions, 1 - specificity, specificity).prod(axis=1) * (1 - prior)
        before, probability = probability, lesion / (lesion + none)
        inside, outside = probability * counts, (1 - probability) * counts
        performance = np.stack(
            [
                inside @ decisions / max(inside.sum(), 1e-12),
                outside @ ~decisions / max(outside.sum(), 1e-12),
            ],
            axis=1,
        )
        if np.abs(probability - before).max() < _SETTLED:
            break
    return probability, performance

"""How far to believe that a lesion which was found is one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.arrays import FloatArray, LabelArray, bounding_box


def confidence(labels: LabelArray, probability: FloatArray) -> NDArray[np.float64]:
    """Give every lesion a number that orders true from false ones.

    It is the mean of two: the 90th centile of the probability inside, since a lesion that
    the network is sure of has a sure middle however faint its border; and the fall of the
    mean probability from inside to the voxels around, since what the network is unsure of
    has a blurred outline. It is an order, not the probability of being a true lesion.

    Parameters
    ----------
    labels : ndarray of int, shape (X, Y, Z)
        Lesions numbered from 1 without gaps.
    probability : ndarray of float, shape (X, Y, Z)
        Lesion probability on the same grid.

    Returns
    -------
    ndarray of float64, shape (n_lesions,)
        Between 0 and 1; item 0 is that of lesion 1.
    """
    count = int(labels.max(initial=0))
    box = bounding_box(labels > 0, margin=(1, 1, 1))
    if box is None:
        return np.zeros(0)
    numbers, values = labels[box], np.asarray(probability[box], np.float64)
    grown = ndimage.grey_dilation(numbers, size=(3, 3, 3))
    grown[numbers > 0] = 0
    around, inside = _mean(values, grown, count), _mean(values, numbers, count)
    middle = _upper(values[numbers > 0], numbers[numbers > 0], count)
    return np.asarray(np.clip((middle + np.clip(inside - around, 0, 1)) / 2, 0, 1))


def _mean(values: FloatArray, numbers: LabelArray, count: int) -> NDArray[np.float64]:
    """Return the mean of the values of each number from 1 to `count`, 0 where it has none."""
    flat = np.asarray(numbers).ravel()
    size = np.bincount(flat, minlength=count + 1)[1:]
    summed = np.bincount(flat, values.ravel(), minlength=count + 1)[1:]
    return np.asarray(summed / np.maximum(size, 1), np.float64)


def _upper(values: FloatArray, numbers: LabelArray, count: int) -> NDArray[np.float64]:
    """Return the 90th centile of the values of each number from 1 to `count`."""
    order = np.lexsort((values, numbers))
    size = np.bincount(numbers, minlength=count + 1)[1:]
    last = np.cumsum(size) - 1
    return np.asarray(values[order][last - (size - 1) // 10], np.float64)

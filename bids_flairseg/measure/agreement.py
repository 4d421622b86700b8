"""How well two masks of the same scan agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_flairseg.measure.arrays import BoolArray


@dataclass(frozen=True)
class Agreement:
    """Agreement of a prediction with a reference.

    Attributes
    ----------
    dice : float
        Overlap, 0 to 1.
    predicted_ml, reference_ml : float
        Volumes in ml.
    """

    dice: float
    predicted_ml: float
    reference_ml: float

    @property
    def difference_ml(self) -> float:
        """Predicted minus reference volume.

        Returns
        -------
        float
            In ml.
        """
        return self.predicted_ml - self.reference_ml


def dice(first: BoolArray, second: BoolArray) -> float:
    """Return the Dice coefficient of two masks.

    ``2 |A and B| / (|A| + |B|)`` (Dice 1945, Ecology 26:297); two empty masks agree fully
    and give 1, one empty mask gives 0.

    Parameters
    ----------
    first, second : ndarray of bool, same shape
        Masks on the same grid; their order does not matter.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    ValueError
        The shapes differ.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    if first.shape != second.shape:
        raise ValueError(f"masks on one grid expected, got shapes {first.shape}, {second.shape}")
    total = int(np.count_nonzero(first) + np.count_nonzero(second))
    return 2.0 * int(np.count_nonzero(first & second)) / total if total else 1.0


def agreement(predicted: BoolArray, reference: BoolArray, *, voxel_ml: float) -> Agreement:
    """Compare a predicted mask with a reference.

    Parameters
    ----------
    predicted, reference : ndarray of bool, same shape
        Masks on the same grid.
    voxel_ml : float
        Volume of one voxel in ml.

    Returns
    -------
    Agreement
        Dice and both volumes.
    """
    return Agreement(
        dice=dice(predicted, reference),
        predicted_ml=float(np.count_nonzero(predicted) * voxel_ml),
        reference_ml=float(np.count_nonzero(reference) * voxel_ml),
    )

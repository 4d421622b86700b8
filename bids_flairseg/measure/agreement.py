"""How well two masks of the same scan agree, voxel by voxel."""

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
    jaccard : float
        Intersection over union, 0 to 1.
    sensitivity, precision : float or None
        Share of the reference that is predicted, and of the prediction that is reference;
        None where there is nothing to take a share of.
    """

    dice: float
    predicted_ml: float
    reference_ml: float
    jaccard: float = 0.0
    sensitivity: float | None = None
    precision: float | None = None

    @property
    def difference_ml(self) -> float:
        """Predicted minus reference volume.

        Returns
        -------
        float
            In ml.
        """
        return self.predicted_ml - self.reference_ml

    @property
    def difference_percent(self) -> float | None:
        """Predicted minus reference volume, as a share of the reference.

        Returns
        -------
        float or None
            In percent; None for an empty reference.
        """
        return 100.0 * self.difference_ml / self.reference_ml if self.reference_ml else None


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
        Overlap and both volumes; two empty masks have Dice and Jaccard 1.
    """
    overlap = dice(predicted, reference)
    found, true = int(np.count_nonzero(predicted)), int(np.count_nonzero(reference))
    shared = int(np.count_nonzero(predicted & reference))
    return Agreement(
        dice=overlap,
        predicted_ml=float(found * voxel_ml),
        reference_ml=float(true * voxel_ml),
        jaccard=overlap / (2.0 - overlap),
        sensitivity=shared / true if true else None,
        precision=shared / found if found else None,
    )

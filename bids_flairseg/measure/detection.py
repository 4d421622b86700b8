"""Which lesions of a reference were found, and which of a prediction are none.

Lesions are 26-connected. Three rules say when a lesion counts as found:

- *any*: it shares a voxel with the other mask. Rules nothing out, so a lesion may be found
  by several, and several by one.
- *iou10* and *iou50*: intersection over union with a lesion of the other mask above 0.1 or
  0.5. Each lesion has one partner at most; pairs are made from the largest overlap down.

F1 is the harmonic mean of the share of reference lesions found and the share of predicted
lesions that are true. Panoptic quality is that of Kirillov et al. 2019 (CVPR, 9404): the sum
of the intersections over union of the pairs of *iou50*, over found plus half of missed and
false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.arrays import BoolArray, LabelArray
from bids_flairseg.measure.lesions import label_lesions
from bids_flairseg.measure.regions import lesion_regions

#: Rules by name, with the intersection over union that has to be exceeded.
RULES: Mapping[str, float | None] = {"any": None, "iou10": 0.1, "iou50": 0.5}
#: Place in `REGIONS` of a lesion whose region is unknown.
NOWHERE = 255


@dataclass(frozen=True)
class Lesions:
    """All lesions of one mask, in the order of their numbers.

    Attributes
    ----------
    volumes_ml : ndarray of float, shape (n,)
        In ml.
    best_iou : ndarray of float, shape (n,)
        Largest intersection over union with a lesion of the other mask.
    matched : mapping of str to ndarray of bool, shape (n,)
        By rule, whether the lesion is found (or true).
    region : ndarray of uint8, shape (n,)
        Places in `REGIONS`; 255 where it is unknown.
    """

    volumes_ml: NDArray[np.float64]
    best_iou: NDArray[np.float64]
    matched: Mapping[str, NDArray[np.bool_]]
    region: NDArray[np.uint8]

    @property
    def count(self) -> int:
        """Number of lesions."""
        return int(self.volumes_ml.size)


@dataclass(frozen=True)
class RuleCounts:
    """What one rule says of a scan.

    Attributes
    ----------
    detected, missed : int
        Lesions of the reference.
    false : int
        Lesions of the prediction that are none.
    f1 : float
        0 to 1; 1 where neither mask has a lesion.
    """

    detected: int
    missed: int
    false: int
    f1: float


@dataclass(frozen=True)
class Detection:
    """Lesions of a reference and of a prediction, matched.

    Attributes
    ----------
    reference, predicted : Lesions
        The two sides.
    panoptic_quality : float
        0 to 1; 1 where neither mask has a lesion.
    """

    reference: Lesions
    predicted: Lesions
    panoptic_quality: float

    def counts(self, rule: str) -> RuleCounts:
        """Count by one rule.

        Parameters
        ----------
        rule : str
            A key of `RULES`.

        Returns
        -------
        RuleCounts
            Found, missed and false lesions.
        """
        found, true = self.reference.matched[rule], self.predicted.matched[rule]
        detected = int(found.sum())
        return RuleCounts(
            detected=detected,
            missed=int(found.size) - detected,
            false=int(true.size - true.sum()),
            f1=_harmonic(found, true),
        )


def detect(
    predicted: BoolArray,
    reference: BoolArray,
    *,
    voxel_ml: float,
    min_ml: float = 0.0,
    regions: LabelArray | None = None,
) -> Detection:
    """Match the lesions of two masks.

    Parameters
    ----------
    predicted, reference : ndarray of bool, shape (X, Y, Z)
        Masks on the same grid.
    voxel_ml : float
        Volume of one voxel in ml.
    min_ml : float
        Smaller lesions of either mask are left out: none of them could be found, or be false.
    regions : ndarray of int, shape (X, Y, Z), optional
        What `region_map` gives, on the same grid.

    Returns
    -------
    Detection
        All lesions of both, with what they were matched with.
    """
    pairs = _Pairs.of(
        label_lesions(predicted, voxel_ml=voxel_ml, min_ml=min_ml),
        label_lesions(reference, voxel_ml=voxel_ml, min_ml=min_ml),
    )
    sizes = [np.bincount(labels.ravel())[1:] for labels in (pairs.predicted, pairs.reference)]
    union = sizes[0][pairs.first] + sizes[1][pairs.second] - pairs.shared
    iou = pairs.shared / union
    chosen = {
        rule: np.arange(iou.size) if limit is None else _one_to_one(pairs, iou, limit)
        for rule, limit in RULES.items()
    }
    sides = [
        Lesions(
            volumes_ml=np.asarray(size * voxel_ml, dtype=np.float64),
            best_iou=_largest(own, iou, size.size),
            matched={rule: _marked(own[kept], size.size) for rule, kept in chosen.items()},
            region=np.full(size.size, NOWHERE, np.uint8)
            if regions is None
            else lesion_regions(labels, regions),
        )
        for size, own, labels in (
            (sizes[0], pairs.first, pairs.predicted),
            (sizes[1], pairs.second, pairs.reference),
        )
    ]
    total = (sizes[0].size + sizes[1].size) / 2
    quality = float(iou[chosen["iou50"]].sum() / total) if total else 1.0
    return Detection(reference=sides[1], predicted=sides[0], panoptic_quality=quality)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of lesions that share voxels: places of both, and how many voxels they share."""

    predicted: NDArray[np.integer]
    reference: NDArray[np.integer]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shared: NDArray[np.int64]

    @classmethod
    def of(cls, one: NDArray[np.int32], other: NDArray[np.int32]) -> _Pairs:
        """Count the voxels that numbered lesions share."""
        both = (one > 0) & (other > 0)
        found, shared = np.unique(
            np.stack([one[both], other[both]]).astype(np.int64), axis=1, return_counts=True
        )
        return cls(one, other, found[0] - 1, found[1] - 1, shared)


def _one_to_one(pairs: _Pairs, iou: NDArray[np.float64], limit: float) -> NDArray[np.intp]:
    """Pick pairs above a limit, largest overlap first, each lesion once."""
    kept, used_first, used_second = [], set(), set()
    for index in np.argsort(-iou, kind="stable"):
        first, second = int(pairs.first[index]), int(pairs.second[index])
        if iou[index] > limit and first not in used_first and second not in used_second:
            used_first.add(first)
            used_second.add(second)
            kept.append(index)
    return np.array(kept, dtype=np.intp)


def _largest(own: NDArray[np.int64], iou: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    best = np.zeros(count)
    np.maximum.at(best, own, iou)
    return best


def _marked(places: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    mark = np.zeros(count, dtype=bool)
    mark[places] = True
    return mark


def _harmonic(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Return the harmonic mean of two shares; 1 if both are shares of nothing, 0 if one is."""
    if not found.size and not true.size:
        return 1.0
    if not found.any() or not true.any():
        return 0.0
    return float(2.0 / (1.0 / found.mean() + 1.0 / true.mean()))

"""Lesions found, missed and false, against a loop over all pairs of lesions."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.detection import RULES, detect

CUBE = np.ones((3, 3, 3), dtype=bool)


def by_all_pairs(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], limit: float | None
) -> tuple[int, int, int]:
    """Count with SciPy's labels and one mask per lesion."""
    one, many = ndimage.label(predicted, CUBE)
    other, more = ndimage.label(reference, CUBE)
    table = np.zeros((many, more))
    for first in range(many):
        for second in np.unique(other[one == first + 1]):
            if second:
                a, b = one == first + 1, other == second
                table[first, second - 1] = (a & b).sum() / (a | b).sum()
    if limit is None:
        return (
            int((table > 0).any(axis=0).sum()),
            int((table == 0).all(axis=0).sum()),
            int((table == 0).all(axis=1).sum()),
        )
    pairs = 0
    while table.size and table.max() > limit:
        row, column = np.unravel_index(table.argmax(), table.shape)
        table[row], table[:, column] = 0, 0
        pairs += 1
    return pairs, more - pairs, many - pairs


@pytest.mark.parametrize("seed", range(4))
def test_against_all_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.random((24, 20, 16)), 1.2)
    noise = ndimage.gaussian_filter(random.random(field.shape), 1.2)
    reference = field > np.quantile(field, 0.93)
    predicted = field + 0.5 * noise > np.quantile(field + 0.5 * noise, 0.94)
    found = detect(predicted, reference, voxel_ml=0.001)
    for rule, limit in RULES.items():
        counts = found.counts(rule)
        expected = by_all_pairs(predicted, reference, limit)
        assert (counts.detected, counts.missed, counts.false) == expected


def test_real_masks_against_all_pairs(shared_data: Path) -> None:
    folder = shared_data / "openms-bids/derivatives/manual/sub-cs26/anat"
    reference = (
        np.asarray(
            nib.Nifti1Image.from_filename(folder / "sub-cs26_label-lesion_mask.nii.gz").dataobj
        )
        > 0
    )
    predicted = np.roll(reference, 1, axis=0)
    predicted[:, :70] = False
    crop = np.ix_(*(np.flatnonzero(reference.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))))
    found = detect(predicted[crop], reference[crop], voxel_ml=0.001)
    for rule, limit in RULES.items():
        counts = found.counts(rule)
        expected = by_all_pairs(predicted[crop], reference[crop], limit)
        assert (counts.detected, counts.missed, counts.false) == expected


def cube(*starts: tuple[int, int, int], edge: int = 3) -> NDArray[np.bool_]:
    mask = np.zeros((20, 20, 20), dtype=bool)
    for x, y, z in starts:
        mask[x : x + edge, y : y + edge, z : z + edge] = True
    return mask


def test_one_lesion_over_two_finds_both_by_any_voxel_and_one_by_overlap() -> None:
    reference = cube((2, 2, 2), (2, 2, 8))
    predicted = cube((2, 2, 2))
    predicted[2:5, 2:5, 2:11] = True
    found = detect(predicted, reference, voxel_ml=0.5)
    assert found.counts("any").detected == 2
    assert found.counts("iou10").detected == 1
    assert found.counts("iou50").detected == 0
    assert found.counts("any").f1 == 1.0
    assert found.reference.volumes_ml.tolist() == [13.5, 13.5]
    assert found.panoptic_quality == 0.0


def test_the_same_is_perfect_whichever_way() -> None:
    mask = cube((1, 1, 1), (9, 9, 9), (15, 2, 5))
    found = detect(mask, mask, voxel_ml=0.001)
    assert found.panoptic_quality == 1.0
    assert all(found.counts(rule).f1 == 1.0 for rule in RULES)


def test_nothing_against_nothing_and_something() -> None:
    empty, mask = cube(), cube((1, 1, 1))
    both = detect(empty, empty, voxel_ml=1.0)
    assert (both.panoptic_quality, both.counts("any").f1) == (1.0, 1.0)
    for first, second in ((empty, mask), (mask, empty)):
        one = detect(first, second, voxel_ml=1.0)
        assert (one.panoptic_quality, one.counts("any").f1) == (0.0, 0.0)


def test_lesions_that_are_too_small_to_be_reported_are_neither_missed_nor_false() -> None:
    reference, predicted = np.zeros((2, 20, 20, 20), dtype=bool)
    reference[2:6, 2:6, 2:6] = predicted[3:6, 2:6, 2:6] = True
    reference[10, 10, 10] = predicted[15, 15, 15:17] = True
    found = detect(predicted, reference, voxel_ml=0.001, min_ml=0.003)
    assert (found.reference.count, found.predicted.count) == (1, 1)
    assert found.counts("any").f1 == 1.0
    every = detect(predicted, reference, voxel_ml=0.001).counts("any")
    assert (every.detected, every.missed, every.false) == (1, 1, 1)

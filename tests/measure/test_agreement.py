"""Agreement of two masks."""

from __future__ import annotations

import numpy as np
import pytest

from bids_flairseg.measure.agreement import agreement, dice

RANDOM = np.random.default_rng(2)
FIRST, SECOND = RANDOM.random((2, 9, 8, 7)) > 0.5
EMPTY = np.zeros_like(FIRST)


def test_dice_is_symmetric_and_between_its_ends() -> None:
    assert dice(FIRST, SECOND) == dice(SECOND, FIRST)
    assert 0 < dice(FIRST, SECOND) < 1
    assert dice(FIRST, FIRST) == 1.0
    assert dice(FIRST, ~FIRST) == 0.0


def test_empty_masks_have_a_defined_value() -> None:
    assert dice(EMPTY, EMPTY) == 1.0
    assert dice(EMPTY, FIRST) == dice(FIRST, EMPTY) == 0.0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one grid"):
        dice(FIRST, FIRST[:-1])


def test_volumes() -> None:
    result = agreement(FIRST, SECOND, voxel_ml=0.5)
    assert result.predicted_ml == FIRST.sum() / 2
    assert result.difference_ml == (int(FIRST.sum()) - int(SECOND.sum())) / 2

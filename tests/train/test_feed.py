"""What goes through the network at once: as much as memory allows, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import UsageError
from bids_flairseg.model.unet import DUONG2019
from bids_flairseg.train import feed, validation
from tests.train.blobs import TINY_CONFIG, TINY_RECIPE, ball_case


def test_a_batch_that_cannot_fit_is_told_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(TINY_RECIPE, patch=96, batch=24, micro_batch=0)
    each = feed.training_bytes(DUONG2019, 96, itemsize=4)
    for free, expected in ((7 * each, 4), (200 * each, 24)):
        monkeypatch.setattr(feed, "available_bytes", lambda free=free: free)
        chosen = feed.choose_micro_batch(recipe, DUONG2019, device="cpu", itemsize=4)
        assert chosen == expected
    monkeypatch.setattr(feed, "available_bytes", lambda: 7 * each)
    with pytest.raises(UsageError, match="Take micro_batch=4 or less"):
        feed.choose_micro_batch(
            replace(recipe, micro_batch=12), DUONG2019, device="cpu", itemsize=4
        )
    monkeypatch.setattr(feed, "available_bytes", lambda: each // 2)
    with pytest.raises(UsageError, match="Take patch=64 or less"):
        feed.choose_micro_batch(recipe, DUONG2019, device="cpu", itemsize=4)
    smaller = replace(recipe, patch=64)  # what was advised does fit
    assert feed.choose_micro_batch(smaller, DUONG2019, device="cpu", itemsize=4) == 1
    monkeypatch.setattr(feed, "available_bytes", lambda: 1000)
    with pytest.raises(UsageError, match="More memory is needed"):
        feed.choose_micro_batch(recipe, DUONG2019, device="cpu", itemsize=4)
    with pytest.raises(UsageError, match="multiple of 16"):
        feed.choose_micro_batch(replace(recipe, patch=90), DUONG2019, device="cpu", itemsize=4)


def test_no_more_memory_is_taken_than_the_user_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(TINY_RECIPE, patch=96, batch=24, micro_batch=0)
    each = feed.training_bytes(DUONG2019, 96, itemsize=4)
    monkeypatch.setattr(feed, "available_bytes", lambda: 200 * each)
    monkeypatch.setattr(feed, "resident_bytes", lambda: each)
    allowed = int(8 * each / 1e6)  # one of them is taken already

    def choose(device: str, memory_mb: int | None) -> int:
        return feed.choose_micro_batch(
            recipe, DUONG2019, device=device, itemsize=4, memory_mb=memory_mb
        )

    assert (choose("cpu", None), choose("cpu", allowed)) == (24, 4)
    assert choose("gpu", allowed) == choose("gpu", None)  # has memory of its own
    with pytest.raises(UsageError, match=r"within --mem-mb [0-9]+\. Take patch=64"):
        choose("cpu", int(1.5 * each / 1e6))
    with pytest.raises(UsageError, match=r"within --mem-mb 1000\. More memory is needed"):
        choose("cpu", 1000)
    monkeypatch.setattr(feed, "available_bytes", lambda: 4 * each)
    assert choose("cpu", 10**6) == 2


def test_held_out_cases_are_predicted_within_the_memory_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[int | None] = []

    def predict(*_: object, memory_bytes: int | None) -> NDArray[np.float32]:
        given.append(memory_bytes)
        return np.zeros((*ball_case(1).image.shape, 1), np.float32)

    monkeypatch.setattr(validation, "predict", predict)
    for memory_mb in (None, 1000):
        validation.score_cases(np.asarray, [ball_case(1)], TINY_CONFIG, memory_mb=memory_mb)
    assert given[0] is None
    assert 0 < (given[1] or 0) < 10**9

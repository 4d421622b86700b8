"""What goes through the network at once: as much as memory allows, and no more."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import UsageError
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.unet import DUONG2019
from bids_flairseg.train import feed, parallel, validation
from bids_flairseg.train.presets import load_recipe
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
    monkeypatch.setattr(feed, "gpu_bytes", lambda _: 20 * each)
    assert choose("gpu", allowed) == choose("gpu", None)  # has memory of its own
    with pytest.raises(UsageError, match=r"within --mem-mb [0-9]+\. Take patch=64"):
        choose("cpu", int(1.5 * each / 1e6))
    with pytest.raises(UsageError, match=r"within --mem-mb 1000\. More memory is needed"):
        choose("cpu", 1000)
    monkeypatch.setattr(feed, "available_bytes", lambda: 4 * each)
    assert choose("cpu", 10**6) == 2


def choose_on_gpu(monkeypatch: pytest.MonkeyPatch, size: int | None, **values: str) -> int:
    """Choose the patches of the paper's recipe that go through a GPU of some bytes at once."""
    monkeypatch.setattr(feed, "gpu_bytes", lambda _: size)
    recipe = load_recipe("duong2019", values)
    return feed.choose_micro_batch(recipe, DUONG2019, device="gpu", itemsize=2)


def test_a_gpu_is_used_by_the_memory_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_on_gpu(monkeypatch, 80 << 30) == 24
    assert choose_on_gpu(monkeypatch, 80 << 30, micro_batch="24") == 24
    assert choose_on_gpu(monkeypatch, 24 << 30) == 12
    with pytest.raises(UsageError, match=r"25\.8 GB are free on the gpu\. Take micro_batch=12"):
        choose_on_gpu(monkeypatch, 24 << 30, micro_batch="24")


def test_what_the_user_names_is_tried_on_a_gpu_of_unknown_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_on_gpu(monkeypatch, None) == 8  # the guess is on the safe side
    assert not caplog.records
    assert choose_on_gpu(monkeypatch, None, micro_batch="24") == 24
    assert "micro_batch=24, which needs about 23.9 GB, is tried all the same" in caplog.text
    with pytest.raises(UsageError, match=r"how much it has; micro_batch=1 tries .* Take patch"):
        choose_on_gpu(monkeypatch, None, patch="352")


@pytest.mark.parametrize(
    ("sizes", "devices", "least"),
    [([80, 24, 8], 2, 24), ([80], 1, 80), ([0], 1, None), ([], 1, None)],
)
def test_both_backends_are_asked_for_the_memory_of_the_gpus_in_use(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], devices: int, least: int | None
) -> None:
    import tensorflow as tf

    gpus = [SimpleNamespace(device_type="GPU", memory_limit_bytes=size) for size in sizes]
    cpu = SimpleNamespace(device_type="CPU", memory_limit_bytes=1)
    session = SimpleNamespace(list_devices=lambda: [cpu, *gpus], close=lambda: None)
    monkeypatch.setattr(tf.compat.v1, "Session", lambda **_: session)
    assert parallel.gpu_bytes(devices) == least

    def stats(size: int) -> Any:
        return lambda: {"bytes_limit": size} if size else None

    jax = SimpleNamespace(devices=lambda: [SimpleNamespace(memory_stats=stats(n)) for n in sizes])
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert parallel.gpu_bytes(devices) == least


def test_a_machine_without_gpu_names_no_memory_of_one() -> None:
    set_up(1, "cpu")
    assert parallel.gpu_bytes(1) is None


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

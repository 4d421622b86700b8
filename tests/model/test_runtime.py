"""Precision follows processor and bundle; a worker keeps its networks."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bids_flairseg.errors import InputError, UsageError
from bids_flairseg.model import runtime
from bids_flairseg.model.bundle import Card, load_bundle, save_bundle
from bids_flairseg.model.predict import predict
from bids_flairseg.model.settings import Inference
from tests.model.conftest import TINY

if TYPE_CHECKING:
    import keras


@pytest.mark.parametrize(
    ("maker", "flags", "precision"),
    [
        ("AuthenticAMD", "fpu avx2 avx512f avx512_bf16", "bfloat16"),
        ("GenuineIntel", "fpu avx2 avx512f avx512_bf16", "float32"),
        ("GenuineIntel", "fpu avx512_bf16 amx_bf16 amx_tile", "bfloat16"),
        ("AuthenticAMD", "fpu avx2 avx512f", "float32"),
    ],
)
def test_processor_decides_about_precision(
    tmp_path: Path, maker: str, flags: str, precision: str
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        f"processor\t: 0\nvendor_id\t: {maker}\nflags\t\t: {flags}\n\nprocessor\t: 1\n"
    )
    assert runtime.choose_precision(TINY, cpuinfo=cpuinfo) == precision
    assert runtime.choose_precision(TINY, device="gpu", cpuinfo=cpuinfo) == "float32"
    careful = dataclasses.replace(TINY, inference=Inference(0.5, 16, 8, precision="float32"))
    assert runtime.choose_precision(careful, cpuinfo=cpuinfo) == "float32"


def test_unknown_processor_computes_in_float32(tmp_path: Path) -> None:
    assert runtime.choose_precision(TINY, cpuinfo=tmp_path / "nothing") == "float32"


def test_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="auto, cpu, gpu"):
        runtime.set_up(1, "tpu")


def test_missing_gpu_is_named(tiny_model: keras.Model) -> None:
    with pytest.raises(UsageError, match=r"--device gpu: expected a GPU.*--device cpu"):
        runtime.set_up(1, "gpu")


def test_second_set_up_does_nothing(tiny_model: keras.Model) -> None:
    assert runtime.set_up(1, "cpu") == "cpu"
    assert runtime.set_up.cache_info().hits


def test_network_is_kept_until_its_bundle_changes(tiny_bundle: Path) -> None:
    first = runtime.get_model(tiny_bundle, "float32")
    assert runtime.get_model(tiny_bundle, "float32") is first
    other = dataclasses.replace(TINY, inference=Inference(0.25, 16, 8))
    save_bundle(tiny_bundle, load_bundle(tiny_bundle).model, other, Card())
    assert runtime.get_model(tiny_bundle, "float32").config.inference.threshold == 0.25


def test_broken_bundle_is_refused(tiny_bundle: Path) -> None:
    (tiny_bundle / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json"):
        runtime.get_model(tiny_bundle)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_network_is_the_network(tiny_bundle: Path, precision: str) -> None:
    network = runtime.get_model(tiny_bundle, precision)
    model = load_bundle(tiny_bundle, precision=precision).model
    for shape in ((1, 8, 16, 8, 1), (2, 24, 8, 8, 1)):
        batch = np.random.default_rng(0).standard_normal(shape, np.float32)
        found = network.apply(batch)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.asarray(model(batch)), atol=0.01)


def test_same_volume_gives_the_same_bits(tiny_bundle: Path) -> None:
    network = runtime.get_model(tiny_bundle, "float32")
    volume = np.random.default_rng(0).standard_normal((21, 30, 17), np.float32)
    first, second = (predict(network.apply, volume, network.config) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (21, 30, 17, 1)
    assert first.std() > 0


def test_full_device_is_a_memory_error(
    tiny_model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    def full(batch: Any) -> Any:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(runtime, "_traced", lambda model: full)
    with pytest.raises(MemoryError, match="does not fit"):
        runtime.applied(tiny_model)(np.zeros((1, 8, 8, 8, 1), np.float32))


def test_hidden_packages_come_back() -> None:
    name = "colorsys"  # small, and used by nobody here
    sys.modules.pop(name, None)
    with runtime._hidden((name, "json")):
        with pytest.raises(ImportError):
            __import__(name)
        assert sys.modules["json"] is not None
    assert __import__(name).__name__ == name


def test_greetings_go_to_the_debug_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import os

    with caplog.at_level("DEBUG", logger=runtime.__name__), runtime._quiet_start():
        os.write(2, b"hello from a library\n")
    assert "hello from a library" in caplog.text
    assert "hello" not in capfd.readouterr().err

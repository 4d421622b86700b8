"""A configuration survives JSON, and what is wrong with a foreign one is said."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bids_flairseg.errors import InputError
from bids_flairseg.model.settings import BundleConfig, Inference
from bids_flairseg.model.unet import DUONG2019, Stage, UNetConfig
from tests.model.conftest import TINY, with_classes


@pytest.mark.parametrize("config", [TINY, with_classes(7, brain_only=False)])
def test_json_round_trip(config: BundleConfig) -> None:
    assert BundleConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_paper_network_round_trip() -> None:
    assert UNetConfig.from_dict(json.loads(json.dumps(DUONG2019.to_dict()))) == DUONG2019


def test_inference_has_the_papers_defaults() -> None:
    values = TINY.to_dict()
    values["inference"] = {}
    values["architecture"] = DUONG2019.to_dict()
    assert BundleConfig.from_dict(values).inference == Inference(0.5, 96, 32)


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the tiny configuration as JSON has it, with one value changed."""
    values: dict[str, Any] = json.loads(json.dumps(TINY.to_dict()))
    *folders, last = path.split(".")
    place = values
    for folder in folders:
        place = place[folder]
    place[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", 2, "format: expected 1, found 2.*update flairseg"),
        ("format", "1", "format: expected a number"),
        ("format", None, "format: expected a number"),
        ("name", "../../etc", "name: expected up to 64"),
        ("name", 5, "name: expected"),
        ("surprise", 1, "surprise.*newer version"),
        ("classes", ["a", "b"], "classes: expected 1 names"),
        ("classes", [3], "classes: expected 1 names"),
        ("classes", "lesion", "classes: expected a list"),
        ("preprocessing", None, "preprocessing: expected an object.*nothing"),
        ("preprocessing", [1], "preprocessing: expected an object"),
        ("preprocessing.voxel_size_mm", 0.001, "voxel_size_mm: expected a number from 0.3"),
        ("preprocessing.voxel_size_mm", float("nan"), "voxel_size_mm: expected a number"),
        ("preprocessing.voxel_size_mm", True, "voxel_size_mm: expected a number"),
        ("preprocessing.voxel_size_mm", "1", "voxel_size_mm: expected a number"),
        ("preprocessing.normalisation", "magic", "expected one of zscore, robust, brain99"),
        ("preprocessing.normalisation", ["zscore"], "expected one of zscore"),
        ("preprocessing.brain_only", "yes", "brain_only: expected true or false"),
        ("preprocessing.extra", 1, "Preprocessing: expected only.*extra"),
        ("inference.threshold", 1.5, "threshold: expected a number from 0 to 1"),
        ("inference.window", 18, "window: expected a multiple of 4"),
        ("inference.window", 16.0, "window: expected a whole number"),
        ("inference.window", 1 << 20, "window: expected a whole number from 1 to 512"),
        ("inference.step", 0, "step: expected a whole number"),
        ("inference.step", 17, "step: expected a whole number from 1 to 16"),
        ("inference.large_share", 2.0, "large_share: expected a number from 0.1 to 1"),
        ("inference.large_ml", -1.0, "large_ml: expected a number from 0"),
        ("inference.precision", "float8", "expected one of auto, float32"),
        ("architecture", {}, "architecture: expected the fields"),
        ("architecture.encoder", [], "1 to 8 encoder stages"),
        ("architecture.encoder", 3, "architecture: expected the fields"),
        ("architecture.encoder", [{"first": 2}] * 2, "architecture: expected the fields"),
        ("architecture.classes", 0, "1 to 4096 filters"),
        ("architecture.head", [10**9], "1 to 4096 filters"),
        ("architecture.head", [], "hidden layer in the head"),
        ("architecture.patch", 0, "patch of 1 to 8"),
        ("architecture.head_kernel", "3", "head kernel"),
        ("architecture.head_activation", "exec", "relu or linear"),
        ("architecture.residual", 1, "true or false for residual"),
        ("architecture.lambda", "import os", "newer version"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BundleConfig.from_dict(changed(path, value))


def test_missing_value_is_named() -> None:
    values = TINY.to_dict()
    del values["preprocessing"]["voxel_size_mm"]
    with pytest.raises(InputError, match="voxel_size_mm"):
        BundleConfig.from_dict(values)


def test_impossible_stage_is_refused() -> None:
    wide = dataclasses.replace(TINY.architecture, encoder=(Stage(2, 3, 10**7),))
    with pytest.raises(InputError, match="1 to 4096 filters"):
        UNetConfig.from_dict(wide.to_dict())


def test_input_edges_are_multiples_of_all_strides() -> None:
    assert DUONG2019.multiple == 16
    assert TINY.architecture.multiple == 4

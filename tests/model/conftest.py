"""Tiny networks and bundles with random weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bids_flairseg.model.bundle import BundleConfig, Card, Inference, Preprocessing, save_bundle
from bids_flairseg.model.unet import Stage, UNetConfig

if TYPE_CHECKING:
    import keras

TINY_NET = UNetConfig(
    encoder=(Stage(2, 3, 4),),
    decoder=(Stage(4, 3, 2),),
    residual=False,
    patch=2,
    head=(3,),
    head_kernel=3,
    head_activation="linear",
)
TINY = BundleConfig(
    name="tiny",
    architecture=TINY_NET,
    classes=("lesion",),
    preprocessing=Preprocessing(voxel_size_mm=1.0),
    inference=Inference(window=16, step=8),
)


def with_classes(count: int, *, brain_only: bool) -> BundleConfig:
    """Return the tiny configuration for several classes."""
    return dataclasses.replace(
        TINY,
        architecture=dataclasses.replace(TINY_NET, classes=count),
        classes=tuple(f"class{index}" for index in range(count)),
        preprocessing=Preprocessing(voxel_size_mm=2.0, brain_only=brain_only),
    )


@pytest.fixture(scope="session")
def tiny_model() -> keras.Model:
    """Give a tiny network whose normalisation layers do something, on one CPU thread."""
    from bids_flairseg.model.runtime import set_up

    set_up(1, "cpu")
    import keras

    from bids_flairseg.model.unet import build_unet

    keras.utils.set_random_seed(1)
    model = build_unet(TINY_NET)
    for variable in model.weights:
        if variable.path.endswith(("moving_mean", "bias", "beta")):
            variable.assign(keras.random.normal(variable.shape) * 0.3)
    return model


@pytest.fixture
def tiny_bundle(tiny_model: keras.Model, tmp_path: Path) -> Path:
    """Give a bundle of the tiny network, for the test to spoil."""
    path = tmp_path / "tiny"
    card = Card(data="random numbers", licence="CC0-1.0", attribution=("nobody",))
    save_bundle(path, tiny_model, TINY, card)
    return path

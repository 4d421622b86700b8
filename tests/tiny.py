"""Bundles of a few weights set by hand: brain is what is not dark, lesion what is bright.

With them the whole command runs within seconds and finds what was drawn. Run as
``python -m tests.tiny FOLDER``, so that TensorFlow stays out of the process of the tests.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from bids_flairseg.model.bundle import BundleConfig, Card, Inference, Preprocessing, save_bundle
from bids_flairseg.model.unet import Stage, UNetConfig
from bids_flairseg.train.synthesis.labels import CLASSES
from bids_flairseg.workflow.models import ANATOMY_INPUT

VOXEL_MM = 4.0
# Steepness and place of the two edges, in the units of each network's input.
BRAIN_ABOVE, LESION_ABOVE, STEEP = 0.3, 2.0, 12.0


def write_bundles(folder: Path) -> None:
    """Write ``folder/anatomy`` and ``folder/lesion``."""
    anatomy = _model(7)
    kernel, bias = np.zeros((1, 1, 1, 2, 7)), np.zeros(7)
    kernel[..., 0, 2], bias[2] = 2 * STEEP, -2 * STEEP * BRAIN_ABOVE
    bias[[1, 3, 4, 5, 6]] = -30.0
    _set(anatomy, "head_out_conv", kernel, bias)
    _save(folder / "anatomy", anatomy, 7, ANATOMY_INPUT)

    lesion = _model(1)
    kernel, bias = np.zeros((1, 1, 1, 2, 1)), np.array([-STEEP * LESION_ABOVE])
    kernel[..., 0, 0] = STEEP
    _set(lesion, "head_out_conv", kernel, bias)
    _save(folder / "lesion", lesion, 1, Preprocessing(VOXEL_MM, "zscore"))


def _config(classes: int) -> UNetConfig:
    stage = Stage(1, 1, 1)
    return UNetConfig(
        encoder=(stage,), decoder=(stage,), classes=classes, residual=False, patch=2,
        head=(2,), head_activation="linear",
    )  # fmt: skip


def _model(classes: int) -> Any:
    """Build a network of which only the image's own path to the head is open."""
    from bids_flairseg.model.unet import build_unet

    model = build_unet(_config(classes))
    for layer in model.layers:
        if "conv" in layer.name:
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    kernel = np.zeros((1, 1, 1, 3, 2))
    kernel[..., 2, 0] = 1.0  # the last channel is the image
    _set(model, "head0_conv", kernel, np.zeros(2))
    return model


def _set(model: Any, layer: str, *weights: Any) -> None:
    model.get_layer(layer).set_weights(list(weights))


def _save(folder: Path, model: Any, classes: int, preprocessing: Preprocessing) -> None:
    config = BundleConfig(
        name=f"tiny-{folder.name}",
        architecture=_config(classes),
        classes=("lesion",) if classes == 1 else CLASSES,
        preprocessing=preprocessing,
        inference=Inference(window=16, step=8),
    )
    save_bundle(folder, model, config, Card(data="none: set by hand", licence="CC0-1.0"))


if __name__ == "__main__":
    write_bundles(Path(sys.argv[1]))

"""The network of the paper, level by level, and its leaner relatives."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bids_flairseg.errors import InputError
from bids_flairseg.model.unet import DUONG2019, PREFIXES, UNetConfig, build_unet
from tests.model.conftest import TINY_NET

if TYPE_CHECKING:
    import keras


def count(weights: list[Any]) -> int:
    """Count the numbers in a list of variables."""
    return int(sum(np.prod(weight.shape) for weight in weights))


@pytest.fixture(scope="module")
def duong(tiny_model: keras.Model) -> keras.Model:
    """Give the network of the paper; the argument starts TensorFlow."""
    return build_unet(DUONG2019)


def test_paper_network_has_its_parameters(duong: keras.Model) -> None:
    assert count(duong.weights) == 14_721_781
    assert count(duong.trainable_weights) == 14_714_291


def test_paper_network_has_its_shapes_at_every_level(duong: keras.Model) -> None:
    import keras

    edges_and_filters = {
        "encoder0_add": (96, 16),
        "encoder0_down_norm": (48, 64),
        "encoder1_add": (48, 64),
        "encoder1_down_norm": (24, 128),
        "encoder2_add": (24, 128),
        "encoder2_down_norm": (12, 256),
        "encoder3_add": (12, 256),
        "encoder3_down_norm": (6, 256),
        "decoder0_add": (6, 256),
        "decoder0_up_norm": (12, 128),
        "decoder0_join": (12, 128 + 256),
        "decoder1_add": (12, 128),
        "decoder1_up_norm": (24, 64),
        "decoder1_join": (24, 64 + 128),
        "decoder2_add": (24, 64),
        "decoder2_up_norm": (48, 16),
        "decoder2_join": (48, 16 + 64),
        "decoder3_add": (48, 16),
        "decoder3_up_norm": (96, 16),
        "decoder3_join": (96, 16 + 16),
        "head0_norm": (96, 16),
        "head1_norm": (96, 16),
        "head_out_norm": (96, 1),
        "probability": (96, 1),
    }
    outputs = {name: duong.get_layer(name).output for name in edges_and_filters}
    probe = keras.Model(duong.input, outputs)
    found = probe.compute_output_spec(keras.KerasTensor((1, 96, 96, 96, 1)))
    assert {name: spec.shape for name, spec in found.items()} == {
        name: (1, edge, edge, edge, filters) for name, (edge, filters) in edges_and_filters.items()
    }


def test_dilation_is_that_of_the_paper(duong: keras.Model) -> None:
    dilations = [
        duong.get_layer(f"{side}{level}_{part}_conv").dilation_rate
        for side in ("encoder", "decoder")
        for level in range(4)
        for part in "ab"
    ]
    expected = [2, 2, 2, 2, 3, 3, 3, 3] + [1] * 8
    assert [tuple(dilation) for dilation in dilations] == [(n, n, n) for n in expected]


@pytest.mark.parametrize(
    "config",
    [
        TINY_NET,
        dataclasses.replace(TINY_NET, patch=1),
        dataclasses.replace(TINY_NET, patch=1, head=()),
        dataclasses.replace(TINY_NET, residual=True, classes=3),
        dataclasses.replace(TINY_NET, head_activation="relu"),
        dataclasses.replace(TINY_NET, beside=dataclasses.replace(TINY_NET, patch=1)),
    ],
)
def test_probabilities_lie_on_the_grid_of_the_image(
    config: UNetConfig, tiny_model: keras.Model
) -> None:
    edge = config.multiple
    image = np.random.default_rng(0).standard_normal((1, edge, 2 * edge, edge, 1), np.float32)
    found = np.asarray(build_unet(config)(image))
    assert found.shape == (1, edge, 2 * edge, edge, config.classes)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    if config.classes > 1:
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


def test_two_networks_side_by_side_give_the_mean_of_both_logits() -> None:
    other = dataclasses.replace(TINY_NET, patch=1, head_kernel=1)
    config = dataclasses.replace(TINY_NET, beside=other)
    both = build_unet(config)
    image = np.random.default_rng(0).standard_normal((1, *[config.multiple] * 3, 1), np.float32)
    logits = []
    for prefix, part in zip(PREFIXES, config.members, strict=True):
        single = build_unet(dataclasses.replace(part, beside=None))
        for layer in single.layers:
            if layer.weights:
                layer.set_weights(both.get_layer(prefix + layer.name).get_weights())
        probability = np.asarray(single(image), np.float64)
        logits.append(np.log(probability / (1 - probability)))
    expected = 1 / (1 + np.exp(-(logits[0] + logits[1]) / 2))
    np.testing.assert_allclose(np.asarray(both(image)), expected, atol=1e-4)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_a_network_beside_is_written_and_read_and_must_fit() -> None:
    config = dataclasses.replace(TINY_NET, beside=dataclasses.replace(TINY_NET, patch=1))
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert "beside" not in TINY_NET.to_dict()
    wrong = config.to_dict() | {"beside": dataclasses.replace(TINY_NET, classes=3).to_dict()}
    with pytest.raises(InputError, match="one network beside"):
        UNetConfig.from_dict(wrong)
    assert config.multiple % TINY_NET.multiple == 0

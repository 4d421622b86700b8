"""Frozen layers: what they are in any network, and that they stay as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.errors import UsageError
from bids_flairseg.model.bundle import Card, bundled, load_bundle, read_config, save_bundle
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.unet import DUONG2019, UNetConfig, build_unet
from bids_flairseg.train import engine
from bids_flairseg.train.layers import LAYERS, freeze, name_trained, trained_layers, trained_members
from tests.train.blobs import TINY_CONFIG, TINY_NET, TINY_RECIPE, tiny_job

set_up(1, "cpu")


@pytest.mark.parametrize(
    "layers",
    [
        name if name == "first+last" else pytest.param(name, marks=pytest.mark.slow)
        for name in LAYERS
    ],
)
def test_frozen_layers_keep_weights_and_statistics_to_the_bit(
    parent: Path, tmp_path: Path, layers: str
) -> None:
    recipe = replace(TINY_RECIPE, epochs=1, steps_per_epoch=3, keep_best=False, parent_share=0.3)
    job = tiny_job(tmp_path / "run", parent=parent, layers=layers, recipe=recipe)
    result = engine.fit(job)
    old = {v.path: np.asarray(v.value) for v in load_bundle(parent).model.weights}
    chosen = trained_layers([layer.name for layer in result.model.layers], layers)
    trained = 0
    for variable in result.model.weights:
        same = np.array_equal(np.asarray(variable.value), old[variable.path])
        part_of_training = variable.path.split("/")[0] in chosen
        assert same != part_of_training, variable.path
        if part_of_training and not variable.path.endswith(("moving_mean", "moving_variance")):
            trained += int(np.prod(variable.shape))
    assert result.trained_parameters == trained


TWO = replace(TINY_NET, beside=replace(TINY_NET, patch=2))


@pytest.mark.parametrize(
    "network", [DUONG2019, read_config(bundled("lesion")).architecture, TINY_NET, TWO]
)
def test_layers_are_defined_for_every_network(network: UNetConfig) -> None:
    model = build_unet(network)
    counts = {layers: freeze(model, layers) for layers in LAYERS}
    assert all(counts.values())
    assert counts["first+last"] == counts["first"] + counts["last"]
    assert counts["all"] == sum(int(np.prod(v.shape)) for v in model.weights if v.trainable)
    assert max(counts, key=lambda name: counts[name]) == "all"
    assert freeze(model, "all", norm=True) < counts["all"]


def test_of_two_networks_the_layers_of_both_are_trained() -> None:
    names = [layer.name for layer in build_unet(TWO).layers]
    for layers in ("first", "middle", "last"):
        chosen = trained_layers(names, layers)
        beside = {name for name in chosen if name.startswith("beside_")}
        assert beside
        assert chosen - beside


@pytest.mark.parametrize(
    ("network", "members"),
    [
        (TWO, ("beside_",)),
        (replace(TINY_NET, patch=2, beside=TINY_NET), ("",)),
        (replace(TINY_NET, beside=TINY_NET), ("", "beside_")),
        (TINY_NET, ("",)),
    ],
)
def test_the_network_on_blocks_may_be_trained_alone(
    network: UNetConfig, members: tuple[str, ...]
) -> None:
    assert trained_members(network, "blocks") == members
    assert trained_members(network, "all") == ("", "beside_")[: len(network.members)]
    alone = len(members) < len(network.members)
    assert name_trained(network, "last", "blocks") == "last" + " of the network on blocks" * alone
    assert name_trained(network, "last", "all") == "last"
    model = build_unet(network)
    for layers in LAYERS:
        freeze(model, layers, members=members)
        trained = [layer.name for layer in model.layers if layer.trainable and layer.weights]
        assert trained
        assert all(("beside_" if n.startswith("beside_") else "") in members for n in trained)


def test_the_network_at_full_resolution_stays_to_the_bit(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    config = replace(TINY_CONFIG, architecture=TWO)
    save_bundle(parent, build_unet(TWO), config, Card())
    recipe = replace(
        TINY_RECIPE, epochs=1, steps_per_epoch=2, keep_best=False, networks="blocks", norm="update"
    )
    result = engine.fit(tiny_job(tmp_path / "run", parent=parent, recipe=recipe))
    old = {v.path: np.asarray(v.value) for v in load_bundle(parent).model.weights}
    for variable in result.model.weights:
        same = np.array_equal(np.asarray(variable.value), old[variable.path])
        assert same != variable.path.startswith("beside_"), variable.path


def test_layers_that_do_not_exist_are_told(tmp_path: Path, parent: Path) -> None:
    with pytest.raises(UsageError, match="expected one of first, middle, last"):
        tiny_job(tmp_path, parent=parent, layers="head")
    with pytest.raises(UsageError, match="expected all where training begins from scratch"):
        tiny_job(tmp_path, layers="last")

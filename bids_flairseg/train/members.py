"""Two networks side by side in one bundle: put together, and taken apart to be trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import load_bundle
from bids_flairseg.model.unet import PREFIXES, UNetConfig, build_unet


def join(model: keras.Model, network: UNetConfig, other: Path) -> tuple[keras.Model, UNetConfig]:
    """Put the network of a bundle beside another network.

    Parameters
    ----------
    model : keras.Model
        A network.
    network : UNetConfig
        Its shape.
    other : Path
        Bundle of one network, with the same preprocessing and classes.

    Returns
    -------
    model : keras.Model
        The mean of both before the sigmoid.
    network : UNetConfig
        Its shape.
    """
    bundle = load_bundle(other)
    config = replace(network, beside=bundle.config.architecture)
    both = build_unet(config)
    for prefix, member in zip(PREFIXES, (model, bundle.model), strict=True):
        for inside, layer in _pairs(both, prefix, member):
            inside.set_weights(layer.get_weights())
    return both, config


def part(folder: Path, network: UNetConfig) -> keras.Model:
    """Return the network of a bundle that has a given shape.

    Parameters
    ----------
    folder : Path
        Bundle of one network or of two.
    network : UNetConfig
        The shape wanted; of one network.

    Returns
    -------
    model : keras.Model
        With the bundle's weights.

    Raises
    ------
    InputError
        If none of the bundle's networks has that shape.
    """
    bundle = load_bundle(folder)
    shape = bundle.config.architecture
    if shape == network:
        return bundle.model
    for prefix, one in zip(PREFIXES, shape.members, strict=False):
        if replace(one, beside=None) == network:
            alone = build_unet(network)
            for inside, layer in _pairs(bundle.model, prefix, alone):
                layer.set_weights(inside.get_weights())
            return alone
    raise InputError(
        f"{folder}: expected a network of the recipe's shape, found another one. Start from a "
        "bundle that the recipe made, or from none."
    )


def _pairs(
    both: keras.Model, prefix: str, alone: keras.Model
) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """Yield each layer with weights as it is within two networks, and as it is alone."""
    for layer in alone.layers:
        if layer.weights:
            yield both.get_layer(prefix + layer.name), layer

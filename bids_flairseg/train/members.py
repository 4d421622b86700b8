"""Two networks side by side in one bundle: put together, and taken apart to be trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import load_bundle
from bids_flairseg.model.unet import END, PREFIXES, UNetConfig, build_unet


def join(
    model: keras.Model, network: UNetConfig, other: Path, *, share: float = 0.5
) -> tuple[keras.Model, UNetConfig]:
    """Put the network of a bundle beside another network.

    Parameters
    ----------
    model : keras.Model
        A network.
    network : UNetConfig
        Its shape.
    other : Path
        Bundle with the same preprocessing and classes; of two networks its second is taken.
    share : float
        Of the first network in the mean, above 0 and below 1.

    Returns
    -------
    model : keras.Model
        The mean of both before the sigmoid.
    network : UNetConfig
        Its shape.
    """
    *_, (second, shape) = members(other)
    config = replace(network, beside=shape)
    both = build_unet(config)
    for prefix, member, weight in zip(PREFIXES, (model, second), (share, 1 - share), strict=True):
        for inside, layer in _pairs(both, prefix, member):
            gain = np.float32(2 * weight if layer.name == END else 1)
            inside.set_weights([gain * array for array in layer.get_weights()])
    return both, config


def members(folder: Path) -> Iterator[tuple[keras.Model, UNetConfig]]:
    """Yield the networks of a bundle, each alone, with their shapes.

    Parameters
    ----------
    folder : Path
        Bundle of one network or of two.

    Yields
    ------
    model : keras.Model
        Ends with a sigmoid or softmax, as the bundle does.
    network : UNetConfig
        Its shape.
    """
    bundle = load_bundle(folder)
    shape = bundle.config.architecture
    if shape.beside is None:
        yield bundle.model, shape
        return
    for prefix, one in zip(PREFIXES, shape.members, strict=True):
        alone = build_unet(replace(one, beside=None))
        for inside, layer in _pairs(bundle.model, prefix, alone):
            layer.set_weights(inside.get_weights())
        yield alone, replace(one, beside=None)


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
    for alone, shape in ((bundle.model, bundle.config.architecture), *members(folder)):
        if shape == network:
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

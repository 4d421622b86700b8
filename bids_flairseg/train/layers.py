"""Which layers are trained: the parts of a U-Net by the names that the paper gives them.

Rauschecker et al. 2022 fine-tuned the first layer, the middle layers, the last layer, first
and last, or all. For any :class:`~bids_flairseg.model.unet.UNetConfig`:

first
    What the image meets first, down to the first change of resolution: the stem of a network
    with a patch, and the block of the first encoder stage.
middle
    What works at the coarsest resolutions: block and downward step of the last encoder stage,
    block and upward step of the first decoder stage.
last
    The head, after the last concatenation; of a network with a patch the upward step to the
    image's grid as well.

Of two networks side by side, that of those that are trained: both, or the one on blocks of voxels
alone (:func:`trained_members`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bids_flairseg.errors import UsageError
from bids_flairseg.model.unet import PREFIXES, UNetConfig

if TYPE_CHECKING:
    import keras

LAYERS = ("first", "middle", "last", "first+last", "all")
NETWORKS = ("all", "blocks")


def freeze(
    model: keras.Model, layers: str, *, norm: bool = False, members: Sequence[str] = PREFIXES
) -> int:
    """Let only some layers of a network train.

    What is frozen keeps its weights and the statistics of its batch normalisation, which
    works as in prediction.

    Parameters
    ----------
    model : keras.Model
        Network that :func:`bids_flairseg.model.unet.build_unet` made; not compiled yet, or to
        be compiled anew.
    layers : str
        One of :data:`LAYERS`.
    norm : bool
        Freeze the batch normalisation of the trained layers as well.
    members : sequence of str
        What :func:`trained_members` gave; nothing is trained in any other member.

    Returns
    -------
    count : int
        Trained parameters.

    Raises
    ------
    UsageError
        `layers` is none that exists.
    """
    if layers not in LAYERS:
        raise UsageError(f"--layers: expected one of {', '.join(LAYERS)}, found {layers}.")
    chosen = trained_layers([layer.name for layer in model.layers], layers, members)
    for layer in model.layers:
        layer.trainable = layer.name in chosen and not (norm and layer.name.endswith("_norm"))
    return int(sum(np.prod(variable.shape) for variable in model.trainable_variables))


def trained_members(network: UNetConfig, networks: str) -> tuple[str, ...]:
    """Choose which of two networks side by side are trained.

    Parameters
    ----------
    network : UNetConfig
        Of one network or of two.
    networks : str
        ``all``, or ``blocks``: what works on the largest blocks of voxels, which is the only
        network where there is no other.

    Returns
    -------
    members : tuple of str
        What the names of their layers begin with: some of
        :data:`bids_flairseg.model.unet.PREFIXES`.
    """
    largest = max(one.patch for one in network.members)
    return tuple(
        prefix
        for prefix, one in zip(PREFIXES, network.members, strict=False)
        if networks == "all" or one.patch == largest
    )


def name_trained(network: UNetConfig, layers: str, networks: str) -> str:
    """Say what is trained.

    Parameters
    ----------
    network : UNetConfig
        Of one network or of two.
    layers : str
        One of :data:`LAYERS`.
    networks : str
        One of :data:`NETWORKS`.

    Returns
    -------
    text : str
        For instance ``all of the network on blocks``.
    """
    some = len(trained_members(network, networks)) < len(network.members)
    return f"{layers} of the network on blocks" if some else layers


def trained_layers(names: list[str], layers: str, members: Sequence[str] = PREFIXES) -> set[str]:
    """Choose names of layers.

    Parameters
    ----------
    names : list of str
        Of all layers of a U-Net.
    layers : str
        One of :data:`LAYERS`.
    members : sequence of str
        As for :func:`freeze`.

    Returns
    -------
    chosen : set of str
        Those that are trained.
    """
    chosen: set[str] = set()
    for member in members:
        own = {name.removeprefix(member): name for name in names if _member(name) == member}
        if layers == "all":
            chosen |= set(own.values())
            continue
        parts = _prefixes(own)
        begins = tuple(start for part in layers.split("+") for start in parts[part])
        chosen |= {own[name] for name in own if name.startswith(begins)}
    return chosen


def _member(name: str) -> str:
    """Return what the name of a layer begins with: the last of the prefixes, as "" is in all."""
    return next(prefix for prefix in reversed(PREFIXES) if name.startswith(prefix))


def _prefixes(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return what the names of each part begin with; the deepest stage by its number."""
    stages = {name.split("_")[0] for name in names if name.startswith("encoder")}
    deepest = f"encoder{len(stages) - 1}_"
    return {
        "first": ("stem_", "encoder0_a_", "encoder0_b_", "encoder0_shortcut_"),
        "middle": (deepest, "decoder0_"),
        "last": ("unpatch_", "head"),
    }

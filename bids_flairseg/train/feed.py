"""What a training is fed with: patches of real cases, and of synthetic ones among them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial

import numpy as np

from bids_flairseg.errors import UsageError
from bids_flairseg.model.memory import available_bytes, live_channels, resident_bytes
from bids_flairseg.model.unet import PREFIXES, Stage, UNetConfig
from bids_flairseg.train.job import TrainingJob, check_patch
from bids_flairseg.train.layers import trained_members
from bids_flairseg.train.parallel import gpu_bytes
from bids_flairseg.train.patches import PatchDataset
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.train.sampling import Sampling
from bids_flairseg.train.store import StoredCase

LOGGER = logging.getLogger(__name__)

# Of the memory that is free: the patches that are cut meanwhile need some too.
_SHARE_OF_MEMORY = 0.7
# What TensorFlow's kernels and allocator take on top of the activations that are kept.
_OVERHEAD = 1.6
# A guess on the safe side where the backend does not say how much memory a GPU has.
_GPU_BYTES = 12 << 30


def open_epoch(job: TrainingJob, epoch: int, first: int, micro_batch: int) -> PatchDataset:
    """Return the patches of an epoch.

    Parameters
    ----------
    job : TrainingJob
        Cases, recipe, seed.
    epoch : int
        Counted from 0.
    first : int
        Batches that were used already.
    micro_batch : int
        Patches of a batch.

    Returns
    -------
    data : PatchDataset
        The rest of the epoch; draws depend on seed, case and epoch only.
    """
    chosen = mix_in(
        job.synthetic, real=len(job.train), share=job.recipe.synthetic_share,
        seed=(job.seed, epoch, 1),
    )  # fmt: skip
    return PatchDataset(
        (*job.train, *chosen), sampling_of(job.recipe, micro_batch), seed=job.seed,
        epoch=epoch, first=first, workers=job.workers,
    )  # fmt: skip


def sampling_of(recipe: SiteRecipe, micro_batch: int) -> Sampling:
    """Return what of a recipe is the business of the patches.

    Parameters
    ----------
    recipe : SiteRecipe
        Has a key for every field of ``Sampling``.
    micro_batch : int
        Patches of a batch.

    Returns
    -------
    sampling : Sampling
        How patches are drawn.
    """
    values = {item.name: getattr(recipe, item.name) for item in fields(Sampling)}
    rounds = recipe.steps_per_epoch * (recipe.batch // micro_batch)
    return Sampling(**values | {"batch": micro_batch, "steps_per_epoch": rounds})


def mix_in(
    synthetic: Sequence[StoredCase], *, real: int, share: float, seed: tuple[int, ...]
) -> tuple[StoredCase, ...]:
    """Choose the synthetic cases of an epoch.

    Parameters
    ----------
    synthetic : sequence of StoredCase
        The pool.
    real : int
        Real cases that they are mixed in with.
    share : float
        Of the synthetic ones among all, 0 to below 1.
    seed : tuple of int
        Decides which.

    Returns
    -------
    chosen : tuple of StoredCase
        As many as the share asks for, or the whole pool where it has fewer.
    """
    count = min(round(real * share / (1 - share)), len(synthetic))
    order = np.random.default_rng(seed).permutation(len(synthetic))[:count]
    return tuple(synthetic[int(index)] for index in sorted(order))


def choose_micro_batch(
    recipe: SiteRecipe,
    network: UNetConfig,
    *,
    device: str,
    itemsize: int,
    memory_mb: int | None = None,
    devices: int = 1,
) -> int:
    """Choose how many patches go through the network at once.

    Parameters
    ----------
    recipe : SiteRecipe
        May name it; then it is tried on a GPU of unknown memory, whatever it needs.
    network : UNetConfig
        Decides about the memory of a patch.
    device : str
        ``cpu`` or ``gpu``.
    itemsize : int
        Bytes of an activation.
    memory_mb : int or None
        What the process may take of the machine's memory; None asks the machine.
    devices : int
        GPUs that share the patches equally; divides the batch of the recipe.

    Returns
    -------
    count : int
        Divides the batch of the recipe, and is a multiple of the devices.

    Raises
    ------
    UsageError
        Not even one patch fits, or not as many as the recipe wants; or the edge of a patch
        is no multiple that the network can halve.
    """
    check_patch(recipe, network)
    members = trained_members(network, recipe.networks)
    needed = partial(training_bytes, network, itemsize=itemsize, members=members)
    each = needed(recipe.patch)
    free = _device_bytes(device, memory_mb, devices)
    usable = devices * _SHARE_OF_MEMORY * (_GPU_BYTES if free is None else free)
    named = recipe.micro_batch
    wanted = [named] if named else _shares(recipe.batch, devices)
    fitting = [count for count in wanted if count * each <= usable]
    if fitting:
        return max(fitting)
    least = min(wanted)
    need = f"{least * each / 1e9:.1f} GB"
    if free is None and named:
        LOGGER.warning("the GPU does not say how much memory it has; micro_batch=%d, which needs "
                       "about %s, is tried all the same", named, need)  # fmt: skip
        return named
    edges = range(recipe.patch - network.multiple, 7, -network.multiple)
    remedy = _remedy(needed, recipe, edges, usable=usable, devices=devices)
    raise UsageError(
        f"{least} patches of {recipe.patch} voxels' edge need about {need}, "
        f"{_say_free(free, device, memory_mb)}. {remedy}"
    )


def _remedy(
    needed: Callable[[int], int],
    recipe: SiteRecipe,
    edges: Iterable[int],
    *,
    usable: float,
    devices: int,
) -> str:
    """Say how many patches, or which smaller edge of one, would fit into some bytes."""
    each = needed(recipe.patch)
    counts = [count for count in _shares(recipe.batch, devices) if count * each <= usable]
    if counts:
        return f"Take micro_batch={max(counts)} or less."
    edge = next((edge for edge in edges if needed(edge) <= usable / devices), 0)
    return f"Take patch={edge} or less." if edge else "More memory is needed."


@contextmanager
def naming_memory(micro_batch: int) -> Iterator[None]:
    """Say what to do where a device runs out of memory in spite of the estimate.

    Parameters
    ----------
    micro_batch : int
        Patches at once.

    Yields
    ------
    None
        While the device works.

    Raises
    ------
    UsageError
        It has too little memory.
    """
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__} {error}"
        if "ResourceExhausted" in text or "RESOURCE_EXHAUSTED" in text:
            smaller = f"micro_batch={micro_batch // 2}" if micro_batch > 1 else "a smaller patch"
            raise UsageError(
                f"{micro_batch} patches at once do not fit into the memory of the device. Take "
                f"{smaller} (--set)."
            ) from error
        raise


def training_bytes(
    network: UNetConfig, edge: int, *, itemsize: int, members: Sequence[str] = PREFIXES
) -> int:
    """Estimate the memory of one patch in training.

    Parameters
    ----------
    network : UNetConfig
        The network.
    edge : int
        Of the patch, in voxels.
    itemsize : int
        Bytes of an activation.
    members : sequence of str
        Those that are trained, see :func:`bids_flairseg.train.layers.trained_members`.

    Returns
    -------
    size : int
        Bytes of all activations that the gradient needs, with the kernels' own space.
    """
    channels = sum(
        _kept_channels(one) if prefix in members else live_channels(one)
        for prefix, one in zip(PREFIXES, network.members, strict=False)
    )
    return int(edge**3 * channels * itemsize * _OVERHEAD)


def _kept_channels(network: UNetConfig) -> float:
    """Count the channels, each as large as the input, that the gradient of one network needs."""
    share = 1.0 / network.patch**3
    channels = 2.0 * share * network.encoder[0].first if network.patch > 1 else 0.0
    for stage in network.encoder:
        channels += share * _kept(stage, residual=network.residual)
        share /= 8
        channels += 2 * share * stage.change
    for stage, skip in zip(network.decoder, reversed(network.encoder), strict=True):
        channels += share * _kept(stage, residual=network.residual)
        share *= 8
        channels += share * (3 * stage.change + skip.second)
    if network.patch > 1:
        channels += 3 * network.head[0] + 1
    return channels + 2 * sum(network.head) + 3 * network.classes


def _kept(stage: Stage, *, residual: bool) -> int:
    """Count the channels of a block that the gradient needs: of each layer input and ReLU."""
    return 2 * (stage.first + stage.second) + (2 * stage.second if residual else 0)


def _shares(batch: int, devices: int) -> list[int]:
    """Return the divisors of a batch that some devices can share equally."""
    return [count for count in range(devices, batch + 1, devices) if batch % count == 0]


def _say_free(free: int | None, device: str, memory_mb: int | None) -> str:
    if free is None:
        return f"the {device} does not say how much it has; micro_batch=1 tries it all the same"
    limit = f" within --mem-mb {memory_mb}" if memory_mb and device == "cpu" else ""
    return f"{free / 1e9:.1f} GB are free on the {device}{limit}"


def _device_bytes(device: str, memory_mb: int | None, devices: int) -> int | None:
    """Return what is left for weights and activations, libraries being loaded already."""
    if device != "cpu":
        return gpu_bytes(devices)
    free = available_bytes()
    if memory_mb is None:
        return free
    return max(0, min(free, memory_mb * 10**6 - resident_bytes()))

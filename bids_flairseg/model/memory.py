"""How much memory a prediction takes, and how much there is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from bids_flairseg.limits import control_groups, read_number
from bids_flairseg.model.unet import Stage, UNetConfig

# Measured against the resident memory of TensorFlow 2.21 on the CPU: copies in the layout of
# its kernels, work space and what its allocator holds come on top of the activations.
_OVERHEAD = 1.9


def prediction_bytes(config: UNetConfig, shape: tuple[int, int, int], *, itemsize: int = 4) -> int:
    """Estimate the memory that one pass over a volume takes.

    Parameters
    ----------
    config : UNetConfig
        Shape of the network.
    shape : tuple of int
        Voxels (X, Y, Z) of the padded volume.
    itemsize : int
        Bytes of an activation: 4 in float32, 2 in bfloat16.

    Returns
    -------
    size : int
        Bytes at the peak, image and probabilities included.
    """
    voxels = math.prod(shape)
    ends = 4 * (1 + config.classes)  # image and probabilities are float32
    channels = sum(live_channels(one) for one in config.members)  # they may run at once
    return int(voxels * (channels * itemsize * _OVERHEAD + ends))


def live_channels(config: UNetConfig) -> float:
    """Count the channels, each as large as the input, that are alive at most in one pass.

    Parameters
    ----------
    config : UNetConfig
        Shape of a network; one beside it does not count.

    Returns
    -------
    channels : float
        Of the widest step.
    """
    return max(_live_channels(config))


def available_bytes(root: Path = Path("/")) -> int:
    """Return the memory that this process may still take.

    Parameters
    ----------
    root : Path
        Root of the file system that holds ``proc`` and ``sys``.

    Returns
    -------
    size : int
        Bytes: what the machine has free, or what the control groups of the
        process (versions 1 and 2; a container, a batch job) leave, if less.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    return max(0, int(min([free, *_group_bytes(root)])))


def resident_bytes() -> int:
    """Return the memory that this process holds, its libraries included, in bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _group_bytes(root: Path) -> Iterator[float]:
    """Yield what each control group above the process leaves."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        2: ("memory.max", "memory.current"),
    }
    for version, folder in control_groups("memory", root):
        limit, used = (folder / name for name in names[version])
        left = read_number(limit) - read_number(used, missing=0)
        yield left + _reclaimable(folder)


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files, which the kernel gives back when they are needed."""
    try:
        rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))


def _live_channels(config: UNetConfig) -> Iterator[float]:
    """Yield how many channels, each as large as the input, are alive in each step."""
    share = 1.0 / config.patch**3
    width = 1 if config.patch == 1 else config.encoder[0].first
    skips: list[tuple[float, int]] = []  # (share of the input's voxels, channels)
    for stage in config.encoder:
        yield _size(skips) + share * _block_channels(width, stage, residual=config.residual)
        skips.append((share, stage.second))
        share, width = share / 8, stage.change
        yield _size(skips) + share * width
    for stage in config.decoder:
        yield _size(skips) + share * _block_channels(width, stage, residual=config.residual)
        yield _size(skips) + share * (stage.second + 8 * stage.change)
        share *= 8
        width = stage.change + skips[-1][1]
        yield _size(skips) + share * (stage.change + width)  # joining copies both
        skips.pop()
    if config.patch > 1:
        yield share * width + config.head[0]
        width = config.head[0] + 1
        yield float(config.head[0] + width)
    yield from _pairs((width, *config.head, config.classes, config.classes))


def _size(tensors: list[tuple[float, int]]) -> float:
    return sum(share * channels for share, channels in tensors)


def _pairs(widths: tuple[int, ...]) -> Iterator[float]:
    for before, after in itertools.pairwise(widths):
        yield float(before + after)


def _block_channels(width: int, stage: Stage, *, residual: bool) -> int:
    inner = stage.first + stage.second
    if residual:  # the input waits for the shortcut, the block for the sum
        return max(width + inner, 2 * stage.second + width)
    return max(width + stage.first, inner)

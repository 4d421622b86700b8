"""From a volume to class probabilities: in one pass, or by overlapping windows."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import UsageError
from bids_flairseg.model.memory import available_bytes, prediction_bytes
from bids_flairseg.model.settings import BundleConfig

LOGGER = logging.getLogger(__name__)

Apply = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A network: (N, X, Y, Z, 1) to (N, X, Y, Z, C), for edges that are multiples of its own."""

INFERENCES = ("auto", "brain", "windows")
# Least zeros around the brain, in voxels, so that its edge looks as it did in training.
_MARGIN = 4
# Of the memory that is free: others may want some in the meantime.
_SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True)
class Box:
    """A box on the grid of a volume; it may reach beyond it, where all is zero.

    Parameters
    ----------
    start, stop : tuple of int
        First voxel, and the one after the last, along each axis.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        return _triple([b - a for a, b in zip(self.start, self.stop, strict=True)])

    def enlarge(self, shape: tuple[int, int, int]) -> Box:
        """Grow to a shape, evenly on both sides; an odd voxel goes to the end."""
        before = [(n - m) // 2 for n, m in zip(shape, self.shape, strict=True)]
        start = _triple([a - b for a, b in zip(self.start, before, strict=True)])
        return Box(start, _triple([a + n for a, n in zip(start, shape, strict=True)]))

    def overlap(self, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return the part that lies on a volume, as slices of the volume and of the box."""
        low = [max(0, a) for a in self.start]
        high = [min(n, b) for n, b in zip(shape, self.stop, strict=True)]
        on_volume = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        in_box = tuple(
            slice(s.start - a, s.stop - a) for s, a in zip(on_volume, self.start, strict=True)
        )
        return on_volume, in_box

    def cut(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Copy the box out of a volume (X, Y, Z), zero beyond it."""
        on_volume, in_box = self.overlap(volume.shape)
        part = np.zeros(self.shape, np.float32)
        part[in_box] = volume[on_volume]
        return part


def predict(
    apply: Apply,
    volume: NDArray[np.float32],
    config: BundleConfig,
    *,
    inference: str = "auto",
    flip: bool = False,
    memory_bytes: int | None = None,
) -> NDArray[np.float32]:
    """Predict the classes of every voxel.

    Of a volume with a brain only, no more than the box around the brain goes
    through the network, so zeros around it change neither cost nor result.

    Parameters
    ----------
    apply : callable
        The network.
    volume : ndarray of float32, shape (X, Y, Z)
        Image as the bundle wants it (grid, intensities); any shape.
    config : BundleConfig
        Of the network's bundle.
    inference : str
        ``brain``: one pass; ``windows``: overlapping cubes, averaged, as in
        Rauschecker et al. 2022; ``auto``: one pass where memory allows it.
    flip : bool
        Average with the prediction of the volume mirrored along its first axis.
    memory_bytes : int or None
        What the prediction may take; None asks the machine.

    Returns
    -------
    probability : ndarray of float32, shape (X, Y, Z, C)
        Where nothing was predicted, 0 for one class, or class 0 for several.

    Raises
    ------
    UsageError
        `inference` is none that exists.
    MemoryError
        One pass was asked for and does not fit.
    """
    if inference not in INFERENCES:
        raise UsageError(f"inference: expected one of {', '.join(INFERENCES)}, found {inference}.")
    box = _find_box(volume, config)
    if box is None:
        return _empty(volume.shape, len(config.classes))
    network = mirrored(apply) if flip else apply
    if inference == "brain" or (inference == "auto" and fits_memory(box, config, memory_bytes)):
        try:
            return _predict_box(network, volume, box, config, whole=True)
        except MemoryError:
            if inference == "brain":
                raise
            LOGGER.warning("the volume did not fit into memory in one pass: taking windows")
    return _predict_box(network, volume, box, config, whole=False)


def fits_memory(box: Box, config: BundleConfig, memory_bytes: int | None = None) -> bool:
    """Tell whether a box can go through a network in one pass.

    Parameters
    ----------
    box : Box
        What is to be predicted.
    config : BundleConfig
        Of the network's bundle.
    memory_bytes : int or None
        What the prediction may take; None takes most of what is free.

    Returns
    -------
    fits : bool
        Whether the estimate, for activations in float32, stays below.
    """
    shape = _padded_shape(box, config)
    needed = prediction_bytes(config.architecture, shape)
    limit = memory_bytes
    if limit is None:
        limit = int(_SHARE_OF_MEMORY * available_bytes())
    LOGGER.debug("one pass over %s needs about %d MB of %d", shape, needed >> 20, limit >> 20)
    return needed <= limit


def mirrored(apply: Apply) -> Apply:
    """Return a network that averages its prediction with that of the mirrored input.

    Parameters
    ----------
    apply : callable
        The network.

    Returns
    -------
    both : callable
        Twice as slow, and indifferent to left and right.
    """

    def both(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        there = apply(batch)
        back = apply(np.ascontiguousarray(batch[:, ::-1]))[:, ::-1]
        return np.asarray((there + back) / np.float32(2), np.float32)

    return both


def predict_windows(
    apply: Apply, volume: NDArray[np.float32], *, window: int, step: int, skip_zeros: bool = False
) -> NDArray[np.float32]:
    """Predict overlapping cubes and average them where they overlap.

    Parameters
    ----------
    apply : callable
        The network.
    volume : ndarray of float32, shape (X, Y, Z)
        No edge is shorter than a window.
    window, step : int
        Edge of the cubes and distance between two of them, in voxels; the last
        cube of an axis ends with the volume.
    skip_zeros : bool
        Cubes that hold nothing but zeros do not go through the network; they
        count as background.

    Returns
    -------
    probability : ndarray of float32, shape (X, Y, Z, C)
        Plain average, as in Rauschecker et al. 2022.
    """
    total = np.zeros((*volume.shape, 0), np.float32)
    corners = [_starts(length, window, step) for length in volume.shape]
    unseen = []
    for corner in itertools.product(*corners):
        cube = tuple(slice(a, a + window) for a in corner)
        if skip_zeros and not volume[cube].any():
            unseen.append(cube)
            continue
        found = apply(volume[cube][None, ..., None])[0]  # (P, P, P, C)
        if not total.shape[-1]:
            total = np.zeros((*volume.shape, found.shape[-1]), np.float32)
        total[cube] += found
    if total.shape[-1] > 1:
        for cube in unseen:
            total[cube][..., 0] += 1
    covered = [_coverage(n, a, window) for n, a in zip(volume.shape, corners, strict=True)]
    for axis, counts in enumerate(covered):
        total /= counts.reshape([-1 if i == axis else 1 for i in range(4)])
    return total


def _predict_box(
    apply: Apply, volume: NDArray[np.float32], box: Box, config: BundleConfig, *, whole: bool
) -> NDArray[np.float32]:
    """Predict a box, enlarged to what the network can take, and put it back into the volume."""
    if whole:
        box = box.enlarge(_padded_shape(box, config))
        found = apply(box.cut(volume)[None, ..., None])[0]
    else:
        window, step = config.inference.window, config.inference.step
        box = box.enlarge(_triple([max(n, window) for n in box.shape]))
        found = predict_windows(
            apply, box.cut(volume), window=window, step=step,
            skip_zeros=config.preprocessing.brain_only,
        )  # fmt: skip
    probability = _empty(volume.shape, len(config.classes))
    on_volume, in_box = box.overlap(volume.shape)
    probability[on_volume] = found[in_box]
    return probability


def _empty(shape: tuple[int, ...], classes: int) -> NDArray[np.float32]:
    """Return the probabilities of nothing but background."""
    probability = np.zeros((*shape, classes), np.float32)
    if classes > 1:
        probability[..., 0] = 1
    return probability


def _find_box(volume: NDArray[np.float32], config: BundleConfig) -> Box | None:
    """Return what has to be predicted: the volume, or of a brain the box around it."""
    if not config.preprocessing.brain_only:
        return Box((0, 0, 0), _triple(volume.shape))
    start, stop = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(volume.any(axis=others))
        if not len(inside):
            return None
        start.append(int(inside[0]) - _MARGIN)
        stop.append(int(inside[-1]) + 1 + _MARGIN)
    return Box(_triple(start), _triple(stop))


def _padded_shape(box: Box, config: BundleConfig) -> tuple[int, int, int]:
    multiple = config.architecture.multiple
    return _triple([-(-n // multiple) * multiple for n in box.shape])


def _triple(values: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = values
    return x, y, z


def _starts(length: int, window: int, step: int) -> list[int]:
    last = length - window
    return [*range(0, last, step), last]


def _coverage(length: int, starts: Sequence[int], window: int) -> NDArray[np.float32]:
    """Count the cubes over each voxel of one axis."""
    counts = np.zeros(length, np.float32)
    for start in starts:
        counts[start : start + window] += 1
    return counts

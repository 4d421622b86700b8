"""Which patches an epoch consists of, and how they are cut; arrays only, no Keras.

An epoch visits every case with each of its augmentations, an augmented volume, and cuts
patches from it. Volumes come in random order, and the patches of each are spread over those
of its successors, so that a batch mixes many volumes while only few are in memory.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.train.augment import Augmentation, augment
from bids_flairseg.train.store import StoredCase

# Fewer patches than this from an augmented volume, and making it costs too much of a step.
_FEWEST = 12
# Candidate places of a patch lie on a lattice of this many voxels.
_LATTICE = 4
# Least share of a patch that a lesion-free one has of brain.
_BRAIN = 0.1
# Where none is without lesion, this share of the places with the least is taken.
_FEW = 0.02


@dataclass(frozen=True)
class Sampling:
    """How patches are drawn.

    Parameters
    ----------
    patch : int
        Edge of a patch in voxels.
    batch : int
        Patches of one batch.
    steps_per_epoch : int
        Batches of an epoch; 0 for all patches of all volumes. Fewer take fewer patches from
        a volume, or fewer volumes; more go round again.
    lesion_patches, free_patches : int
        Patches with and without lesion from one augmented volume (Rauschecker et al. 2022
        took as many of both).
    augmentations : int
        Augmented volumes of a case in an epoch.
    mirror : bool
        Mirror left and right in half of the patches.
    volumes_in_memory : int
        Over how many volumes the patches of one are spread.
    rotation_deg, shift_mm, scale, bend_mm, bias, blur, slices, noise, gamma : float
        See `Augmentation`.
    """

    patch: int = 96
    batch: int = 4
    steps_per_epoch: int = 0
    lesion_patches: int = 30
    free_patches: int = 30
    augmentations: int = 3
    mirror: bool = True
    volumes_in_memory: int = 16
    rotation_deg: float = 10.0
    shift_mm: float = 5.0
    scale: float = 0.1
    bend_mm: float = 2.0
    bias: float = 0.0
    blur: float = 0.0
    slices: float = 0.0
    noise: float = 0.0
    gamma: float = 0.0

    @property
    def augmentation(self) -> Augmentation:
        """What is done to a volume."""
        return Augmentation(
            **{item.name: getattr(self, item.name) for item in fields(Augmentation)}
        )


@dataclass(frozen=True)
class Draw:
    """One patch of an epoch.

    Attributes
    ----------
    volume : int
        Index into `Schedule.volumes`.
    number : int
        Which patch of the volume.
    lesion : bool
        Whether it shall have lesion.
    """

    volume: int
    number: int
    lesion: bool


@dataclass(frozen=True)
class Schedule:
    """All patches of an epoch in their order.

    Attributes
    ----------
    volumes : tuple of (int, int)
        Case and augmentation of each volume.
    batches : tuple of tuple of Draw
        The patches.
    last : tuple of int
        Of each volume the last batch that needs it.
    """

    volumes: tuple[tuple[int, int], ...]
    batches: tuple[tuple[Draw, ...], ...]
    last: tuple[int, ...]


def make_schedule(
    cases: Sequence[StoredCase], sampling: Sampling, *, seed: int, epoch: int
) -> Schedule:
    """Decide on the patches of an epoch, by seed and epoch alone.

    Parameters
    ----------
    cases : sequence of StoredCase
        At least one.
    sampling : Sampling
        How many patches of which kind.
    seed, epoch : int
        Decide on all that is drawn.

    Returns
    -------
    Schedule
        At least one batch.
    """
    rng = np.random.default_rng((seed, epoch, 0))
    volumes, share = _choose_volumes(cases, sampling, rng)
    draws, keys = [], []
    spread = max(1, min(sampling.volumes_in_memory, len(volumes)))
    for place, (case, _) in enumerate(volumes):
        counts = _counts(cases[case], sampling, share)
        for number in range(sum(counts)):
            draws.append(Draw(place, number, number < counts[0]))
            keys.append(place + rng.uniform(0, spread))
    ordered = [draws[index] for index in np.argsort(keys)]
    size = min(sampling.batch, len(ordered))
    count = len(ordered) // size
    if sampling.steps_per_epoch:
        count = min(count, sampling.steps_per_epoch)
    batches = tuple(tuple(ordered[index * size : (index + 1) * size]) for index in range(count))
    last = [-1] * len(volumes)
    for index, batch in enumerate(batches):
        for draw in batch:
            last[draw.volume] = index
    return Schedule(tuple(volumes), batches, tuple(last))


def _choose_volumes(
    cases: Sequence[StoredCase], sampling: Sampling, rng: np.random.Generator
) -> tuple[list[tuple[int, int]], float]:
    """Choose volumes in random order, and which share of their patches is taken."""
    once = sampling.augmentations * sum(sum(_counts(case, sampling, 1.0)) for case in cases)
    wanted = sampling.steps_per_epoch * sampling.batch or once
    full = sampling.lesion_patches + sampling.free_patches
    share = float(np.clip(wanted / once, min(1.0, _FEWEST / full), 1.0))
    chosen: list[tuple[int, int]] = []
    got = 0
    for case, number in _rounds(rng, len(cases)):
        if got >= wanted:
            break
        chosen.append((case, number))
        got += sum(_counts(cases[case], sampling, share))
    return [chosen[index] for index in rng.permutation(len(chosen))], share


def _rounds(rng: np.random.Generator, cases: int) -> Iterator[tuple[int, int]]:
    """Go round the cases in random order again and again, with another augmentation each time."""
    for number in itertools.count():
        for case in rng.permutation(cases):
            yield int(case), number


def _counts(case: StoredCase, sampling: Sampling, share: float) -> tuple[int, int]:
    """Return how many patches with and without lesion one volume of a case gives."""
    with_lesion = round(sampling.lesion_patches * share) if case.lesion_ml else 0
    return with_lesion, max(round(sampling.free_patches * share), int(not with_lesion))


class Volume:
    """An augmented volume that patches are cut from.

    Parameters
    ----------
    case : StoredCase
        The case.
    sampling : Sampling
        Size of the patches, and what is changed.
    seed, epoch, augmentation : int
        With the name of the case they decide on all that is drawn.
    """

    def __init__(
        self, case: StoredCase, sampling: Sampling, *, seed: int, epoch: int, augmentation: int
    ) -> None:
        name = zlib.crc32(case.name.encode())
        self._key = (seed, epoch, 1, name, augmentation)
        self._sampling = sampling
        self.image, self.target = augment(
            np.random.default_rng(self._key),
            case.image,
            case.target,
            sampling.augmentation,
            voxel_mm=case.voxel_mm,
        )

    def cut(self, number: int, *, lesion: bool) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        """Cut one patch.

        Parameters
        ----------
        number : int
            Which one; the same number gives the same patch.
        lesion : bool
            Whether it shall have lesion; where that cannot be had, it has none, and
            where none without can be had, it has as little as can be.

        Returns
        -------
        image : ndarray of float16, shape (P, P, P)
            Zero beyond the volume.
        target : ndarray of uint8, shape (P, P, P)
            Likewise.
        """
        rng = np.random.default_rng((*self._key, number))
        if lesion and self._lesion.size:
            low = self._around(rng, int(rng.choice(self._lesion)))
        else:
            low = [int(value) for value in self._free[int(rng.integers(len(self._free)))]]
        mirrored = self._sampling.mirror and rng.random() < 0.5
        return self._take(self.image, low, mirrored), self._take(self.target, low, mirrored)

    def _around(self, rng: np.random.Generator, voxel: int) -> list[int]:
        """Place a patch so that a voxel lies anywhere in it."""
        edge = self._sampling.patch
        index = np.unravel_index(voxel, self.target.shape)
        return [
            int(np.clip(at - rng.integers(edge), min(0, n - edge), max(0, n - edge)))
            for at, n in zip(index, self.target.shape, strict=True)
        ]

    def _take(self, array: NDArray[Any], low: Sequence[int], mirrored: bool) -> NDArray[Any]:
        edge = self._sampling.patch
        patch = np.zeros((edge,) * 3, array.dtype)
        spans = [
            (max(0, a), min(n, a + edge), max(0, -a)) for a, n in zip(low, array.shape, strict=True)
        ]
        there = tuple(slice(start, start + stop - first) for first, stop, start in spans)
        patch[there] = array[tuple(slice(first, stop) for first, stop, _ in spans)]
        return patch[::-1] if mirrored else patch

    @cached_property
    def _lesion(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.target)

    @cached_property
    def _free(self) -> NDArray[np.int64]:
        """Lowest corners of patches with some brain and no, or little, lesion: (K, 3).

        They may hang over the edge of the volume by a third.
        """
        edge, over = self._sampling.patch, self._sampling.patch // 3
        corners = [
            np.arange(min(0, n - edge) - over, max(0, n - edge) + over + 1, _LATTICE)
            for n in self.target.shape
        ]
        lesion = _box_sums(self.target > 0, corners, edge)
        brain = _box_sums(self.image != 0, corners, edge)
        enough = brain >= min(_BRAIN * edge**3, 0.5 * float(brain.max()))
        most = np.quantile(lesion[enough], _FEW) if lesion[enough].min() else 0
        places = np.argwhere(enough & (lesion <= most))
        return np.stack([corners[axis][places[:, axis]] for axis in range(3)], axis=1)


def _box_sums(
    mask: NDArray[np.bool_], corners: Sequence[NDArray[np.int64]], edge: int
) -> NDArray[np.int64]:
    """Count the voxels of a mask in the cube at every corner, one axis after the other."""
    sums: NDArray[Any] = mask
    for axis, low in enumerate(corners):
        total = np.cumsum(sums, axis=axis, dtype=np.int32)
        total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis)
        size = mask.shape[axis]
        high = np.take(total, np.clip(low + edge, 0, size), axis)
        sums = high - np.take(total, np.clip(low, 0, size), axis)
    return sums.astype(np.int64)

"""Batches of patches for ``keras.Model.fit``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cached_property

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.train.sampling import Sampling, Schedule, Volume, make_schedule
from bids_flairseg.train.store import StoredCase

_QUEUE = 6  # batches that wait


class PatchDataset(keras.utils.PyDataset):
    """The patches of an epoch, in an order that is random and always the same.

    Every draw depends on seed, case and epoch alone. Fit it with ``shuffle=False``: the
    order is shuffled already, and so that few augmented volumes are needed at a time.

    Parameters
    ----------
    cases : sequence of StoredCase
        Those that are trained on.
    sampling : Sampling
        How patches are drawn.
    seed : int
        Decides, with the epoch, on all that is drawn.
    epoch : int
        Counted from 0.
    first : int
        Batches of it that are left out, because a run that was interrupted has had them.
    workers : int
        Threads that make batches; Keras wants two or more to make them ahead of time.
    """

    def __init__(
        self,
        cases: Sequence[StoredCase],
        sampling: Sampling,
        *,
        seed: int,
        epoch: int = 0,
        first: int = 0,
        workers: int = 2,
    ) -> None:
        super().__init__(workers=max(2, workers), use_multiprocessing=False, max_queue_size=_QUEUE)
        self.cases, self.sampling, self.seed = tuple(cases), sampling, seed
        self.epoch, self.first = epoch, first
        self._lock = threading.Lock()
        self._volumes: dict[int, Future[Volume]] = {}
        self._busy: dict[int, int] = {}

    @cached_property
    def schedule(self) -> Schedule:
        """The patches of this epoch."""
        return make_schedule(self.cases, self.sampling, seed=self.seed, epoch=self.epoch)

    def __len__(self) -> int:
        return max(0, len(self.schedule.batches) - self.first)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return one batch.

        Parameters
        ----------
        index : int
            From 0; those that were left out do not count.

        Returns
        -------
        images : ndarray of float32, shape (N, P, P, P, 1)
            Patches.
        targets : ndarray of uint8, shape (N, P, P, P, 1)
            0 and 1.
        """
        number = index + self.first
        batch = self.schedule.batches[number]
        edge = self.sampling.patch
        images = np.empty((len(batch), edge, edge, edge, 1), np.float32)
        targets = np.empty(images.shape, np.uint8)
        self._begin(number)
        try:
            for place, draw in enumerate(batch):
                image, target = self._volume(draw.volume).cut(draw.number, lesion=draw.lesion)
                images[place, ..., 0], targets[place, ..., 0] = image, target
        finally:
            self._end(number)
        return images, targets

    def _volume(self, index: int) -> Volume:
        """Make a volume, or wait for the thread that makes it."""
        with self._lock:
            future = self._volumes.get(index)
            mine = future is None
            if future is None:
                future = self._volumes[index] = Future()
        if mine:
            case, augmentation = self.schedule.volumes[index]
            try:
                future.set_result(
                    Volume(
                        self.cases[case],
                        self.sampling,
                        seed=self.seed,
                        epoch=self.epoch,
                        augmentation=augmentation,
                    )
                )
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def _begin(self, number: int) -> None:
        with self._lock:
            self._busy[number] = self._busy.get(number, 0) + 1

    def _end(self, number: int) -> None:
        """Forget the volumes that no batch from here on needs."""
        with self._lock:
            self._busy[number] -= 1
            if not self._busy[number]:
                del self._busy[number]
            needed = min([number + 1, *self._busy])
            for index in [i for i in self._volumes if self.schedule.last[i] < needed]:
                del self._volumes[index]

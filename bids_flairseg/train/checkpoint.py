"""Checkpoints: the last good state, on the disk and in memory, and whose it is."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import OutputError, UsageError
from bids_flairseg.train.cursor import Cursor
from bids_flairseg.train.job import TrainingJob, find_difference
from bids_flairseg.train.state import (
    Arrays,
    capture,
    is_finite,
    read_arrays,
    restore,
    write_arrays,
)

LOGGER = logging.getLogger(__name__)

STATE_FILE, BEST_FILE = "state.npz", "best.npz"


class Keeper:
    """Keeps the state of one training.

    Parameters
    ----------
    job : TrainingJob
        Whose state it is.

    Raises
    ------
    OutputError
        The folder cannot be made.
    """

    def __init__(self, job: TrainingJob) -> None:
        self.folder = job.folder
        # as JSON gives it back: tuples are lists there
        self._identity = json.loads(json.dumps(job.identity()))
        self._good: tuple[Arrays, Cursor] | None = None
        self._best: tuple[int, list[NDArray[Any]]] | None = None  # epoch, weights
        self._written: tuple[int, int] | None = None  # epoch and step of the state on the disk
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in (STATE_FILE, BEST_FILE):  # of a process that was killed while it wrote
                for left in self.folder.glob(f".{name}-*"):
                    left.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder}: the folder of the training cannot be made ({error}). Choose "
                "another work folder."
            ) from error

    def load(self) -> tuple[Arrays, Cursor] | None:
        """Read the state of an earlier process.

        Returns
        -------
        state : tuple of dict and Cursor, or None
            None where there is none.

        Raises
        ------
        UsageError
            It is the state of another training.
        InputError
            It is damaged.
        """
        path = self.folder / STATE_FILE
        if not path.exists():
            return None
        arrays, meta = read_arrays(path)
        other = find_difference((meta or {}).get("identity"), self._identity)
        if other:
            raise UsageError(
                f"{path}: expected the state of this training, found that of another one: {other}. "
                "Repeat the command that began it, choose another work folder, or remove this one."
            )
        cursor = Cursor.from_json(meta["cursor"])
        self._written = cursor.epoch, cursor.step
        return arrays, cursor

    def save(self, model: keras.Model, cursor: Cursor) -> bool:
        """Write a checkpoint; where the disk is full, keep it in memory and go on.

        Parameters
        ----------
        model : keras.Model
            Compiled model.
        cursor : Cursor
            How far it has come.

        Returns
        -------
        good : bool
            False for weights that are not finite: then nothing is kept.
        """
        arrays = capture(model)
        if not is_finite(arrays):
            return False
        self._good = arrays, deepcopy(cursor)
        meta = {"identity": self._identity, "cursor": asdict(cursor)}
        if self._write(STATE_FILE, arrays, meta):
            self._written = cursor.epoch, cursor.step
        return True

    def outlook(self, cursor: Cursor) -> str:
        """Say from where another process would go on, which is what the disk holds.

        Parameters
        ----------
        cursor : Cursor
            How far this one has come.

        Returns
        -------
        text : str
            A sentence or two.
        """
        if self._written == (cursor.epoch, cursor.step):
            return "The same command goes on from there."
        if self._written:
            epoch, step = self._written
            return (
                f"The state could not be written: the same command goes on from epoch {epoch}, "
                f"round {step}, the last one on the disk. Make room there first."
            )
        return "No state is on the disk: the same command begins anew."

    def step_back(self, model: keras.Model) -> Cursor:
        """Put the last good state back into a model that was compiled anew.

        Parameters
        ----------
        model : keras.Model
            Compiled model.

        Returns
        -------
        cursor : Cursor
            A copy of the one that was saved with it.
        """
        arrays, cursor = self._good or ({}, Cursor())
        restore(arrays, model)
        return deepcopy(cursor)

    def save_best(self, weights: Sequence[NDArray[Any]], epoch: int) -> None:
        """Keep the weights that did best on held-out cases.

        Parameters
        ----------
        weights : sequence of ndarray
            As ``model.get_weights()`` gives them.
        epoch : int
            After which they were so.
        """
        copies = [np.array(value) for value in weights]
        self._best = epoch, copies
        arrays = {f"model{i}": value for i, value in enumerate(copies)}
        self._write(BEST_FILE, arrays, {"epoch": epoch})

    def best(self, epoch: int) -> list[NDArray[Any]] | None:
        """Return the weights that :meth:`save_best` kept after an epoch, by any process.

        Parameters
        ----------
        epoch : int
            That the cursor names.

        Returns
        -------
        weights : list of ndarray or None
            None where they were lost.
        """
        if self._best and self._best[0] == epoch:
            return self._best[1]
        if not (self.folder / BEST_FILE).exists():
            return None
        arrays, meta = read_arrays(self.folder / BEST_FILE)
        if not meta or meta.get("epoch") != epoch:
            return None
        return [arrays[f"model{i}"] for i in range(len(arrays))]

    def _write(self, name: str, arrays: Arrays, meta: Any) -> bool:
        """Write a file; tell whether it is on the disk now."""
        try:
            write_arrays(self.folder / name, arrays, meta)
        except OSError as error:
            LOGGER.warning(
                "%s: the checkpoint could not be written (%s). Training goes on, and tries again "
                "at the next one; make room there, or a run that is ended now repeats its work "
                "since the last one.", self.folder / name, error,
            )  # fmt: skip
            return False
        return True

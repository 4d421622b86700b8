"""How long a training has taken, and how long it will take at this pace."""

from __future__ import annotations

import time

from bids_flairseg.train.cursor import Cursor, Progress


class Pace:
    """Times one process's part of a training.

    Parameters
    ----------
    seconds_before : float
        That earlier processes took.
    """

    def __init__(self, seconds_before: float) -> None:
        self._before, self._began = seconds_before, time.monotonic()
        self._paced, self._rounds = self._began, -1

    @property
    def seconds(self) -> float:
        """Time of all processes so far."""
        return self._before + time.monotonic() - self._began

    def count_round(self) -> None:
        """Count a round; the first one of a process compiles, and tells no pace."""
        self._rounds += 1
        if not self._rounds:
            self._paced = time.monotonic()

    def progress(
        self, cursor: Cursor, *, epochs: int, accumulated: int, loss: float | None = None
    ) -> Progress:
        """Say where a training is.

        Parameters
        ----------
        cursor : Cursor
            How far it has come.
        epochs : int
            Of the whole training.
        accumulated : int
            Rounds of a step.
        loss : float, optional
            Of an epoch that has just been closed; without it, one is going on.

        Returns
        -------
        progress : Progress
            With the time left, once the pace is known.
        """
        done = cursor.epoch * cursor.rounds + (cursor.step if loss is None else 0)
        each = (time.monotonic() - self._paced) / max(self._rounds, 1)
        left = each * (epochs * cursor.rounds - done)
        return Progress(
            epoch=cursor.epoch + (loss is None),
            epochs=epochs,
            step=cursor.step // accumulated,
            steps=cursor.rounds // accumulated,
            loss=loss if loss is not None else cursor.loss_sum / max(cursor.step, 1),
            dice=cursor.dice,
            seconds_left=left if self._rounds > 0 else None,
        )

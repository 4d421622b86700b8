"""What a training tells while it runs: log, table, curve, event file, progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bids_flairseg.train.cursor import Progress
from bids_flairseg.train.curves import draw_curves
from bids_flairseg.train.events import append_scalars
from bids_flairseg.train.state import write_text

LOGGER = logging.getLogger(__name__)

COLUMNS = (
    "epoch", "steps", "loss", "learning_rate", "validation_dice", "best_epoch", "minutes",
)  # fmt: skip
LOG_FILE, HISTORY_FILE, CURVE_FILE = "training.log", "history.tsv", "curve.svg"
_EVENTS_FILE = "events.out.tfevents.0.flairseg"
_EVERY_S = 20.0


class Journal:
    """Writes to the folder of a training; a full disk silences it, and ends nothing.

    Parameters
    ----------
    folder : Path
        Of the training.
    report : callable, optional
        Gets every :class:`Progress` that is due, for a display.
    """

    def __init__(self, folder: Path, report: Callable[[Progress], None] | None = None) -> None:
        self.folder, self.report = folder, report
        self._told = 0.0
        self._failed = False

    def say(self, text: str) -> None:
        """Log a line, in the log file as well."""
        LOGGER.info("%s", text)
        stamp = datetime.now().astimezone().isoformat(" ", "seconds")
        self._write(lambda: self._append(f"{stamp} {text}\n"))

    def progress(self, now: Progress, *, due: bool = False) -> None:
        """Tell where the training is, every now and then.

        Parameters
        ----------
        now : Progress
            Where it is.
        due : bool
            Tell it even so short after the last one.
        """
        if not due and time.monotonic() - self._told < _EVERY_S:
            return
        self._told = time.monotonic()
        self.say(describe(now))
        if self.report:
            self.report(now)

    def epoch(self, rows: Sequence[Mapping[str, Any]], best_epoch: int) -> None:
        """Bring table, curve and event file up to date.

        Parameters
        ----------
        rows : sequence of mapping
            All rows of the history; the last one is new.
        best_epoch : int
            Epoch that would be kept now.
        """
        self.redraw(rows, best_epoch)
        numbers = {
            name: float(rows[-1][name])
            for name in ("loss", "learning_rate", "validation_dice")
            if rows[-1].get(name) is not None
        }
        self._write(
            lambda: append_scalars(self.folder / _EVENTS_FILE, int(rows[-1]["epoch"]), numbers)
        )

    def redraw(self, rows: Sequence[Mapping[str, Any]], best_epoch: int) -> None:
        """Write table and curve.

        Parameters
        ----------
        rows : sequence of mapping
            All rows of the history.
        best_epoch : int
            Epoch that would be kept now.
        """
        lines = ["\t".join(COLUMNS)]
        lines += ["\t".join(_cell(row.get(name)) for name in COLUMNS) for row in rows]
        curve = draw_curves(rows, best_epoch=best_epoch)
        self._write(lambda: write_text(self.folder / HISTORY_FILE, "\n".join(lines) + "\n"))
        self._write(lambda: write_text(self.folder / CURVE_FILE, curve))

    def _append(self, text: str) -> None:
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as stream:
            stream.write(text)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if not self._failed:
                LOGGER.warning("%s: log and history fall behind (%s)", self.folder, error)
            self._failed = True


def describe(now: Progress) -> str:
    """Say where a training is, in a line."""
    parts = [
        f"epoch {now.epoch}/{now.epochs}",
        f"step {now.step}/{now.steps}",
        f"loss {now.loss:.4f}",
    ]
    if now.dice is not None:
        parts.append(f"validation Dice {now.dice:.3f}")
    if now.seconds_left is not None:
        parts.append(f"{_duration(now.seconds_left)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _cell(value: object) -> str:
    return "n/a" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

"""What each scan is at, told by Nipype's callbacks, and shown to the user."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from nipype.pipeline.engine import Node
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bids_flairseg.nodes.step import Failure, read_failure

LOGGER = logging.getLogger(__name__)

STEPS: Mapping[str, str] = {
    "check": "checking the image",
    "find_brain": "finding the brain",
    "n4": "correcting the bias field",
    "prepare": "resampling and normalising",
    "segment": "segmenting",
    "restore": "going back to the FLAIR grid",
    "measure": "measuring",
    "plot": "drawing figures",
    "write": "writing results",
}
LAST_STEP = "write"


class Status(StrEnum):
    """What became of a scan."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    ELSEWHERE = "in another run"


@dataclass
class Row:
    """Where one scan stands.

    Attributes
    ----------
    scan : str
        Its name, such as ``sub-01_ses-A``.
    status : Status
        What became of it so far.
    step : str
        The step that runs, a key of ``STEPS``.
    steps_done : int
        Finished steps.
    started : float
        Clock time of its first step in s.
    seconds : float
        From the first to the last step.
    failure : Failure or None
        Why it failed.
    """

    scan: str
    status: Status = Status.WAITING
    step: str = ""
    steps_done: int = 0
    started: float = 0.0
    seconds: float = 0.0
    failure: Failure | None = None


class Display(Protocol):
    """Where progress is shown."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop showing."""

    def step(self, row: Row) -> None:
        """Show that a scan has entered a step, or has left one."""

    def finished(self, row: Row) -> None:
        """Show that a scan is done or has failed."""


class Board:
    """The rows of all scans of a run, kept up to date by Nipype's status callback.

    Parameters
    ----------
    rows : iterable of Row
        One per scan.
    display : Display
        Told of every change.
    on_finished : callable
        Called with the row of a scan that is done or has failed.
    """

    def __init__(
        self, rows: Iterable[Row], display: Display, on_finished: Callable[[Row], None]
    ) -> None:
        self.rows = {row.scan: row for row in rows}
        self._display = display
        self._on_finished = on_finished

    def __call__(self, node: Node, status: str) -> None:
        """Take note of a node that started, ended or failed.

        Parameters
        ----------
        node : Node
            Named ``workflow.scan.step``.
        status : str
            ``start``, ``end`` or ``exception``.
        """
        _, scan, step = node.fullname.split(".")
        row = self.rows[scan]
        # Some plugins call back for steps that they left out after a failure.
        if row.status is Status.FAILED:
            return
        row.started = row.started or time.monotonic()
        row.status, row.step = Status.RUNNING, step
        if status == "exception":
            self._fail(row, node)
            return
        row.steps_done += status == "end"
        if status == "end" and step == LAST_STEP:
            self._finish(row, Status.DONE)
        elif status == "start":
            self._display.step(row)

    def _fail(self, row: Row, node: Node) -> None:
        row.failure = read_failure(Path(node.output_dir())) or Failure(_last_words(node))
        self._finish(row, Status.FAILED)

    def _finish(self, row: Row, status: Status) -> None:
        row.status = status
        row.seconds = time.monotonic() - row.started
        self._on_finished(row)
        self._display.finished(row)


def _last_words(node: Node) -> str:
    """Take the last line of a failed node's traceback."""
    text = "".join(getattr(node, "_traceback", None) or [])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"The step {node.name!r} failed without a word."


class PlainDisplay:
    """One log line per scan and step."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._finished = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def step(self, row: Row) -> None:
        """Log the step."""
        LOGGER.info("%s: %s", row.scan, STEPS.get(row.step, row.step))

    def finished(self, row: Row) -> None:
        """Log how many scans have been gone through."""
        self._finished += 1
        LOGGER.info(
            "%s: %s after %.0f s (%d of %d)",
            row.scan,
            row.status,
            row.seconds,
            self._finished,
            self._total,
        )


class LiveDisplay:
    """A bar for the run and a line for every scan in work, redrawn in place.

    Parameters
    ----------
    total : int
        Scans of the run.
    steps : int
        Steps per scan.
    console : Console
        The terminal, the one the log goes to as well.
    """

    def __init__(self, total: int, steps: int, console: Console) -> None:
        self._total, self._steps = total, steps
        self._finished = 0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("left", style="dim"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._all = self._progress.add_task(self._headline(), total=total * steps)
        self._lines: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _headline(self) -> str:
        return f"{self._finished} of {self._total} scans"

    def step(self, row: Row) -> None:
        """Move the scan's line and the bar."""
        text = f"{row.scan}: {STEPS.get(row.step, row.step)}"
        if row.scan not in self._lines:
            self._lines[row.scan] = self._progress.add_task(text, total=self._steps)
        self._progress.update(self._lines[row.scan], description=text, completed=row.steps_done)
        self._move()

    def finished(self, row: Row) -> None:
        """Take the scan's line away and count it."""
        self._finished += 1
        line = self._lines.pop(row.scan, None)
        if line is not None:
            self._progress.remove_task(line)
        self._move()

    def _move(self) -> None:
        running = sum(
            task.completed for task in self._progress.tasks if task.id in self._lines.values()
        )
        self._progress.update(
            self._all,
            description=self._headline(),
            completed=self._finished * self._steps + running,
        )

"""Progress shown to the user: live on a terminal, line by line elsewhere."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

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

from bids_flairseg.workflow.progress import Row, describe_step

LOGGER = logging.getLogger(__name__)


def open_display(total: int, steps: int, console: Console | None) -> LogDisplay | LiveDisplay:
    """Choose how to show progress.

    Parameters
    ----------
    total : int
        Scans to do.
    steps : int
        Steps of each.
    console : Console or None
        The terminal, if there is one.

    Returns
    -------
    LogDisplay or LiveDisplay
        A context manager.
    """
    return LogDisplay(total) if console is None else LiveDisplay(total, steps, console)


class LogDisplay:
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
        LOGGER.info("%s: %s", row.scan, describe_step(row.step))

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
        return f"{self._finished} of {self._total} {'scan' if self._total == 1 else 'scans'}"

    def step(self, row: Row) -> None:
        """Move the scan's line and the bar."""
        text = f"{row.scan}: {describe_step(row.step)}"
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

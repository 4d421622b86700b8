"""What each scan is at, told by Nipype's callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from nipype.pipeline.engine import Node

from bids_flairseg.errors import StorageError
from bids_flairseg.nodes.step import Failure, read_failure
from bids_flairseg.storage import FULL
from bids_flairseg.workflow.scan import CASE_STEP, node_name

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
LAST_STEPS = ("write", CASE_STEP)
#: Of the workflow that prepares cases for training.
CASE_STEPS: Mapping[str, str] = {CASE_STEP: "keeping the case for training"}


def describe_step(step: str) -> str:
    """Say what a step does."""
    return {**STEPS, **CASE_STEPS}.get(step, step)


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
    began, ended : datetime or None
        When that was, in local time with its zone; None for what has not come yet.
    failure : Failure or None
        Why it failed.
    """

    scan: str
    status: Status = Status.WAITING
    step: str = ""
    steps_done: int = 0
    started: float = 0.0
    seconds: float = 0.0
    began: datetime | None = None
    ended: datetime | None = None
    failure: Failure | None = None


class Display(Protocol):
    """Where progress is shown."""

    def step(self, row: Row) -> None:
        """Show that a scan has entered a step."""

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
        self.rows = {node_name(row.scan): row for row in rows}
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
        row.began = row.began or datetime.now().astimezone()
        row.status, row.step = Status.RUNNING, step
        if status == "exception":
            self._fail(row, node)
            return
        row.steps_done += status == "end"
        if status == "end" and step in LAST_STEPS:
            self._finish(row, Status.DONE)
        elif status == "start":
            self._display.step(row)

    def _fail(self, row: Row, node: Node) -> None:
        row.failure = read_failure(Path(node.output_dir())) or _guess_failure(node)
        self._finish(row, Status.FAILED)

    def _finish(self, row: Row, status: Status) -> None:
        row.status = status
        row.seconds = time.monotonic() - row.started
        row.ended = datetime.now().astimezone()
        self._on_finished(row)
        self._display.finished(row)


def _guess_failure(node: Node) -> Failure:
    """Tell from its traceback why a node failed that could not say so itself."""
    text = "".join(getattr(node, "_traceback", None) or [])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else f"The step {node.name!r} failed without a word."
    if any(f"[Errno {number}]" in text for number in FULL):
        return Failure(
            f"The disk is full ({last}). Make room and run the same command again.",
            StorageError.exit_code,
        )
    if not Path(node.base_dir).is_dir() or "[Errno 2]" in text:
        return Failure(
            f"{node.base_dir}: the work folder, or a part of it, vanished during the run. Leave "
            "it alone, and run the same command again.",
            StorageError.exit_code,
        )
    return Failure(last)

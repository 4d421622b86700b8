"""The start of a run: which scans, and is the dataset valid; both at the same time."""

from __future__ import annotations

import threading
from contextlib import suppress

import psutil

from bids_flairseg.bids.scans import Scan, find_scans
from bids_flairseg.bids.validate import validate_dataset
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import FlairsegError

PROGRAM = "bids-validator-deno"


def find_valid_scans(dataset: DatasetConfig) -> list[Scan]:
    """Find the scans while the validator runs.

    Parameters
    ----------
    dataset : DatasetConfig
        The input.

    Returns
    -------
    list of Scan
        Never empty.

    Raises
    ------
    InvalidBidsError
        The dataset is not valid; this comes before all else that may be wrong.
    FlairsegError
        There is no scan.
    """
    validation = _Validation(dataset)
    try:
        try:
            return find_scans(dataset)
        finally:
            validation.finish()
    except FlairsegError:
        raise
    except BaseException:  # a signal, mostly
        _kill_validator()
        raise


class _Validation(threading.Thread):
    """Runs the validator; what it raises comes out of `finish`."""

    def __init__(self, dataset: DatasetConfig) -> None:
        super().__init__(daemon=True)
        self._dataset = dataset
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            validate_dataset(self._dataset)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            self._error = error

    def finish(self) -> None:
        self.join()
        if self._error is not None:
            raise self._error


def _kill_validator() -> None:
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(PROGRAM in word for word in child.cmdline()):
                child.kill()

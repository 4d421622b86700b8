"""The start of a run: which scans, and is the dataset valid; both at the same time."""

from __future__ import annotations

import threading
from types import TracebackType

from bids_flairseg.bids.scans import Scan, check_participants, find_scans
from bids_flairseg.bids.validate import validate_dataset
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import FlairsegError

#: How long a signal may have to wait until it is noticed, and the validator to end, in s.
POLL_S, END_S = 0.1, 0.8


def find_valid_scans(dataset: DatasetConfig) -> list[Scan]:
    """Find the scans while the validator runs; a signal ends both.

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
    NothingToDoError
        None of the participants asked for is there; the validator is not asked for that.
    InvalidBidsError
        The dataset is not valid; this comes before all else that may be wrong.
    FlairsegError
        There is no scan.
    """
    check_participants(dataset)
    with _Validation(dataset):
        return find_scans(dataset)


class _Validation(threading.Thread):
    """Runs the validator; what it raises comes out at the end of the ``with`` block."""

    def __init__(self, dataset: DatasetConfig) -> None:
        super().__init__(daemon=True)
        self._dataset = dataset
        self._error: Exception | None = None
        self._stop_asked = threading.Event()
        # Thread.join takes the thread for ended when a signal interrupts it (Python 3.11).
        self._done = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, FlairsegError):
            self._finish()
        else:  # a signal, mostly: nobody waits for the validator then
            self._cancel()

    def run(self) -> None:
        try:
            validate_dataset(self._dataset, self._stop_asked)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            self._error = error
        finally:
            self._done.set()

    def _finish(self) -> None:
        try:
            while not self._done.wait(POLL_S):
                pass
        except BaseException:
            self._cancel()
            raise
        if self._error is not None:
            raise self._error

    def _cancel(self) -> None:
        self._stop_asked.set()
        self._done.wait(END_S)

"""Participants taken by this run, so that two runs into one output do not mix their files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
from pathlib import Path
from typing import Self

from bids_flairseg.storage import as_output_error

LOGGER = logging.getLogger(__name__)

LOCK_FILE = ".participants.lock"
_TAKEN = {errno.EACCES, errno.EAGAIN}


class ParticipantLocks:
    """Locks on participants within one output folder.

    Each is a lock on one byte of one file, so there may be any number of them, and the
    system lets go of them when the process ends, however it ends. Where the file system
    knows no locks, everything counts as free.

    Parameters
    ----------
    folder : Path
        Where the lock file goes.

    Attributes
    ----------
    taken : set of str
        Labels of the participants that this run has.

    Raises
    ------
    OutputError, StorageError
        The file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK_FILE
        self.taken: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise as_output_error(error, path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def take(self, participant: str) -> bool:
        """Lock a participant.

        Parameters
        ----------
        participant : str
            Its label.

        Returns
        -------
        bool
            False when another process has it.
        """
        digest = hashlib.sha256(participant.encode()).digest()
        offset = int.from_bytes(digest[:5], "big")  # below 2^40, no two alike in practice
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            LOGGER.debug("no locks in the output folder: %s", error)
        self.taken.add(participant)
        return True

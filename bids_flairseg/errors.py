"""Errors that a user can act on, each with the exit code of the command line.

Codes 16 to 18 are those of BIDS Apps; 64 and above those of BSD's ``sysexits``.
"""

from __future__ import annotations


class FlairsegError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = 1


class InvalidBidsError(FlairsegError):
    """The input folder is not a valid BIDS dataset."""

    exit_code = 16


class AnalysisLevelError(FlairsegError):
    """The analysis level is neither ``participant`` nor ``group``."""

    exit_code = 17


class NothingToDoError(FlairsegError):
    """The filters matched no scan."""

    exit_code = 18


class UsageError(FlairsegError):
    """Arguments that contradict each other or have no meaning."""

    exit_code = 64


class InputError(FlairsegError):
    """A file is there, but what is in it cannot be used."""

    exit_code = 65


class MissingInputError(FlairsegError):
    """A file or folder that is needed is not there."""

    exit_code = 66


class OutputError(FlairsegError):
    """An output cannot be created."""

    exit_code = 73


class StorageError(FlairsegError):
    """Reading or writing failed half-way (disk full, folder vanished)."""

    exit_code = 74

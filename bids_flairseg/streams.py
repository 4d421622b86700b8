"""Standard streams, which schedulers and daemons may start a process without."""

from __future__ import annotations

import os
import sys


def open_streams() -> None:
    """Open the standard streams that are closed, so that no other file takes their numbers.

    What is written to them is lost, as whoever closed them wanted it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            _open_nothing(number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _open_nothing(number: int) -> None:
    """Connect a file descriptor with the null device, for child processes too."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.set_inheritable(number, True)

"""What schedulers, daemons and containers may start a process without: streams, a home."""

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


def find_home() -> None:
    """Name a home folder where there is none: no ``HOME``, and a user who is only a number.

    Libraries look there for settings and give up without. It is the root, as Docker has it;
    nothing is written there.
    """
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - pathlib raises then, and is not loaded yet
        os.environ["HOME"] = "/"

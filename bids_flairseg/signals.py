"""Signals that end a process: one exception, and never in the middle of starting another one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

#: What a user, a scheduler or a cluster sends to end a process.
ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asks this process to end; no ``except Exception`` on the way catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the signals that end a process into an exception, once.

    While the exception passes, further signals are ignored: what it tidies up is short.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def starting_processes() -> Iterator[None]:
    """Let signals wait while processes are spawned, and never reach what is spawned.

    A process whose parent is interrupted before it has got its work, or that gets Ctrl-C
    before it is ready for it, would end with a traceback. The processes begin with SIGINT and
    SIGTERM blocked; they call `ignore` or `obey`. Only the main thread is ever interrupted: in
    any other one the handlers stay.
    """
    from multiprocessing import resource_tracker  # not on the way to --help

    resource_tracker.ensure_running()  # it would unblock the signals when it starts
    received: list[int] = []
    held = {}
    if threading.current_thread() is threading.main_thread():
        held = {n: signal.signal(n, lambda number, _: received.append(number)) for n in ENDING}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in held.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for first in received[:1]:
            signal.raise_signal(first)


def ignore(numbers: Sequence[signal.Signals] = ENDING) -> None:
    """Leave it to the parent what ends; for a process that it has just started.

    Parameters
    ----------
    numbers : sequence of Signals
        What is ignored; any other signal that ends a process does so at once.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN if number in numbers else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def obey() -> None:
    """End at once, and silently, at a signal; for a process whose work is done anew."""
    ignore(())

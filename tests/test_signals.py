"""Signals: one exception, and not while a process is being started."""

from __future__ import annotations

import os
import signal

import pytest

from bids_flairseg.signals import Interrupted, interruptible, starting_processes

EACH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@EACH
def test_signals_become_one_exception(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, interruptible():
        signal.raise_signal(number)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


@EACH
def test_signals_wait_until_processes_are_started(number: signal.Signals) -> None:
    done = []

    def start() -> None:
        with interruptible(), starting_processes():
            os.kill(os.getpid(), number)
            done.append("started")

    with pytest.raises(Interrupted) as caught:
        start()
    assert done == ["started"]
    assert caught.value.exit_code == 128 + number
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_handlers_are_as_before_where_no_signal_came() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with starting_processes():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before

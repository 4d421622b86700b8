"""Signals: one exception, and not while a process is being started."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from bids_flairseg.signals import Interrupted, interruptible, obey, starting_processes

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


def test_a_pool_ends_when_one_of_its_workers_dies() -> None:
    context, begun = multiprocessing.get_context("spawn"), time.monotonic()
    with ProcessPoolExecutor(2, mp_context=context, initializer=obey) as pool:
        with starting_processes():
            list(pool.map(time.sleep, [0.5, 0.5]))  # both are there, and known
        waiting, dying = pool.submit(time.sleep, 60), pool.submit(os._exit, 3)
        for future in (waiting, dying):
            with pytest.raises(BrokenProcessPool):
                future.result()
    assert time.monotonic() - begun < 30

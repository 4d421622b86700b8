"""Worker processes that outlive the steps they run, so that what they loaded is kept."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from bids_flairseg import signals

LOGGER = logging.getLogger(__name__)


class Crew:
    """Executors of one process each: when one dies, the others' work goes on.

    Processes are spawned, not forked (a fork of a process with threads may hang), and only
    when there is work for them.

    Parameters
    ----------
    size : int
        Most processes at a time.
    log_file : Path
        Where they append what they print and log.
    level : int
        Lowest level that they log.
    """

    def __init__(self, size: int, *, log_file: Path, level: int = logging.INFO) -> None:
        self._arguments = (str(log_file), level)
        self._executors: list[ProcessPoolExecutor | None] = [None] * size
        self._running: list[Future[Any] | None] = [None] * size

    def submit(
        self, function: Callable[..., Any], *arguments: Any, from_end: bool = False
    ) -> Future[Any]:
        """Run a function in an idle process, or behind the work of the least busy one.

        Parameters
        ----------
        function : callable
            Importable by the workers, as are the arguments.
        *arguments : object
            What it is called with.
        from_end : bool
            Look for an idle process from the last one on. Steps without a network do, so
            that those with one meet where the networks are loaded already.

        Returns
        -------
        Future
            Of the call.
        """
        order = range(len(self._running))
        index = next(
            (i for i in (reversed(order) if from_end else order) if not self._busy(i)), order[-1]
        )
        future = self._send(index, function, *arguments)
        self._running[index] = future
        return future

    def prepare(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a function in the first process without counting it as busy.

        The first step with a network then waits behind the loading of the networks, rather
        than loading them a second time in another process.

        Parameters
        ----------
        function : callable
            Importable by the workers, as are the arguments.
        *arguments : object
            What it is called with.

        Returns
        -------
        Future
            Of the call.
        """
        return self._send(0, function, *arguments)

    def _send(self, index: int, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with signals.starting_processes():
            try:
                return self._executor(index).submit(function, *arguments)
            except BrokenProcessPool:  # it died after its last work: a new one takes its place
                self._executors[index] = None
                return self._executor(index).submit(function, *arguments)

    def _busy(self, index: int) -> bool:
        future = self._running[index]
        return future is not None and not future.done()

    def _executor(self, index: int) -> ProcessPoolExecutor:
        executor = self._executors[index]
        if executor is None:
            executor = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=self._arguments,
            )
            self._executors[index] = executor
        return executor

    def kill(self) -> None:
        """End all processes at once, whatever they do, and wait until they are gone."""
        processes = [
            process
            for executor in filter(None, self._executors)
            for process in (executor._processes or {}).values()
        ]
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        for executor in filter(None, self._executors):
            executor.shutdown(wait=True, cancel_futures=True)
        self._forget()

    def _forget(self) -> None:
        self._executors = [None] * len(self._executors)
        self._running = [None] * len(self._running)


def start_worker(
    log_file: str, level: int, ignored: Sequence[signal.Signals] = signals.ENDING
) -> None:
    """Prepare a fresh worker process: its output, its logging, its end.

    Parameters
    ----------
    log_file : str
        File to which all that it prints is appended.
    level : int
        Lowest level that it logs.
    ignored : sequence of Signals
        See ``signals.ignore``.
    """
    signals.ignore(ignored)  # Ctrl-C and a cluster's time limit reach all processes
    threading.Thread(target=_follow_parent, daemon=True).start()
    _redirect_output(log_file)
    logging.basicConfig(
        stream=sys.stderr,
        level=level,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # Nipype brings a handler of its own unless there is one.
    logging.getLogger("nipype").addHandler(logging.NullHandler())


def _follow_parent() -> None:
    """End this process when its parent is gone: one that was killed cannot tell us."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _redirect_output(log_file: str) -> None:
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()

"""Workers last, die alone, and end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from bids_flairseg.workflow.crew import Crew


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(2, log_file=tmp_path / "workers.log")
    yield crew
    crew.kill()


def test_worker_is_kept_between_tasks(crew: Crew) -> None:
    pids = {crew.submit(os.getpid).result() for _ in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_tasks_from_either_end_run_in_different_workers(crew: Crew) -> None:
    first, last = crew.submit(os.getpid), crew.submit(os.getpid, from_end=True)
    assert first.result() != last.result()


def test_dead_worker_takes_no_other_task_with_it(crew: Crew) -> None:
    other = crew.submit(time.sleep, 0.5, from_end=True)
    dying = crew.submit(os._exit, 3)
    with pytest.raises(BrokenProcessPool):
        dying.result()
    assert other.result() is None
    assert crew.submit(os.getpid).result() > 0  # its place is taken by a new one


def test_workers_ignore_the_signals_meant_for_the_parent(crew: Crew) -> None:
    pid = crew.submit(os.getpid).result()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert crew.submit(os.getpid).result() == pid


def test_signals_do_not_reach_a_worker_that_starts(crew: Crew) -> None:
    future = crew.submit(os.getpid)
    [started] = psutil.Process().children()[-1:]
    for number in (signal.SIGINT, signal.SIGTERM):
        started.send_signal(number)
    assert future.result() == started.pid


def test_kill_does_not_wait_for_the_task(crew: Crew) -> None:
    pid = crew.submit(os.getpid).result()
    crew.submit(time.sleep, 60)
    start = time.monotonic()
    crew.kill()
    assert time.monotonic() - start < 5
    assert not psutil.pid_exists(pid)


def test_output_of_workers_goes_to_the_log(crew: Crew, tmp_path: Path) -> None:
    crew.submit(os.system, "echo hello; echo world >&2").result()
    assert (tmp_path / "workers.log").read_text().split() == ["hello", "world"]


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, time, sys, pathlib\n"
        "from bids_flairseg.workflow.crew import Crew\n"
        "if __name__ == '__main__':\n"
        f"    crew = Crew(1, log_file=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "    print(crew.submit(os.getpid).result(), flush=True)\n"
        "    crew.submit(time.sleep, 60).result()\n"
    )
    file = tmp_path / "parent.py"
    file.write_text(script)
    parent = subprocess.Popen(
        [sys.executable, file], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_alive(worker)


def _is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_what_follows_the_preparation_meets_it_in_the_same_process(crew: Crew) -> None:
    prepared = crew.prepare(os.getpid)
    assert crew.submit(os.getpid).result(60) == prepared.result(60)

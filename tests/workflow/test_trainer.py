"""The process of a training: what it is given, and what it says when something goes wrong."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.errors import OutputError
from bids_flairseg.signals import Interrupted, starting_processes
from bids_flairseg.train.job import TrainingJob
from bids_flairseg.train.store import write_case
from bids_flairseg.workflow import trainer
from bids_flairseg.workflow.crew import start_worker
from bids_flairseg.workflow.trainer import Task, TrainingError
from tests.train.blobs import TINY_CONFIG, TINY_RECIPE, ball_case


@pytest.fixture
def task(tmp_path: Path) -> Task:
    case = ball_case(0)
    write_case(tmp_path, case)
    return Task(
        folder=tmp_path / "state", train=((tmp_path, case.name),), validation=(),
        recipe=TINY_RECIPE, parent=None, config=TINY_CONFIG, layers="all", seed=5, name="ours",
        bundle=tmp_path / "models" / "ours",
        settings={"memory_mb": 3000, "nthreads": 2, "device": "cpu"},
    )  # fmt: skip


def test_a_bundle_that_cannot_be_written_loses_nothing(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bids_flairseg.train import engine, result

    jobs = list[TrainingJob]()

    def save(*_: Any, **__: Any) -> None:
        raise OutputError("The disk is full.")

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(engine, "fit", lambda job, **_: jobs.append(job))
    monkeypatch.setattr(result, "save_result", save)
    with pytest.raises(OutputError, match=r"full\. Nothing is lost: .* from .*state\."):
        trainer._fit(task, lambda _: None)
    assert [(job.seed, job.memory_mb, job.nthreads) for job in jobs] == [(5, 3000, 2)]


def die(task: Task, log_file: str, connection: Connection) -> None:
    """Stand for a training that the system kills."""
    connection.send(("progress", {"text": "epoch 1", "total": 2, "done": 1}))
    os.kill(os.getpid(), signal.SIGKILL)


def die_halfway(task: Task, log_file: str, connection: Connection) -> None:
    """Stand for one that is killed while it writes a message of 64 bytes."""
    os.write(connection.fileno(), (64).to_bytes(4, "big") + b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("death", [die, die_halfway])
@pytest.mark.parametrize(
    ("state", "told"), [(True, "goes on from the last checkpoint in"), (False, "begins anew")]
)
def test_a_training_that_the_system_kills_is_told_with_what_to_do(
    task: Task, monkeypatch: pytest.MonkeyPatch, death: Callable[..., None], state: bool, told: str
) -> None:
    if state:
        task.folder.mkdir()
        (task.folder / "state.npz").touch()
    monkeypatch.setattr(trainer, "_train", death)
    with pytest.raises(TrainingError, match=rf"signal 9, Killed.*memory; see .*{told}") as caught:
        trainer.run_task(task, task.folder.parent / "training.log")
    assert "micro_batch" in str(caught.value)
    assert not multiprocessing.active_children()


def wait(task: Task, log_file: str, connection: Connection) -> None:
    """Stand for a training that has a minute to go."""
    start_worker(log_file, logging.INFO, ignored=(signal.SIGINT,))
    time.sleep(60)


def test_a_signal_while_the_training_starts_ends_it(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def interrupted() -> Iterator[None]:
        with starting_processes():
            yield
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(trainer, "_train", wait)
    monkeypatch.setattr(trainer, "starting_processes", interrupted)
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        trainer.run_task(task, task.folder.parent / "training.log")
    assert not multiprocessing.active_children()
    assert time.monotonic() - begun < 30


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(task: Task, tmp_path: Path) -> None:
    long = replace(task, recipe=replace(TINY_RECIPE, epochs=60, schedule="constant"))
    log = task.folder / "training.log"

    def kill() -> None:
        while not (task.folder / "state.npz").exists():
            time.sleep(0.02)
        for child in multiprocessing.active_children():
            child.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(TrainingError, match=r"signal 9, Killed.* goes on from"):
        trainer.run_task(long, tmp_path / "log")
    killer.join()
    assert "going on after epoch" not in log.read_text()
    summary = trainer.run_task(long, tmp_path / "log")
    assert "going on after epoch" in log.read_text()
    assert summary["best_epoch"] == 60
    assert (task.bundle / "model.weights.h5").is_file()


@pytest.mark.parametrize("path", ["cases/image.npy", None])
def test_a_disk_that_fails_is_told_with_the_file_and_what_to_do(
    task: Task, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error", path) if path else OSError("no such device")

    monkeypatch.setattr(trainer, "_fit", fail)
    for name in ("start_worker", "os.setsid"):
        monkeypatch.setattr(f"bids_flairseg.workflow.trainer.{name}", lambda *_, **__: None)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    trainer._train(task, "training.log", theirs)
    kind, (text, code) = ours.recv()
    assert (kind, code) == ("error", 74)
    assert text.startswith(f"{path or task.folder}: expected to read and write it")
    assert ("found: Input/output error." if path else "found: no such device.") in text
    assert "Make sure that its disk" in text
    assert "the same command begins anew" in text

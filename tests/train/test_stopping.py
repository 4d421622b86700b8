"""A training that is stopped, killed or spoilt goes on, and says from where."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_flairseg.model.runtime import set_up
from bids_flairseg.train import checkpoint, engine, feed
from bids_flairseg.train.cursor import CaseScore, Cursor, Progress
from bids_flairseg.train.job import DivergedError, FitResult, StoppedError, TrainingJob
from tests.train.blobs import TINY_RECIPE, assert_same, tiny_job

set_up(1, "cpu")

pytestmark = pytest.mark.usefixtures("every_round")


def at(epoch: int, step: int, act: Callable[[], None]) -> Callable[[Progress], None]:
    """Act once when a training has come so far."""

    def report(now: Progress) -> None:
        if (now.epoch, now.step) == (epoch, step):
            act()

    return report


@pytest.mark.slow
@pytest.mark.parametrize("epoch_and_step", [(1, 2), (2, 1), (3, 4)])
def test_after_sigterm_the_same_job_ends_as_an_unbroken_one(
    unbroken: tuple[TrainingJob, FitResult], tmp_path: Path, epoch_and_step: tuple[int, int]
) -> None:
    job = tiny_job(tmp_path / "run")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match="The same command goes on from there"):
        engine.fit(job, report=at(*epoch_and_step, kill))
    assert signal.getsignal(signal.SIGTERM) is before
    (job.folder / ".state.npz-1-abc").write_bytes(b"half")  # a kill while it was written
    resumed = engine.fit(job)
    assert not list(job.folder.glob(".*"))
    assert_same(resumed.model.get_weights(), unbroken[1].model.get_weights())
    losses = [[row.get("loss") for row in r.history] for r in (resumed, unbroken[1])]
    np.testing.assert_allclose(np.array(losses[0], float), np.array(losses[1], float), rtol=1e-4)
    assert resumed.best_epoch == unbroken[1].best_epoch


@pytest.mark.slow
def test_after_a_crash_it_goes_on_from_the_last_checkpoint(
    unbroken: tuple[TrainingJob, FitResult], tmp_path: Path
) -> None:
    def crash() -> None:
        raise RuntimeError("killed worker")

    job = tiny_job(tmp_path / "run", checkpoint_minutes=0.0)
    with pytest.raises(RuntimeError, match="killed worker"):
        engine.fit(job, report=at(2, 3, crash))
    seen: list[Progress] = []
    resumed = engine.fit(job, report=seen.append)
    assert (seen[0].epoch, seen[0].step) >= (2, 2)
    assert_same(resumed.model.get_weights(), unbroken[1].model.get_weights())


def test_a_row_that_a_kill_kept_from_the_table_comes_back(
    unbroken: tuple[TrainingJob, FitResult], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken[0].folder, folder)
    table = folder / "history.tsv"
    text = table.read_text()
    table.write_text(text[: text.rstrip().rindex("\n") + 1])
    engine.fit(replace(unbroken[0], folder=folder))
    assert table.read_text() == text


class _Spoilt:
    """Makes an image NaN in some of the epochs that are opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
        self.times, self.real = times, feed.open_epoch
        monkeypatch.setattr(engine, "open_epoch", self.open)

    def open(self, job: TrainingJob, epoch: int, first: int, micro_batch: int) -> Any:
        data = self.real(job, epoch, first, micro_batch)
        if epoch == 1 and self.times:
            self.times -= 1
            schedule = data.schedule
            case = schedule.volumes[schedule.batches[-1][0].volume][0]
            image = np.array(data.cases[case].image)
            image[:] = np.nan
            cases = list(data.cases)
            cases[case] = replace(cases[case], image=image)
            data.cases = tuple(cases)
        return data


@pytest.mark.slow
def test_nan_leads_back_to_the_last_good_state_and_a_lower_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Spoilt(monkeypatch, times=1)
    result = engine.fit(tiny_job(tmp_path / "run"))
    assert any("back to epoch 1" in note and "0.005" in note for note in result.notes)
    assert all(np.isfinite(value).all() for value in result.model.get_weights())
    assert len(result.history) == TINY_RECIPE.epochs
    rates = [row["learning_rate"] for row in result.history]
    assert rates[1] < 0.6 * rates[0]


@pytest.mark.slow
def test_nan_again_and_again_ends_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Spoilt(monkeypatch, times=99)
    with pytest.raises(DivergedError, match="learning_rate a tenth") as caught:
        engine.fit(tiny_job(tmp_path / "run"))
    assert "--dry-run" not in str(caught.value)
    assert (tmp_path / "run" / "state.npz").exists()


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_full_disk_does_not_end_training(
    unbroken: tuple[TrainingJob, FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(checkpoint, "write_arrays", full)
    result = engine.fit(tiny_job(tmp_path / "run"))
    assert "make room there" in caplog.text
    assert_same(result.model.get_weights(), unbroken[1].model.get_weights())


@pytest.mark.slow
def test_who_is_stopped_on_a_full_disk_learns_what_the_next_run_begins_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tmp_path / "run")

    def fill() -> None:
        monkeypatch.setattr(checkpoint, "write_arrays", full)
        kill()

    with pytest.raises(StoppedError, match="goes on from epoch 0, round 0, the last one on the di"):
        engine.fit(job, report=at(1, 2, fill))
    assert "goes on from epoch 0, round 0" in (job.folder / "training.log").read_text()


def test_who_is_stopped_before_there_is_a_state_learns_that_it_begins_anew(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(_: object, cases: Any, *__: object, **___: object) -> list[CaseScore]:
        kill()
        return [*cases]

    monkeypatch.setattr(engine, "score_cases", score)
    job = tiny_job(tmp_path / "run", parent=parent)
    with pytest.raises(StoppedError, match="No state is on the disk: the same command begins anew"):
        engine.fit(job)
    assert not (job.folder / "state.npz").exists()


def test_a_keeper_says_what_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "capture", lambda _: {})
    keeper = checkpoint.Keeper(tiny_job(tmp_path / "run"))
    assert "begins anew" in keeper.outlook(Cursor())
    keeper.save(None, Cursor(epoch=2, step=1))
    assert keeper.outlook(Cursor(epoch=2, step=1)) == "The same command goes on from there."
    assert "from epoch 2, round 1, the last" in keeper.outlook(Cursor(epoch=2, step=3))
    again = checkpoint.Keeper(tiny_job(tmp_path / "run"))
    again.load()
    assert "from epoch 2, round 1, the last" in again.outlook(Cursor(epoch=3))

"""The process of a training: what it is given, and what it says when something goes wrong."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.errors import OutputError
from bids_flairseg.train.job import TrainingJob
from bids_flairseg.train.store import write_case
from bids_flairseg.workflow import trainer
from bids_flairseg.workflow.trainer import Task
from tests.train.blobs import TINY_CONFIG, TINY_RECIPE, ball_case


def test_a_bundle_that_cannot_be_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bids_flairseg.train import engine, result

    case, jobs = ball_case(0), list[TrainingJob]()
    write_case(tmp_path, case)

    def save(*_: Any, **__: Any) -> None:
        raise OutputError("The disk is full.")

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(engine, "fit", lambda job, **_: jobs.append(job))
    monkeypatch.setattr(result, "save_result", save)
    task = Task(
        folder=tmp_path / "state", train=((tmp_path, case.name),), validation=(),
        recipe=TINY_RECIPE, parent=None, config=TINY_CONFIG, layers="all", seed=5, name="ours",
        bundle=tmp_path / "models" / "ours", settings={"memory_mb": 3000, "nthreads": 2},
    )  # fmt: skip
    with pytest.raises(OutputError, match=r"full\. Nothing is lost: .* from .*state\."):
        trainer._fit(task, lambda _: None)
    assert [(job.seed, job.memory_mb, job.nthreads) for job in jobs] == [(5, 3000, 2)]

"""A training that is killed at random moments ends as one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.train.job import FitResult, TrainingJob
from tests.conftest import ROOT

SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
import numpy as np
from bids_flairseg.train import engine, journal
from bids_flairseg.train.state import write_arrays
from tests.train.blobs import tiny_job

journal._EVERY_S = 0.0
folder, delay = Path(sys.argv[1]), float(sys.argv[2])

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

timer = threading.Timer(delay, kill) if delay else None

def begin(_):
    global timer
    if timer:
        timer, clock = None, timer
        clock.start()

result = engine.fit(tiny_job(folder, checkpoint_minutes=0.0), report=begin)
arrays = {f"w{i}": array for i, array in enumerate(result.model.get_weights())}
write_arrays(folder / "end.npz", arrays, [row.get("loss") for row in result.history])
"""


def train(folder: Path, delay: float) -> int:
    """Train in a process of its own, which kills itself some time after its first round."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(delay)], cwd=ROOT, check=False,
        capture_output=True, timeout=1200, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode


@pytest.mark.slow
def test_three_kills_at_random_moments_change_nothing(
    unbroken: tuple[TrainingJob, FitResult], tmp_path: Path
) -> None:
    from bids_flairseg.train.state import read_arrays

    seed = random.randrange(10**6)
    draw, folder = random.Random(seed), tmp_path / "run"
    duration = max(1.0, unbroken[1].seconds)
    killed = [train(folder, draw.uniform(0.02, 0.5) * duration) for _ in range(3)]
    assert -signal.SIGKILL in killed
    assert (folder / "state.npz").exists()
    assert train(folder, 0.0) == 0
    arrays, losses = read_arrays(folder / "end.npz")
    for index, expected in enumerate(unbroken[1].model.get_weights()):
        np.testing.assert_allclose(arrays[f"w{index}"], expected, atol=1e-5, err_msg=f"seed {seed}")
    history = [row.get("loss") for row in unbroken[1].history]
    np.testing.assert_allclose(losses, np.array(history, float), rtol=1e-4)
    rows = (folder / "history.tsv").read_text().splitlines()
    assert len(rows) == 1 + len(history)

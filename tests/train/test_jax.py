"""The same training without TensorFlow, on Keras's JAX backend, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from bids_flairseg.model.bundle import load_bundle
from bids_flairseg.train import engine, journal
from bids_flairseg.train.result import save_result
from tests.train.blobs import tiny_job

journal._EVERY_S = 0.0
folder = Path(sys.argv[1])

def kill(now):
    if (now.epoch, now.step) == (1, 2):
        os.kill(os.getpid(), signal.SIGTERM)

unbroken = engine.fit(tiny_job(folder / "unbroken"))
try:
    engine.fit(tiny_job(folder / "killed"), report=kill)
except engine.StoppedError:
    resumed = engine.fit(tiny_job(folder / "killed"))
pairs = zip(unbroken.model.get_weights(), resumed.model.get_weights(), strict=True)
save_result(tiny_job(folder / "unbroken"), unbroken, folder / "bundle")
again = load_bundle(folder / "bundle").model
print(json.dumps({
    "tensorflow": "tensorflow" in sys.modules,
    "difference": max(float(np.abs(a - b).max()) for a, b in pairs),
    "losses": [row["loss"] for row in unbroken.history],
    "parameters": again.count_params(),
}))
"""


@pytest.mark.slow
def test_training_on_jax_learns_and_resumes_without_tensorflow(tmp_path: Path) -> None:
    python = os.environ.get("FLAIRSEG_JAX_PYTHON", sys.executable)
    if python == sys.executable and find_spec("jax") is None:
        pytest.skip("no JAX in this environment (set FLAIRSEG_JAX_PYTHON to one that has it)")
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [python, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, env=environment, check=False,
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["tensorflow"]
    assert found["difference"] < 1e-5
    assert found["losses"][-1] < found["losses"][0]

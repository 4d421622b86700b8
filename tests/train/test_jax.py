"""The same training without TensorFlow, on Keras's JAX backend, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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

SHARED = """
import json, sys
from dataclasses import replace
from pathlib import Path
import keras
import numpy as np
from bids_flairseg.train import engine, parallel
from tests.train.blobs import TINY_RECIPE, tiny_job

recipe = replace(TINY_RECIPE, batch=4, micro_batch=2, epochs=1)
alone = engine.fit(tiny_job(Path(sys.argv[1]) / "alone", recipe=recipe)).model.get_weights()
engine.spread = lambda batch, device: parallel.spread(batch, device, kind="cpu")
shared = engine.fit(tiny_job(Path(sys.argv[1]) / "shared", recipe=recipe)).model.get_weights()
print(json.dumps({
    "devices": len(keras.distribution.distribution().device_mesh.devices),
    "odd": parallel.spread(3, "cpu", kind="cpu"),
    "difference": max(float(np.abs(a - b).max()) for a, b in zip(alone, shared, strict=True)),
}))
"""


@pytest.mark.slow
def test_training_on_jax_learns_and_resumes_without_tensorflow(tmp_path: Path) -> None:
    found = on_jax(SCRIPT, tmp_path)
    assert not found["tensorflow"]
    assert found["difference"] < 1e-5
    assert found["losses"][-1] < found["losses"][0]


@pytest.mark.slow
def test_two_devices_that_share_a_batch_come_to_the_same_weights_as_one(tmp_path: Path) -> None:
    found = on_jax(SHARED, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert found["devices"] == 2
    assert found["odd"] == 1
    assert found["difference"] < 1e-3


def on_jax(script: str, folder: Path, **variables: str) -> dict[str, Any]:
    """Run a script without TensorFlow; its last line is JSON."""
    python = os.environ.get("FLAIRSEG_JAX_PYTHON", sys.executable)
    if python == sys.executable and find_spec("jax") is None:
        pytest.skip("no JAX in this environment (set FLAIRSEG_JAX_PYTHON to one that has it)")
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"} | variables
    done = subprocess.run(
        [python, "-c", script, str(folder)], cwd=ROOT, env=environment, check=False,
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found

"""Two devices of TensorFlow share a batch: gradients, frozen weights, and resuming.

The devices are halves of the processor, which TensorFlow makes in a process of its own only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

BEGIN = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from bids_flairseg.train import engine, journal, parallel
from tests.train.blobs import TINY_RECIPE, tiny_job

journal._EVERY_S = 0.0
folder = Path(sys.argv[1])
recipe = replace(TINY_RECIPE, batch=4, micro_batch=0, loss="cross-entropy", clip_norm=0.0)
halves = parallel.count_devices

def fit(name, recipe=recipe, report=None, **changes):
    job = tiny_job(folder / name, recipe=recipe, validation=(), workers=2, **changes)
    return engine.fit(job, report=report).model

def fit_alone(name, recipe=recipe):
    parallel.count_devices = lambda batch, device: 1
    try:
        return fit(name, recipe)
    finally:
        parallel.count_devices = halves

def count(model):
    return model.distribute_strategy.num_replicas_in_sync

def compare(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
"""

EQUAL = """
def gradients(model):
    return [v.numpy() for v in model.optimizer.variables if "momentum" in v.name]

step = replace(recipe, epochs=1, steps_per_epoch=1)
two, one = fit("two", step), fit_alone("one", step)
pairs = list(zip(gradients(two), gradients(one), strict=True))
longer = replace(recipe, epochs=1, norm="keep")
long_two = fit("long-two", longer)
print(json.dumps({
    "replicas": [count(two), count(one)],
    "gradients": [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs],
    "step": compare(two, one),
    "training": compare(long_two, fit_alone("long-one", longer)),
    "moved": compare(long_two, two),
}))
"""

RESUMED = """
from bids_flairseg.model.bundle import load_bundle

def kill(now):
    if (now.epoch, now.step) == (1, 2):
        os.kill(os.getpid(), signal.SIGTERM)

parent = Path(sys.argv[2])
options = {"recipe": replace(recipe, epochs=2, loss="both"), "parent": parent, "layers": "last"}
unbroken = fit("unbroken", **options)
try:
    fit("killed", report=kill, **options)
except engine.StoppedError:
    resumed = fit("killed", **options)
old = load_bundle(parent).model
kept = {True: [], False: []}
for layer in unbroken.layers:
    for own, before in zip(layer.weights, old.get_layer(layer.name).weights, strict=True):
        kept[layer.trainable].append(bool(np.array_equal(own.numpy(), before.numpy())))
rounds = fit("rounds", replace(recipe, epochs=1, steps_per_epoch=1, micro_batch=2))
rows = (folder / "unbroken" / "history.tsv").read_text().splitlines()
place = rows[0].split("\\t").index("loss")
print(json.dumps({
    "replicas": list(map(count, (unbroken, resumed, rounds))),
    "difference": compare(unbroken, resumed),
    "frozen": kept[False],
    "trained": kept[True],
    "losses": [float(row.split("\\t")[place]) for row in rows[1:]],
}))
"""


@pytest.mark.slow
def test_two_devices_take_the_step_that_one_takes_with_the_whole_batch(tmp_path: Path) -> None:
    found = on_halves(EQUAL, tmp_path)
    assert found["replicas"] == [2, 1]
    assert found["gradients"]
    assert max(found["gradients"]) < 1e-3
    assert found["step"] < 1e-4
    assert found["training"] < 1e-4
    assert found["moved"] > 1e-3


@pytest.mark.slow
def test_two_devices_learn_resume_and_leave_frozen_layers_alone(
    tmp_path: Path, parent: Path
) -> None:
    found = on_halves(RESUMED, tmp_path, parent)
    assert found["replicas"] == [2, 2, 1]  # gradients of several rounds: the first device alone
    assert found["difference"] < 1e-6
    assert found["frozen"]
    assert all(found["frozen"])
    assert not any(found["trained"])
    assert found["losses"][-1] < found["losses"][0]


def on_halves(script: str, *folders: Path) -> dict[str, Any]:
    """Run a script on two halves of the processor; its last line is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script, *map(str, folders)], cwd=ROOT, check=False,
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found

"""The same training without TensorFlow, on Keras's JAX backend, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, os, signal, sys
sys.modules["tensorflow"] = None  # as if it were not installed: Keras takes it where it is
from pathlib import Path
import numpy as np
from bids_flairseg.model.bundle import load_bundle
from bids_flairseg.train import engine, journal
from bids_flairseg.train.result import save_result
from tests.train.blobs import tiny_job

journal._EVERY_S = 0.0
folder, foreign = Path(sys.argv[1]), Path(sys.argv[2])

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
image = np.random.default_rng(0).standard_normal((1, 16, 16, 16, 1), np.float32)
models = {"own": again, "foreign": load_bundle(foreign).model}
np.savez(folder / "predictions.npz", image=image,
         **{name: model.predict(image, verbose=0) for name, model in models.items()})
print(json.dumps({
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
halves, parallel.count_devices = parallel.count_devices, lambda batch, device: 1
alone = engine.fit(tiny_job(Path(sys.argv[1]) / "alone", recipe=recipe)).model.get_weights()
parallel.count_devices = halves
shared = engine.fit(tiny_job(Path(sys.argv[1]) / "shared", recipe=recipe)).model.get_weights()
print(json.dumps({
    "devices": len(keras.distribution.distribution().device_mesh.devices),
    "odd": parallel.count_devices(3, "cpu"),
    "difference": max(float(np.abs(a - b).max()) for a, b in zip(alone, shared, strict=True)),
}))
"""

TRANSPOSED = """
import json
import keras, numpy as np
from bids_flairseg.model.unet import _transposed

differences = []
for kernel, stride in ((3, 2), (2, 2), (4, 4)):
    ours, kerass = (
        layer(5, kernel, strides=stride, padding="same")
        for layer in (_transposed(), keras.layers.Conv3DTranspose)
    )
    x = np.random.default_rng(0).random((2, 6, 8, 4, 3), np.float32)
    ours(x), kerass.build(x.shape)
    kerass.set_weights(ours.get_weights())
    differences.append(float(np.abs(np.asarray(ours(x)) - np.asarray(kerass(x))).max()))
print(json.dumps({"own": _transposed() is not keras.layers.Conv3DTranspose, "d": differences}))
"""


@pytest.mark.slow
def test_the_transposed_convolution_that_a_gpu_can_train_is_that_of_keras(tmp_path: Path) -> None:
    found = on_jax(TRANSPOSED, tmp_path)
    assert found["own"]
    assert max(found["d"]) < 1e-5


@pytest.mark.slow
def test_training_on_jax_learns_and_resumes_without_tensorflow(
    tmp_path: Path, parent: Path
) -> None:
    found = on_jax(SCRIPT, tmp_path, parent)
    assert found["difference"] < 1e-5
    assert found["losses"][-1] < found["losses"][0]
    _check_that_bundles_move(tmp_path, {"own": tmp_path / "bundle", "foreign": parent})


def _check_that_bundles_move(folder: Path, bundles: dict[str, Path]) -> None:
    """Compare what JAX predicted with what TensorFlow does, by bundles that each has written."""
    from bids_flairseg.model.bundle import load_bundle

    with np.load(folder / "predictions.npz") as on_jax:
        image = on_jax["image"]
        for name, bundle in bundles.items():
            here = load_bundle(bundle).model.predict(image, verbose=0)
            assert np.abs(here - on_jax[name]).max() < 1e-4
            assert here.std() > 1e-3


@pytest.mark.slow
def test_two_devices_that_share_a_batch_come_to_the_same_weights_as_one(tmp_path: Path) -> None:
    found = on_jax(SHARED, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert found["devices"] == 2
    assert found["odd"] == 1
    assert found["difference"] < 1e-3


def on_jax(script: str, *folders: Path, **variables: str) -> Any:
    """Run a script without TensorFlow; its last line is JSON."""
    python = os.environ.get("FLAIRSEG_JAX_PYTHON", sys.executable)
    if python == sys.executable and find_spec("jax") is None:
        pytest.skip("no JAX in this environment (set FLAIRSEG_JAX_PYTHON to one that has it)")
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"} | variables
    done = subprocess.run(
        [python, "-c", script, *map(str, folders)], cwd=ROOT, env=environment, check=False,
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: Any = json.loads(done.stdout.splitlines()[-1])
    return found


IMPORTED = """
import json, sys
sys.modules["tensorflow"] = None
from bids_flairseg.train import engine, export
from bids_flairseg.train.online import fit
print(json.dumps([module.__file__ for name, module in sys.modules.items()
                  if name.startswith("bids_flairseg") and module.__file__]))
"""


def test_the_environment_of_ci_has_what_training_on_jax_imports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FLAIRSEG_JAX_PYTHON", raising=False)  # here is whatever there may be
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {named(re.split("[>=<[]", each)[0]) for each in project["dependencies"]}
    owners, used = metadata.packages_distributions(), set()
    for file in on_jax(IMPORTED):
        for line in re.findall(r"^(?:from|import) (\w+)", Path(file).read_text(), re.MULTILINE):
            used |= needed.intersection(map(named, owners.get(line, [])))
    assert {"keras", "numpy", "scipy"} <= used
    script = (ROOT / ".ci" / "run").read_text()
    [asked] = re.findall(r'"\$jax/bin/python" -m pip(.*?); then', script, re.DOTALL)
    missing = used - {named(word.strip("'").split(">=")[0]) for word in asked.split()}
    assert not missing, f".ci/run: expected {sorted(missing)} in the environment with JAX"


def named(distribution: str) -> str:
    """Spell the name of a distribution as indexes do."""
    return re.sub("[-_.]+", "-", distribution).lower()

"""Training on examples that are drawn on the device, from label maps to a bundle."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("jax", reason="no JAX in this environment (extra bids-flairseg[jax])")

from bids_flairseg.errors import MissingInputError
from bids_flairseg.train.online import supply

ROOT = Path(__file__).resolve().parents[2]
Labels = NDArray[np.uint16]


SCRIPT = """
import itertools, json, sys
from pathlib import Path
from types import SimpleNamespace
from dataclasses import replace
from bids_flairseg.model.unet import Stage, UNetConfig
from bids_flairseg.train import export, recipes
from bids_flairseg.train.online import anatomy, fit, lesion

if __name__ == "__main__":
    small = UNetConfig(encoder=(Stage(4, 4, 8),), decoder=(Stage(8, 8, 8),), residual=False,
                       head=(4,), head_kernel=3, head_activation="linear")
    for name, recipe in recipes.RECIPES.items():
        recipes.RECIPES[name] = replace(
            recipe, network=replace(small, classes=recipe.network.classes), precision="float32",
            warm_up_steps=2, steps_per_epoch=5, learning_rate=1e-2)
    lesion.lesion_example.__kwdefaults__["shape"] = (48, 56, 48)
    anatomy.anatomy_example.__kwdefaults__["shape"] = (32, 40, 32)
    ticks = itertools.count()  # a clock of steps: six times an epoch it is looked at
    fit.time = SimpleNamespace(monotonic=lambda: 0.2 * next(ticks))
    folder, heads = Path(sys.argv[1]), sys.argv[2:]
    ask = ["--heads", *heads, "--room", "8", "--minutes"]
    fit.main(["anatomy", "--run", str(folder / "anatomy"), *ask, "0.08"])
    lesion = ["lesion", "--run", str(folder / "lesion"), *ask]
    fit.main([*lesion, "0.01"])
    first = (folder / "lesion" / "history.jsonl").read_text().splitlines()
    with (folder / "lesion" / "history.jsonl").open("a") as stream:  # of a killed run
        stream.write(json.dumps({"epoch": len(first), "minutes": 9.0, "loss": 9.0}) + "\\n")
    fit.main([*lesion, str(json.loads(first[-1])["minutes"] + 0.08),
              "--settle", str(folder / "settled"), "--settle-minutes", "0.01"])
    rows = (folder / "lesion" / "history.jsonl").read_text().splitlines()
    assert rows[: len(first)] == first and len(rows) > len(first)
    export.main(["lesion", str(folder / "bundle"), "--run", str(folder / "settled")])
"""


@pytest.mark.slow
def test_training_on_the_device_goes_on_settles_and_becomes_a_bundle(
    head: Labels, tmp_path: Path
) -> None:
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"head{number}.nii.gz")
        nib.save(nib.Nifti1Image(head[::-1] if number else head, np.eye(4)), paths[-1])
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    python = os.environ.get("FLAIRSEG_JAX_PYTHON", sys.executable)
    environment = os.environ | {
        "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(
        [python, script, tmp_path, *paths], env=environment, check=False, capture_output=True,
        text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for kind in ("lesion", "anatomy"):
        text = (tmp_path / kind / "history.jsonl").read_text()
        losses = [json.loads(line)["loss"] for line in text.splitlines()]
        assert len(losses) > 3
        assert losses[-1] < losses[0]
    assert (tmp_path / "bundle" / "model.weights.h5").exists()


def test_a_mistyped_patient_is_told_before_processes_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda *_: pytest.fail("started"))
    masks = tmp_path / "sub-01" / "anat"
    masks.mkdir(parents=True)
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    for name in ("label-lesion", "desc-brain"):
        nib.save(image, masks / f"sub-01_{name}_mask.nii.gz")
    with pytest.raises(MissingInputError, match="sub-10"):
        supply.LesionSupply(
            [tmp_path / "no head"], tmp_path, seed=0, workers=1, room=1, leave_out=["10"]
        )

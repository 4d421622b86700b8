"""The paper's training: whether it learns, and what an epoch of fine-tuning costs against it.

``train`` trains the preset ``duong2019`` from random weights for some hundred steps on synthetic
heads, two of which are held out, and leaves the curve of loss and Dice; the same command goes on
where it was stopped. ``epoch`` measures a step from scratch and with each choice of layers, in
turns, and works out the epochs of the paper: all 327 patients of both institutions (M_1+2) against
the 34 that M_FT(1+2) is fine-tuned on, for which the paper reports a factor of 8.

    python benchmarks/duong2019.py train OUT --heads FOLDER [--steps 300] [--batch 4]
    python benchmarks/duong2019.py epoch [--patch 96] [--batch 2] [--turns 3]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import Any

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import keras
import numpy as np

from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.unet import build_unet
from bids_flairseg.preprocess.normalise import normalise_array
from bids_flairseg.train.engine import fit
from bids_flairseg.train.job import StoppedError, TrainingJob, scratch_config
from bids_flairseg.train.layers import LAYERS, freeze
from bids_flairseg.train.network import compile_model, training_precision
from bids_flairseg.train.presets import load_recipe
from bids_flairseg.train.store import NOT_ZERO, StoredCase, read_cases, write_case
from bids_flairseg.train.synthesis.labels import read_labels
from bids_flairseg.train.synthesis.lesion import lesion_example
from bids_flairseg.train.synthesis.places import Places

BOTH, LOCAL = 293 + 34, 34  # patients of M_1+2 and of the fine-tuning in Rauschecker et al. 2022
HELD_OUT = 2
SCRATCH = "from scratch"


def draw(folder: Path, heads: list[Path], count: int) -> tuple[StoredCase, ...]:
    """Draw the cases that are not there yet."""
    names = [f"sub-{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        if (folder / f"{name}.json").exists():
            continue
        rng = np.random.default_rng((1, number))
        places = Places.of_head(read_labels(heads[number % len(heads)]))
        image, target = lesion_example(rng, places, None, kind="demyelination")
        inside = image != 0
        scaled = normalise_array(np.asarray(image, np.float32), inside, kind="zscore")
        scaled = np.where(inside, np.where(np.abs(scaled) < NOT_ZERO, NOT_ZERO, scaled), 0)
        case = StoredCase(
            name=name, participant=name[4:], image=scaled.astype(np.float16), target=target,
            lesion_ml=float(target.sum()) / 1000, attributes={},
        )  # fmt: skip
        write_case(folder, case)
    return read_cases(folder, names)


def train(chosen: argparse.Namespace) -> None:
    """Train, and print the loss of each epoch."""
    set_up(chosen.threads, "cpu")
    cases = draw(chosen.out / "cases", sorted(chosen.heads.glob("**/*.nii.gz")), chosen.cases)
    values = {"epochs": str(-(-chosen.steps // 25)), "steps_per_epoch": "25",
              "batch": str(chosen.batch), "patch": str(chosen.patch)}  # fmt: skip
    job = TrainingJob(
        folder=chosen.out / "training", train=cases[HELD_OUT:], validation=cases[:HELD_OUT],
        recipe=load_recipe("duong2019", values | {"validate_every": "4"}),
        nthreads=chosen.threads, workers=2, device="cpu",
    )  # fmt: skip
    stop = threading.Timer(60 * chosen.minutes, os.kill, (os.getpid(), signal.SIGTERM))
    stop.daemon = True
    stop.start()
    try:
        result = fit(job, report=lambda now: print(now, flush=True))
    except StoppedError as error:
        print(error)
        return
    stop.cancel()
    for row in result.history:
        print(row)
    first, last = result.history[0]["loss"], result.history[-1]["loss"]
    print(f"loss {first:.4f} in the first epoch, {last:.4f} in the last, "
          f"{result.seconds / 60:.1f} min; curve: {job.folder / 'curve.svg'}")  # fmt: skip


def epoch(chosen: argparse.Namespace) -> None:
    """Measure steps in turns, and print what follows for the paper's epochs."""
    device = set_up(chosen.threads, "cpu")
    recipe = load_recipe("duong2019", {"patch": str(chosen.patch), "batch": str(chosen.batch)})
    config = scratch_config(recipe)
    precision = training_precision(recipe, config, device)
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    keras.mixed_precision.set_global_policy(policy)
    rng = np.random.default_rng(0)
    shape = (chosen.batch, *(chosen.patch,) * 3, 1)
    batch = rng.standard_normal(shape, np.float32), (rng.random(shape) < 0.02).astype(np.uint8)
    models: dict[str, Any] = {}
    for name in (SCRATCH, *LAYERS):
        models[name] = build_unet(config.architecture)
        freeze(models[name], "all" if name == SCRATCH else name)
        compile_model(models[name], recipe, rounds=1, steps=1000)
        models[name].train_on_batch(*batch)  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(chosen.turns):
        for name, model in models.items():
            began = time.monotonic()
            model.train_on_batch(*batch)
            seconds[name].append(time.monotonic() - began)
    whole = BOTH * statistics.median(seconds[SCRATCH])
    print(f"{precision}, batch {chosen.batch} of {chosen.patch}^3, {chosen.threads} threads")
    for name, values in seconds.items():
        cases = BOTH if name == SCRATCH else LOCAL
        ratio = whole / (cases * statistics.median(values))
        print(f"{name}: step {min(values):.2f}, {statistics.median(values):.2f}, "
              f"{max(values):.2f} s (minimum, median, maximum); {cases} cases an epoch, "
              f"{ratio:.1f} times as fast as one from scratch")  # fmt: skip


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training, measuring = commands.add_parser("train"), commands.add_parser("epoch")
    for each, size in ((training, 4), (measuring, 2)):
        each.add_argument("--batch", type=int, default=size)
        each.add_argument("--patch", type=int, default=96)
        each.add_argument("--threads", type=int, default=2)
    training.add_argument("out", type=Path)
    training.add_argument("--heads", type=Path, required=True, help="folder of label maps")
    training.add_argument("--steps", type=int, default=300)
    training.add_argument("--cases", type=int, default=12)
    training.add_argument("--minutes", type=float, default=1e4, help="stop after them")
    measuring.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    {"train": train, "epoch": epoch}[chosen.command](chosen)


if __name__ == "__main__":
    main()

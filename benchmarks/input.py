"""The input of training: whether it slows training down, and whether its memory stays flat.

Cases of the size of a head are written to a store as training does it. The lesion network then
trains in turns, by the recipe of fine-tuning with so many participants: on two batches that lie in
memory, which is pure compute, and on what `PatchDataset` cuts from the mapped and augmented
volumes, epoch after epoch. What waits in the queue was made before, so as many steps as it
holds do not count, in either kind of turn. Rates, processor time and their ratios are printed for
each pair of turns, so that whatever else the machine does meets both; then the memory.

    python benchmarks/input.py [--cases 100] [--steps 40] [--turns 3] [--batch 4]
        [--micro-batch 1] [--networks all] [--from-scratch]

Ends with 1 where the median ratio is under 0.95 or the memory over 4 GB, with ``--check``.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import keras
import numpy as np
import psutil

from bids_flairseg.model.bundle import BundleConfig, bundled, read_config
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.unet import build_unet
from bids_flairseg.train.feed import sampling_of
from bids_flairseg.train.layers import NETWORKS, freeze, trained_members
from bids_flairseg.train.network import compile_model, training_precision
from bids_flairseg.train.patches import PatchDataset
from bids_flairseg.train.presets import SiteRecipe, load_recipe
from bids_flairseg.train.sampling import Sampling
from bids_flairseg.train.store import StoredCase, read_cases, write_case

SHAPE = (140, 172, 134)
LEAST_RATIO, MOST_GB = 0.95, 4.0
# Batches that wait, as in training, and the first step besides.
QUEUE = 6
UNCOUNTED = QUEUE + 2


@dataclass(frozen=True)
class Turn:
    """What some steps took: seconds of the clock and of the processors, for one step."""

    wall: float
    processor: float


class Clock(keras.callbacks.Callback):
    """Takes the time from the end of the steps that do not count to that of the last."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Note when a step has ended."""
        times = psutil.Process().cpu_times()
        self.ends.append((time.monotonic(), times.user + times.system))

    @property
    def turn(self) -> Turn:
        """Means over all steps that count."""
        counted = self.ends[UNCOUNTED - 1 :]
        count = len(counted) - 1
        wall, processor = (b - a for a, b in zip(counted[0], counted[-1], strict=True))
        return Turn(wall / count, processor / count)


class Batches(keras.utils.PyDataset):
    """A number of batches from a function, ahead of time as in training."""

    def __init__(self, get: Callable[[int], Any], count: int) -> None:
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=QUEUE)
        self.get, self.count = get, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.get(index)


class Epochs:
    """The batches of one epoch after the other; a new one begins as in training."""

    def __init__(self, cases: tuple[StoredCase, ...], sampling: Sampling) -> None:
        self.cases, self.sampling, self.lock = cases, sampling, threading.Lock()
        self.length = len(PatchDataset(cases, sampling, seed=0))
        self.open: dict[int, PatchDataset] = {}

    def get(self, index: int) -> Any:
        """Return a batch; threads ask for those that follow one another."""
        epoch, number = divmod(index, self.length)
        with self.lock:
            if epoch not in self.open:
                data = PatchDataset(self.cases, self.sampling, seed=0, epoch=epoch)
                # the last one may still be read from
                self.open = {e: d for e, d in self.open.items() if e == epoch - 1} | {epoch: data}
            data = self.open[epoch]
        return data[number]


def write_cases(folder: Path, count: int) -> tuple[StoredCase, ...]:
    """Write cases of noise in an ellipsoid with a few balls of lesion."""
    rng = np.random.default_rng(0)
    grid = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    centre = [(n - 1) / 2 for n in SHAPE]
    pairs = zip(grid, centre, SHAPE, strict=True)
    brain = sum(((g - c) / (0.48 * n)) ** 2 for g, c, n in pairs) < 1
    noise = rng.standard_normal(SHAPE, np.float32)
    for number in range(count):
        target = np.zeros(SHAPE, bool)
        for _ in range(6):
            middle = [c + rng.uniform(-0.25, 0.25) * n for c, n in zip(centre, SHAPE, strict=True)]
            target |= sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)) < 5**2
        target &= brain
        noise = np.roll(noise, (7, 11, 13), axis=(0, 1, 2))
        case = StoredCase(
            name=f"sub-{number}",
            participant=str(number),
            image=np.where(brain, noise + 2 * target + 0.01, 0).astype(np.float16),
            target=target.astype(np.uint8),
            lesion_ml=float(target.sum()) / 1000,
            attributes={},
        )
        write_case(folder, case)
    return read_cases(folder, [f"sub-{number}" for number in range(count)])


def make_model(
    config: BundleConfig, recipe: SiteRecipe, precision: str, rounds: int
) -> keras.Model:
    """Build and compile the network as training does."""
    keras.mixed_precision.set_global_policy(
        "mixed_bfloat16" if precision == "bfloat16" else "float32"
    )
    model = build_unet(config.architecture)
    members = trained_members(config.architecture, recipe.networks)
    freeze(model, recipe.layers, norm=recipe.norm == "keep", members=members)
    compile_model(model, recipe, rounds=rounds, steps=10_000)
    return model


def compare(cases: tuple[StoredCase, ...], chosen: argparse.Namespace) -> tuple[float, float]:
    """Train in turns; return the median ratio of rates and the most memory in GB."""
    values = {"batch": chosen.batch, "networks": chosen.networks}
    recipe = load_recipe(
        "default",
        {key: str(value) for key, value in values.items() if value},
        fine_tuning=not chosen.from_scratch,
        participants=chosen.cases,
    )
    config = read_config(bundled("lesion"))
    precision = training_precision(recipe, config, "cpu")
    at_once = chosen.micro_batch or recipe.batch
    model = make_model(config, recipe, precision, recipe.batch // at_once)
    epochs = Epochs(cases, sampling_of(recipe, at_once))
    print(f"{len(cases)} cases, {recipe.batch} patches of {recipe.patch} voxels' edge a step, "
          f"{at_once} at once, {epochs.length} batches an epoch, {recipe.networks} trained, "
          f"{model.count_params():,} weights, {precision}")  # fmt: skip
    ready = [epochs.get(index) for index in range(2)]

    def fit(get: Callable[[int], Any]) -> Turn:
        clock = Clock()
        source = Batches(get, chosen.steps + UNCOUNTED)
        model.fit(source, epochs=1, shuffle=False, verbose=0, callbacks=[clock])
        return clock.turn

    model.fit(Batches(lambda index: ready[index], 1), epochs=1, verbose=0)  # compiles
    ratios = []
    for number in range(chosen.turns):
        first = 2 + number * (chosen.steps + UNCOUNTED)
        pure = fit(lambda index: ready[index % 2])
        fed = fit(lambda index, first=first: epochs.get(first + index))
        ratios.append(pure.wall / fed.wall)
        print(
            f"turn {number + 1}: {1 / pure.wall:.3f} batches/s from memory, {1 / fed.wall:.3f} "
            f"from the store: ratio {ratios[-1]:.3f}; processor seconds {pure.processor:.2f} and "
            f"{fed.processor:.2f}: ratio {pure.processor / fed.processor:.3f}; "
            f"{psutil.Process().memory_info().rss / 1e9:.2f} GB resident",
            flush=True,
        )
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"ratio of rates: minimum {min(ratios):.3f}, median {statistics.median(ratios):.3f}, "
        f"maximum {max(ratios):.3f} (wanted: {LEAST_RATIO}); at most {most:.2f} GB resident "
        f"(wanted: {MOST_GB:g})"
    )
    return statistics.median(ratios), most


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--steps", type=int, default=40, help="batches of a turn that count")
    parser.add_argument("--turns", type=int, default=3, help="of each kind")
    parser.add_argument("--batch", type=int, default=0, help="patches; 0 for the recipe's")
    parser.add_argument(
        "--micro-batch", type=int, default=0, help="patches at once, as in a recipe; 0 for all"
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="train as --mode train, not as fine-tuning"
    )
    parser.add_argument("--networks", choices=NETWORKS, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", action="store_true", help="fail where it is too slow or large")
    chosen = parser.parse_args()
    memory = psutil.virtual_memory().total / 1e9
    print(f"{os.cpu_count()} processors, {chosen.threads} threads, {memory:.0f} GB of memory, load "
          f"{os.getloadavg()[0]:.1f}")  # fmt: skip
    set_up(chosen.threads, "cpu")
    with tempfile.TemporaryDirectory(prefix="flairseg-input-") as folder:
        ratio, most = compare(write_cases(Path(folder), chosen.cases), chosen)
    return int(chosen.check and (ratio < LEAST_RATIO or most > MOST_GB))


if __name__ == "__main__":
    sys.exit(main())

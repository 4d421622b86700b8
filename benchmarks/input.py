"""The input of training: whether it slows training down, and whether its memory stays flat.

``python benchmarks/input.py --cases 100 --steps 60`` makes cases of the size of a head, trains
the shipped lesion network on patches that lie in memory and on those that `PatchDataset` cuts,
in turns of a few steps, and prints both rates, their ratio and the resident memory.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import psutil

from bids_flairseg.model.bundle import bundled, read_config
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.unet import build_unet
from bids_flairseg.train.losses import binary_loss
from bids_flairseg.train.patches import PatchDataset
from bids_flairseg.train.sampling import Sampling
from bids_flairseg.train.store import StoredCase, read_cases, write_case

SHAPE = (140, 172, 134)
TURN = 5


class InMemory(keras.utils.PyDataset):
    """Batches that were made before."""

    def __init__(self, batches: list[tuple[np.ndarray, np.ndarray]], count: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.batches, self.count = batches, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.batches[index % len(self.batches)]


def make_cases(folder: Path, count: int) -> tuple[StoredCase, ...]:
    """Write cases of noise in an ellipsoid with a few balls of lesion; files are shared."""
    rng = np.random.default_rng(0)
    grid = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    centre = [(n - 1) / 2 for n in SHAPE]
    pairs = zip(grid, centre, SHAPE, strict=True)
    brain = sum(((g - c) / (0.48 * n)) ** 2 for g, c, n in pairs) < 1
    for number in range(count):
        target = np.zeros(SHAPE, bool)
        for _ in range(6):
            middle = [c + rng.uniform(-0.25, 0.25) * n for c, n in zip(centre, SHAPE, strict=True)]
            target |= sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)) < 5**2
        noise = rng.standard_normal(SHAPE, np.float32)
        image = np.where(brain, noise + 2 * target + 0.01, 0).astype(np.float16)
        write_case(
            folder,
            StoredCase(
                name=f"sub-{number}",
                participant=str(number),
                image=image,
                target=(target & brain).astype(np.uint8),
                lesion_ml=float((target & brain).sum()) / 1000,
                attributes={},
            ),
        )
    return read_cases(folder, [f"sub-{number}" for number in range(count)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--augment", action="store_true", help="intensities as well")
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    folder = Path(tempfile.mkdtemp(prefix="flairseg-input-"))
    try:
        compare(folder, chosen)
    finally:
        shutil.rmtree(folder)


def compare(folder: Path, chosen: argparse.Namespace) -> None:
    """Train in turns on batches from memory and on those that are cut."""
    cases = make_cases(folder, chosen.cases)
    sampling = Sampling(patch=chosen.patch, batch=chosen.batch)
    if chosen.augment:
        sampling = replace(sampling, bias=0.5, blur=0.3, slices=0.3, noise=0.5, gamma=0.5)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = build_unet(read_config(bundled("lesion")).architecture)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=binary_loss, jit_compile=False)
    data = PatchDataset(cases, sampling, seed=0)
    print(f"{len(cases)} cases, {len(data)} batches in an epoch")
    batches = [data[index] for index in range(2)]
    model.fit(InMemory(batches, 2), epochs=1, verbose=0)
    process = psutil.Process()
    seconds = {"memory": 0.0, "patches": 0.0}
    processor = {"memory": 0.0, "patches": 0.0}
    # In turns, so that whatever else the machine does slows both alike.
    for turn in range(0, chosen.steps, TURN):
        for name, source in (
            ("memory", InMemory(batches, TURN)),
            ("patches", _Part(data, turn)),
        ):
            began, used = time.monotonic(), _used(process)
            model.fit(source, epochs=1, shuffle=False, verbose=0)
            seconds[name] += time.monotonic() - began
            processor[name] += _used(process) - used
        print(f"after {turn + TURN} steps: {process.memory_info().rss / 1e9:.2f} GB resident")
    for name, wall in seconds.items():
        print(
            f"{name}: {chosen.steps / wall:.3f} steps/s, "
            f"{processor[name] / chosen.steps:.2f} processor seconds a step"
        )
    print(f"step rate with patches / from memory: {seconds['memory'] / seconds['patches']:.3f}")
    print(f"the same of processor time: {processor['memory'] / processor['patches']:.3f}")


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class _Part(keras.utils.PyDataset):
    """A few batches of an epoch."""

    def __init__(self, data: PatchDataset, first: int) -> None:
        super().__init__(workers=data.workers, use_multiprocessing=False, max_queue_size=6)
        self.data, self.first = data, first

    def __len__(self) -> int:
        return TURN

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.data[self.first + index]


if __name__ == "__main__":
    main()

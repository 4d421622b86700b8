"""TensorFlow's own convolutions against those of oneDNN, on this processor.

flairseg asks for oneDNN on every x86-64 processor (``bids_flairseg/__init__.py``); TensorFlow by
itself does so only where it knows the processor for a new one. Each way has a process of its own,
since TensorFlow decides when it is loaded; the two take turns.

    python benchmarks/onednn.py [--model BUNDLE] [--threads 2] [--turns 3]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bids_flairseg.model.bundle import bundled, load_bundle
from bids_flairseg.model.runtime import applied, set_up

WAYS = {"TensorFlow's own": "0", "oneDNN": "1"}
BRAIN = (160, 192, 160)  # voxels of 1 mm, a whole brain
PATCHES = (2, 96, 96, 96)  # one step of fine-tuning


def measure(model: Path, threads: int) -> dict[str, float]:
    """Time one prediction of a brain and one step of training, each after a first one."""
    set_up(threads, "cpu")
    network = load_bundle(model).model
    apply = applied(network)
    rng = np.random.default_rng(0)
    brain = rng.standard_normal((1, *BRAIN, 1), np.float32)
    patches = rng.standard_normal((*PATCHES, 1), np.float32)
    target = (patches > 2).astype(np.float32)
    network.compile("adam", "binary_crossentropy", jit_compile=False)
    seconds = {}
    for name, do in (
        ("prediction", lambda: apply(brain)),
        ("training step", lambda: network.train_on_batch(patches, target)),
    ):
        do()
        start = time.perf_counter()
        do()
        seconds[name] = time.perf_counter() - start
    seconds["peak GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return seconds


def run(way: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Measure in a process of its own."""
    words = [sys.executable, __file__, "--one"]
    words += ["--model", str(chosen.model), "--threads", str(chosen.threads)]
    variables = os.environ | {"TF_ENABLE_ONEDNN_OPTS": WAYS[way]}
    done = subprocess.run(words, env=variables, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Compare both ways, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled("lesion"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.model, chosen.threads)))
        return
    turns = [{way: run(way, chosen) for way in WAYS} for _ in range(chosen.turns)]
    print("| median of", chosen.turns, "turns |", " | ".join(WAYS), "| ratio |")
    print("|---|---|---|---|")
    for name in turns[0]["oneDNN"]:
        own, other = (statistics.median(turn[way][name] for turn in turns) for way in WAYS)
        print(f"| {name} | {own:.2f} | {other:.2f} | {own / other:.2f} |")


if __name__ == "__main__":
    main()

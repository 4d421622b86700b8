"""Whether a fine-tuning on real scans that is killed and goes on ends as one that was left alone.

Fine-tunes twice by the command itself, with a checkpoint every few seconds. The second time all
of its processes get SIGKILL at random moments of the training, and the same command is given
again. Prints when it was killed, where it went on, and how far weights, losses and Dice of the
two are apart.

    python benchmarks/killed.py OUT --bids DIR --labels DIR [--participants 1 2 3] [--kills 3]

Takes ``--model``, ``--recipe``, ``--set`` and ``--layers`` as flairseg does. Ends with 1 where two
weights are more than ``--tolerance`` apart.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

from bids_flairseg.model.bundle import bundled, read_card
from bids_flairseg.train.layers import LAYERS

_CHECKPOINT_MINUTES = 0.05
_POLL_S = 0.2


def command(chosen: argparse.Namespace, name: str) -> list[str]:
    """Return the command of one fine-tuning; both share the prepared cases."""
    words: list[Any] = [sys.executable, "-m", "bids_flairseg", chosen.bids, chosen.out / "results"]
    words += ["participant", "--mode", "finetune", "-d", f"manual={chosen.labels}"]
    words += ["-w", chosen.out / "work", "--model", chosen.model, "--recipe", chosen.recipe]
    words += ["--layers", chosen.layers, "--device", "cpu", "--bundle-name", name]
    words += ["--checkpoint-minutes", _CHECKPOINT_MINUTES, "--random-seed", chosen.seed]
    if chosen.participants:
        words += ["--participant-label", *chosen.participants]
    if chosen.set:
        words += ["--set", *chosen.set]
    return [str(word) for word in words]


def run_and_kill(words: Sequence[str], work: Path, name: str, delay: float) -> bool:
    """Kill all processes of a command some time after its training has begun.

    Parameters
    ----------
    words : sequence of str
        The command.
    work : Path
        Its work folder.
    name : str
        Of the bundle.
    delay : float
        Seconds from the first checkpoint of this process on.

    Returns
    -------
    bool
        False where it was done before.
    """
    began = time.time()
    process = subprocess.Popen(words)
    while process.poll() is None:
        states = list(work.glob(f"*/training/{name}-*/state.npz"))
        if states and states[0].stat().st_mtime > began:
            break
        time.sleep(_POLL_S)
    deadline = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    if process.poll() is not None:
        return False
    family = psutil.Process(process.pid)
    for each in [*family.children(recursive=True), family]:
        each.kill()
    process.wait()
    return True


def arrays(bundle: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read all weights of a bundle by their names."""
    found = {}
    with h5py.File(bundle / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: np.asarray(item, np.float64)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def compare(one: Path, other: Path) -> float:
    """Print how far two bundles are apart; return the largest difference of a weight."""
    first, second = arrays(one), arrays(other)
    if first.keys() != second.keys():
        raise ValueError(f"{one} and {other}: expected the same names of weights")
    apart = max(float(np.abs(first[name] - second[name]).max()) for name in first)
    histories = [read_card(bundle).training["history"] for bundle in (one, other)]
    columns = ("loss", "validation_dice")
    pairs = [
        (a.get(key) or 0.0, b.get(key) or 0.0)
        for a, b in zip(*histories, strict=True)
        for key in columns
    ]
    worst = max(abs(a - b) for a, b in pairs)
    print(
        f"weights at most {apart:.2g} apart, losses and Dice of {len(histories[0])} rows {worst:.2g}"
    )
    return apart


def main() -> int:
    """Fine-tune twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--participants", nargs="+")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--layers", choices=LAYERS, default="all")
    parser.add_argument("--model", type=Path, default=bundled("lesion"))
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", nargs="+", default=["least_gain=0"], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    models, rng = chosen.out / "results" / "models", random.Random(chosen.seed)

    subprocess.run(command(chosen, "unbroken"), check=True)
    seconds = 60 * float(read_card(models / "unbroken").training["minutes"])
    killed = 0
    for _ in range(chosen.kills):
        delay = rng.uniform(0, seconds / chosen.kills)
        killed += run_and_kill(command(chosen, "killed"), chosen.out / "work", "killed", delay)
        print(f"killed {delay:.1f} s after a checkpoint" if killed else "done before", flush=True)
    subprocess.run(command(chosen, "killed"), check=True)
    for log in (chosen.out / "work").glob("*/training/killed-*/training.log"):
        lines = log.read_text(encoding="utf-8").splitlines()
        print("\n".join(line for line in lines if "going on after" in line))
    apart = compare(models / "unbroken", models / "killed")
    print(f"{killed} kills in a training of {seconds:.0f} s")
    return int(apart > chosen.tolerance or killed < chosen.kills)


if __name__ == "__main__":
    sys.exit(main())

"""Whether a training on real scans that is killed and goes on ends as one that was left alone.

Trains three times by the command itself, with a checkpoint every few seconds: twice to the
end, which says how far two unbroken trainings are apart (threads add up in another order), and
once so that all processes get SIGKILL at random moments of the training, after which the same
command is given again. Prints when it was killed, where it went on, and how far weights, losses
and Dice are apart.

    python benchmarks/killed.py OUT --bids DIR --labels DIR [--participants 1 2 3] [--kills 3]

Takes ``--mode``, ``--model``, ``--recipe``, ``--set`` and ``--layers`` as flairseg does; of a
cross-validation the models of all folds are compared. Ends with 1 where a killed one is more than
three times as far from the first as the second is, and by more than 1e-5.
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
_SAME = 1e-5  # of a weight


def command(chosen: argparse.Namespace, name: str) -> list[str]:
    """Return the command of one training; all share the prepared cases."""
    words: list[Any] = [sys.executable, "-m", "bids_flairseg", chosen.bids, chosen.out / "results"]
    words += ["participant", "--mode", chosen.mode, "-d", f"manual={chosen.labels}"]
    words += ["-w", chosen.out / "work", "--model", chosen.model, "--recipe", chosen.recipe]
    words += ["--device", "cpu", "--bundle-name", name]
    words += ["--checkpoint-minutes", _CHECKPOINT_MINUTES, "--random-seed", chosen.seed]
    if chosen.mode != "train":
        words += ["--layers", chosen.layers]
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
        Seconds from the first step of this process on.

    Returns
    -------
    bool
        False where it was done before.
    """
    before = _steps(work, name)
    process = subprocess.Popen(words)
    while process.poll() is None and _steps(work, name) == before:
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


def _steps(work: Path, name: str) -> int:
    """Count the lines of a training's log that tell of steps."""
    logs = work.glob(f"*/training/{name}-*/training.log")
    return sum(log.read_text(encoding="utf-8").count(", step ") for log in logs)


def bundles(models: Path, name: str) -> list[Path]:
    """Return the bundles of one training: one, or one of each fold."""
    folders = [path for path in sorted(models.glob(f"{name}*")) if path.is_dir()]
    return [path for path in folders if path.name == name or path.name.startswith(f"{name}-fold")]


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
    rows = len(histories[0])
    print(
        f"{one.name}, {other.name}: weights at most {apart:.2g} apart, losses and Dice of {rows} "
        f"rows {worst:.2g}"
    )
    return apart


def main() -> int:
    """Train three times and compare."""
    chosen = build_parser().parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    models, rng = chosen.out / "results" / "models", random.Random(chosen.seed)
    for name in ("unbroken", "again"):
        subprocess.run(command(chosen, name), check=True)
    unbroken = bundles(models, "unbroken")
    seconds = 60 * sum(float(read_card(one).training["minutes"]) for one in unbroken)
    kills = 0
    for _ in range(chosen.kills):
        delay = rng.uniform(0, seconds / chosen.kills)
        killed = run_and_kill(command(chosen, "killed"), chosen.out / "work", "killed", delay)
        kills += killed
        print(f"killed {delay:.1f} s after its first step" if killed else "done before", flush=True)
    subprocess.run(command(chosen, "killed"), check=True)
    for log in (chosen.out / "work").glob("*/training/killed-*/training.log"):
        lines = log.read_text(encoding="utf-8").splitlines()
        print("\n".join(line for line in lines if "going on after" in line))
    wrong = kills < chosen.kills
    others = (bundles(models, name) for name in ("again", "killed"))
    for first, again, killed in zip(unbroken, *others, strict=True):
        usual = compare(first, again)
        wrong |= compare(first, killed) > max(_SAME, 3 * usual)
    print(f"{kills} kills in a training of {seconds:.0f} s")
    return int(wrong)


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--participants", nargs="+")
    parser.add_argument("--mode", choices=("train", "finetune", "crossval"), default="finetune")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--layers", choices=LAYERS, default="all")
    parser.add_argument("--model", type=Path, default=bundled("lesion"))
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", nargs="+", default=["keep_best=false"], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())

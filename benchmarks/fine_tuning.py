"""What a site gains by fine-tuning on real scans: which layers, how long.

The script cross-validates real scans with each choice of layers, by ``flairseg --mode crossval``,
and prints one table; what is done is not done again, so an interrupted call goes on.

    python benchmarks/fine_tuning.py OUT --bids DIR --labels DIR [--participants 1 2 3]

``--layers``, ``--model``, ``--recipe`` and ``--set`` are those of flairseg; fewer steps are
``--set epochs=6``, and ``--minutes`` ends with what is there by then. ``simulated_site.py`` asks
the same of synthetic heads, and how many cases it takes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from gain import NOT_RUN, WORSE, begin, digest, new_parser, write_table

from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.model.bundle import bundle_fingerprint, read_card
from bids_flairseg.train.presets import load_recipe


def crossval(chosen: argparse.Namespace) -> list[list[str]]:
    """Cross-validate real scans with each choice of layers, by the command itself."""
    out, rows = chosen.out / bundle_fingerprint(chosen.model)[:8], list[list[str]]()
    recipe = partial(load_recipe, chosen.recipe, dict(chosen.set), fine_tuning=True)
    few, many = (asdict(recipe(participants=count)) for count in (1, 1000))
    for layers in chosen.layers:
        name = f"{layers}-{digest([few, many, chosen.seed])}"
        if not dices(out, name) and (not rows or chosen.allowed()):
            subprocess.run(crossval_command(chosen, out, layers, name), check=True)
        old, new = dices(out, "base"), dices(out, name)
        if not rows:
            rows = [["layers", *old, "mean", "worse", "minutes"], line("before", old)]
        if not new:
            rows.append([layers, *[NOT_RUN] * len(old), "", "", ""])
            continue
        worse = sum(new[case] < old[case] - WORSE for case in old)
        cards = [read_card(path.parent) for path in out.glob(f"models/{name}-fold*/model.json")]
        minutes = sum(card.training["minutes"] for card in cards)
        rows.append([*line(layers, new)[:-2], str(worse), f"{minutes:.1f}"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def dices(out: Path, model: str) -> dict[str, float]:
    """Read the Dice of each case with a model; empty where one of them is missing."""
    rows = [row for row in read_tsv(out / "crossval.tsv").rows if row["model"] == model]
    if any(row["dice"] == "n/a" for row in rows):
        return {}
    return {f"{row['case']} ({row['reference_ml']} ml)": float(row["dice"]) for row in rows}


def line(name: str, found: Mapping[str, float]) -> list[str]:
    """Write the Dice of all cases and their mean; two more cells are empty."""
    values = [*found.values(), statistics.mean(found.values())]
    return [name, *(f"{value:.3f}" for value in values), "", ""]


def crossval_command(chosen: argparse.Namespace, out: Path, layers: str, name: str) -> list[str]:
    """Return the command of one cross-validation; all share a work folder, and preprocess once."""
    words: list[Any] = [sys.executable, "-m", "bids_flairseg", chosen.bids, out]
    words += ["participant", "--mode", "crossval", "--folds", chosen.folds, "--layers", layers]
    words += ["-d", f"manual={chosen.labels}", "-w", chosen.out / "work"]
    words += ["--model", chosen.model, "--recipe", chosen.recipe, "--device", "cpu"]
    words += ["--nprocs", chosen.threads, "--random-seed", chosen.seed]
    words += ["--bundle-name", name]
    if chosen.participants:
        words += ["--participant-label", *chosen.participants]
    if chosen.set:
        words += ["--set", *(f"{key}={value}" for key, value in chosen.set)]
    return [str(word) for word in words]


def main() -> None:
    """Cross-validate, and print the table in Markdown."""
    chosen = begin(build_parser())
    write_table(chosen.out / "crossval.md", crossval(chosen))


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = new_parser(__doc__.splitlines()[0])
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--participants", nargs="+")
    parser.add_argument("--folds", type=int, default=3)
    return parser


if __name__ == "__main__":
    main()

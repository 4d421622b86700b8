"""What the benchmarks of fine-tuning share: arguments, what counts as worse, and the table."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from bids_flairseg.model.bundle import bundled
from bids_flairseg.train.layers import LAYERS

WORSE = 0.01  # of Dice; less is noise
NOT_RUN = "not run"


def new_parser(description: str) -> argparse.ArgumentParser:
    """Describe the arguments that all of them take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--model", type=Path, default=bundled("lesion"))
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", nargs="+", default=[], type=lambda text: text.split("=", 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing after them")
    return parser


def begin(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the arguments and make the folder; ``allowed()`` tells whether there is time left."""
    chosen, began = parser.parse_args(), time.monotonic()
    chosen.allowed = lambda: time.monotonic() - began < 60 * chosen.minutes
    chosen.out.mkdir(parents=True, exist_ok=True)
    return chosen


def digest(content: object) -> str:
    """Condense what decides about a result."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:8]


def write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a table in Markdown, and print it."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    text = "\n".join(lines) + "\n"
    path.write_text(text)
    print(text)

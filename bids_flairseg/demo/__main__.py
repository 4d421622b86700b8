"""``python -m bids_flairseg.demo``: make the demo dataset, or compare results with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bids_flairseg.errors import FlairsegError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    code : int
        Exit code.
    """
    arguments = build_parser().parse_args(argv)
    console = Console()
    try:
        if arguments.command == "make":
            make(arguments.bids_dir, arguments.seed, console)
        else:
            show(arguments.bids_dir, arguments.output_dir, console)
    except FlairsegError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        return error.exit_code
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(prog="python -m bids_flairseg.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="write three made-up scans as a BIDS dataset")
    maker.add_argument("bids_dir", type=Path)
    maker.add_argument("--seed", type=int, default=0)
    comparer = commands.add_parser("compare", help="compare results with what was put in")
    comparer.add_argument("bids_dir", type=Path)
    comparer.add_argument("output_dir", type=Path)
    return parser


def make(bids_dir: Path, seed: int, console: Console) -> None:
    """Write the dataset and say so."""
    from bids_flairseg.demo.dataset import make_dataset

    console.print(f"Drawing three heads into {bids_dir} (about a minute) ...", markup=False)
    for name in make_dataset(bids_dir, seed=seed):
        console.print(f"  {name}", markup=False)


def show(bids_dir: Path, output_dir: Path, console: Console) -> None:
    """Print what was found against what was put in, and where the reports are."""
    from bids_flairseg.demo.compare import as_table, compare

    console.print(as_table(compare(bids_dir, output_dir)))
    console.print("Reports:")
    for page in sorted(output_dir.glob("sub-*.html")):
        console.print(f"  {page.resolve()}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

"""A folder of synthetic examples, written by one process and read by another.

Making an example costs about as much as a training step, so examples are made
once and used several times, each time cropped, mirrored and shaded anew.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import threadpool_limits

from bids_flairseg.train.synthesis.anatomy import anatomy_example
from bids_flairseg.train.synthesis.atrophy import Sulci
from bids_flairseg.train.synthesis.kinds import KINDS
from bids_flairseg.train.synthesis.labels import read_labels
from bids_flairseg.train.synthesis.lesion import lesion_example
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.shapes import LesionShapes

LOGGER = logging.getLogger(__name__)

Example = tuple[NDArray[np.float16], NDArray[np.uint8]]


def write_example(folder: Path, index: int, example: Example) -> Path:
    """Write one example; the file appears when it is complete.

    Parameters
    ----------
    folder : Path
        The pool.
    index : int
        Number of the example.
    example : tuple of ndarray
        Image float16 and target uint8, both of shape (X, Y, Z).

    Returns
    -------
    path : Path
        The file.
    """
    path = folder / f"example-{index:06d}.npy"
    image, target = example
    both = np.empty(image.shape, [("image", np.float16), ("target", np.uint8)])
    both["image"], both["target"] = image, target
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.save(stream, both)
    temporary.replace(path)
    return path


def list_examples(folder: Path) -> list[Path]:
    """Return the examples of a pool, in the order of their numbers."""
    return sorted(folder.glob("example-*.npy"))


def read_example(path: Path) -> Example:
    """Read what :func:`write_example` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    image : ndarray of float16, shape (X, Y, Z)
        Image.
    target : ndarray of uint8, shape (X, Y, Z)
        Target.
    """
    both = np.load(path, mmap_mode="r")
    return both["image"], both["target"]


def maker(
    kind: str,
    heads: Sequence[Path],
    shapes: Path | None,
    *,
    lesions: str | None = None,
    leave_out: Collection[str] = (),
) -> Callable[[int], Example]:
    """Return the function that makes example number N.

    Parameters
    ----------
    kind : str
        ``anatomy`` or ``lesion``.
    heads : sequence of Path
        Label maps.
    shapes : Path or None
        Folder of real lesion masks.
    lesions : str or None
        Kind of lesion of all examples, ``none`` for healthy heads; None draws one for each. Of
        ``anatomy``, some have lesions whatever this says.
    leave_out : collection of str
        Patients whose lesion masks are not used, with or without ``sub-``.

    Returns
    -------
    make : callable
        From the seed of an example to the example.
    """
    labels = [read_labels(path) for path in heads]
    real = LesionShapes.read(shapes, leave_out=leave_out) if shapes else None
    places = cache(lambda index: Places.of_head(labels[index]))
    sulci = cache(lambda index: Sulci.of(labels[index]))

    def make(seed: int) -> Example:
        rng = np.random.default_rng(seed)
        index = int(rng.integers(len(labels)))
        if kind == "anatomy":
            return anatomy_example(rng, sulci(index), places=places(index), real=real)
        return _crop(lesion_example(rng, places(index), real, kind=lesions))

    return make


def _crop(example: Example) -> Example:
    """Cut off the empty margin, a third of the volume."""
    image, target = example
    found = ndimage.find_objects((image != 0).astype(np.int8))
    return (image[found[0]], target[found[0]]) if found else example


def fill(folder: Path, make: Callable[[int], Example], seeds: Sequence[int]) -> None:
    """Write the examples that are missing.

    Parameters
    ----------
    folder : Path
        The pool; made if it is missing.
    make : callable
        See :func:`maker`.
    seeds : sequence of int
        Numbers and seeds of the examples.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for count, seed in enumerate(seeds):
        if (folder / f"example-{seed:06d}.npy").exists():
            continue
        start = time.monotonic()
        write_example(folder, seed, make(seed))
        LOGGER.info("%d of %d: %.1f s", count + 1, len(seeds), time.monotonic() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill a pool from the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        Command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m bids_flairseg.train.pool")
    parser.add_argument("kind", choices=("anatomy", "lesion"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--heads", type=Path, nargs="+", required=True)
    parser.add_argument("--shapes", type=Path)
    parser.add_argument(
        "--leave-out", nargs="+", default=(), help="patients of SHAPES that test the network"
    )
    parser.add_argument("--lesions", choices=KINDS, help="kind of lesion, instead of all")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--every", type=int, default=1, help="step between seeds")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    make = maker(
        chosen.kind, chosen.heads, chosen.shapes, lesions=chosen.lesions,
        leave_out=chosen.leave_out,
    )  # fmt: skip
    seeds = range(chosen.first, chosen.first + chosen.count, chosen.every)
    with threadpool_limits(1):  # beside a training, more threads only wait for each other
        fill(chosen.folder, make, seeds)


if __name__ == "__main__":
    main()

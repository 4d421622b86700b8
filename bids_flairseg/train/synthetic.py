"""Synthetic examples as cases that a training on real scans mixes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_flairseg.errors import MissingInputError
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.store import StoredCase
from bids_flairseg.train.synthesis.lesion import VOXEL_MM

_PATTERN = "example-*.npy"


def list_pool(folder: Path) -> list[Path]:
    """List the examples of a folder.

    Parameters
    ----------
    folder : Path
        What ``python -m bids_flairseg.train.pool lesion`` has filled.

    Returns
    -------
    list of Path
        In their order, at least one.

    Raises
    ------
    MissingInputError
        There is none.
    """
    paths = sorted(folder.glob(_PATTERN))
    if not paths:
        raise MissingInputError(
            f"{folder}: expected synthetic examples ({_PATTERN}), found none. Make some: python -m "
            "bids_flairseg.train.pool lesion."
        )
    return paths


def read_pool(folder: Path) -> tuple[StoredCase, ...]:
    """Map the examples of a folder into memory.

    Parameters
    ----------
    folder : Path
        See `list_pool`.

    Returns
    -------
    tuple of StoredCase
        ``synthetic-000000`` and so on; nobody's, and of no site.

    Raises
    ------
    MissingInputError
        There is none.
    """
    return tuple(_read(path) for path in list_pool(folder))


def _read(path: Path) -> StoredCase:
    image, target = read_example(path)
    name = path.stem.replace("example", "synthetic")
    return StoredCase(
        name=name,
        participant=name,
        image=image,
        target=target,
        lesion_ml=float(np.count_nonzero(target)) * VOXEL_MM**3 / 1000,
        attributes={},
        affine=np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0]),
    )

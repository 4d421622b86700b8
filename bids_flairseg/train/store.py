"""Preprocessed cases as files that training maps into memory.

A case is three files: ``NAME_image.npy`` (float16), ``NAME_target.npy`` (uint8) and
``NAME.json``, which comes last, so that a case is there completely or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import StorageError

#: What a zero within the brain is stored as, so that exactly zero means outside.
NOT_ZERO = 1e-3
_FORMAT = 1


def zero_outside(image: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Make zero mean outside, and nothing else.

    Parameters
    ----------
    image : ndarray of float, shape (X, Y, Z)
        Normalised.
    inside : ndarray of bool, shape (X, Y, Z)
        Brain.

    Returns
    -------
    image : ndarray of float, shape (X, Y, Z)
        Of the same dtype; within the brain nowhere nearer to zero than :data:`NOT_ZERO`.
    """
    small = np.abs(image) < NOT_ZERO
    return np.where(inside, np.where(small, NOT_ZERO, image), 0).astype(image.dtype)


@dataclass(frozen=True, eq=False)
class StoredCase:
    """A case as training sees it.

    Attributes
    ----------
    name : str
        Name of the scan: ``sub-01_ses-A``.
    participant : str
        Label without ``sub-``.
    image : ndarray of float16, shape (X, Y, Z)
        Normalised image in the box around the brain; exactly zero outside the brain and
        nowhere within it. Mapped from its file.
    target : ndarray of uint8, shape (X, Y, Z)
        1 in lesions, 0 elsewhere and outside the brain. Mapped from its file.
    lesion_ml : float
        Volume of the label on the grid of the FLAIR.
    attributes : mapping of str to str
        ``site``, ``diagnosis``, ``group``, ``Manufacturer``, ``MagneticFieldStrength``,
        ``MRAcquisitionType``; ``n/a`` where it is unknown.
    affine : ndarray of float, shape (4, 4)
        From voxels of the preprocessed grid to RAS mm.
    facts : mapping
        What the checks have measured, see `bids_flairseg.train.cases`.
    """

    name: str
    participant: str
    image: NDArray[np.float16]
    target: NDArray[np.uint8]
    lesion_ml: float
    attributes: Mapping[str, str]
    affine: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def voxel_mm(self) -> float:
        """Edge of a voxel."""
        return float(np.linalg.norm(self.affine[:3, 0]))


def write_case(folder: Path, case: StoredCase) -> Path:
    """Write a case; it counts as written when its JSON file is there.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    case : StoredCase
        Its arrays need not come from files.

    Returns
    -------
    Path
        The JSON file.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    last = folder / f"{case.name}.json"
    image, target = np.asarray(case.image, np.float16), np.asarray(case.target, np.uint8)
    content = {
        "format": _FORMAT,
        "name": case.name,
        "participant": case.participant,
        "lesion_ml": case.lesion_ml,
        "attributes": dict(case.attributes),
        "affine": np.asarray(case.affine).tolist(),
        "facts": dict(case.facts),
        # so that whoever looks at this file alone sees that an image or a label has changed
        "sha256": hashlib.sha256(image.tobytes() + target.tobytes()).hexdigest(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        last.unlink(missing_ok=True)
        for name, array in (("image", image), ("target", target)):
            with _written(folder / f"{case.name}_{name}.npy") as stream:
                np.save(stream, np.ascontiguousarray(array))
        with _written(last) as stream:
            stream.write(json.dumps(content).encode())
    except OSError as error:
        raise _storage_error(folder, error) from error
    return last


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its place once it is on the disk; who has the old one mapped keeps it.

    Without the wait for the disk, a machine that loses power could be left with the name of a
    case and not all of its voxels.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _storage_error(folder: Path, error: OSError) -> StorageError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    remedy = (
        "The disk is full: make room, or name another work folder with -w. Run the same command "
        "again; cases that are there are kept."
        if full
        else "Check the disk and the rights of the work folder."
    )
    return StorageError(
        f"{folder}: expected to keep the preprocessed cases there, the system reports: "
        f"{error.strerror or error}. {remedy}"
    )


def read_cases(
    folder: Path, names: Iterable[str], digests: Mapping[str, str] | None = None
) -> tuple[StoredCase, ...]:
    """Map cases into memory.

    Parameters
    ----------
    folder : Path
        What `write_case` has filled.
    names : iterable of str
        Names of scans.
    digests : mapping of str to str, optional
        What `case_digest` gave when the cases were prepared, by name.

    Returns
    -------
    tuple of StoredCase
        In the order of the names.

    Raises
    ------
    StorageError
        A case is not there, its files do not fit together, or it is another by now.
    """
    known = digests or {}
    return tuple(_read(folder, name, known.get(name)) for name in names)


def case_digest(folder: Path, name: str) -> str:
    """Condense all that is known of a stored case, its voxels included.

    Parameters
    ----------
    folder : Path
        What `write_case` has filled.
    name : str
        Name of the scan.

    Returns
    -------
    str
        SHA-256 in hexadecimal; empty where the case is not there.
    """
    try:
        return hashlib.sha256((folder / f"{name}.json").read_bytes()).hexdigest()
    except OSError:
        return ""


def read_content(folder: Path, name: str) -> dict[str, Any] | None:
    """Read the JSON file of a case, None if there is none that can be read."""
    try:
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("format") == _FORMAT else None


def _read(folder: Path, name: str, digest: str | None) -> StoredCase:
    try:
        image = np.load(folder / f"{name}_image.npy", mmap_mode="r")
        target = np.load(folder / f"{name}_target.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise _gone(folder, name) from error
    # after the arrays: who replaces a case removes this file before them
    content = read_content(folder, name)
    if digest is not None and case_digest(folder, name) != digest:
        raise StorageError(
            f"{folder}: expected the case {name} as it was prepared, but another run has changed "
            "it. Run the same command again; two runs at a time with other labels, --raters, "
            "--label-value or --model need work folders of their own (-w)."
        )
    if content is None or image.shape != target.shape or image.ndim != 3:
        raise _gone(folder, name)
    return StoredCase(
        name=content["name"],
        participant=content["participant"],
        image=image,
        target=target,
        lesion_ml=content["lesion_ml"],
        attributes=content["attributes"],
        affine=np.array(content["affine"], np.float64),
        facts=content["facts"],
    )


def _gone(folder: Path, name: str) -> StorageError:
    return StorageError(
        f"{folder}: expected the preprocessed case {name}, but it is gone or incomplete. Leave "
        "the work folder alone during a run, and run the same command again."
    )

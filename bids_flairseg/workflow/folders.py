"""Where intermediate files go when the user names no place."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_flairseg.errors import FlairsegError
from bids_flairseg.storage import as_output_error

LOGGER = logging.getLogger(__name__)

#: Within the output folder, for what has to outlive the run; hidden, and in ``.bidsignore``.
KEPT = ".flairseg_work"
# Set in the image of this program; some platforms leave no mark of their own in a container.
_IMAGE_VARIABLE = "FLAIRSEG_CONTAINER_TAG"
# What containers have at their root.
_CONTAINER_MARKS = (".dockerenv", "run/.containerenv", ".singularity.d")


@contextmanager
def work_folder(
    named: Path | None, bids_dir: Path, output_dir: Path, *, lasting: bool = False
) -> Iterator[Path]:
    """Give the folder for intermediate files.

    It is the one that the user named, or ``work`` in the current folder. Where that cannot
    be written or lies within the dataset, a temporary folder takes its place, which goes
    away at the end; where there is none either, one within the output folder.

    Parameters
    ----------
    named : Path or None
        What the user asked for.
    bids_dir, output_dir : Path
        Dataset, and folder of the results.
    lasting : bool
        A later run has to find it again, as a training that goes on does. Then a folder
        within the output folder stands in for the temporary one, and for ``work`` where
        that would go away with a container.

    Yields
    ------
    Path
        A folder that exists and can be written.

    Raises
    ------
    OutputError
        The named folder, or the one within the output folder, cannot be made or written.
    """
    folder = _checked(named) if named else _default(bids_dir, lasting=lasting)
    if folder is None and lasting:
        folder = _checked(output_dir / KEPT)
        LOGGER.info(
            "intermediate files go to %s: with it, the same command goes on where it was (see -w)",
            folder,
        )
    if folder is not None:
        yield folder
        return
    temporary = _temporary(output_dir)
    LOGGER.info("intermediate files go to %s and are removed at the end (see -w)", temporary)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _default(bids_dir: Path, *, lasting: bool) -> Path | None:
    folder = Path("work").absolute()
    if folder.is_relative_to(bids_dir) or (lasting and goes_with_container(folder.parent)):
        return None
    try:
        return _checked(folder)
    except FlairsegError:
        return None


def goes_with_container(folder: Path, root: Path = Path("/")) -> bool:
    """Tell whether a folder belongs to a container's own file system, which ends with it.

    Parameters
    ----------
    folder : Path
        It exists.
    root : Path
        Root of the file system.

    Returns
    -------
    bool
        False outside of containers, and for folders that are mounted into one.
    """
    marked = any((root / mark).exists() for mark in _CONTAINER_MARKS)
    if not (marked or os.environ.get(_IMAGE_VARIABLE)):
        return False
    try:
        return folder.stat().st_dev == root.stat().st_dev
    except OSError:
        return True


def _checked(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise as_output_error(error, folder) from error


def _temporary(output_dir: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="flairseg-"))
    except OSError:
        pass
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".work-", dir=output_dir))
    except OSError as error:
        raise as_output_error(error, output_dir) from error

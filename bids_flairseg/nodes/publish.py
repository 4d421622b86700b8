"""Finished results of a scan put in place in one burst."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from bids_flairseg.bids.outputs import ScanPaths, sidecar_path
from bids_flairseg.errors import FlairsegError
from bids_flairseg.storage import TEMPORARY_PREFIX, as_output_error, flush


@contextmanager
def staged(paths: ScanPaths) -> Iterator[ScanPaths]:
    """Give paths in a hidden folder beside the final ones; publish what is there at the end.

    Nothing of an earlier run is touched before all is complete, and nothing is left behind
    if something goes wrong.

    Parameters
    ----------
    paths : ScanPaths
        Final paths.

    Yields
    ------
    ScanPaths
        The same files in a folder that goes away.

    Raises
    ------
    OutputError, StorageError
        A file cannot be written; the message names its final path.
    """
    hidden = f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
    folder = paths.output_dir / f"sub-{paths.scan.participant}" / hidden
    try:
        yield replace(paths, output_dir=folder)
        publish(folder, paths)
    except FlairsegError as error:
        final = str(error).replace(str(folder), str(paths.output_dir))
        raise type(error)(final) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, paths: ScanPaths) -> None:
    """Rename complete files to their final names, the mark of a finished scan last.

    Parameters
    ----------
    folder : Path
        Holds the files, laid out as in the output folder.
    paths : ScanPaths
        Final paths.

    Raises
    ------
    OutputError, StorageError
        A file cannot be renamed; none of the scan's files is left then.
    """
    mark = sidecar_path(paths.stats)
    try:
        moves = _plan_moves(folder, paths.output_dir)
        for final in moves.values():
            final.parent.mkdir(parents=True, exist_ok=True)
        # From here on, and until the mark is back, the scan is not done.
        for outdated in (mark, paths.stats, *_other_resolutions(paths)):
            outdated.unlink(missing_ok=True)
        for source, final in moves.items():
            if final != mark:
                source.replace(final)
        flush(mark.parent)
        (folder / mark.relative_to(paths.output_dir)).replace(mark)
        flush(mark.parent)
    except OSError as error:
        for path in paths.files():  # files of two runs mixed would be worse than none
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise as_output_error(error, paths.folder) from error


def _plan_moves(folder: Path, output_dir: Path) -> dict[Path, Path]:
    """List the files of a folder and where they go."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: output_dir / path.relative_to(folder) for path in files}


def _other_resolutions(paths: ScanPaths) -> list[Path]:
    """List preprocessed images that models with other voxels left, and their sidecars."""
    own = {paths.preprocessed, sidecar_path(paths.preprocessed)}
    stem = paths.scan.name
    found = paths.folder.glob(f"{stem}_space-orig_res-*_desc-preproc_FLAIR.*")
    return [path for path in found if path not in own]

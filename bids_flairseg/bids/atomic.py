"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bids_flairseg.errors import FlairsegError, OutputError, StorageError

#: Begin of temporary names: hidden, so that no BIDS tool takes an unfinished file for a result.
TEMPORARY_PREFIX = ".flairseg-"
_UNTOUCHED_S = 600.0
_REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; rename it to the final one at the end.

    The temporary file lies in the same folder, which is made if need be, and has the same
    ending, so that writers that look at it (NIfTI) do the same as they would for the final
    name. It is removed if anything goes wrong, an interrupt included.

    Parameters
    ----------
    path : Path
        Final path. An older file of that name is replaced in one step.

    Yields
    ------
    Path
        A path that does not exist yet.

    Raises
    ------
    OutputError
        The folder or the file may not be created.
    StorageError
        The disk is full, the folder vanished, or writing failed otherwise.
    """
    extension = "".join(Path(path.name.lstrip(".")).suffixes[-2:])
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{extension}"
    try:
        with suppress(FileExistsError):
            path.parent.mkdir(parents=True)
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise as_output_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_stale(folder: Path, *, before: float) -> int:
    """Remove temporary files that a killed run left directly in a folder.

    Another run may be writing there at the same time. Files that get their name by
    `atomic_path` directly in the output folder or in ``logs`` are small texts, written in
    milliseconds, so one that was not touched in the ten minutes before this run began belongs
    to nobody. Folders of participants hold images: their lock has to be taken first.

    Parameters
    ----------
    folder : Path
        Output folder, or ``logs`` in it; nothing below it is touched.
    before : float
        When this run began, in s since the epoch.

    Returns
    -------
    int
        How many files were removed; one that cannot be is passed over.
    """
    removed = 0
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):
            if path.is_file() and path.lstat().st_mtime < before - _UNTOUCHED_S:
                path.unlink()
                removed += 1
    return removed


def _flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk.

    Some network file systems cannot do it for a folder; the rename has happened all the same.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


def as_output_error(error: OSError, path: Path) -> FlairsegError:
    """Turn an error of the system into one that says what to do.

    Parameters
    ----------
    error : OSError
        What writing gave.
    path : Path
        What should have been written.

    Returns
    -------
    FlairsegError
        `OutputError` if the place is refused, `StorageError` if storing failed.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _REFUSED:
        return OutputError(
            f"{path}: cannot be written ({reason}). Choose a folder that this user may write to."
        )
    if error.errno in _FULL:
        return StorageError(
            f"{path}: cannot be written, the disk is full or the quota is used up ({reason}). "
            "Make room and run the same command again; finished scans are kept."
        )
    if error.errno == errno.ENOENT:
        return StorageError(
            f"{path}: its folder vanished while it was written. Do not move or delete the "
            "folders of a run; run the same command again."
        )
    return StorageError(
        f"{path}: writing failed ({reason}). Check the disk and run the same command again."
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, atomically.

    Parameters
    ----------
    path : Path
        Final path.
    text : str
        Content.

    Raises
    ------
    OutputError, StorageError
        See `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, atomically; the same content gives the same bytes.

    Numbers that are not finite become null, NumPy's become plain ones, paths become text.

    Parameters
    ----------
    path : Path
        Final path.
    content : mapping
        What to write.

    Raises
    ------
    OutputError, StorageError
        See `atomic_path`.
    """
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table as BIDS wants it, atomically.

    Parameters
    ----------
    path : Path
        Final path.
    columns : sequence of str
        Columns in their order.
    rows : iterable of mapping
        Values by column. What is missing, None, empty or NaN becomes ``n/a``; a tab or a line
        break within a value becomes a space.

    Raises
    ------
    OutputError, StorageError
        See `atomic_path`.
    """
    lines = ["\t".join(columns)]
    lines += ["\t".join(_cell(row.get(column)) for column in columns) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    """Print one value; floats as short as they can be read back."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    return " ".join(str(value).split()) or "n/a"

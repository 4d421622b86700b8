"""Texts and tables that appear under their final name only when they are complete."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bids_flairseg.storage import TEMPORARY_PREFIX, atomic_path

_UNTOUCHED_S = 600.0


def remove_stale(folder: Path, *, before: float) -> int:
    """Remove temporary files that a killed run left directly in a folder.

    Another run may be writing there at the same time. Files that get their name by
    `atomic_path` directly in the output folder, in ``logs`` or among the figures of the group
    level are small, written in milliseconds, so one that was not touched in the ten minutes
    before this run began belongs to nobody. Folders of participants hold images: their lock has
    to be taken first.

    Parameters
    ----------
    folder : Path
        Output folder, or ``logs`` or ``group_figures`` in it; nothing below it is touched.
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
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write("\t".join(columns) + "\n")
        for row in rows:  # never all at once: there may be millions
            file.write("\t".join(_cell(row.get(column)) for column in columns) + "\n")


def _cell(value: Any) -> str:
    """Print one value; floats as short as they can be read back."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    return " ".join(str(value).split()) or "n/a"

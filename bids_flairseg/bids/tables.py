"""Tables of a dataset read with care: what is broken becomes a warning."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_KEY = "participant_id"


@dataclass(frozen=True)
class Table:
    """A TSV file.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns, in their order.
    rows : tuple of mapping
        Text of each cell by column, as written (``n/a`` stays).
    warnings : tuple of str
        What was wrong with the file.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Participants:
    """What ``participants.tsv`` says.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns without ``participant_id``.
    rows : mapping of str to mapping
        Text of each cell by label (without ``sub-``) and column.
    warnings : tuple of str
        What was wrong with the file.
    """

    columns: tuple[str, ...] = ()
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_tsv(path: Path) -> Table:
    """Read a table; bytes that are no UTF-8, and rows of a wrong length, cost a warning only.

    Rows that are too short or too long are left out: nobody knows which cell is missing.

    Parameters
    ----------
    path : Path
        A TSV file.

    Returns
    -------
    Table
        Columns, rows and warnings.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        return Table(warnings=(f"{path}: cannot be read ({error.strerror}). It is not used.",))
    text = raw.decode("utf-8-sig", errors="replace")
    warnings = []
    if "\N{REPLACEMENT CHARACTER}" in text:
        warnings.append(f"{path}: expected UTF-8, found other bytes. Save it as UTF-8.")
    if "\0" in text:
        return Table(warnings=(f"{path}: expected a table as text, found binary data.",))
    lines = [line for line in text.splitlines() if line.strip()]
    cells = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not cells:
        return Table(warnings=(*warnings, f"{path}: expected a table, found an empty file."))
    columns = tuple(cell.strip() for cell in cells[0])
    return _with_rows(path, columns, cells[1:], warnings)


def _with_rows(
    path: Path, columns: tuple[str, ...], cells: Sequence[Sequence[str]], warnings: list[str]
) -> Table:
    """Build a table of the rows that have as many cells as there are columns."""
    if len(set(columns)) < len(columns) or not all(columns):
        text = f"{path}: expected a name of its own for each column, found {list(columns)}."
        return Table(warnings=(*warnings, f"{text} It is not used."))
    rows = tuple(
        {column: cell.strip() for column, cell in zip(columns, row, strict=True)}
        for row in cells
        if len(row) == len(columns)
    )
    if len(rows) < len(cells):
        warnings.append(
            f"{path}: expected {len(columns)} cells in each row; {len(cells) - len(rows)} of "
            f"{len(cells)} rows differ and are left out. Are the columns separated by tabs?"
        )
    return Table(columns, rows, tuple(warnings))


def read_participants(bids_dir: Path) -> Participants:
    """Read ``participants.tsv``; a dataset without one has no columns and no warning.

    A participant that is listed twice keeps the first row.

    Parameters
    ----------
    bids_dir : Path
        The dataset.

    Returns
    -------
    Participants
        Rows by participant, columns and warnings.
    """
    path = bids_dir / "participants.tsv"
    if not path.exists() and not path.is_symlink():
        return Participants()
    table = read_tsv(path)
    if table.columns and _KEY not in table.columns:
        text = f"{path}: expected a column {_KEY}, found {list(table.columns)}. It is not used."
        return Participants(warnings=(*table.warnings, text))
    columns = tuple(column for column in table.columns if column != _KEY)
    rows: dict[str, Mapping[str, str]] = {}
    for row in table.rows:
        label = row[_KEY].removeprefix("sub-")
        rows.setdefault(label, {column: row[column] for column in columns})
    warnings = table.warnings
    if len(rows) < len(table.rows):
        extra = len(table.rows) - len(rows)
        warnings += (f"{path}: {extra} rows repeat a participant; the first one counts.",)
    return Participants(columns, rows, warnings)

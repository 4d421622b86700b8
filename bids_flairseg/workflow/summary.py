"""The end of a run in a table: what was found, what failed, and where to look."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bids_flairseg.errors import OutputError, StorageError
from bids_flairseg.reports.records import ScanReport
from bids_flairseg.workflow.progress import Row, Status

_STYLES = {Status.DONE: "green", Status.FAILED: "bold red", Status.ELSEWHERE: "yellow"}
# Their meaning is that of sysexits; anything else that fails is a failed scan.
_OWN_CODES = (OutputError.exit_code, StorageError.exit_code)
_WIDTH = 100


def exit_code(rows: Sequence[Row]) -> int:
    """Return the exit code of a run.

    Parameters
    ----------
    rows : sequence of Row
        All scans.

    Returns
    -------
    int
        0 if all are done, 73 or 74 if outputs cannot be written, else 1.
    """
    codes = [row.failure.exit_code for row in rows if row.failure is not None]
    for code in _OWN_CODES:
        if code in codes:
            return code
    return 0 if all(row.status in (Status.DONE, Status.UNCHANGED) for row in rows) else 1


def summarise(
    rows: Sequence[tuple[Row, ScanReport | None]], *, output_dir: Path, log_file: Path
) -> Text:
    """Lay out the summary of a run.

    Parameters
    ----------
    rows : sequence of (Row, ScanReport or None)
        All scans, with what was found where there is something.
    output_dir, log_file : Path
        Where to look.

    Returns
    -------
    Text
        Lines of at most 100 characters, coloured for a terminal.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scan", no_wrap=True)
    for name in ("volume ml", "lesions", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("state", no_wrap=True)
    for row, report in rows:
        table.add_row(*_cells(row, report), Text(_state(row, report), _STYLES.get(row.status, "")))
    buffer = Console(file=io.StringIO(), width=_WIDTH, force_terminal=True, color_system="standard")
    buffer.print(table)
    text = Text.from_ansi(buffer.file.getvalue())  # type: ignore[attr-defined]
    for row, _ in rows:
        if row.failure is not None:
            text.append(f"\n{row.scan}: {row.failure.text}\n")
    return text.append(f"\n{_where(rows, output_dir, log_file)}")


def _cells(row: Row, report: ScanReport | None) -> tuple[str, str, str, str]:
    seconds = f"{row.seconds:.0f}" if row.seconds else "-"
    volume = report.number("lesion_volume_ml") if report else None
    count = report.number("lesion_count") if report else None
    if row.status not in (Status.DONE, Status.UNCHANGED) or volume is None or count is None:
        return row.scan, "-", "-", seconds
    return row.scan, f"{volume:.2f}", f"{count:.0f}", seconds


def _state(row: Row, report: ScanReport | None) -> str:
    if row.status in (Status.WAITING, Status.RUNNING):
        return "not done"
    warnings = len(report.warnings) if report and row.status is Status.DONE else 0
    if not warnings:
        return str(row.status)
    return f"{row.status}, {warnings} warning{'s' if warnings > 1 else ''}"


def _where(rows: Sequence[tuple[Row, ScanReport | None]], output_dir: Path, log_file: Path) -> str:
    participants = list(dict.fromkeys(row.scan.split("_")[0] for row, _ in rows))
    pages = f"{participants[0]}.html" if len(participants) == 1 else "sub-*.html"
    return f"Reports: {output_dir / pages}\nLog:     {log_file}"

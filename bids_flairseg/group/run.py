"""The group level: tables and a page from what the participant level left."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_flairseg.bids.atomic import write_json, write_text, write_tsv
from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.bids.tables import read_participants
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import MissingInputError, NothingToDoError
from bids_flairseg.group.agreement import AGREEMENT_COLUMNS, OK, Comparison, compare_all
from bids_flairseg.group.collect import IDENTITY_COLUMNS, LesionTable, find_problems, join
from bids_flairseg.group.results import Results, read_results
from bids_flairseg.reports.group import GroupPage, render_group

LOGGER = logging.getLogger(__name__)

LESIONS = "group_lesions.tsv"
AGREEMENT = "group_agreement.tsv"
PAGE = "group.html"


@dataclass(frozen=True)
class GroupSummary:
    """What a group run found.

    Attributes
    ----------
    scans : int
        Rows of the lesion table.
    compared : int
        Pairs of scan and reference that have numbers.
    not_compared : int
        Those that could not be compared, scans without reference left out.
    problems : tuple of str
        What a reader should know.
    unreadable : int
        Scans lost because their table is broken.
    """

    scans: int
    compared: int
    not_compared: int
    problems: tuple[str, ...]
    unreadable: int

    @property
    def exit_code(self) -> int:
        """Return 18 if there was no scan at all, 1 if some could not be read, else 0."""
        if not self.scans and not self.unreadable:
            return NothingToDoError.exit_code
        return 1 if self.unreadable else 0


def run_group(dataset: DatasetConfig) -> int:
    """Run the group level and log what came out.

    Parameters
    ----------
    dataset : DatasetConfig
        Where scans, results and references are.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    MissingInputError
        The output folder, that of a reference or the filter file is not there.
    UsageError
        The filter file makes no sense.
    OutputError, StorageError
        A table or the page cannot be written.
    """
    summary = write_group(dataset)
    for problem in summary.problems:
        LOGGER.warning("%s", problem)
    page = dataset.output_dir / PAGE
    if not summary.scans:
        LOGGER.error(
            "%s: expected results of the participant level, found none that can be used. Run "
            "flairseg BIDS_DIR OUTPUT_DIR participant first.",
            dataset.output_dir,
        )
    LOGGER.info(
        "group level: scans: %d, compared with references: %d, could not be compared: %d; see %s",
        summary.scans,
        summary.compared,
        summary.not_compared,
        page,
    )
    return summary.exit_code


def write_group(dataset: DatasetConfig) -> GroupSummary:
    """Write all tables and the page of the group level.

    Parameters
    ----------
    dataset : DatasetConfig
        Where scans, results and references are.

    Returns
    -------
    GroupSummary
        What was found.

    Raises
    ------
    MissingInputError
        The output folder, that of a reference or the filter file is not there.
    UsageError
        The filter file makes no sense.
    OutputError, StorageError
        A table or the page cannot be written.
    """
    if not dataset.output_dir.is_dir():
        raise MissingInputError(
            f"{dataset.output_dir}: expected the results of the participant level, but there is "
            "no such folder. Run flairseg BIDS_DIR OUTPUT_DIR participant first."
        )
    results = read_results(dataset)
    participants = read_participants(dataset.bids_dir)
    table = join(results.scans, participants, dataset.bids_dir)
    comparisons = list(compare_all(dataset, results.scans))
    problems = find_problems(results, participants) + _not_compared(comparisons)
    _write_table(dataset.output_dir / LESIONS, table.columns, table.rows)
    if dataset.derivatives:
        columns = {**IDENTITY_COLUMNS, **AGREEMENT_COLUMNS}
        rows = [comparison.row() for comparison in comparisons]
        _write_table(dataset.output_dir / AGREEMENT, columns, rows)
    page = _build_page(dataset, results, table, comparisons, problems)
    write_text(dataset.output_dir / PAGE, render_group(page))
    return GroupSummary(
        scans=len(results.scans),
        compared=sum(item.status == OK for item in comparisons),
        not_compared=sum(item.status != OK and item.mask is not None for item in comparisons),
        problems=tuple(problems),
        unreadable=len(results.unreadable),
    )


def _write_table(
    path: Path, columns: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, str]]
) -> None:
    """Write a table and the file that explains its columns."""
    write_tsv(path, list(columns), rows)
    write_json(path.with_suffix(".json"), columns)


def _not_compared(comparisons: Sequence[Comparison]) -> list[str]:
    """Name the references that could not be compared."""
    names = [
        f"{item.row()['scan']} with {item.reference.name} ({item.status})"
        for item in comparisons
        if item.status != OK and item.mask is not None
    ]
    if not names:
        return []
    return [f"Not compared with a reference: {enumerate_some(names)}."]


def _build_page(
    dataset: DatasetConfig,
    results: Results,
    table: LesionTable,
    comparisons: Sequence[Comparison],
    problems: Sequence[str],
) -> GroupPage:
    """Gather what the page shows."""
    links = {
        scan.name: scan.paths.report.name for scan in results.scans if scan.paths.report.exists()
    }
    return GroupPage(
        dataset=_dataset_name(dataset.bids_dir),
        rows=table.rows,
        joined=table.joined,
        links=links,
        comparisons=[item.row() for item in comparisons],
        problems=problems,
    )


def _dataset_name(bids_dir: Path) -> str:
    """Return the name that the dataset gives itself, or else that of its folder."""
    try:
        content = json.loads(
            (bids_dir / "dataset_description.json").read_text(encoding="utf-8-sig")
        )
    except (OSError, ValueError):
        content = {}
    name = content.get("Name") if isinstance(content, dict) else None
    return str(name or bids_dir.resolve().name)

"""The group level: tables, figures and a page from what the participant level left."""

from __future__ import annotations

import errno
import fcntl
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bids_flairseg.bids.atomic import write_json, write_text, write_tsv
from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.bids.tables import read_participants
from bids_flairseg.config import GroupConfig
from bids_flairseg.errors import InputError, MissingInputError, NothingToDoError, OutputError
from bids_flairseg.group.agreement import Comparison, agreement_problems, compare_all, model_names
from bids_flairseg.group.collect import IDENTITY_COLUMNS, find_problems, join
from bids_flairseg.group.columns import AGREEMENT_COLUMNS, DETECTION_COLUMNS, MISSING_REFERENCE
from bids_flairseg.group.compute import OK
from bids_flairseg.group.detection import detection_statistics
from bids_flairseg.group.examples import draw_examples
from bids_flairseg.group.figures import draw_charts, shown_pairs, write_charts
from bids_flairseg.group.observations import (
    Observation,
    observe_pairs,
    observe_scans,
    scan_groups,
)
from bids_flairseg.group.page import Found, build_page
from bids_flairseg.group.problems import PROBLEM_COLUMNS, Problem, in_words, strict_errors
from bids_flairseg.group.results import Results, read_results
from bids_flairseg.group.review import REJECT, REVIEW_COLUMNS, rank_scans, read_verdicts
from bids_flairseg.group.space import map_lesions
from bids_flairseg.group.statistic import STATISTIC_COLUMNS
from bids_flairseg.group.statistics import all_statistics
from bids_flairseg.group.study import run_study, starting_models
from bids_flairseg.reports.group import render_group
from bids_flairseg.storage import as_output_error

LOGGER = logging.getLogger(__name__)

LESIONS = "group_lesions.tsv"
AGREEMENT = "group_agreement.tsv"
DETECTION = "group_detection.tsv"
PROBLEMS = "group_problems.tsv"
STATISTICS = "group_statistics.tsv"
REVIEW = "group_review.tsv"
PAGE = "group.html"
_LOCK = ".group.lock"


@dataclass(frozen=True)
class GroupSummary:
    """What a group run found.

    Attributes
    ----------
    scans : int
        Rows of the lesion table.
    compared : int
        Pairs that have numbers.
    not_compared : int
        Those that could not be compared, scans without reference left out.
    problems : tuple of Problem
        What a reader should know.
    unreadable : int
        Scans lost because their table is broken.
    """

    scans: int
    compared: int
    not_compared: int
    problems: tuple[Problem, ...]
    unreadable: int

    @property
    def exit_code(self) -> int:
        """Return 1 if some scan could not be read, else 0."""
        return 1 if self.unreadable else 0

    def record(self) -> dict[str, Any]:
        """Return what the record of the run keeps."""
        return {
            "scans": self.scans,
            "compared": self.compared,
            "not_compared": self.not_compared,
            "problems": dict(Counter(problem.kind for problem in self.problems)),
            "exit_code": self.exit_code,
        }


def run_group(config: GroupConfig) -> GroupSummary:
    """Run the group level and log what came out.

    Parameters
    ----------
    config : GroupConfig
        Where scans, results and references are, and what to do with them.

    Returns
    -------
    GroupSummary
        What was found, and the exit code.

    Raises
    ------
    MissingInputError
        The output folder, that of a reference or the filter file is not there.
    NothingToDoError
        There is no result of the participant level; then nothing is written.
    UsageError
        An option makes no sense.
    OutputError, StorageError
        A table or the page cannot be written, or another group run is at work.
    """
    summary = write_group(config)
    for line in in_words(summary.problems):
        LOGGER.warning("%s", line)
    output_dir = config.dataset.output_dir
    LOGGER.info(
        "group level: scans: %d, compared with references: %d, could not be compared: %d; see %s",
        summary.scans,
        summary.compared,
        summary.not_compared,
        output_dir / PAGE,
    )
    return summary


def check_strict(summary: GroupSummary, output_dir: Path) -> None:
    """Make an error of what ``--strict`` does not forgive.

    Parameters
    ----------
    summary : GroupSummary
        What the run found; its tables are written.
    output_dir : Path
        Where they are.

    Raises
    ------
    InputError
        There is something.
    """
    errors = strict_errors(summary.problems)
    if errors:
        raise InputError(
            f"{output_dir / PROBLEMS}: --strict expects none of the problems it lists, found "
            f"{len(errors)}: {' '.join(in_words(errors))} Solve them, or leave --strict out."
        )


def write_group(config: GroupConfig) -> GroupSummary:
    """Write all tables, figures and the page of the group level.

    Parameters
    ----------
    config : GroupConfig
        Where scans, results and references are, and what to do with them.

    Returns
    -------
    GroupSummary
        What was found.

    Raises
    ------
    MissingInputError
        The output folder, that of a reference or the filter file is not there.
    NothingToDoError
        There is no result of the participant level; then nothing is written.
    UsageError
        An option makes no sense.
    OutputError, StorageError
        A table or the page cannot be written, or another group run is at work.
    """
    output_dir = config.dataset.output_dir
    if not output_dir.is_dir():
        raise MissingInputError(
            f"{output_dir}: expected the results of the participant level, but there is "
            "no such folder. Run flairseg BIDS_DIR OUTPUT_DIR participant first."
        )
    results = read_results(config.dataset)
    if not (results.scans or results.unreadable):
        raise NothingToDoError(_nothing_there(output_dir, results))
    with _alone(output_dir):
        return _write(config, results)


def _nothing_there(output_dir: Path, results: Results) -> str:
    """Say that there is no result, and of which scans."""
    waiting = [*results.unfinished, *results.without_result]
    scans = f" Without a result: {enumerate_some(waiting)}." if waiting else ""
    return (
        f"{output_dir}: expected results of the participant level, found none that can be used."
        f"{scans} Run flairseg BIDS_DIR OUTPUT_DIR participant first. No table and no page was "
        "written."
    )


def _write(config: GroupConfig, results: Results) -> GroupSummary:
    """Write what `write_group` writes, from results that are there."""
    dataset = config.dataset
    participants = read_participants(dataset.bids_dir)
    table = join(results.scans, participants, dataset.bids_dir)
    groups = scan_groups(config, results.scans, table)
    comparisons, problems = compare_all(config, results.scans)
    names = [scan.name for scan in results.scans]
    verdicts, remarks = read_verdicts(dataset.output_dir, names)
    problems = find_problems(results, participants) + problems + remarks
    problems += agreement_problems(comparisons)
    write_table(dataset.output_dir / LESIONS, table.columns, table.rows)
    _write_agreement(config, comparisons)
    rejected = {scan for scan, verdict in verdicts.items() if verdict.verdict == REJECT}
    maps, unplaced = map_lesions(config, results.scans, rejected)
    problems += unplaced
    write_table(dataset.output_dir / PROBLEMS, PROBLEM_COLUMNS, [item.row() for item in problems])
    models = model_names(results.scans, dataset.derivatives)
    observed = observe_scans(table, groups, models)
    pairs = observe_pairs(comparisons, groups)
    suspects = rank_scans(results.scans, observed, verdicts, pairs)
    rows = [suspect.row(rank) for rank, suspect in enumerate(suspects, start=1)]
    write_table(dataset.output_dir / REVIEW, REVIEW_COLUMNS, rows)
    found = Found(results, table, comparisons, problems, tuple(suspects), charts=maps)
    observed = [item for item in observed if item.scan not in rejected]
    pairs = [item for item in pairs if item.scan not in rejected]
    found = _analyse(config, found, observed, pairs, starting_models(results.scans, models))
    page = build_page(config, found)
    write_text(dataset.output_dir / PAGE, render_group(page))
    return GroupSummary(
        scans=len(results.scans),
        compared=sum(item.status == OK for item in comparisons),
        not_compared=sum(item.status not in (OK, MISSING_REFERENCE) for item in comparisons),
        problems=tuple(problems),
        unreadable=len(results.unreadable),
    )


def _analyse(
    config: GroupConfig,
    found: Found,
    observed: Sequence[Observation],
    pairs: Sequence[Observation],
    own: Collection[str],
) -> Found:
    """Compute statistics, draw figures and write both; `own` models have seen no local case."""
    output_dir = config.dataset.output_dir
    kept = {(item.scan, item.model) for item in pairs}
    comparisons = [c for c in found.comparisons if (c.scan, c.model) in kept]
    statistics = all_statistics(config, observed, pairs)
    statistics += detection_statistics(comparisons, config.random_seed)
    study = run_study(config, pairs, statistics, own)
    statistics += study.statistics
    rows = [statistic.row() for statistic in statistics]
    write_table(output_dir / STATISTICS, STATISTIC_COLUMNS, rows)
    charts = draw_charts(config, observed, pairs, statistics)
    shown = shown_pairs(pairs)
    charts += draw_examples(config, found.results.scans, shown, comparisons)
    charts = [*charts, *study.charts, *found.charts]
    write_charts(charts, output_dir)
    return replace(found, statistics=statistics, charts=charts, study=study.sentences)


def _write_agreement(config: GroupConfig, comparisons: Sequence[Comparison]) -> None:
    """Write the tables of scans and of lesions, where there was anything to compare with."""
    if not config.dataset.derivatives:
        return
    output_dir = config.dataset.output_dir
    rows = [comparison.row() for comparison in comparisons]
    write_table(output_dir / AGREEMENT, {**IDENTITY_COLUMNS, **AGREEMENT_COLUMNS}, rows)
    # never all at once: a large dataset has millions of lesions
    lesions = (row for comparison in comparisons for row in comparison.lesion_rows())
    write_table(output_dir / DETECTION, {**IDENTITY_COLUMNS, **DETECTION_COLUMNS}, lesions)


def write_table(
    path: Path, columns: Mapping[str, Mapping[str, Any]], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write a table and the file that explains its columns.

    Parameters
    ----------
    path : Path
        A ``.tsv``; the ``.json`` goes beside it.
    columns : mapping
        Description of each column, in order.
    rows : iterable of mapping
        Values by column.

    Raises
    ------
    OutputError, StorageError
        A file cannot be written.
    """
    write_tsv(path, list(columns), rows)
    write_json(path.with_suffix(".json"), columns)


@contextmanager
def _alone(output_dir: Path) -> Iterator[None]:
    """Keep a second group run out of the folder; where there are no locks, nothing is kept out."""
    path = output_dir / _LOCK
    try:
        file = path.open("a")
    except OSError as error:
        raise as_output_error(error, path) from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise OutputError(
                    f"{output_dir}: another group run is writing here. Wait until it is done, "
                    "then run the same command again."
                ) from error
            LOGGER.debug("no locks in the output folder: %s", error)
        yield

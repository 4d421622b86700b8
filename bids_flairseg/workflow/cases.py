"""Cases for training, prepared by the workflow that segments: what that has done is not redone."""

from __future__ import annotations

import io
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bids_flairseg.bids.labels import LabelledScan, find_labelled
from bids_flairseg.bids.masks import find_brain_masks
from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.bids.outputs import log_dir
from bids_flairseg.bids.scans import list_participants
from bids_flairseg.config import DatasetConfig, RunConfig
from bids_flairseg.errors import MissingInputError, OutputError, StorageError
from bids_flairseg.train.checks import CaseRow, Finding, case_table
from bids_flairseg.train.store import case_digest, read_content
from bids_flairseg.workflow.crew import Crew
from bids_flairseg.workflow.display import open_display
from bids_flairseg.workflow.execute import Executor, run_workflow
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.progress import Board, Row
from bids_flairseg.workflow.scan import (
    CASE_STEP,
    WORKFLOW,
    Plan,
    init_cases_wf,
    node_name,
    run_folder,
)
from bids_flairseg.workflow.settings import configure_nipype
from bids_flairseg.workflow.start import find_valid_scans

LOGGER = logging.getLogger(__name__)

_WAIT_S = 2.0
_STEPS = 4
_WIDTH = 140


@dataclass(frozen=True)
class Source:
    """A dataset to train on.

    Attributes
    ----------
    dataset : DatasetConfig
        With the labels among its derivatives.
    prefix : str
        Put before the names of its cases; empty for the dataset of the command.
    """

    dataset: DatasetConfig
    prefix: str = ""


@dataclass(frozen=True)
class PreparedCase:
    """A scan of a dataset to train on, and what became of it.

    Attributes
    ----------
    labelled : LabelledScan
        The scan and its masks.
    row : CaseRow
        What is known of it; its name is that of the stored case.
    folder : Path
        Where the case is stored.
    own : bool
        Whether it is of the dataset of the command, and may be tested on.
    digest : str
        Of all that was known of the stored case when it was prepared, its voxels included;
        empty where it is not there.
    """

    labelled: LabelledScan
    row: CaseRow
    folder: Path
    own: bool
    digest: str


def list_sources(config: RunConfig) -> list[Source]:
    """List the datasets of a training, that of the command first.

    Parameters
    ----------
    config : RunConfig
        With a training.

    Returns
    -------
    list of Source
        At least one.

    Raises
    ------
    MissingInputError
        A further dataset has no labels to look for.
    """
    sources = [Source(config.dataset)]
    for number, (root, labels) in enumerate(config.train.also if config.train else (), start=2):
        folders = [labels] if labels else sorted((root / "derivatives").glob("*/"))
        if not folders:
            raise MissingInputError(
                f"{root}: expected its labels in {root / 'derivatives'}, but there is none. Say "
                f"where they are: --also-train-on {root}=LABELS."
            )
        dataset = replace(
            config.dataset,
            bids_dir=root,
            derivatives={folder.name: folder for folder in folders},
            participant_labels=(),
            session_labels=(),
            database_dir=None,
        )
        sources.append(Source(dataset, f"d{number}."))
    return sources


def find_cases(source: Source) -> list[LabelledScan]:
    """Find the scans of a dataset and their labels.

    Parameters
    ----------
    source : Source
        The dataset.

    Returns
    -------
    list of LabelledScan
        Those without labels as well.

    Raises
    ------
    FlairsegError
        The dataset is not valid, has no scan, or no label.
    """
    dataset = source.dataset
    with_brains = {
        name: folder
        for name, folder in dataset.derivatives.items()
        if find_brain_masks(folder, dataset.participant_labels or list_participants(folder))
    }
    scans = find_valid_scans(replace(dataset, derivatives=with_brains))
    cases = find_labelled(scans, dataset.derivatives, dataset.bids_dir)
    raters = Counter(rater for case in cases for rater in case.raters)
    listed = ", ".join(f"{rater} ({count} scans)" for rater, count in raters.items())
    LOGGER.info("%s: labels drawn by %s", dataset.bids_dir, listed)
    return cases


def prepare_cases(
    plan: Plan,
    source: Source,
    cases: Sequence[LabelledScan],
    *,
    executor: Executor,
    crew: Crew,
    console: Console | None,
) -> list[PreparedCase]:
    """Run the workflow up to the stored case for all scans with labels.

    Parameters
    ----------
    plan : Plan
        What the scans have in common.
    source : Source
        The dataset.
    cases : sequence of LabelledScan
        What `find_cases` gave.
    executor : Executor
        Runs the steps.
    crew : Crew
        The workers.
    console : Console or None
        A terminal for a live display.

    Returns
    -------
    list of PreparedCase
        One per scan, whatever became of it.

    Raises
    ------
    OutputError, StorageError
        The work folder cannot be written, or the disk is full.
    """
    plan = replace(plan, config=replace(plan.config, dataset=source.dataset))
    todo = [case for case in cases if case.labels]
    rows = [Row(case.scan.name) for case in todo]
    configure_nipype(
        log_dir(source.dataset.output_dir),
        scans=len(todo),
        stop_on_first_crash=plan.config.stop_on_first_crash,
    )
    with open_display(len(todo), _STEPS + plan.config.segment.n4, console) as display:
        board = Board(rows, display, lambda _: None)
        workflow = init_cases_wf(plan, todo, prefix=source.prefix)
        run_workflow(workflow, board, executor=executor, crew=crew)
    _raise_storage(rows)
    failures = {row.scan: row.failure.text for row in rows if row.failure}
    return [_note(plan, source, case, failures.get(case.scan.name, "")) for case in cases]


def _raise_storage(rows: Sequence[Row]) -> None:
    """Tell of a full disk as such: it is no fault of a case."""
    for row in rows:
        for kind in (OutputError, StorageError):
            if row.failure is not None and row.failure.exit_code == kind.exit_code:
                raise kind(row.failure.text)


def _note(plan: Plan, source: Source, case: LabelledScan, failure: str) -> PreparedCase:
    """Gather what is known of a case now."""
    base = plan.folder or run_folder(source.dataset)
    folder = base / WORKFLOW / node_name(case.scan.name) / CASE_STEP
    name = f"{source.prefix}{case.scan.name}"
    digest = case_digest(folder, name)
    content = read_content(folder, name) if case.labels and not failure else None
    if case.labels and content is None and not failure:
        failure = "its preparation ended without a word; see the log."
    row = CaseRow(
        name=name,
        participant=f"{source.prefix}{case.scan.participant}",
        facts=content["facts"] if content else {},
        attributes=case.attributes,
        labelled=bool(case.labels),
        failure=failure,
    )
    return PreparedCase(case, row, folder, own=not source.prefix, digest=digest)


def take_participants(locks: ParticipantLocks, participants: Iterable[str]) -> None:
    """Wait until no other run works on some participants.

    Folds that run as parallel jobs prepare the same cases: the first one does it. All take
    them in the same order and wait for the next one before they take more, so that no two
    runs wait for each other.

    Parameters
    ----------
    locks : ParticipantLocks
        Of the output folder.
    participants : iterable of str
        Labels of all that the run needs; they are taken until the locks are closed.
    """
    waiting = sorted(set(participants))
    told = False
    while waiting:
        if locks.take(waiting[0]):
            del waiting[0]
            continue
        if not told:
            LOGGER.info("waiting for another run that works on %s", enumerate_some(waiting))
            told = True
        time.sleep(_WAIT_S)


def show_table(rows: Sequence[CaseRow], findings: Sequence[Finding]) -> str:
    """Print the table of all cases, and what is odd about them.

    Parameters
    ----------
    rows : sequence of CaseRow
        All cases.
    findings : sequence of Finding
        What `find_problems` gave.

    Returns
    -------
    str
        Lines of text.
    """
    columns, cells = case_table(rows)
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name == "lesion ml" else "left")
    for line in cells:
        table.add_row(*line)
    buffer = io.StringIO()
    Console(file=buffer, width=_WIDTH).print(table)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    usable = [row for row in rows if row.usable]
    volumes = sorted(row.facts["lesion_ml"] for row in usable)
    if volumes:
        lines.append(
            f"{len(usable)} cases of {len({row.participant for row in usable})} participants, "
            f"{sum(volume > 0 for volume in volumes)} with lesions "
            f"({volumes[0]:.1f} to {volumes[-1]:.1f} ml)"
        )
    quiet = [item for item in findings if not (item.fatal or item.loud)]
    lines += [f"note: {item.case}: {item.text}" for item in quiet]
    return "\n".join(lines)

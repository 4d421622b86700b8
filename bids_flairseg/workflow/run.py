"""The participant level from settings to exit code."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from bids_flairseg.bids.atomic import remove_stale
from bids_flairseg.bids.description import DatasetInfo, prepare_output_dir
from bids_flairseg.bids.outputs import log_dir
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import RunConfig
from bids_flairseg.nodes.fingerprint import settings_digest
from bids_flairseg.nodes.networks import warm_up
from bids_flairseg.workflow.crew import Crew
from bids_flairseg.workflow.display import open_display
from bids_flairseg.workflow.environment import environment, worker_variables
from bids_flairseg.workflow.execute import Executor, choose_executor, execute
from bids_flairseg.workflow.hardware import check_processor, tell_of_driver
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.models import Models, read_models, report_settings, software_versions
from bids_flairseg.workflow.pages import Pages, find_crash_files, last_report
from bids_flairseg.workflow.progress import Board, Row, Status
from bids_flairseg.workflow.provenance import write_provenance
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.resume import clean_branches, open_rows, remove_leftovers
from bids_flairseg.workflow.scan import Plan, count_steps
from bids_flairseg.workflow.settings import configure_nipype, memory_gb
from bids_flairseg.workflow.start import find_valid_scans
from bids_flairseg.workflow.summary import exit_code, summarise

LOGGER = logging.getLogger(__name__)


def run_participants(config: RunConfig, record: Record, console: Console | None = None) -> int:
    """Segment the scans of a run.

    Parameters
    ----------
    config : RunConfig
        All settings.
    record : Record
        Where the run is recorded.
    console : Console, optional
        A terminal for a live display.

    Returns
    -------
    int
        Exit code: 0 if all scans are done.

    Raises
    ------
    FlairsegError
        Nothing could be started.
    """
    started = time.time()
    models = read_models(config.segment)
    record.save(models={"lesion": models.lesion.record(), "anatomy": models.anatomy.record()})
    plan, executor = make_plan(config, models), choose_executor(config)
    output_dir = config.dataset.output_dir
    rows: list[tuple[Scan, Row]] = []
    try:
        with session(config, record, executor) as (crew, locks):
            scans = find_valid_scans(config.dataset)
            prepare_output_dir(output_dir, dataset_info(config, models))
            for folder in (output_dir, log_dir(output_dir)):
                remove_stale(folder, before=started)
            rows = open_rows(scans, plan, locks)
            pages = Pages(output_dir, rows, record.content["run"]["command"])
            _announce(rows, config)
            work(plan, rows, pages, executor=executor, crew=crew, console=console)
            if config.clean_workdir:
                finished = (Status.DONE, Status.UNCHANGED)
                clean_branches(config.dataset, [s for s, row in rows if row.status in finished])
        pages.complete(find_crash_files(output_dir, scans, since=started))
        done = [(scan, row) for scan, row in rows if row.status is Status.DONE]
        write_provenance(record, plan, models, done)
        record.save(result=_result(rows))
    finally:  # after a signal, or on a full disk, too
        if rows:
            _print_summary(config, record, rows, console)
    return exit_code([row for _, row in rows])


def make_plan(config: RunConfig, models: Models) -> Plan:
    """Gather what all scans of a run have in common.

    Parameters
    ----------
    config : RunConfig
        All settings.
    models : Models
        Both bundles.

    Returns
    -------
    Plan
        The same for every scan.
    """
    return Plan(
        config=config,
        settings=report_settings(config.segment, models),
        models=models.fingerprints,
        settings_digest=settings_digest(config.segment, models.fingerprints),
        versions=software_versions(n4=config.segment.n4),
        memory_gb=memory_gb(config.resources),
        network_gb={
            "lesion": models.lesion.memory_gb(config.segment.inference),
            "anatomy": models.anatomy.memory_gb(),
        },
    )


@contextmanager
def session(
    config: RunConfig, record: Record, executor: Executor
) -> Iterator[tuple[Crew, ParticipantLocks]]:
    """Give the workers, which load the networks meanwhile, and the locks; end them after."""
    check_processor()
    tell_of_driver(config.resources.device)
    output_dir = config.dataset.output_dir
    cache = config.dataset.work_dir / "cache"
    cache.mkdir(exist_ok=True)
    variables = worker_variables(config.resources, cache)
    crew = Crew(executor.processes, log_file=record.folder / "workers.log")
    with environment(variables), ParticipantLocks(log_dir(output_dir)) as locks:
        try:
            if executor.is_crew:
                crew.prepare(warm_up, config.resources, config.segment)
            yield crew, locks
        except BaseException:
            crew.kill()
            remove_leftovers(output_dir, locks.taken)
            raise
        finally:
            crew.kill()


def dataset_info(config: RunConfig, models: Models) -> DatasetInfo:
    """Gather what the description of the outputs says."""
    return DatasetInfo(
        bids_dir=config.dataset.bids_dir,
        derivatives=config.dataset.derivatives,
        model=models.lesion.config.name,
        model_sha256=models.lesion.sha256,
        model_licence=models.lesion.licence,
    )


def _announce(rows: Sequence[tuple[Scan, Row]], config: RunConfig) -> None:
    """Say what is to be done and what is not."""
    states = [row.status for _, row in rows]
    word = "scan" if len(states) == 1 else "scans"
    LOGGER.info("%d %s, %d to do", len(states), word, states.count(Status.WAITING))
    unchanged = states.count(Status.UNCHANGED)
    if unchanged:
        LOGGER.info(
            "%d are done already, with the same image, options and models (--overwrite does "
            "them again)",
            unchanged,
        )
    for scan, row in rows:
        if row.status is Status.ELSEWHERE:
            LOGGER.warning("%s: another run works on this participant; left to it", scan.name)
    if states.count(Status.WAITING):
        LOGGER.info("intermediate files: %s", config.dataset.work_dir)


def work(
    plan: Plan,
    rows: Sequence[tuple[Scan, Row]],
    pages: Pages,
    *,
    executor: Executor,
    crew: Crew,
    console: Console | None,
) -> None:
    """Do the scans that wait."""
    todo = [(scan, row) for scan, row in rows if row.status is Status.WAITING]
    if not todo:
        return
    output_dir = plan.config.dataset.output_dir
    remove_leftovers(output_dir, {scan.participant for scan, _ in todo})
    if plan.config.clean_workdir:
        clean_branches(plan.config.dataset, [scan for scan, _ in todo])
    configure_nipype(
        log_dir(output_dir),
        scans=len(todo),
        stop_on_first_crash=plan.config.stop_on_first_crash,
    )
    with open_display(len(todo), count_steps(plan.config), console) as display:
        board = Board([row for _, row in todo], display, pages.finish)
        execute(plan, [scan for scan, _ in todo], board, executor=executor, crew=crew)


def _result(rows: Sequence[tuple[Scan, Row]]) -> dict[str, int]:
    """Count what the record says of the outcome."""
    states = [row.status for _, row in rows]
    counts = {str(status): states.count(status) for status in Status if status in states}
    return {"exit_code": exit_code([row for _, row in rows]), **counts}


def _print_summary(
    config: RunConfig,
    record: Record,
    rows: Sequence[tuple[Scan, Row]],
    console: Console | None,
) -> None:
    output_dir = config.dataset.output_dir
    table = [(row, last_report(output_dir, scan)) for scan, row in rows]
    text = summarise(table, output_dir=output_dir, log_file=record.folder / "flairseg.log")
    (console or Console(width=200)).print(text, highlight=False, soft_wrap=True)

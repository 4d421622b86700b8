"""One workflow through one Nipype plugin."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nipype.pipeline import plugins
from nipype.pipeline.engine import Workflow

from bids_flairseg.bids.outputs import ScanPaths
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import RunConfig
from bids_flairseg.errors import FlairsegError, UsageError
from bids_flairseg.nodes.step import describe
from bids_flairseg.workflow.crew import Crew
from bids_flairseg.workflow.plugin import CrewPlugin
from bids_flairseg.workflow.progress import Board, Status
from bids_flairseg.workflow.resume import is_done
from bids_flairseg.workflow.scan import Plan, init_flairseg_wf, node_name
from bids_flairseg.workflow.settings import memory_gb, read_plugin_file

LOGGER = logging.getLogger(__name__)

CREW = "MultiProc"


@dataclass(frozen=True)
class Executor:
    """Which Nipype plugin runs the steps.

    Attributes
    ----------
    plugin : str
        Its name; ``MultiProc`` stands for the one of this package.
    arguments : mapping
        Its arguments.
    """

    plugin: str = CREW
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_crew(self) -> bool:
        """Whether lasting workers of this machine run the steps."""
        return self.plugin == CREW

    @property
    def processes(self) -> int:
        """Most processes on this machine."""
        return int(self.arguments.get("n_procs", 1))


def choose_executor(config: RunConfig) -> Executor:
    """Take the user's plugin, or MultiProc within the limits of the command line.

    Parameters
    ----------
    config : RunConfig
        All settings.

    Returns
    -------
    Executor
        Plugin and arguments.

    Raises
    ------
    UsageError
        The plugin file makes no sense, or Nipype has no such plugin.
    """
    resources = config.resources
    limits = {
        "n_procs": resources.nprocs,
        "memory_gb": memory_gb(resources),
        "raise_insufficient": False,
    }
    if resources.plugin_file is None:
        return Executor(CREW, limits)
    name, arguments = read_plugin_file(resources.plugin_file)
    if not hasattr(plugins, f"{name}Plugin"):
        known = sorted(item.removesuffix("Plugin") for item in dir(plugins) if "Plugin" in item)
        raise UsageError(
            f"{resources.plugin_file}: expected a plugin of Nipype ({', '.join(known)}), "
            f"found {name!r}."
        )
    return Executor(name, {**limits, **arguments} if name == CREW else arguments)


def execute(
    plan: Plan, scans: Sequence[Scan], board: Board, *, executor: Executor, crew: Crew
) -> None:
    """Run the workflow of some scans; the board knows afterwards what became of them.

    Parameters
    ----------
    plan : Plan
        What the scans have in common.
    scans : sequence of Scan
        Those to be done.
    board : Board
        Takes note.
    executor : Executor
        Runs the steps.
    crew : Crew
        The workers, for `Executor.is_crew`.

    Raises
    ------
    FlairsegError
        An output cannot be written.
    """
    if plan.config.write_graph:
        _write_graph(init_flairseg_wf(plan, scans[:1]))  # the branches are alike
    run_workflow(init_flairseg_wf(plan, scans), board, executor=executor, crew=crew)
    _note_results(plan, scans, board)
    if executor.plugin.endswith(("Graph", "DAGMan")):
        LOGGER.warning(
            "%s submits all steps and does not wait for them: run the same command again once its "
            "jobs have ended, for the pages and the summary",
            executor.plugin,
        )


def run_workflow(workflow: Workflow, board: Board, *, executor: Executor, crew: Crew) -> None:
    """Run a workflow; what fails is noted on the board and ends nothing else.

    Parameters
    ----------
    workflow : Workflow
        One branch per scan.
    board : Board
        Takes note.
    executor : Executor
        Runs the steps.
    crew : Crew
        The workers, for `Executor.is_crew`.

    Raises
    ------
    FlairsegError
        An output cannot be written.
    """
    arguments = {**executor.arguments, "status_callback": board}
    plugin = CrewPlugin(arguments, crew) if executor.is_crew else executor.plugin
    try:
        workflow.run(plugin=plugin, plugin_args=arguments)
    except FlairsegError:
        raise
    except Exception as error:  # noqa: BLE001 - Nipype raises whatever a step has raised
        LOGGER.debug("the workflow ended with %s", error)
        _note_end(board, error)


def _write_graph(workflow: Workflow) -> None:
    """Draw a workflow, or, without Graphviz, write down what Graphviz would draw."""
    drawing = shutil.which("dot") is not None
    path = workflow.write_graph(
        graph2use="colored", format="svg" if drawing else "dot", simple_form=True
    )
    hint = "" if drawing else " (install Graphviz to have it drawn)"
    LOGGER.info("graph of the workflow for one scan: %s%s", path, hint)


def _note_end(board: Board, error: Exception) -> None:
    """Where no step has failed, the workflow itself has: say so for all that are not done."""
    rows = board.rows.values()
    if any(row.status is Status.FAILED for row in rows):
        return
    for row in rows:
        if row.status is not Status.DONE:
            row.failure = describe(error)
            row.status = Status.FAILED


def _note_results(plan: Plan, scans: Sequence[Scan], board: Board) -> None:
    """Find out about scans of which the plugin told nothing: some submit and call never back.

    What an earlier run has left counts for nothing here: it was made with other options, or is
    to be made again.
    """
    for scan in scans:
        row = board.rows[node_name(scan.name)]
        if row.status in (Status.DONE, Status.FAILED):
            continue
        paths = ScanPaths(plan.config.dataset.output_dir, scan, plan.settings.voxel_size_mm)
        made = not plan.config.overwrite and is_done(paths, settings=plan.settings_digest)
        row.status = Status.DONE if made else Status.WAITING

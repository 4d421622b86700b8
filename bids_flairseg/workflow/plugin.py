"""Nipype's MultiProc on a crew of lasting workers that survive each other's death."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
from nipype.pipeline.engine import Node
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node
from numpy.typing import NDArray

from bids_flairseg.workflow.crew import Crew


class CrewPlugin(MultiProcPlugin):  # type: ignore[misc]  # Nipype's classes carry no types
    """Nipype's scheduler by processors and memory; a step whose process dies fails alone.

    With Nipype's own pool a killed process (out of memory, mostly) would end all others or
    leave the run waiting for ever.
    """

    def __init__(self, plugin_args: dict[str, Any], crew: Crew) -> None:
        super().__init__(plugin_args=plugin_args)
        self._crew = crew

    def _generate_dependency_list(self, graph: Any) -> None:
        super()._generate_dependency_list(graph)
        branches = [node.fullname.split(".")[1] for node in self.procs]
        place = {name: number for number, name in enumerate(dict.fromkeys(branches))}
        self._branch = np.array([place[name] for name in branches])
        widest = max((node.n_procs for node in self.procs), default=1)
        self._at_once = max(1, self.processors // widest) + 1

    def _sort_jobs(self, jobids: NDArray[np.intp], **_: Any) -> NDArray[np.intp]:
        """Finish scans in order, a few at once; else all would be checked before one is done."""
        pending = [job for _, job in self.pending_tasks]
        first = min(self._branch[[*jobids, *pending]], default=0)
        near = jobids[self._branch[jobids] < first + self._at_once]
        ordered: NDArray[np.intp] = near[np.argsort(self._branch[near], kind="stable")]
        return ordered

    def _submit_job(self, node: Node, updatehash: bool = False) -> int:
        self._taskid += 1
        needs_network = getattr(node.interface, "needs_network", False)
        future = self._crew.submit(
            run_node, node, updatehash, self._taskid, from_end=not needs_network
        )
        self._task_obj[self._taskid] = future
        future.add_done_callback(partial(self._keep_result, self._taskid))
        return int(self._taskid)

    def _keep_result(self, task: int, future: Future[dict[str, Any]]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            text = (
                "The process of this step died without a word, as happens when the system "
                f"runs out of memory ({error}).\n"
            )
            self._taskresult[task] = {"result": None, "traceback": [text], "taskid": task}
        else:
            self._taskresult[task] = future.result()

    def _clean_queue(self, jobid: int, graph: Any, result: Any = None) -> Any:
        # Whoever is called back about the failure finds its text here.
        self.procs[jobid]._traceback = (result or {}).get("traceback")
        return super()._clean_queue(jobid, graph, result=result)

    def _postrun_check(self) -> None:
        # All results are on the disk: nothing is lost, and nobody waits for libraries to unload.
        self._crew.kill()

"""Nipype's scheduler on a crew: results come back, and deaths are contained."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow
from nipype.utils.filemanip import loadpkl

from bids_flairseg.workflow.crew import Crew
from bids_flairseg.workflow.plugin import CrewPlugin
from bids_flairseg.workflow.settings import configure_nipype

PID = "def work(number):\n    import os\n    return os.getpid()\n"
DIE = "def work(number):\n    import os\n    os._exit(9)\n"


def run(base: Path, steps: dict[str, tuple[str, ...]], **arguments: Any) -> dict[str, str]:
    """Run chains of steps, one per scan; return the last status of each node."""
    configure_nipype(base / "crash")
    workflow = Workflow("wf", base_dir=base)
    for scan, functions in steps.items():
        chain = Workflow(scan)
        nodes = []
        for number, source in enumerate(functions):
            function = Function(input_names=["number"], output_names=["number"], function=source)
            nodes.append(Node(function, name=f"step{number}"))
        nodes[0].inputs.number = 0
        chain.add_nodes(nodes)
        for before, after in itertools.pairwise(nodes):
            chain.connect(before, "number", after, "number")
        workflow.add_nodes([chain])
    seen: dict[str, str] = {}
    crew = Crew(2, log_file=base / "log")
    settings = {
        "n_procs": 2,
        "memory_gb": 8,
        "status_callback": lambda node, status: seen.__setitem__(node.fullname, status),
        **arguments,
    }
    try:
        workflow.run(plugin=CrewPlugin(settings, crew))
    except RuntimeError:
        pass
    finally:
        crew.kill()
    return seen


def test_steps_of_one_chain_share_a_process(tmp_path: Path) -> None:
    seen = run(tmp_path, {"one": (PID, PID, PID)})
    assert set(seen.values()) == {"end"}
    results = list(tmp_path.rglob("result_*.pklz"))
    pids = {loadpkl(path).outputs.number for path in results}
    assert len(results) == 3
    assert len(pids) == 1


def test_killed_step_fails_alone(tmp_path: Path) -> None:
    seen = run(tmp_path, {"bad": (PID, DIE, PID), "good": (PID, PID, PID)})
    assert seen["wf.bad.step1"] == "exception"
    assert "wf.bad.step2" not in seen
    assert {seen[f"wf.good.step{n}"] for n in range(3)} == {"end"}
    (crash,) = (tmp_path / "crash").iterdir()
    assert "died without a word" in crash.read_text()


@pytest.mark.parametrize("name", ["tensorflow", "keras", "ants", "matplotlib"])
def test_scheduler_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, bids_flairseg.workflow.plugin; sys.exit({name!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_scans_are_finished_in_order_rather_than_all_begun(tmp_path: Path) -> None:
    seen = run(tmp_path, dict.fromkeys(("a", "b", "c", "d", "e"), (PID, PID, PID)), n_procs=1)
    ended = [node for node, status in seen.items() if status == "end"]
    assert ended.index("wf.a.step2") < ended.index("wf.d.step0")
    assert len(ended) == 15

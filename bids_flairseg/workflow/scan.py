"""The workflow: one branch of nodes per scan. Connections only; nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from bids_flairseg import __version__
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import RunConfig
from bids_flairseg.nodes.images import Check, CorrectBias, Prepare, Restore
from bids_flairseg.nodes.networks import FindBrain, Segment
from bids_flairseg.nodes.results import Measure, Plot, Write
from bids_flairseg.nodes.step import Step
from bids_flairseg.reports.records import Settings

#: Version within the name, so that no result of another version is taken from the work folder.
WORKFLOW = f"flairseg_{__version__.replace('.', '_')}_wf"


@dataclass(frozen=True)
class Plan:
    """What all scans of a run have in common.

    Attributes
    ----------
    config : RunConfig
        The run.
    settings : Settings
        What the report says about the models and options.
    models : mapping of str to str
        Digest of each bundle by its role, ``lesion`` and ``anatomy``.
    settings_digest : str
        Digest of all that changes the numbers of a scan.
    versions : mapping of str to str
        Versions of the software by name.
    memory_gb : float
        What all steps together may take.
    """

    config: RunConfig
    settings: Settings
    models: Mapping[str, str]
    settings_digest: str
    versions: Mapping[str, str]
    memory_gb: float


def init_flairseg_wf(plan: Plan, scans: Iterable[Scan]) -> Workflow:
    """Build the workflow of a run.

    Parameters
    ----------
    plan : Plan
        What the scans have in common.
    scans : iterable of Scan
        Those to be done.

    Returns
    -------
    Workflow
        Not connected between scans.
    """
    workflow = Workflow(WORKFLOW, base_dir=str(plan.config.dataset.work_dir))
    workflow.add_nodes([init_scan_wf(plan, scan) for scan in scans])
    return workflow


def node_name(scan: Scan) -> str:
    """Return a scan's name as Nipype takes it: ``+``, which BIDS labels may hold, it does not."""
    return scan.name.replace("+", "-")


def count_steps(config: RunConfig) -> int:
    """Count the nodes of a scan."""
    return 9 if config.segment.n4 else 8


def init_scan_wf(plan: Plan, scan: Scan) -> Workflow:
    """Build the branch of one scan.

    Parameters
    ----------
    plan : Plan
        What the scans have in common.
    scan : Scan
        The scan.

    Returns
    -------
    Workflow
        ``check``, ``find_brain``, ``n4`` if wanted, ``prepare``, ``segment``, ``restore``,
        ``measure``, ``plot``, ``write``.
    """
    nodes = _Nodes(plan)
    check = nodes.make(Check, "check", flair=scan.flair, settings=plan.settings_digest)
    find_brain = nodes.network(FindBrain, "find_brain", "anatomy", mem_gb=2.5)
    prepare = nodes.make(
        Prepare,
        "prepare",
        voxel_size_mm=plan.settings.voxel_size_mm,
        normalisation=plan.settings.normalisation,
        mem_gb=1.0,
    )
    segment = nodes.network(Segment, "segment", "lesion", mem_gb=4.0)
    segment.inputs.flip = plan.config.segment.flip
    segment.inputs.inference = plan.config.segment.inference
    restore = nodes.make(Restore, "restore", flair=scan.flair)
    measure = nodes.make(Measure, "measure", settings=plan.settings)
    measure.inputs.scan_warnings = list(scan.warnings)
    plot = nodes.make(Plot, "plot", flair=scan.flair, mem_gb=1.0)
    write = nodes.make(
        Write,
        "write",
        scan=scan,
        output_dir=str(plan.config.dataset.output_dir),
        settings=plan.settings,
        versions=dict(plan.versions),
    )
    if scan.brain_mask is not None:
        check.inputs.brain_mask = find_brain.inputs.supplied = str(scan.brain_mask)

    workflow = Workflow(node_name(scan))
    workflow.connect(check, "image", find_brain, "image")
    image = check
    if plan.config.segment.n4:
        image = nodes.make(CorrectBias, "n4", n_procs=plan.config.resources.omp_nthreads)
        workflow.connect(check, "image", image, "image")
        workflow.connect(find_brain, "brain", image, "brain")
    workflow.connect(
        [
            (image, prepare, [("image", "image")]),
            (find_brain, prepare, [("brain", "brain")]),
            (prepare, segment, [("image", "image")]),
            (segment, restore, [("probability", "probability")]),
            (find_brain, restore, [("brain", "brain"), ("classes", "classes")]),
            (check, measure, [("warnings", "file_warnings")]),
            (
                restore,
                measure,
                [("probability", "probability"), ("brain", "brain"), ("classes", "classes")],
            ),
            (measure, plot, [("lesions", "lesions")]),
            (restore, plot, [("brain", "brain")]),
            (check, write, [("fingerprint", "fingerprint")]),
            (find_brain, write, [("source", "brain_source")]),
            (prepare, write, [("image", "preprocessed")]),
            (
                segment,
                write,
                [("inference", "inference"), ("device", "device"), ("precision", "precision")],
            ),
            (restore, write, [("probability", "probability"), ("brain", "brain")]),
            (measure, write, [("lesions", "lesions"), ("measures", "measures")]),
            (plot, write, [("figures", "figures")]),
        ]
    )
    return workflow


class _Nodes:
    """Makes nodes with what they have in common: memory, threads, models."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def make(
        self,
        interface: type[Step],
        name: str,
        *,
        mem_gb: float = 0.5,
        n_procs: int = 1,
        **inputs: Any,
    ) -> Node:
        plain = {key: str(v) if isinstance(v, Path) else v for key, v in inputs.items()}
        return Node(
            interface(**plain),
            name=name,
            mem_gb=min(mem_gb, self._plan.memory_gb),
            n_procs=n_procs,
            overwrite=True if self._plan.config.overwrite else None,
        )

    def network(self, interface: type[Step], name: str, role: str, *, mem_gb: float) -> Node:
        resources, segment = self._plan.config.resources, self._plan.config.segment
        node = self.make(
            interface,
            name,
            mem_gb=mem_gb,
            n_procs=resources.omp_nthreads,
            bundle=segment.model if role == "lesion" else segment.anatomy,
            fingerprint=self._plan.models[role],
            nthreads=resources.omp_nthreads,
            device=resources.device,
        )
        if resources.memory_mb is not None:
            node.inputs.memory_mb = resources.memory_mb
        return node

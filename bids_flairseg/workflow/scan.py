"""The workflow: one branch of nodes per scan. Connections only; nothing is computed here."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from bids_flairseg import __version__
from bids_flairseg.bids.labels import LabelledScan
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import describe_surroundings
from bids_flairseg.config import DatasetConfig, RunConfig
from bids_flairseg.nodes.images import Check, CorrectBias, Prepare, Restore
from bids_flairseg.nodes.networks import FindBrain, Segment
from bids_flairseg.nodes.results import Measure, Plot, Write
from bids_flairseg.nodes.step import Step
from bids_flairseg.nodes.training import KeepCase
from bids_flairseg.preprocess.image import load_grid
from bids_flairseg.reports.records import Settings

LOGGER = logging.getLogger(__name__)

#: Version within the name, so that no result of another version is taken from the work folder.
WORKFLOW = f"flairseg_{__version__.replace('.', '_')}_wf"
#: The last step of a case for training.
CASE_STEP = "keep_case"
#: Memory of the steps without a network in GB, for a FLAIR of `USUAL_VOXELS`.
MEMORY_GB: Mapping[str, float] = {
    "check": 0.6,
    "n4": 2.0,
    "prepare": 0.8,
    "restore": 0.8,
    "measure": 1.0,
    "plot": 0.8,
    "write": 0.6,
    CASE_STEP: 1.0,
}
#: What a step takes more for as many voxels again: 0.13 to 0.25 were measured with 5.6 times them.
IMAGE_GB = 0.25
USUAL_VOXELS = 256**3


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
    network_gb : mapping of str to float
        What a step with a network takes, by the model's role.
    folder : Path or None
        Where the nodes work; None takes `run_folder`.
    """

    config: RunConfig
    settings: Settings
    models: Mapping[str, str]
    settings_digest: str
    versions: Mapping[str, str]
    memory_gb: float
    network_gb: Mapping[str, float]
    folder: Path | None = None


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
    return _gather(plan, [init_scan_wf(plan, scan) for scan in scans])


def init_cases_wf(plan: Plan, cases: Iterable[LabelledScan], *, prefix: str = "") -> Workflow:
    """Build the workflow that prepares cases for training, with the nodes of `init_flairseg_wf`.

    Parameters
    ----------
    plan : Plan
        What the scans have in common; its configuration has a training.
    cases : iterable of LabelledScan
        Scans with masks.
    prefix : str
        Put before the names of cases, where several datasets are trained on.

    Returns
    -------
    Workflow
        Not connected between scans.
    """
    return _gather(plan, [_init_case_wf(plan, case, prefix) for case in cases])


def _gather(plan: Plan, branches: list[Workflow]) -> Workflow:
    folder = plan.folder or run_folder(plan.config.dataset)
    workflow = Workflow(WORKFLOW, base_dir=str(folder))
    workflow.add_nodes(branches)
    return workflow


def run_folder(dataset: DatasetConfig) -> Path:
    """Return where the nodes work: runs with another input or output never meet there."""
    both = f"{dataset.bids_dir.resolve()}\n{dataset.output_dir.resolve()}"
    return dataset.work_dir / hashlib.sha256(both.encode()).hexdigest()[:12]


def node_name(scan: str) -> str:
    """Return a scan's name as Nipype takes it: ``+``, which BIDS labels may hold, it does not."""
    return scan.replace("+", "-")


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
    workflow, make = Workflow(node_name(scan.name)), _NodeMaker(plan, scan)
    check, find_brain, prepare = _add_preparation(workflow, make)
    settings, options = plan.settings, plan.config.segment
    segment = make.network(
        Segment, "segment", "lesion", flip=options.flip, inference=options.inference
    )
    restore = make(Restore, "restore")
    measure = make(Measure, "measure", settings=settings, scan_warnings=list(scan.warnings))
    plot = make(Plot, "plot")
    write = _make_write(make, plan, scan)
    found = [("probability", "probability"), ("brain", "brain")]
    applied = [("inference", "inference"), ("device", "device"), ("precision", "precision")]
    workflow.connect([
        (prepare, segment, [("image", "image")]),
        (segment, restore, [("probability", "probability")]),
        (find_brain, restore, [("brain", "brain"), ("classes", "classes")]),
        (check, measure, [("warnings", "file_warnings")]),
        (find_brain, measure, [("warnings", "brain_warnings")]),
        (restore, measure, [*found, ("classes", "classes")]),
        (measure, plot, [("lesions", "lesions")]),
        (restore, plot, [("brain", "brain")]),
        (check, write, [("fingerprint", "fingerprint")]),
        (find_brain, write, [("source", "brain_source")]),
        (prepare, write, [("image", "preprocessed"), ("smoothed", "smoothed")]),
        (segment, write, applied),
        (restore, write, found),
        (measure, write, [(name, name) for name in ("lesions", "regions", "measures")]),
        (plot, write, [("figures", "figures")]),
    ])  # fmt: skip
    return workflow


def _init_case_wf(plan: Plan, case: LabelledScan, prefix: str) -> Workflow:
    """Build the branch of one case: ``check`` to ``prepare``, and ``keep_case``."""
    workflow, make = Workflow(node_name(case.scan.name)), _NodeMaker(plan, case.scan)
    check, find_brain, prepare = _add_preparation(workflow, make)
    train = plan.config.train
    keep_case = make(
        KeepCase,
        CASE_STEP,
        case_name=f"{prefix}{case.scan.name}",
        participant=f"{prefix}{case.scan.participant}",
        attributes=dict(case.attributes),
        labels=[str(path) for path in case.labels],
        rule=train.raters if train else "majority",
        values=list(train.label_values) if train else [],
    )
    workflow.connect([
        (check, keep_case, [("image", "image")]),
        (find_brain, keep_case, [("brain", "brain")]),
        (prepare, keep_case, [("image", "prepared")]),
    ])  # fmt: skip
    return workflow


def _add_preparation(workflow: Workflow, make: _NodeMaker) -> tuple[Node, Node, Node]:
    """Connect the steps up to the normalised image, the same for all that comes after."""
    plan, scan = make.plan, make.scan
    settings, about = plan.settings, describe_surroundings(scan)
    check = make(Check, "check", settings=plan.settings_digest, about=about)
    find_brain = make.network(FindBrain, "find_brain", "anatomy", flip=plan.config.segment.flip)
    scaling: dict[str, Any] = {
        "voxel_size_mm": settings.voxel_size_mm,
        "normalisation": settings.normalisation,
    }
    prepare = make(Prepare, "prepare", **scaling)
    if scan.brain_mask is not None:
        check.inputs.brain_mask = find_brain.inputs.supplied = str(scan.brain_mask)
    n4 = plan.config.segment.n4
    bias_free = _insert_n4(workflow, make, check, find_brain) if n4 else check
    workflow.connect([
        (check, find_brain, [("image", "image")]),
        (bias_free, prepare, [("image", "image")]),
        (find_brain, prepare, [("brain", "brain")]),
    ])  # fmt: skip
    return check, find_brain, prepare


def _make_write(make: _NodeMaker, plan: Plan, scan: Scan) -> Node:
    """Make the node that puts all results in place."""
    return make(
        Write,
        "write",
        scan=scan,
        output_dir=plan.config.dataset.output_dir,
        settings=plan.settings,
        versions=dict(plan.versions),
    )


def _insert_n4(workflow: Workflow, make: _NodeMaker, check: Node, find_brain: Node) -> Node:
    """Correct the bias field between the check and the preparation."""
    n4 = make(CorrectBias, "n4", n_procs=make.plan.config.resources.omp_nthreads)
    workflow.connect([(check, n4, [("image", "image")]), (find_brain, n4, [("brain", "brain")])])
    return n4


def relative_size(flair: Path) -> float:
    """Compare an image with what `MEMORY_GB` is meant for; reads the header alone.

    Parameters
    ----------
    flair : Path
        The image.

    Returns
    -------
    float
        Voxels over `USUAL_VOXELS`, 1 at least; 1 for what is no image.
    """
    try:
        shape = load_grid(flair).shape
    except Exception as error:  # noqa: BLE001 - the scan's own branch will find out and say more
        LOGGER.debug("%s: the header cannot be read (%s)", flair, error)
        return 1.0
    return max(1.0, math.prod(shape) / USUAL_VOXELS)


class _NodeMaker:
    """Makes the nodes of a scan with what they have in common: image, memory, threads."""

    def __init__(self, plan: Plan, scan: Scan) -> None:
        self.plan = plan
        self.scan = scan
        self.more_gb = IMAGE_GB * (relative_size(scan.flair) - 1)

    def __call__(
        self,
        interface: type[Step],
        name: str,
        *,
        mem_gb: float | None = None,
        n_procs: int = 1,
        **inputs: Any,
    ) -> Node:
        inputs["flair"], limit = self.scan.flair, self.plan.memory_gb
        plain = {key: str(v) if isinstance(v, Path) else v for key, v in inputs.items()}
        return Node(
            interface(**plain),
            name=name,
            # Nobody has more than there is: such a step then runs while no other does.
            mem_gb=min(MEMORY_GB[name] + self.more_gb if mem_gb is None else mem_gb, limit),
            n_procs=n_procs,
            # Write runs always, whatever it says here; see there.
            overwrite=True if self.plan.config.overwrite else None,
        )

    def network(self, interface: type[Step], name: str, role: str, **inputs: Any) -> Node:
        resources, segment = self.plan.config.resources, self.plan.config.segment
        if resources.memory_mb is not None:
            inputs["memory_mb"] = resources.memory_mb
        # The lesion network sees voxels of its own size, however fine the FLAIR is.
        more_gb = self.more_gb if role == "anatomy" else 0.0
        return self(
            interface,
            name,
            mem_gb=self.plan.network_gb[role] + more_gb,
            n_procs=resources.omp_nthreads,
            bundle=segment.model if role == "lesion" else segment.anatomy,
            fingerprint=self.plan.models[role],
            nthreads=resources.omp_nthreads,
            device=resources.device,
            **inputs,
        )

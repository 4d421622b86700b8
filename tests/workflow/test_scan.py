"""The workflow is complete before anything runs: names, inputs, limits."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.base import isdefined
from nipype.pipeline.engine import Node

from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import DatasetConfig, ResourceConfig, RunConfig, SegmentConfig
from bids_flairseg.reports.records import Settings
from bids_flairseg.workflow.progress import STEPS
from bids_flairseg.workflow.scan import (
    IMAGE_GB,
    MEMORY_GB,
    Plan,
    count_steps,
    init_flairseg_wf,
    node_name,
    relative_size,
)

SCAN = Scan(Path("/bids/sub-a+b/anat/sub-a+b_FLAIR.nii.gz"), {"sub": "a+b"})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    config = RunConfig(
        dataset=DatasetConfig(tmp_path / "bids", tmp_path / "out", tmp_path / "work"),
        resources=ResourceConfig(nprocs=4, omp_nthreads=3, memory_mb=3000),
        segment=SegmentConfig(model=tmp_path / "lesion", anatomy=tmp_path / "anatomy", flip=False),
    )
    return Plan(
        config=config,
        settings=Settings("m", "0" * 64, threshold=0.5, min_lesion_ml=0.01),
        models={"lesion": "abc", "anatomy": "def"},
        settings_digest="123",
        versions={"Nipype": "1"},
        memory_gb=3.0,
        network_gb={"lesion": 5.0, "anatomy": 2.0},
    )


def with_n4(plan: Plan) -> Plan:
    segment = dataclasses.replace(plan.config.segment, n4=True)
    return dataclasses.replace(plan, config=dataclasses.replace(plan.config, segment=segment))


def nodes_of(plan: Plan, *scans: Scan) -> dict[str, Node]:
    flat = init_flairseg_wf(plan, scans)._create_flat_graph()
    return {node.name: node for node in flat.nodes()}


def test_branch_has_the_steps_that_progress_knows(plan: Plan) -> None:
    assert list(STEPS) == [name for name in STEPS if name in nodes_of(with_n4(plan), SCAN)]
    assert nodes_of(plan, SCAN).keys() == STEPS.keys() - {"n4"}
    for each in (plan, with_n4(plan)):
        assert len(nodes_of(each, SCAN)) == count_steps(each.config)


@pytest.mark.parametrize("n4", [False, True])
def test_every_mandatory_input_is_given(plan: Plan, n4: bool) -> None:
    flat = init_flairseg_wf(with_n4(plan) if n4 else plan, [SCAN])._create_flat_graph()
    for node in flat.nodes():
        connected = {
            target for *_, data in flat.in_edges(node, data=True) for _, target in data["connect"]
        }
        for name in node.inputs.traits(mandatory=True):
            assert name in connected or isdefined(getattr(node.inputs, name)), (node.name, name)


def test_supplied_mask_reaches_the_steps_that_need_it(plan: Plan) -> None:
    nodes = nodes_of(plan, dataclasses.replace(SCAN, brain_mask=Path("/masks/sub-a+b/m.nii.gz")))
    assert nodes["find_brain"].inputs.supplied == "/masks/sub-a+b/m.nii.gz"
    assert nodes["check"].inputs.brain_mask == "/masks/sub-a+b/m.nii.gz"


def test_limits_of_threads_and_memory(plan: Plan) -> None:
    nodes = nodes_of(plan, SCAN)
    assert nodes["segment"].n_procs == nodes["segment"].inputs.nthreads == 3
    assert nodes["prepare"].n_procs == 1
    assert nodes["segment"].mem_gb == 3.0  # what is there, not what it would like
    assert nodes["find_brain"].mem_gb == 2.0
    assert nodes["segment"].inputs.memory_mb == 3000


def test_a_fine_image_takes_more_memory_but_no_more_than_there_is(
    plan: Plan, tmp_path: Path
) -> None:
    path = tmp_path / "fine.nii.gz"
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((512, 512, 192))  # three times 256^3
    header.set_zooms((0.5, 0.5, 1.0))
    # the header alone, and noise for as many bytes as a gzip of all voxels has at least
    noise = np.random.default_rng(0).bytes(110_000)
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + noise))
    assert relative_size(path) == 3
    assert relative_size(tmp_path / "none.nii") == 1

    roomy = dataclasses.replace(plan, memory_gb=100.0)
    nodes = nodes_of(with_n4(roomy), dataclasses.replace(SCAN, flair=path))
    assert {name: nodes[name].mem_gb for name in MEMORY_GB if name in nodes} == pytest.approx(
        {name: usual + 2 * IMAGE_GB for name, usual in MEMORY_GB.items() if name in nodes}
    )
    assert nodes["find_brain"].mem_gb == pytest.approx(2.0 + 2 * IMAGE_GB)
    assert nodes["segment"].mem_gb == 5.0  # sees voxels of its own size
    limited = nodes_of(with_n4(plan), dataclasses.replace(SCAN, flair=path))
    assert max(node.mem_gb for node in limited.values()) == plan.memory_gb


def test_models_count_by_what_they_hold_and_not_by_their_place(plan: Plan, tmp_path: Path) -> None:
    def digest(plan: Plan) -> str:
        node = nodes_of(plan, SCAN)["segment"]
        return str(node.inputs.get_hashval(hash_method="content")[1])

    segment = dataclasses.replace(plan.config.segment, model=tmp_path / "elsewhere")
    moved = dataclasses.replace(plan, config=dataclasses.replace(plan.config, segment=segment))
    other = dataclasses.replace(plan, models={**plan.models, "lesion": "changed"})
    assert digest(moved) == digest(plan)
    assert digest(other) != digest(plan)


def test_overwrite_reaches_every_node(plan: Plan) -> None:
    config = dataclasses.replace(plan.config, overwrite=True)
    nodes = nodes_of(dataclasses.replace(plan, config=config), SCAN)
    assert all(node.overwrite for node in nodes.values())
    assert nodes_of(plan, SCAN)["write"].interface.always_run


def test_names_with_a_plus_are_fit_for_nipype() -> None:
    assert node_name("sub-a+b_ses-1") == "sub-a-b_ses-1"

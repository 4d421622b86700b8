"""Which cases each training of a command gets, and what it is called."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_flairseg.bids.labels import LabelledScan
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import (
    DatasetConfig,
    ResourceConfig,
    RunConfig,
    SegmentConfig,
    TrainConfig,
)
from bids_flairseg.errors import MissingInputError, StorageError, UsageError
from bids_flairseg.model.bundle import bundled
from bids_flairseg.train.checks import CaseRow
from bids_flairseg.train.job import scratch_config
from bids_flairseg.train.pool import write_example
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.train.result import identify
from bids_flairseg.train.store import StoredCase, case_digest, write_case
from bids_flairseg.train.synthetic import read_pool
from bids_flairseg.workflow import tasks
from bids_flairseg.workflow.cases import PreparedCase
from bids_flairseg.workflow.models import read_models
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.tasks import (
    TrainingRun,
    check_parent,
    check_synthetic,
    choose,
    find_known,
    make_task,
)
from tests.train.blobs import ball_case

MakeRun = Callable[..., TrainingRun]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(*, seed: int = 0, mode: str = "train", **train: Any) -> TrainingRun:
        recipe = SiteRecipe(**train.pop("recipe", {}))
        many = replace(recipe, epochs=recipe.epochs + 7, **train.pop("many", {}))
        model = train.pop("model", bundled("lesion"))
        config = RunConfig(
            dataset=DatasetConfig(tmp_path / "bids", tmp_path / "out", tmp_path / "work"),
            resources=ResourceConfig(memory_mb=7000),
            segment=SegmentConfig(model=model, anatomy=bundled("anatomy")),
            train=TrainConfig(mode, **train),
            random_seed=seed,
        )
        assert config.train is not None
        record = Record(tmp_path, datetime.now().astimezone(), {})
        models = read_models(config.segment)
        return TrainingRun(
            config, config.train, models, recipe, many, scratch_config(recipe), record, None
        )

    return make


def draw(number: int) -> StoredCase:
    return ball_case(number, lesion=number % 2 == 0)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Eight participants; every second one has no lesion."""
    folder, prepared = tmp_path_factory.mktemp("cases"), []
    for number in range(8):
        case = draw(number)
        write_case(folder, case)
        scan = Scan(folder / f"{case.name}_FLAIR.nii.gz", {"sub": case.participant})
        row = CaseRow(case.name, case.participant, {"lesion_ml": case.lesion_ml}, {})
        prepared.append(
            PreparedCase(
                LabelledScan(scan, (), (), {}), row, folder,
                own=True, digest=case_digest(folder, case.name),
            )
        )  # fmt: skip
    return prepared


def bundle_of(
    folder: Path, *, trained_on: Sequence[int] = (), held: Sequence[int] = (), before: Any = ()
) -> Path:
    """Copy the bundled model, and say in its card which cases it knows."""
    shutil.copytree(bundled("lesion"), folder)
    card = json.loads((folder / "model.json").read_text())
    card["training"] |= {
        "parents": list(before),
        "cases": [identify(replace(draw(n), name=f"d2.other-{n}")) for n in trained_on],
        "cases_held_out": [identify(draw(n)) for n in held],
    }
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def names(cases: list[PreparedCase]) -> set[str]:
    return {case.row.name for case in cases}


def test_repeats_train_on_the_same_participants_with_other_seeds(
    make_run: MakeRun, cases: list[PreparedCase]
) -> None:
    run = make_run(count=4, repeats=2, recipe={"hold_out": 0.25})
    own = choose(run, cases)
    assert len(own) == 4
    (one, first), (two, second) = (
        make_task(run, own, [], name=f"m-seed{seed}", seed=seed) for seed in (0, 1)
    )
    assert (one.train, one.validation) == (two.train, two.validation)
    assert len(one.validation) == 1
    assert first != second
    drawn = {frozenset(names(choose(make_run(seed=seed, count=4), cases))) for seed in range(5)}
    assert len(drawn) > 1


def test_many_participants_have_a_recipe_of_their_own(
    make_run: MakeRun, cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    monkeypatch.setattr(tasks, "MANY", len(cases))
    few, many = (make_task(run, own, [], name="m", seed=0)[0] for own in (cases[1:], cases))
    assert (few.recipe, many.recipe) == (run.recipe, run.recipe_many)
    twice = [*cases[1:], cases[1]]  # a second scan is no further participant
    assert make_task(run, twice, [], name="m", seed=0)[0].recipe == run.recipe


def test_less_data_is_part_of_more_data(make_run: MakeRun, cases: list[PreparedCase]) -> None:
    few, half, all_cases = (
        names(choose(make_run(seed=3, **amount), cases))
        for amount in ({"count": 2}, {"fraction": 0.5}, {})
    )
    assert few < half < all_cases
    assert len(half) == 4
    with pytest.raises(UsageError, match="expected 1 to 8"):
        choose(make_run(count=9), cases)


def test_a_training_part_without_lesions_is_told(
    make_run: MakeRun, cases: list[PreparedCase], caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run(recipe={"hold_out": 0.0})
    make_task(run, cases[:2], [], name="good", seed=0)
    assert not caplog.records
    make_task(run, cases[1::2], [], name="bad", seed=0)
    assert "bad: none of the 4 cases that are trained on has a lesion" in caplog.text
    caplog.clear()
    make_task(run, cases[1::2], cases[:1], name="mixed", seed=0)
    assert not caplog.records


def test_memory_and_pool_reach_the_training(
    make_run: MakeRun, cases: list[PreparedCase], tmp_path: Path
) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    image = np.ones((8, 8, 8), np.float16)
    write_example(pool, 3, (image, np.eye(8, dtype=np.uint8)[..., None].repeat(8, -1)))
    run = make_run(synthetic=pool, recipe={"synthetic_share": 0.5})
    check_synthetic(run)
    task, digest = make_task(run, cases, [], name="m", seed=0)
    assert task.settings["memory_mb"] == 7000
    assert task.synthetic == pool
    (case,) = read_pool(pool)
    assert (case.name, case.lesion_ml) == ("synthetic-000003", 0.064)
    run_without = replace(run, recipe=replace(run.recipe, synthetic_share=0.0))
    assert make_task(run_without, cases, [], name="m", seed=0)[0].synthetic is None
    write_example(pool, 4, (image, np.zeros((8, 8, 8), np.uint8)))
    assert make_task(run, cases, [], name="m", seed=0)[1] != digest


def test_a_pool_and_its_share_come_together_and_fit_the_model(
    make_run: MakeRun, tmp_path: Path
) -> None:
    check_synthetic(make_run())
    with pytest.raises(UsageError, match="found a share of 0 and"):
        check_synthetic(make_run(synthetic=tmp_path))
    with pytest.raises(UsageError, match=r"found a share of 0\.5 and no folder"):
        check_synthetic(make_run(recipe={"synthetic_share": 0.5}))
    with pytest.raises(UsageError, match=r"found a share of 0\.25 and no folder"):
        check_synthetic(make_run(many={"synthetic_share": 0.25}))
    run = make_run(synthetic=tmp_path, recipe={"synthetic_share": 0.5, "network": "duong2019"})
    with pytest.raises(UsageError, match="normalised as 'zscore'"):
        check_synthetic(run)
    with pytest.raises(MissingInputError, match="found none"):
        check_synthetic(make_run(synthetic=tmp_path, recipe={"synthetic_share": 0.5}))
    other = replace(run.bundle_config.preprocessing, voxel_size_mm=2.0)
    config = replace(run.bundle_config, preprocessing=other)
    with pytest.raises(UsageError, match="2 mm"):
        check_synthetic(replace(run, bundle_config=config))


def test_what_the_parent_or_one_before_it_knows_is_not_tested_on(
    make_run: MakeRun, cases: list[PreparedCase], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = {
        "name": "first",
        "sha256": "0",
        "cases": [],
        "cases_held_out": [identify(draw(5))],
    }
    model = bundle_of(tmp_path / "ours", trained_on=(0, 1), held=(2,), before=[first])
    run = make_run(mode="crossval", model=model)
    assert find_known(run, cases) == {"sub-00", "sub-01", "sub-02", "sub-05"}
    with pytest.raises(UsageError, match=r"does not know .*: sub-00, sub-01, sub-02, sub-05"):
        check_parent(run, cases)
    check_parent(run, [cases[3], cases[4]])
    check_parent(make_run(mode="crossval", model=model, from_scratch=True), cases)
    assert not caplog.records
    check_parent(make_run(mode="finetune", model=model), cases)
    assert "knows 4 of the 8 cases already" in caplog.text


def test_a_participant_that_the_parent_knows_chooses_no_epoch(
    make_run: MakeRun, cases: list[PreparedCase], tmp_path: Path
) -> None:
    model = bundle_of(tmp_path / "ours", trained_on=(0, 1, 2, 3, 4))
    later = replace(cases[6], row=replace(cases[6].row, participant="00"))  # of a known one
    own = [*cases[:6], later, cases[7]]
    for seed in range(4):
        run = make_run(mode="finetune", model=model, seed=seed, recipe={"hold_out": 0.5})
        task, _ = make_task(run, own, [], name="m", seed=0)
        assert {name for _, name in task.validation} <= {"sub-05", "sub-07"}
        assert {name for _, name in (*task.train, *task.validation)} == names(own)
    free = make_run(mode="train", model=model, recipe={"hold_out": 0.5})
    held = {name for _, name in make_task(free, own, [], name="m", seed=0)[0].validation}
    assert held - {"sub-05", "sub-07"}


def test_a_case_that_another_run_has_changed_ends_the_command(
    make_run: MakeRun, cases: list[PreparedCase], tmp_path: Path
) -> None:
    write_case(tmp_path, ball_case(0))
    case = replace(cases[0], folder=tmp_path)
    run = make_run()
    task, _ = make_task(run, [case, cases[2]], [], name="m", seed=0)
    assert task.digests == {"sub-00": case.digest, "sub-02": cases[2].digest}
    write_case(tmp_path, ball_case(0, lesion=False))  # other raters, say
    with pytest.raises(StorageError, match="another run has changed it"):
        make_task(run, [case, cases[2]], [], name="m", seed=0)

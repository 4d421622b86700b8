"""Which cases each training of a command gets, and what it is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
from bids_flairseg.errors import MissingInputError, UsageError
from bids_flairseg.model.bundle import bundled
from bids_flairseg.train.checks import CaseRow
from bids_flairseg.train.job import scratch_config
from bids_flairseg.train.pool import write_example
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.train.store import write_case
from bids_flairseg.train.synthetic import read_pool
from bids_flairseg.workflow import tasks
from bids_flairseg.workflow.cases import PreparedCase
from bids_flairseg.workflow.models import read_models
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.tasks import TrainingRun, check_synthetic, choose, make_task
from tests.train.blobs import ball_case

MakeRun = Callable[..., TrainingRun]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(*, seed: int = 0, **train: Any) -> TrainingRun:
        recipe = SiteRecipe(**train.pop("recipe", {}))
        many = dataclasses.replace(recipe, epochs=recipe.epochs + 7)
        config = RunConfig(
            dataset=DatasetConfig(tmp_path / "bids", tmp_path / "out", tmp_path / "work"),
            resources=ResourceConfig(memory_mb=7000),
            segment=SegmentConfig(model=bundled("lesion"), anatomy=bundled("anatomy")),
            train=TrainConfig("train", **train),
            random_seed=seed,
        )
        assert config.train is not None
        record = Record(tmp_path, datetime.now().astimezone(), {})
        models = read_models(config.segment)
        return TrainingRun(
            config, config.train, models, recipe, many, scratch_config(recipe), record, None
        )

    return make


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Eight participants; every second one has no lesion."""
    folder, prepared = tmp_path_factory.mktemp("cases"), []
    for number in range(8):
        case = ball_case(number, lesion=number % 2 == 0)
        write_case(folder, case)
        scan = Scan(folder / f"{case.name}_FLAIR.nii.gz", {"sub": case.participant})
        row = CaseRow(case.name, case.participant, {"lesion_ml": case.lesion_ml}, {})
        prepared.append(PreparedCase(LabelledScan(scan, (), (), {}), row, folder, own=True))
    return prepared


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
    run = make_run(synthetic=tmp_path, recipe={"synthetic_share": 0.5, "network": "duong2019"})
    with pytest.raises(UsageError, match="normalised as 'zscore'"):
        check_synthetic(run)
    with pytest.raises(MissingInputError, match="found none"):
        check_synthetic(make_run(synthetic=tmp_path, recipe={"synthetic_share": 0.5}))
    other = dataclasses.replace(run.bundle_config.preprocessing, voxel_size_mm=2.0)
    config = dataclasses.replace(run.bundle_config, preprocessing=other)
    with pytest.raises(UsageError, match="2 mm"):
        check_synthetic(dataclasses.replace(run, bundle_config=config))

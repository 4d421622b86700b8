"""Input that is broken, empty or odd: a clear word or a stated value, and nothing lost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.errors import UsageError
from bids_flairseg.group.run import write_group
from tests.group.conftest import Finish, lesion, save, write_participants
from tests.group.test_run import rows_of


def reference(dataset: DatasetConfig, stem: str, data: np.ndarray) -> None:
    subject = stem.split("_", maxsplit=1)[0]
    save(dataset.derivatives["manual"] / subject / "anat" / f"{stem}_label-L_mask.nii.gz", data)


def values_of(dataset: DatasetConfig, **wanted: str) -> list[dict[str, str]]:
    rows = rows_of(dataset.output_dir / "group_statistics.tsv")
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_a_reference_of_0_and_255_is_a_mask_and_probabilities_are_none(
    dataset: DatasetConfig, finish: Finish
) -> None:
    for stem in ("sub-1", "sub-2", "sub-3"):
        finish(stem)
    reference(dataset, "sub-1", lesion() * np.uint8(255))
    reference(dataset, "sub-3", np.where(lesion() > 0, np.nan, 0).astype(np.float32))
    soft = np.random.default_rng(0).random(lesion().shape, dtype=np.float32)
    reference(dataset, "sub-2", soft)
    summary = write_group(GroupConfig(dataset))
    rows = rows_of(dataset.output_dir / "group_agreement.tsv")
    assert [(row["status"], row["dice"]) for row in rows] == [
        ("ok", "1"),
        ("unreadable", "n/a"),
        ("unreadable", "n/a"),
    ]
    assert "Threshold" in rows[1]["reason"]
    assert "NaN" in rows[2]["reason"]
    assert {problem.kind for problem in summary.problems} == {"unreadable"}


def test_identical_masks_and_groups_of_one_are_no_error(
    dataset: DatasetConfig, finish: Finish
) -> None:
    for number in range(1, 5):
        finish(f"sub-{number}")
        reference(dataset, f"sub-{number}", lesion())
    write_participants(dataset, ["participant_id site", "sub-1 a", "sub-2 b", "sub-3 b", "sub-4 b"])
    write_group(GroupConfig(dataset))
    (row,) = values_of(dataset, analysis="unpaired", metric="dice", factor="site")
    assert (row["n_a"], row["p"]) == ("1", "1")
    assert "too few values" in row["conditions"]
    (r,) = values_of(dataset, analysis="volumes", test="Pearson")
    assert r["p"] == "n/a"
    assert "all values of one side equal" in r["conditions"]
    (bias,) = values_of(dataset, analysis="volumes", effect_name="bias")
    assert float(bias["effect"]) == 0


def test_a_scan_without_number_is_not_a_zero(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1", lesion_load_percent=1.0)
    finish("sub-2", lesion_load_percent=math.nan)
    finish("sub-3", lesion_load_percent=3.0)
    write_group(GroupConfig(dataset))
    (row,) = values_of(dataset, analysis="summary", metric="lesion_load_percent")
    assert (row["n_a"], row["mean_a"]) == ("2", "2")


def test_the_nearest_column_is_suggested(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    write_participants(dataset, ["participant_id diagnosis", "sub-1 MS"])
    with pytest.raises(UsageError, match="Did you mean diagnosis"):
        write_group(GroupConfig(dataset, group_by=("diagnoses",)))


def test_participants_that_a_person_broke_cost_their_rows_only(
    dataset: DatasetConfig, finish: Finish
) -> None:
    for number in (1, 2):
        finish(f"sub-{number}")
    write_participants(dataset, ["participant_id site age", "sub-1 a 40", "sub-2 b"])
    summary = write_group(GroupConfig(dataset))
    rows = rows_of(dataset.output_dir / "group_lesions.tsv")
    assert [row["site"] for row in rows] == ["a", "n/a"]
    assert "participants" in {problem.kind for problem in summary.problems}


def test_an_extra_session_of_the_references_is_listed(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1_ses-A")
    reference(dataset, "sub-1_ses-A", lesion())
    reference(dataset, "sub-1_ses-B", lesion())
    write_group(GroupConfig(dataset))
    rows = rows_of(dataset.output_dir / "group_problems.tsv")
    assert [(row["problem"], row["scan"]) for row in rows] == [
        ("missing_prediction", "sub-1_ses-B")
    ]


def test_a_damaged_cache_and_a_table_in_the_way_lose_nothing(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1")
    reference(dataset, "sub-1", lesion())
    cache = dataset.output_dir / "group_agreement.cache"
    cache.write_bytes(b"\xff\xfe{broken\n" + b'{"key": 3}\n')
    write_group(GroupConfig(dataset))
    (row,) = rows_of(dataset.output_dir / "group_agreement.tsv")
    assert row["dice"] == "1"
    assert len(cache.read_bytes().splitlines()) == 3

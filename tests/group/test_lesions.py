"""Lesions kept as columns are those that were found, and their statistics are plain counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bids_flairseg.group.agreement import Comparison
from bids_flairseg.group.compute import OK, Outcome
from bids_flairseg.group.detection import SIZES, detection_statistics
from bids_flairseg.group.lesions import LesionColumns
from bids_flairseg.group.pairs import PairNumbers
from bids_flairseg.measure.detection import Detection, detect
from bids_flairseg.measure.regions import REGIONS


def some(seed: int) -> tuple[Detection, LesionColumns]:
    random = np.random.default_rng(seed)
    one = random.random((12, 12, 12)) > 0.93
    other = one ^ (random.random(one.shape) > 0.97)
    regions = random.integers(0, len(REGIONS), one.shape)
    found = detect(one, other, voxel_ml=0.01, regions=regions)
    return found, LesionColumns.of(found)


def test_columns_are_what_was_found_and_survive_json() -> None:
    detection, columns = some(0)
    rows = list(columns)
    assert len(rows) == detection.reference.count + detection.predicted.count
    assert sum(row["mask"] == "reference" for row in rows) == detection.reference.count
    for side, own in (("reference", detection.reference), ("predicted", detection.predicted)):
        these = [row for row in rows if row["mask"] == side]
        assert [row["volume_ml"] for row in these] == pytest.approx(own.volumes_ml, abs=1e-5)
        for rule, hits in own.matched.items():
            assert [row[f"found_{rule}"] for row in these] == hits.tolist()
        assert [row["region"] for row in these] == [REGIONS[place] for place in own.region]
    again = LesionColumns.from_plain(json.loads(json.dumps(columns.plain())))
    assert list(again) == rows


def test_without_lesions_and_without_regions() -> None:
    nothing = detect(np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool), voxel_ml=1.0)
    assert list(LesionColumns.of(nothing)) == []
    full = detect(np.eye(3, dtype=bool)[None], np.ones((1, 3, 3), bool), voxel_ml=1.0)
    assert {row["region"] for row in LesionColumns.of(full)} == {None}


def test_statistics_are_the_counts_of_the_rows() -> None:
    columns = [some(seed)[1] for seed in range(4)]
    pairs = [
        Comparison({"sub": str(n)}, "model", "m", "r", outcome=Outcome(OK, "", PairNumbers({}, c)))
        for n, c in enumerate(columns)
    ]
    rows = [row for each in columns for row in each]
    found = {
        (s.factor, s.group_a, s.effect_name[:15], s.metric): s for s in detection_statistics(pairs)
    }
    assert found
    for (factor, group, side, rule), statistic in found.items():
        mask = "reference" if "refere" in side else "predicted"
        if factor == "region":
            hits = [row[rule] for row in rows if row["mask"] == mask and row["region"] == group]
        else:
            names = [name for _, name in SIZES]
            low = 0.0 if group == names[0] else SIZES[names.index(group) - 1][0]
            high = SIZES[names.index(group)][0]
            own = [row for row in rows if row["mask"] == mask]
            hits = [row[rule] for row in own if low <= row["volume_ml"] < high]
        assert statistic.n_a == len(hits)
        assert statistic.effect == pytest.approx(sum(hits) / len(hits))
    for factor in ("lesion size", "region"):  # three rules, every lesion once
        assert sum(s.n_a or 0 for key, s in found.items() if key[0] == factor) == 3 * len(rows)

"""Statistics of a dataset: which tests are made, on whom, and what is said of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.bids.tables import read_participants
from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.errors import UsageError
from bids_flairseg.group.collect import join
from bids_flairseg.group.observations import Observation, levels_of, scan_groups
from bids_flairseg.group.raters import RATERS
from bids_flairseg.group.results import read_results
from bids_flairseg.group.statistic import STATISTIC_COLUMNS, Statistic
from bids_flairseg.group.statistics import all_statistics
from bids_flairseg.group.words import results_paragraphs
from bids_flairseg.measure.comparisons import (
    holm,
    kruskal_wallis,
    mann_whitney,
    spearman,
    wilcoxon,
)
from tests.group.conftest import Finish, write_participants

CONFIG = GroupConfig(DatasetConfig(Path("bids"), Path("out"), Path("work")))


def pairs(
    dice: Sequence[float],
    *,
    model: str = "lesion",
    kind: str = "model",
    reference: str = "manual",
    groups: Sequence[str] = (),
    participants: Sequence[str] = (),
) -> list[Observation]:
    return [
        Observation(
            scan=f"sub-{n}",
            participant=participants[n] if participants else f"sub-{n}",
            model=model,
            reference=reference,
            kind=kind,
            values={
                "dice": value,
                "predicted_volume_ml": 10 * value,
                "reference_volume_ml": 9 * value + 0.1,
            },
            groups={"site": groups[n]} if groups else {},
        )
        for n, value in enumerate(dice)
    ]


def find(rows: Sequence[Statistic], **wanted: str) -> list[Statistic]:
    return [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]


DICE = [0.71, 0.64, 0.82, 0.55, 0.9, 0.77, 0.6, 0.68]


def test_columns_are_all_explained() -> None:
    assert [item.name for item in fields(Statistic)] == list(STATISTIC_COLUMNS)
    assert list(Statistic("summary", "dice").row()) == list(STATISTIC_COLUMNS)


def test_two_groups() -> None:
    rows = all_statistics(CONFIG, [], pairs(DICE, groups=list("aabbabab")))
    (row,) = find(rows, analysis="unpaired", factor="site")
    first = [d for d, g in zip(DICE, "aabbabab", strict=True) if g == "a"]
    second = [d for d, g in zip(DICE, "aabbabab", strict=True) if g == "b"]
    assert row.p == mann_whitney(first, second).p == row.p_holm
    assert (row.group_a, row.n_a, row.group_b, row.n_b) == ("a", 4, "b", 4)
    assert row.median_a == pytest.approx(np.median(first))


def test_three_groups_and_their_pairs_are_corrected() -> None:
    rows = all_statistics(CONFIG, [], pairs(DICE, groups=list("aabbccab")))
    (row,) = find(rows, analysis="unpaired", factor="site")
    groups = [[d for d, g in zip(DICE, "aabbccab", strict=True) if g == w] for w in "abc"]
    assert row.statistic == kruskal_wallis(groups).statistic
    pairwise = find(rows, analysis="pairwise", factor="site")
    assert [row.p_holm for row in pairwise] == holm([row.p or 0 for row in pairwise])
    assert len(pairwise) == 3


def test_models_are_compared_on_the_scans_that_both_have() -> None:
    better = pairs([d + 0.01 * n for n, d in enumerate(DICE)], model="tuned")[1:]
    rows = all_statistics(CONFIG, [], [*pairs(DICE), *better])
    (row,) = find(rows, analysis="paired")
    assert row.n_a == 7
    gaps = [-0.01 * n for n in range(1, 8)]
    assert row.difference == pytest.approx(np.mean(gaps))
    assert row.difference_low is not None
    assert row.difference_low < np.mean(gaps)
    assert row.p == wilcoxon(gaps, np.zeros(7)).p


def test_participants_with_several_scans_count_once() -> None:
    names = [f"sub-{n // 2}" for n in range(8)]
    sites = list("aaaabbbb")
    rows = all_statistics(CONFIG, [], pairs(DICE, groups=sites, participants=names))
    (row,) = find(rows, analysis="unpaired", factor="site")
    means = np.array(DICE).reshape(4, 2).mean(axis=1)
    assert row.p == mann_whitney(means[:2], means[2:]).p
    assert "averaged first" in row.conditions
    assert (row.n_a, row.participants_a) == (4, 2)


def test_a_quantity_is_correlated() -> None:
    ages = [str(30 + 3 * n) for n in range(12)]
    items = [
        replace(item, groups={"age": age})
        for item, age in zip(pairs([0.5 + 0.03 * n for n in range(12)]), ages, strict=True)
    ]
    items += [replace(items[0], scan="sub-x", values={"dice": 0.0}, groups={"age": "n/a"})]
    rows = all_statistics(replace(CONFIG, group_by=("age",)), [], items)
    (row,) = find(rows, analysis="correlation", factor="age")
    assert row.effect == pytest.approx(1.0)  # a scan of unknown age takes nobody's away
    assert (row.n_a, row.participants_a) == (12, 12)


def test_model_against_raters_among_each_other() -> None:
    less = [d - 0.02 - 0.001 * n for n, d in enumerate(DICE)]
    raters = pairs(less, model="manual:anna", kind="rater", reference="m:ben")
    consensus = pairs([d + 0.09 for d in DICE], reference="consensus")
    rows = all_statistics(CONFIG, [], [*pairs(DICE), *consensus, *raters])
    (row,) = find(rows, analysis="non-inferiority")
    assert row.difference == pytest.approx(0.0235)
    assert row.p == pytest.approx(1 / 2**8)
    assert "margin 0.05" in row.conditions
    other = pairs([d + 0.001 * n for n, d in enumerate(DICE)], model="other")
    rows = all_statistics(CONFIG, [], [*pairs(DICE), *consensus, *other, *raters])
    both = find(rows, analysis="non-inferiority")
    assert [row.p_holm for row in both] == holm([row.p or 0 for row in both])
    assert both[0].p_holm == 2 / 2**8
    (alone,) = find(rows, analysis="summary", metric="dice", factor="raters")
    assert (alone.model, alone.reference) == ("manual:anna", "m:ben")


def test_models_are_compared_over_the_raters_of_a_scan() -> None:
    items = []
    for rater, shift in (("m:anna", 0.0), ("m:ben", 0.1)):
        items += pairs([d - shift for d in DICE], reference=rater)
        items += pairs([d - shift / 2 + 0.01 * n for n, d in enumerate(DICE)], model="tuned",
                       reference=rater)  # fmt: skip
    assert not find(all_statistics(CONFIG, [], items), reference=RATERS)
    among = pairs(DICE[:6], model="m:anna", kind="rater", reference="m:ben")
    (row,) = find(all_statistics(CONFIG, [], [*items, *among]), analysis="paired", reference=RATERS)
    assert row.n_a == 6  # the others have not been marked by both
    assert row.mean_a == pytest.approx(np.mean(DICE[:6]) - 0.05)
    assert row.difference == pytest.approx(-0.025 - 0.01 * np.mean(range(6)))


def test_repeated_trainings() -> None:
    items = []
    for run, gain in enumerate((0.02, 0.03, 0.05, 0.04, 0.06), start=1):
        items += pairs(DICE, model=f"base-run{run}")
        items += pairs([d + gain for d in DICE], model=f"mixed-run{run}")
    rows = all_statistics(CONFIG, [], items)
    (row,) = find(rows, analysis="trainings")
    assert (row.group_a, row.group_b, row.n_a) == ("base", "mixed", 5)
    assert row.df == 4
    assert row.difference == pytest.approx(-0.04)
    assert row.p is not None
    assert row.p < 0.01
    (said,) = [text for text in results_paragraphs(rows) if "Over 5 trainings" in text]
    assert "median Dice score of base against manual differed from that of mixed" in said
    assert said.count("Model base-run1 ") == 9  # of 45 pairs
    assert "36 other pairs of models" in said


def test_outliers_are_named_and_left_out_of_the_limits() -> None:
    items = pairs([0.5 + 0.01 * n for n in range(20)])
    large = {"dice": 0.9, "predicted_volume_ml": 400.0, "reference_volume_ml": 500.0}
    items[3] = replace(items[3], values=large)
    rows = find(all_statistics(CONFIG, [], items), analysis="volumes", factor="Bland-Altman")
    assert {row.n_a for row in rows} == {19}
    assert all("sub-3" in row.conditions for row in rows)


@pytest.mark.parametrize("dice", [[0.5], [0.5] * 6, [math.nan] * 3, []])
def test_nothing_to_compare_is_no_error(dice: list[float]) -> None:
    items = pairs(dice, groups=["a", "b", "a", "b", "a", "b"][: len(dice)])
    both = [*items, *(replace(item, model="other") for item in items)]
    for row in all_statistics(CONFIG, items, both):
        assert "nan" not in row.row().values()


def test_levels_are_in_a_natural_order() -> None:
    items = [Observation(str(n), "", "", "", "", {}, {"f": f}) for n, f in enumerate(["3", "1.5"])]
    assert levels_of(items, "f") == ["1.5", "3"]
    bins = [Observation(f, "", "", "", "", {}, {"f": f}) for f in (">100 ml", "<10 ml", "n/a")]
    assert levels_of(bins, "f") == ["<10 ml", ">100 ml"]


def test_groups_come_from_the_table_and_the_sidecars(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1")
    finish("sub-2")
    (dataset.bids_dir / "FLAIR.json").write_text(json.dumps({"Manufacturer": "GE"}))
    sidecar = dataset.bids_dir / "sub-2/anat/sub-2_FLAIR.json"
    sidecar.write_text(json.dumps({"Manufacturer": "Siemens", "SliceThickness": 5.0}))
    write_participants(dataset, ["participant_id diagnosis", "sub-1 MS"])
    scans = read_results(dataset).scans
    table = join(scans, read_participants(dataset.bids_dir), dataset.bids_dir)
    config = GroupConfig(dataset)
    found = scan_groups(config, scans, table)
    assert found["sub-1"]["Manufacturer"] == "GE"
    assert found["sub-2"]["slice_thickness"] == ">3 mm"
    assert (found["sub-1"]["diagnosis"], found["sub-2"]["diagnosis"]) == ("MS", "n/a")
    with pytest.raises(UsageError, match=r"Did you mean diagnosis\?"):
        scan_groups(replace(config, group_by=("diagnose",)), scans, table)


def test_volumes_of_repeated_scans_are_tested_once_per_participant() -> None:
    dice = [*DICE, 0.5, 0.74, 0.81, 0.66]
    names = [f"sub-{n // 2}" for n in range(12)]
    rows = all_statistics(CONFIG, [], pairs(dice, participants=names))
    (rho,) = find(rows, analysis="volumes", test="Spearman")
    means = np.reshape(dice, (6, 2)).mean(axis=1)
    assert rho.p == pytest.approx(spearman(10 * means, 9 * means).p)
    assert "averaged first" in rho.conditions
    assert (rho.n_a, rho.participants_a) == (12, 6)
    (bias,) = find(rows, analysis="volumes", effect_name="bias")
    assert "bootstrap over participants" in bias.conditions
    assert bias.difference_low is not None
    assert bias.difference_high is not None
    assert bias.difference_low < (bias.effect or 0) < bias.difference_high


def test_participants_in_several_groups_are_told() -> None:
    names = [f"sub-{n % 5}" for n in range(8)]
    rows = all_statistics(CONFIG, [], pairs(DICE, groups=list("aaaabbbb"), participants=names))
    (row,) = find(rows, analysis="unpaired", factor="site")
    assert "not independent: 3 participants in more than one group" in row.conditions
    names = ["sub-1"] * 3 + [f"sub-{n}" for n in range(3, 8)]
    rows = all_statistics(CONFIG, [], pairs(DICE, groups=list("abcabcab"), participants=names))
    (row,) = find(rows, analysis="unpaired", factor="site")
    assert "not independent: 1 participant in more than one group" in row.conditions
    (row,) = find(
        all_statistics(CONFIG, [], pairs(DICE, groups=list("aabbabab"))), analysis="unpaired"
    )
    assert "independent" not in row.conditions


def test_families_of_holm_are_apart() -> None:
    """Each question is corrected by itself: another model's tests do not make it stricter."""
    groups = list("aabbabab")
    one = all_statistics(CONFIG, [], pairs(DICE, groups=groups))
    two = all_statistics(
        CONFIG, [], [*pairs(DICE, groups=groups), *pairs(DICE[::-1], model="other", groups=groups)]
    )
    for wanted in ({"analysis": "unpaired"}, {"analysis": "volumes", "test": "Spearman"}):
        (alone,) = find(one, **wanted)
        (beside,) = find(two, **wanted, model="lesion")
        assert alone.p_holm == beside.p_holm
    several = [
        replace(item, groups={**item.groups, "diagnosis": g})
        for item, g in zip(pairs(DICE, groups=groups), "xyxyxyxy", strict=True)
    ]
    rows = find(all_statistics(CONFIG, [], several), analysis="unpaired")
    assert [row.p_holm for row in rows] == pytest.approx(holm([row.p or 0 for row in rows]))
    assert len(rows) == 2

"""The cohort review: what is odd comes first, and a reviewer's word counts."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bids_flairseg.bids.outputs import ScanPaths, write_table
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.group.observations import Observation
from bids_flairseg.group.results import ScanResult
from bids_flairseg.group.review import rank_scans
from bids_flairseg.group.run import write_group
from bids_flairseg.group.sources import MODEL
from bids_flairseg.measure.suspicion import robust_z, without_trend
from tests.group.conftest import Finish, write_participants


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def cohort(finish: Finish, dataset: DatasetConfig) -> None:
    """Write twelve scans of which four are odd, each in its own way."""
    random = np.random.default_rng(0)
    lines = ["participant_id age"]
    for number in range(1, 13):
        values: dict[str, object] = {
            "lesion_volume_ml": round(5 + float(random.random()), 2),
            "brain_volume_ml": 1300 + 10 * number,
        }
        if number == 3:
            values["lesion_volume_ml"] = 180.0
        if number == 5:
            values["brain_volume_ml"] = 420.0
        if number == 7:
            values |= {"warnings": "The brain is cut.; Noisy.", "warning_count": 1}
        paths = finish(f"sub-{number}", **values)
        confidence = 0.2 if number == 9 else 0.9 + 0.001 * number
        row = {"index": 1, "volume_mm3": 100.0, "confidence": confidence}
        write_table(paths, "lesion_table", [row])
        lines.append(f"sub-{number} {30 + number}")
    write_participants(dataset, lines)


def test_odd_scans_come_first(dataset: DatasetConfig, finish: Finish) -> None:
    cohort(finish, dataset)
    write_group(GroupConfig(dataset))
    rows = rows_of(dataset.output_dir / "group_review.tsv")
    assert len(rows) == 12
    reasons = {row["scan"]: row["reasons"] for row in rows[:4]}
    assert "unusually large" in reasons["sub-3"]
    assert "brain mask of 420 ml" in reasons["sub-5"]
    assert reasons["sub-7"] == "The brain is cut; Noisy"
    assert "low confidence (0.20)" in reasons["sub-9"]
    assert {row["suspicion"] for row in rows[4:]} == {"0.00"}
    page = (dataset.output_dir / "group.html").read_text()
    assert shown(dataset) == {"sub-3", "sub-5", "sub-7", "sub-9"}
    assert "The 4 most unusual scans of 12." in page
    assert "Nothing is unusual" not in page


def shown(dataset: DatasetConfig) -> set[str]:
    """Name the scans that the page shows for review."""
    page = (dataset.output_dir / "group.html").read_text()
    return set(re.findall(r'class="suspect" data-scan="([^"]+)"', page))


def test_a_scan_without_a_reason_is_not_shown(dataset: DatasetConfig, finish: Finish) -> None:
    for number in range(1, 4):
        finish(f"sub-{number}", brain_volume_ml=1300 + number)
    write_group(GroupConfig(dataset))
    assert shown(dataset) == set()
    assert "Nothing is unusual about any scan" in (dataset.output_dir / "group.html").read_text()
    (dataset.output_dir / "group_verdicts.tsv").write_text("scan\tverdict\nsub-2\treject\n")
    write_group(GroupConfig(dataset))
    assert shown(dataset) == {"sub-2"}  # so that the reviewer may think again


def dice_reasons(values: Sequence[float]) -> list[str]:
    """Rank scans that differ in their Dice alone; give the reasons in the order of the scans."""
    names = [f"sub-{number}" for number in range(len(values))]
    scans = [
        ScanResult(ScanPaths(Path("out"), Scan(Path(f"{name}_FLAIR.nii"), {"sub": name[4:]})), {})
        for name in names
    ]
    own, pairs = (
        [
            Observation(name, name, "m", reference, kind, {"dice": value})
            for name, value in zip(names, values, strict=True)
        ]
        for reference, kind in (("", "scan"), ("manual", MODEL))
    )
    ranked = {
        suspect.scan: "; ".join(suspect.reasons)
        for suspect in rank_scans(
            scans,
            own,
            {},
            [*pairs, *(replace(pair, model="other", values={"dice": 0.0}) for pair in pairs[:1])],
        )
    }
    return [ranked[name] for name in names]


def test_a_dice_far_below_the_others_is_a_reason() -> None:
    said = "Dice of 0.36 against manual, median 0.80"
    assert dice_reasons([0.36, 0.83, 0.80]) == [said, "", ""]
    assert dice_reasons([0.36, 0.83]) == ["", ""]  # which of two is the odd one?
    many = [0.60, *np.linspace(0.78, 0.82, 9)]
    assert dice_reasons(many) == ["Dice of 0.60 against manual, median 0.80", *[""] * 9]
    alike = [0.89, *np.linspace(0.90, 0.902, 9)]
    assert dice_reasons(alike) == [""] * 10


def test_verdicts_are_kept_and_respected(dataset: DatasetConfig, finish: Finish) -> None:
    cohort(finish, dataset)
    out = dataset.output_dir
    table = (
        "scan\tverdict\tnote\nsub-3\treject\twrong scan\nsub-5\taccept\tn/a\nsub-99\treject\tx\n"
    )
    (out / "group_verdicts.tsv").write_text(table)
    write_group(GroupConfig(dataset))
    volumes = [
        row
        for row in rows_of(out / "group_statistics.tsv")
        if (row["analysis"], row["metric"]) == ("summary", "lesion_volume_ml")
    ]
    assert volumes[0]["n_a"] == "11"
    rows = rows_of(out / "group_review.tsv")
    seen = {row["scan"]: (row["verdict"], row["note"]) for row in rows[-2:]}
    assert seen == {"sub-3": ("reject", "wrong scan"), "sub-5": ("accept", "n/a")}
    problems = [(row["problem"], row["scan"]) for row in rows_of(out / "group_problems.tsv")]
    assert ("rejected", "sub-3") in problems
    assert ("verdict", "sub-99") in problems
    assert len(rows_of(out / "group_lesions.tsv")) == 12  # the numbers themselves stay
    page = (out / "group.html").read_text()
    assert 'data-scan="sub-3" data-verdict="reject" data-note="wrong scan"' in page


def test_a_broken_verdict_table_is_a_problem(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    for text in ("", "scan\n", "scan\tverdict\nsub-1\tmaybe\n", "\0\1"):
        (dataset.output_dir / "group_verdicts.tsv").write_text(text)
        summary = write_group(GroupConfig(dataset))
        assert "verdict" in {problem.kind for problem in summary.problems}


def test_robust_z() -> None:
    values = np.r_[np.random.default_rng(0).normal(10, 1, 500), 20.0]
    scores = robust_z(values)
    assert scores[:-1].std() < 1.2
    assert scores[-1] > 8
    assert not robust_z([1.0, 2.0]).any()
    assert not robust_z([3.0] * 20).any()
    assert robust_z([np.nan, *range(10)])[0] == 0
    groups = ["a"] * 10 + ["b"] * 10
    apart = [*np.arange(10.0), *np.arange(100.0, 110.0)]
    assert np.abs(robust_z(apart, groups)).max() < 2


def test_a_trend_is_taken_off() -> None:
    age = np.linspace(20, 80, 30)
    flat = without_trend(2 * age, age)
    assert np.ptp(flat) < 1e-9
    assert np.allclose(without_trend(2 * age[:5], age[:5]), 2 * age[:5])

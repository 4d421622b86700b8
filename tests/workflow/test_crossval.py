"""The table of a cross-validation has what the models of this training found, and no other's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.bids.atomic import write_tsv
from bids_flairseg.bids.labels import LabelledScan
from bids_flairseg.bids.outputs import log_dir
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.config import (
    DatasetConfig,
    ResourceConfig,
    RunConfig,
    SegmentConfig,
    TrainConfig,
)
from bids_flairseg.train.checks import CaseRow
from bids_flairseg.workflow import crossval
from bids_flairseg.workflow.cases import PreparedCase


def case(label: str) -> PreparedCase:
    scan = Scan(Path(f"/bids/sub-{label}_FLAIR.nii.gz"), {"sub": label})
    row = CaseRow(scan.name, label, {"lesion_ml": 1.0}, {})
    return PreparedCase(LabelledScan(scan, (), (), {}), row, Path("/work"), own=True, digest="")


@pytest.fixture(autouse=True)
def digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossval, "bundle_digest", lambda path: f"of-{path.name}")


def configure(
    root: Path, *, count: int | None = None, seed: int = 0, model: str = "base"
) -> RunConfig:
    return RunConfig(
        dataset=DatasetConfig(root / "bids", root, root / "work"),
        resources=ResourceConfig(),
        segment=SegmentConfig(model=root / model, anatomy=root / "anatomy"),
        train=TrainConfig("crossval", count=count),
        random_seed=seed,
    )


_TRY = """
import pathlib, sys
from bids_flairseg.workflow.locks import ParticipantLocks
with ParticipantLocks(pathlib.Path(sys.argv[1])) as locks:
    print(locks.take(sys.argv[2]))
"""


def is_free(root: Path) -> bool:
    """Ask in another process whether nobody has the table."""
    command = [sys.executable, "-c", _TRY, str(log_dir(root)), crossval.TABLE]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return said.stdout.strip() == "True"


def read(root: Path) -> list[list[str]]:
    return [line.split("\t") for line in (root / crossval.TABLE).read_text().splitlines()]


def test_folds_whose_model_is_not_there_are_still_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = configure(tmp_path)
    asked: list[tuple[str, str, str]] = []

    def found(_: RunConfig, case: PreparedCase, folder: Path, settings: str) -> float:
        asked.append((case.row.name, folder.name, settings))
        return 0.5

    monkeypatch.setattr(crossval, "_plan", lambda _, model: model.name)
    monkeypatch.setattr(crossval, "_dice", found)
    cases = [case("1"), case("2")]
    base, one = tmp_path / "base", tmp_path / "fold1"
    models: dict[str, list[Path | None]] = {
        "crossval-base": [base, base],
        "crossval-x": [one, None],
    }
    with caplog.at_level("INFO", logger="bids_flairseg"):
        crossval.report_folds(config, cases, [["sub-1"], ["sub-2"]], models)
    assert asked == [
        ("sub-1", "crossval-base", "base"),
        ("sub-1", "crossval-x", "fold1"),
        ("sub-2", "crossval-base", "base"),
    ]
    assert read(tmp_path) == [
        list(crossval.COLUMNS),
        ["base", "of-base", "n/a", "0", "2", "sub-1", "1", "1.0", "0.5"],
        ["base", "of-base", "n/a", "0", "2", "sub-2", "2", "1.0", "0.5"],
        ["x", "of-base", "all", "0", "2", "sub-1", "1", "1.0", "0.5"],
        ["x", "of-base", "all", "0", "2", "sub-2", "2", "1.0", "n/a"],
    ]
    assert "1 of 2 cases are still to come" in caplog.text


def test_rows_of_other_amounts_and_seeds_stay_and_those_of_the_same_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = 0.25
    monkeypatch.setattr(crossval, "_plan", lambda _, model: model.name)
    monkeypatch.setattr(crossval, "_dice", lambda *_: found)

    def report(**changes: Any) -> None:
        models = {"crossval-x": [tmp_path / "one", tmp_path / "two"]}
        folds = [["sub-1"], ["sub-2"]]
        config = configure(tmp_path, **changes)
        crossval.report_folds(config, [case("1"), case("2")], folds, models)

    report(count=1)
    report(count=2)
    report(count=2, seed=7)
    report(count=2, model="ours")
    found = 0.75
    report(count=1)
    rows = [dict(zip(crossval.COLUMNS, row, strict=True)) for row in read(tmp_path)[1:]]
    columns = ("participants", "seed", "case", "dice")
    keys = [tuple(row[column] for column in columns) for row in rows if row["parent"] == "of-base"]
    assert len(keys) == len(rows) - 2
    assert sorted(keys) == [
        ("1", "0", "sub-1", "0.75"), ("1", "0", "sub-2", "0.75"),
        ("2", "0", "sub-1", "0.25"), ("2", "0", "sub-2", "0.25"),
        ("2", "7", "sub-1", "0.25"), ("2", "7", "sub-2", "0.25"),
    ]  # fmt: skip


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Report one case, segmented with one model."""
    monkeypatch.setattr(crossval, "_plan", lambda _, model: model.name)
    monkeypatch.setattr(crossval, "_dice", lambda *_: 0.5)

    def report(**changes: Any) -> None:
        models = {"crossval-x": [tmp_path / "one"]}
        crossval.report_folds(configure(tmp_path, **changes), [case("1")], [["sub-1"]], models)

    return report


def test_columns_and_rows_that_somebody_added_stay(
    tmp_path: Path, report: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    report()
    report(count=1)
    table = read_tsv(tmp_path / crossval.TABLE)
    rows = [{**row, "seen": seen} for row, seen in zip(table.rows, ("well", "badly"), strict=True)]
    rows.append({**rows[0], "model": "theirs", "seen": "by hand"})
    own = [column for column in crossval.COLUMNS if column != "fold"]  # as of another version
    write_tsv(tmp_path / crossval.TABLE, ["seen", *own], rows)
    caplog.clear()
    report(count=1)
    report(seed=7)
    found = read_tsv(tmp_path / crossval.TABLE)
    assert found.columns == (*crossval.COLUMNS, "seen")
    columns = ("model", "participants", "seed", "fold", "dice", "seen")
    assert [tuple(row[column] for column in columns) for row in found.rows] == [
        ("x", "all", "0", "n/a", "0.5", "well"), ("theirs", "all", "0", "n/a", "0.5", "by hand"),
        ("x", "1", "0", "1", "0.5", "badly"), ("x", "all", "7", "1", "0.5", "n/a"),
    ]  # fmt: skip
    assert [path.name for path in tmp_path.glob("crossval*")] == [crossval.TABLE]
    assert not [record for record in caplog.records if record.levelname != "INFO"]


@pytest.mark.parametrize(
    ("old", "left", "told"),
    [
        ("case\tfold\nsub-1\t1\n", 0, "expected the columns model, parent, .* found case, fold"),
        ("{header}\nx\t1\n{row}\n", 1, "1 of 2 rows differ"),
    ],
)
def test_a_table_whose_rows_cannot_be_taken_over_is_kept_under_another_name(
    tmp_path: Path, report: Callable[..., None], caplog: pytest.LogCaptureFixture,
    old: str, left: int, told: str,
) -> None:  # fmt: skip
    row = ["y", "n/a", "all", "0", "1", "sub-1", "1", "1.0", "0.25"]
    text = old.format(header="\t".join(crossval.COLUMNS), row="\t".join(row))
    for number in (1, 2):
        (tmp_path / crossval.TABLE).write_text(text)
        report()
        assert (tmp_path / f"crossval.old{number}.tsv").read_text() == text
        assert f"crossval.old{number}.tsv" in caplog.text
    assert re.search(told, caplog.text)
    rows = read(tmp_path)[1:]
    assert [row[0] for row in rows] == ["y"] * left + ["x"]


def test_the_table_belongs_to_one_fold_from_reading_to_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossval, "_plan", lambda _, model: model.name)
    monkeypatch.setattr(crossval, "_dice", lambda *_: 0.5)
    free = list[bool]()

    def note(path: Path, columns: Sequence[str], rows: Any) -> None:
        free.append(is_free(tmp_path))
        write_tsv(path, columns, rows)

    monkeypatch.setattr(crossval, "write_tsv", note)
    models = {"crossval-x": [tmp_path / "one"]}
    crossval.report_folds(configure(tmp_path), [case("1")], [["sub-1"]], models)
    assert free == [False]
    assert is_free(tmp_path)

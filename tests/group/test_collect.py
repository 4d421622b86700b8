"""The table of all scans and what is said about it."""

from __future__ import annotations

import json

from bids_flairseg.bids.outputs import sidecar_path
from bids_flairseg.bids.tables import read_participants
from bids_flairseg.config import DatasetConfig
from bids_flairseg.group.agreement import model_names
from bids_flairseg.group.collect import LesionTable, find_problems, join
from bids_flairseg.group.problems import in_words
from bids_flairseg.group.results import read_results
from bids_flairseg.nodes.derivatives import REPORT
from tests.group.conftest import Finish, write_participants


def table_of(dataset: DatasetConfig) -> LesionTable:
    participants = read_participants(dataset.bids_dir)
    return join(read_results(dataset).scans, participants, dataset.bids_dir)


def problems_of(dataset: DatasetConfig) -> list[str]:
    found = find_problems(read_results(dataset), read_participants(dataset.bids_dir))
    return in_words(found)


def test_participants_are_joined(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1_ses-A")
    finish("sub-1_ses-B")
    finish("sub-2")
    write_participants(dataset, ["participant_id age", "sub-1 040", "sub-3 50"])
    rows = table_of(dataset).rows
    assert [(row["scan"], row["age"]) for row in rows] == [
        ("sub-1_ses-A", "040"),
        ("sub-1_ses-B", "040"),
        ("sub-2", "n/a"),
    ]
    assert problems_of(dataset) == ["participants.tsv does not list sub-2."]


def test_equal_names_are_told_apart(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1", model="net")
    write_participants(dataset, ["participant_id model scan model_participants", "sub-1 x y z"])
    table = table_of(dataset)
    assert table.rows[0]["model"] == "net"
    assert table.rows[0]["scan"] == "sub-1"
    assert [table.rows[0][name] for name in table.joined] == ["x", "y", "z"]
    assert len(set(table.columns)) == len(table.columns)
    assert list(table.columns)[-3:] == list(table.joined)


def test_every_value_has_a_described_column(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    finish("sub-2").stats.write_text("lesion_volume_ml\tnew_in_version_9\n1\t2\n")
    write_participants(dataset, ["participant_id age site", "sub-1 1 x"])
    (dataset.bids_dir / "participants.json").write_text(
        json.dumps({"age": {"Description": "Age", "Units": "year"}, "site": "no description"})
    )
    table = table_of(dataset)
    assert {name for row in table.rows for name in row} == set(table.columns)
    assert all(column["Description"] for column in table.columns.values())
    assert table.columns["age"]["Units"] == "year"
    assert table.columns["lesion_volume_ml"]["Units"] == "mL"


def test_a_broken_table_of_participants_is_named(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    write_participants(dataset, ["subject age", "sub-1 40"])
    assert len(table_of(dataset).rows) == 1
    assert table_of(dataset).joined == ()
    assert "participants.tsv" in problems_of(dataset)[0]


def test_mixed_settings_are_named(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1", threshold=0.5)
    finish("sub-2", threshold=0.4)
    finish("sub-3", threshold=0.4)
    (problem,) = problems_of(dataset)
    assert "differ in threshold: 0.4 (scans: 2), 0.5 (scans: 1)" in problem


def test_mixed_versions_are_named(dataset: DatasetConfig, finish: Finish) -> None:
    for number, version in enumerate(("1.0.0", "1.1.0", "1.1.0"), start=1):
        record = sidecar_path(finish(f"sub-{number}").stats)
        content = json.loads(record.read_text())
        record.write_text(json.dumps(content | {REPORT: {"versions": {"flairseg": version}}}))
    (problem,) = problems_of(dataset)
    names = set(model_names(read_results(dataset).scans).values())
    assert names == {"lesion (flairseg 1.0.0)", "lesion (flairseg 1.1.0)"}
    assert "versions of flairseg: 1.1.0 (scans: 2), 1.0.0 (scans: 1)" in problem


def test_all_is_well(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    assert problems_of(dataset) == []

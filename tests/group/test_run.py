"""The whole group level on tiny folders."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.errors import MissingInputError
from bids_flairseg.group.run import run_group, write_group
from tests.group.conftest import Finish, lesion, save, write_participants


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_tables_page_and_sidecars(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1_ses-A", lesion_volume_ml=12.25)
    finish("sub-2", lesion_volume_ml=0, lesion_count=0)
    reference = dataset.derivatives["manual"] / "sub-2/anat/sub-2_label-lesion_mask.nii.gz"
    save(reference, lesion())
    write_participants(dataset, ["participant_id age", "sub-1 40", "sub-2 n/a"])
    assert run_group(GroupConfig(dataset)).exit_code == 0
    out = dataset.output_dir
    lesions = rows_of(out / "group_lesions.tsv")
    assert [row["lesion_volume_ml"] for row in lesions] == ["12.25", "0"]
    assert [row["age"] for row in lesions] == ["40", "n/a"]
    agreement = rows_of(out / "group_agreement.tsv")
    assert [row["status"] for row in agreement] == ["missing_reference", "ok"]
    for name in ("group_lesions", "group_agreement"):
        described = json.loads((out / f"{name}.json").read_text())
        assert list(described) == list(rows_of(out / f"{name}.tsv")[0])
    page = (out / "group.html").read_text()
    assert "2 scans of 2 participants" in page
    assert "the median Dice is 1.00 in 1 scan" in page


def test_the_same_again_gives_the_same_bytes(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    finish("sub-2")
    save(dataset.derivatives["manual"] / "sub-1/anat/sub-1_label-L_mask.nii.gz", lesion())
    names = ("group_lesions.tsv", "group_agreement.tsv", "group_agreement.json", "group.html")
    write_group(GroupConfig(dataset))
    before = [(dataset.output_dir / name).read_bytes() for name in names]
    write_group(GroupConfig(dataset))
    assert [(dataset.output_dir / name).read_bytes() for name in names] == before


def test_no_references_no_agreement(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    assert run_group(GroupConfig(replace(dataset, derivatives={}))).exit_code == 0
    assert not (dataset.output_dir / "group_agreement.tsv").exists()
    assert "Agreement" not in (dataset.output_dir / "group.html").read_text()


def test_a_broken_scan_costs_only_itself(
    dataset: DatasetConfig, finish: Finish, caplog: pytest.LogCaptureFixture
) -> None:
    finish("sub-1")
    finish("sub-2").stats.write_text("edited by hand\n")
    with caplog.at_level(logging.WARNING):
        assert run_group(GroupConfig(dataset)).exit_code == 1
    assert "sub-2_label-L_stats.tsv" in caplog.text
    assert len(rows_of(dataset.output_dir / "group_lesions.tsv")) == 1
    assert "sub-2_label-L_stats.tsv" in (dataset.output_dir / "group.html").read_text()


def test_nothing_yet(dataset: DatasetConfig, caplog: pytest.LogCaptureFixture) -> None:
    assert run_group(GroupConfig(dataset)).exit_code == 18
    assert "participant first" in caplog.text
    page = (dataset.output_dir / "group.html").read_text()
    assert "No finished scan in this folder" in page
    assert rows_of(dataset.output_dir / "group_lesions.tsv") == []


def test_no_output_folder(dataset: DatasetConfig) -> None:
    with pytest.raises(MissingInputError, match="participant first"):
        run_group(GroupConfig(replace(dataset, output_dir=dataset.work_dir / "gone")))


def test_one_scan_of_one_participant(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1", lesion_volume_ml=3)
    write_group(GroupConfig(dataset))
    page = (dataset.output_dir / "group.html").read_text()
    assert "1 scan of 1 participant." in page
    assert "The lesion volume is 3.00 ml" in page


def test_no_value_enters_the_page_unescaped(dataset: DatasetConfig, finish: Finish) -> None:
    evil = "<script>alert(1)</script>"
    finish("sub-1", warnings=evil)
    (dataset.bids_dir / "dataset_description.json").write_text(json.dumps({"Name": evil}))
    write_participants(dataset, [f"participant_id {evil}", f'sub-1 "{evil}'])
    write_group(GroupConfig(dataset))
    page = (dataset.output_dir / "group.html").read_text()
    assert evil not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert page.count("<script>") == 1


def test_links_lead_to_pages_that_exist(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1").report.touch()
    finish("sub-2")
    write_group(GroupConfig(dataset))
    page = (dataset.output_dir / "group.html").read_text()
    assert 'href="sub-1.html"' in page
    assert "sub-2.html" not in page

"""The whole group level on tiny folders."""

from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.errors import InputError, MissingInputError, NothingToDoError, OutputError
from bids_flairseg.group.figures import write_charts
from bids_flairseg.group.run import check_strict, run_group, write_group
from bids_flairseg.storage import atomic_path
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
    assert (
        '<td class="num" data-value="0">0.0</td>\n<td class="num" data-value="1">1.000</td>' in page
    )


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


def test_without_results_nothing_is_written_and_nothing_lost(
    dataset: DatasetConfig, finish: Finish
) -> None:
    with pytest.raises(NothingToDoError, match="participant first"):
        run_group(GroupConfig(dataset, lesion_map=True))
    assert list(dataset.output_dir.iterdir()) == []
    finish("sub-1")
    run_group(GroupConfig(dataset))
    before = {path: path.read_bytes() for path in dataset.output_dir.glob("group*")}
    unfinished = finish("sub-2")
    unfinished.mask.unlink()
    with pytest.raises(NothingToDoError, match="Without a result: sub-2"):
        run_group(GroupConfig(replace(dataset, participant_labels=("2",))))
    assert {path: path.read_bytes() for path in dataset.output_dir.glob("group*")} == before


def test_the_page_says_so_when_no_result_can_be_read(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1").stats.write_text("edited by hand\n")
    assert run_group(GroupConfig(dataset)).exit_code == 1
    assert "No finished scan in this folder" in (dataset.output_dir / "group.html").read_text()
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


def test_letters_that_no_figure_can_hold_lose_nothing(
    dataset: DatasetConfig, finish: Finish
) -> None:
    lines = ["participant_id diagnosis"]
    for number in range(1, 5):
        finish(f"sub-{number}", lesion_volume_ml=number)
        lines.append(f"sub-{number} {'$M_S' if number % 2 else 'stro<ke' + chr(1) + '病'}")
    write_participants(dataset, lines)
    assert run_group(GroupConfig(dataset)).scans == 4
    figure = (dataset.output_dir / "group_figures/volume_by_group.svg").read_text()
    assert "stro&lt;ke病" in figure
    assert "$M_S" in figure


def test_what_could_not_be_compared_does_not_fill_the_page(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1")
    for number in range(2, 150):
        name = f"sub-{number}/anat/sub-{number}_label-L_mask.nii"
        save(dataset.derivatives["manual"] / name, lesion())
    write_group(GroupConfig(dataset))
    page = (dataset.output_dir / "group.html").read_text()
    assert "148 pairs could not be compared" in page
    assert "48 more, in <code>group_problems.tsv</code>" in page
    assert len(rows_of(dataset.output_dir / "group_problems.tsv")) == 149


def test_links_lead_to_pages_that_exist(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1").report.touch()
    finish("sub-2")
    write_group(GroupConfig(dataset))
    page = (dataset.output_dir / "group.html").read_text()
    assert 'href="sub-1.html"' in page
    assert "sub-2.html" not in page


@pytest.mark.slow
def test_everything_at_once(dataset: DatasetConfig, finish: Finish, tmp_path: Path) -> None:
    """Two raters, two models, groups, repeated scans: all tables, figures and words."""
    lines = ["participant_id diagnosis"]
    other = tmp_path / "other"
    for number in range(1, 9):
        stems = [f"sub-{number}_ses-A", f"sub-{number}_ses-B"]
        for n, stem in enumerate(stems):
            finish(stem, lesion_volume_ml=number + n)
            session = stem[-5:]
            folder = dataset.derivatives["manual"] / f"sub-{number}" / session / "anat"
            drawn = lesion()
            drawn[: number % 3, : 2 + n] = 1
            save(folder / f"{stem}_label-L_desc-anna_mask.nii", drawn)
            save(folder / f"{stem}_label-L_desc-ben_mask.nii", np.roll(drawn, number % 2, 1))
            save(other / f"{stem}_FLAIR.nii.gz", np.roll(lesion(), number % 3, 2))
        lines.append(f"sub-{number} {'MS' if number % 2 else 'stroke'}")
    write_participants(dataset, lines)
    config = GroupConfig(replace(dataset, derivatives={**dataset.derivatives, "nnunet": other}))
    summary = run_group(config)
    assert (summary.exit_code, summary.not_compared) == (0, 0)
    assert summary.compared == 16 * (2 * 3 + 1)
    out = dataset.output_dir
    analyses = {row["analysis"] for row in rows_of(out / "group_statistics.tsv")}
    assert analyses >= {"summary", "unpaired", "paired", "non-inferiority", "volumes"}
    assert analyses >= {"repeatability", "detection"}
    drawn_charts = {path.name for path in (out / "group_figures").iterdir()}
    for name in ("dice_by_model", "volumes", "dice_by_group", "volume_by_group"):
        assert {f"{name}{end}" for end in (".png", ".svg", ".tsv", ".json")} <= drawn_charts
    page = (out / "group.html").read_text()
    assert "Model lesion" in page
    assert "non-inferiority" in page
    for name in ("group_statistics", "group_detection", "group_problems"):
        described = json.loads((out / f"{name}.json").read_text())
        assert list(described) == (out / f"{name}.tsv").read_text().splitlines()[0].split("\t")


def test_two_runs_at_once(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    script = (
        "import fcntl, sys, time\n"
        f"file = open({str(dataset.output_dir / '.group.lock')!r}, 'a')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\nprint('locked', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match="another group run"):
            write_group(GroupConfig(dataset))
        other.kill()
    assert write_group(GroupConfig(dataset)).scans == 1


def test_what_another_run_is_writing_stays(tmp_path: Path) -> None:
    """Where a file system knows no locks, two group runs may write figures at the same time."""
    folder = tmp_path / "group_figures"
    final = folder / "volumes.png"
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"figure")
        killed, earlier = temporary.with_stem(f"{temporary.stem}0"), folder / "dice.png"
        for path in (killed, earlier):
            path.touch()
        os.utime(killed, (0, 0))  # of a run that was killed long ago
        write_charts([], tmp_path)
    assert list(folder.iterdir()) == [final]
    assert final.read_bytes() == b"figure"


def test_strict(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    save(dataset.derivatives["manual"] / "sub-1/anat/sub-1_label-L_mask.nii", lesion())
    check_strict(write_group(GroupConfig(dataset, strict=True)), dataset.output_dir)
    save(dataset.derivatives["manual"] / "sub-1/anat/sub-1_label-L_mask.nii", lesion()[:-1])
    summary = write_group(GroupConfig(dataset, strict=True))
    with pytest.raises(InputError, match="grid"):
        check_strict(summary, dataset.output_dir)

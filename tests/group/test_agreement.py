"""Scans and references: each pair is compared or listed with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.bids.tables import Participants
from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.errors import MissingInputError, UsageError
from bids_flairseg.group import compute
from bids_flairseg.group.agreement import (
    Comparison,
    agreement_problems,
    compare_all,
    model_names,
)
from bids_flairseg.group.collect import IDENTITY_COLUMNS, find_problems
from bids_flairseg.group.columns import AGREEMENT_COLUMNS
from bids_flairseg.group.observations import observe_pairs
from bids_flairseg.group.results import read_results
from bids_flairseg.reports.group import GroupPage, render_group
from tests.group.conftest import Finish, lesion, save


def compared(dataset: DatasetConfig) -> list[tuple[str, str, str, str]]:
    pairs, _ = compare_all(GroupConfig(dataset), read_results(dataset).scans)
    rows = [item.row() for item in pairs]
    assert all(list(row) == [*IDENTITY_COLUMNS, *AGREEMENT_COLUMNS] for row in rows)
    return [(row["scan"], row["rater"], row["status"], row["dice"]) for row in rows]


def test_several_raters(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1_ses-A")
    folder = dataset.derivatives["manual"] / "sub-1/ses-A/anat"
    save(folder / "sub-1_ses-A_label-lesion_desc-anna_mask.nii.gz", lesion())
    save(folder / "sub-1_ses-A_space-orig_label-L_desc-ben_mask.nii", lesion() * 0)
    save(folder / "sub-1_ses-A_desc-brain_mask.nii.gz", lesion())
    assert compared(dataset) == [
        ("sub-1_ses-A", "anna", "ok", "1"),
        ("sub-1_ses-A", "ben", "ok", "0"),
        ("sub-1_ses-A", "n/a", "ok", "0"),  # what both marked
        ("sub-1_ses-A", "ben", "ok", "0"),  # anna against ben
    ]


def test_specks_that_no_scan_reports_are_not_missed(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1", min_lesion_ml=0.01)
    speck = lesion()
    speck[0, 0, 0] = 1
    folder = dataset.derivatives["manual"] / "sub-1/anat"
    save(folder / "sub-1_label-lesion_mask.nii.gz", speck)
    ((pair,), _) = compare_all(GroupConfig(dataset), read_results(dataset).scans)
    row = pair.row()
    assert row["missed_any"] == "0"
    assert float(row["dice"]) < 1


def test_whatever_happens_is_listed(dataset: DatasetConfig, finish: Finish) -> None:
    for number in range(1, 5):
        finish(f"sub-{number}")
    finish("sub-6").mask.unlink()
    folder = dataset.derivatives["manual"]

    def reference(number: int) -> Path:
        return folder / f"sub-{number}/anat/sub-{number}_label-lesion_mask.nii.gz"

    save(reference(1), lesion())
    save(reference(2), lesion()[:-1])
    save(reference(3), lesion())
    reference(3).write_bytes(reference(3).read_bytes()[:60])
    save(reference(5), lesion())
    save(reference(6), lesion())
    assert compared(dataset) == [
        ("sub-1", "n/a", "ok", "1"),
        ("sub-2", "n/a", "grid_mismatch", "n/a"),
        ("sub-3", "n/a", "unreadable", "n/a"),
        ("sub-4", "n/a", "missing_reference", "n/a"),
        ("sub-5", "n/a", "missing_prediction", "n/a"),
        ("sub-6", "n/a", "missing_prediction", "n/a"),
    ]
    narrow = replace(dataset, participant_labels=("5",))
    assert [row[0] for row in compared(narrow)] == ["sub-5"]


def test_a_reference_that_may_mean_two_scans_means_none(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1_run-1")
    finish("sub-1_run-2")
    path = dataset.derivatives["manual"] / "sub-1/anat/sub-1_label-lesion_mask.nii.gz"
    save(path, lesion())
    assert [(scan, status) for scan, _, status, _ in compared(dataset)] == [
        ("sub-1_run-1", "missing_reference"),
        ("sub-1_run-2", "missing_reference"),
        ("sub-1", "missing_prediction"),
    ]


def test_references_of_scans_that_are_not_asked_for_are_not_missed(
    dataset: DatasetConfig, finish: Finish
) -> None:
    finish("sub-1_ses-A_acq-3D")
    finish("sub-1_ses-A_acq-2D")
    folder = dataset.derivatives["manual"] / "sub-1"
    for stem in ("ses-A_acq-3D", "ses-A_acq-2D", "ses-B_acq-3D"):
        save(folder / stem[:5] / f"anat/sub-1_{stem}_label-L_mask.nii.gz", lesion())
    file = dataset.bids_dir.parent / "filter.json"
    file.write_text('{"flair": {"acquisition": "3D"}}')
    filtered = replace(dataset, filter_file=file)
    assert [(scan, status) for scan, _, status, _ in compared(filtered)] == [
        ("sub-1_ses-A_acq-3D", "ok"),
        ("sub-1_ses-B_acq-3D", "missing_prediction"),
    ]
    one_session = replace(filtered, session_labels=("A",))
    assert [row[0] for row in compared(one_session)] == ["sub-1_ses-A_acq-3D"]


def test_without_references_outputs_are_compared(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    describe(dataset.output_dir, "flairseg")
    same = replace(dataset, derivatives={"before": dataset.output_dir})
    assert compared(same) == [("sub-1", "n/a", "ok", "1")]


def describe(folder: Path, program: str) -> None:
    content = {"GeneratedBy": [{"Name": program}]}
    (folder / "dataset_description.json").write_text(json.dumps(content))


def pairs_of(config: GroupConfig) -> list[Comparison]:
    return compare_all(config, read_results(config.dataset).scans)[0]


def test_models_and_raters_meet_on_the_same_scans(
    dataset: DatasetConfig, finish: Finish, tmp_path: Path
) -> None:
    for number in (1, 2):
        finish(f"sub-{number}")
        anat = dataset.derivatives["manual"] / f"sub-{number}/anat/sub-{number}"
        save(anat.with_name(f"{anat.name}_label-L_desc-anna_mask.nii"), lesion())
        save(anat.with_name(f"{anat.name}_label-L_desc-ben_mask.nii"), lesion() * 0)
    other = tmp_path / "lst"
    save(other / "sub-1" / "space-flair_seg-lst.nii.gz", lesion())
    config = GroupConfig(replace(dataset, derivatives={**dataset.derivatives, "lst": other}))
    found = [
        (p.entities["sub"], p.kind, p.model, p.reference, p.rater, p.status)
        for p in pairs_of(config)
    ]
    assert found[:7] == [
        ("1", "model", "lesion", "manual", "anna", "ok"),
        ("1", "model", "lesion", "manual", "ben", "ok"),
        ("1", "model", "lesion", "consensus", "", "ok"),
        ("1", "model", "lst", "manual", "anna", "ok"),
        ("1", "model", "lst", "manual", "ben", "ok"),
        ("1", "model", "lst", "consensus", "", "ok"),
        ("1", "rater", "manual:anna", "manual", "ben", "ok"),
    ]
    missing = [row for row in found if row[-1] != "ok"]
    assert {row[2] for row in missing} == {"lst"}
    assert {row[-1] for row in missing} == {"missing_prediction"}
    both = replace(config, references=("lst", "manual"))
    assert {pair.reference for pair in pairs_of(both)} == {"manual", "consensus", "lst"}


def test_a_prediction_of_no_scan_is_listed(
    dataset: DatasetConfig, finish: Finish, tmp_path: Path
) -> None:
    finish("sub-1_ses-A")
    manual = dataset.derivatives["manual"]
    save(manual / "sub-1/ses-A/anat/sub-1_ses-A_label-L_mask.nii", lesion())
    other = tmp_path / "nnunet"
    for stem in ("sub-1_ses-A", "sub-1_ses-B", "sub-2_ses-A"):
        save(other / f"{stem}.nii.gz", lesion())
    both = replace(dataset, derivatives={"manual": manual, "nnunet": other})
    pairs = pairs_of(GroupConfig(both))
    assert [(p.scan, p.model, p.status) for p in pairs] == [
        ("sub-1_ses-A", "lesion", "ok"),
        ("sub-1_ses-A", "nnunet", "ok"),
        ("sub-1_ses-B", "nnunet", "missing_scan"),
        ("sub-2_ses-A", "nnunet", "missing_scan"),
    ]
    (first, _) = agreement_problems(pairs)
    assert (first.kind, first.scan, first.source) == ("missing_scan", "sub-1_ses-B", "nnunet")
    assert "sub-1_ses-B.nii.gz" in first.detail
    asked = replace(both, session_labels=("A",), participant_labels=("1",))
    assert {pair.status for pair in pairs_of(GroupConfig(asked))} == {"ok"}


def test_two_masks_of_one_name_stay_apart(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    folder = dataset.derivatives["manual"] / "sub-1/anat"
    save(folder / "sub-1_label-L_mask.nii", lesion())
    save(folder / "sub-1_label-lesion_mask.nii.gz", lesion() * 0)
    pairs = pairs_of(GroupConfig(dataset))
    files = ["sub-1_label-L_mask.nii", "sub-1_label-lesion_mask.nii.gz"]
    assert [pair.rater for pair in pairs] == [*files, "", files[1]]
    assert pairs[-1].model == f"manual:{files[0]}"


def test_our_model_comes_first_whatever_became_of_its_first_scan(
    dataset: DatasetConfig, finish: Finish, tmp_path: Path
) -> None:
    for number in (1, 2):
        paths = finish(f"sub-{number}")
        manual = dataset.derivatives["manual"] / f"sub-{number}/anat"
        save(manual / f"sub-{number}_label-L_mask.nii", lesion())
        save(tmp_path / "ft-2" / f"sub-{number}.nii.gz", lesion())
        if number == 1:
            save(paths.mask, lesion()[:-1])
    models = {**dataset.derivatives, "ft-2": tmp_path / "ft-2"}
    pairs = pairs_of(GroupConfig(replace(dataset, derivatives=models)))
    assert [(pair.model, pair.status) for pair in pairs[:2]] == [
        ("lesion", "grid_mismatch"),
        ("ft-2", "ok"),
    ]
    observed = observe_pairs(pairs, {})
    assert [(item.model, item.scan) for item in observed] == [
        ("lesion", "sub-2"),
        ("ft-2", "sub-1"),
        ("ft-2", "sub-2"),
    ]
    page = render_group(GroupPage("x", (), comparisons=[pair.row() for pair in pairs]))
    assert page.index('<th scope="row">lesion</th>') < page.index('<th scope="row">ft-2</th>')


def test_a_pair_is_compared_once(
    dataset: DatasetConfig, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        finish(f"sub-{number}")
        path = dataset.derivatives["manual"] / f"sub-{number}/anat/sub-{number}_label-L_mask.nii"
        save(path, lesion())
    config = GroupConfig(dataset)
    before = [pair.row() for pair in pairs_of(config)]
    calls = []
    original = compute.run_job

    def counted(job: compute.Job) -> compute.Outcome:
        calls.append(job)
        return original(job)

    monkeypatch.setattr(compute, "run_job", counted)
    assert [pair.row() for pair in pairs_of(config)] == before
    assert calls == []
    save(path, lesion()[::-1])
    after = pairs_of(config)
    assert len(calls) == 1
    assert after[1].row()["dice"] == "0"
    cache = dataset.output_dir / compute.CACHE
    cache.write_bytes(cache.read_bytes()[:-30])  # stopped while it was writing
    assert [pair.row() for pair in pairs_of(config)] == [pair.row() for pair in after]


def test_several_processes_give_the_same(dataset: DatasetConfig, finish: Finish) -> None:
    for number in range(1, 8):
        finish(f"sub-{number}")
        path = dataset.derivatives["manual"] / f"sub-{number}/anat/sub-{number}_label-L_mask.nii"
        save(path, np.roll(lesion(), number, axis=1))
    first = [pair.row() for pair in pairs_of(GroupConfig(dataset, nprocs=2))]
    (dataset.output_dir / compute.CACHE).unlink()
    assert [pair.row() for pair in pairs_of(GroupConfig(dataset, nprocs=1))] == first


def test_names_of_masks_from_a_file(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    save(dataset.derivatives["manual"] / "odd" / "SUB_sub-1_truth.nii.gz", lesion() * np.uint8(2))
    file = dataset.bids_dir.parent / "names.toml"
    file.write_text('[manual]\npattern = "_truth"\nlabels = [2]\nkind = "rater"\n')
    pairs = pairs_of(GroupConfig(dataset, mask_names=file))
    assert [(pair.reference, pair.row()["dice"]) for pair in pairs] == [("manual", "1")]
    for text in ("[manual]\n", "[manual]\npattern = '['\n", "[other]\npattern = 'a'\n", "["):
        file.write_text(text)
        with pytest.raises(UsageError):
            pairs_of(GroupConfig(dataset, mask_names=file))


def test_mixed_models_are_told_apart(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1", model_sha256="a" * 64)
    finish("sub-2", model_sha256="b" * 64)
    names = model_names(read_results(dataset).scans)
    assert names == {"sub-1": "lesion-aaaaaaa", "sub-2": "lesion-bbbbbbb"}


def test_folds_of_a_cross_validation_are_one_model(dataset: DatasetConfig, finish: Finish) -> None:
    for number, fold in enumerate((1, 1, 2), start=1):
        finish(
            f"sub-{number}",
            model=f"ft-8-fold{fold}of2",
            model_sha256=str(fold) * 64,
            threshold=fold / 10,
        )
    results = read_results(dataset)
    assert set(model_names(results.scans).values()) == {"ft-8"}
    assert find_problems(results, Participants()) == []
    finish("sub-4", model="ft-8", model_sha256="c" * 64)
    assert len(set(model_names(read_results(dataset).scans).values())) == 2


def test_names_stay_apart(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    scans = read_results(dataset).scans
    assert model_names(scans, {"lesion"}) == {"sub-1": "lesion (this folder)"}
    clash = replace(dataset, derivatives={"consensus": dataset.output_dir})
    with pytest.raises(UsageError, match="another"):
        pairs_of(GroupConfig(clash))


def test_a_derivative_without_references_is_named(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    path = dataset.derivatives["manual"] / "sub-1/anat/sub-1_desc-brain_mask.nii.gz"
    save(path, lesion())
    pairs, problems = compare_all(GroupConfig(dataset), read_results(dataset).scans)
    assert pairs == []
    assert ["-d manual" in problem.detail for problem in problems] == [True]
    brains = replace(dataset, derivatives={"masks": path.parents[2]})
    assert compare_all(GroupConfig(brains), read_results(dataset).scans)[1] == []


def test_a_missing_derivative_is_an_error(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1")
    gone = replace(dataset, derivatives={"manual": dataset.work_dir / "gone"})
    with pytest.raises(MissingInputError, match="gone"):
        compared(gone)


def test_real_references(dataset: DatasetConfig, finish: Finish, shared_data: Path) -> None:
    manual = shared_data / "openms-bids" / "derivatives" / "manual"
    source = manual / "sub-cs26" / "anat" / "sub-cs26_label-lesion_mask.nii.gz"
    finish("sub-cs26").mask.write_bytes(source.read_bytes())
    real = replace(dataset, derivatives={"manual": manual})
    scans = read_results(dataset).scans
    pairs, _ = compare_all(GroupConfig(real), scans)
    rows = {item.row()["scan"]: item.row() for item in pairs}
    assert rows["sub-cs26"]["dice"] == "1"
    assert float(rows["sub-cs26"]["reference_volume_ml"]) == pytest.approx(8.2, abs=0.1)
    assert rows["sub-cs07"]["status"] == "missing_prediction"
    assert np.isclose(float(rows["sub-cs26"]["volume_difference_ml"]), 0)

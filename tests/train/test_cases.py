"""Cases: what is stored is what was drawn, and what is odd is said before training starts."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError, StorageError
from bids_flairseg.measure.arrays import bounding_box
from bids_flairseg.train.checks import (
    CaseRow,
    Finding,
    case_table,
    check_number,
    find_problems,
    require_usable,
)
from bids_flairseg.train.store import StoredCase, case_digest, read_cases, write_case
from tests.train.blobs import ball_case
from tests.train.cases import draw, make_case


def row(case: StoredCase, **changes: object) -> CaseRow:
    return CaseRow(case.name, case.participant, {**case.facts, **changes}, case.attributes)


def problems(case: StoredCase) -> list[Finding]:
    return find_problems([row(case)])


def test_a_case_survives_the_disk(tmp_path: Path) -> None:
    case = make_case(tmp_path, "sub-1_ses-A")
    write_case(tmp_path / "store", case)
    (back,) = read_cases(tmp_path / "store", [case.name])
    assert isinstance(back.image, np.memmap)
    assert back.image.dtype == np.float16
    np.testing.assert_array_equal(back.image, case.image)
    np.testing.assert_array_equal(back.target, case.target)
    for name in ("name", "participant", "lesion_ml", "attributes", "facts"):
        assert getattr(back, name) == getattr(case, name)


def test_a_case_that_is_another_by_now_is_not_trained_on(tmp_path: Path) -> None:
    write_case(tmp_path, ball_case(1))
    digests = {"sub-01": case_digest(tmp_path, "sub-01")}
    write_case(tmp_path, ball_case(1))  # the same again
    read_cases(tmp_path, digests, digests)
    write_case(tmp_path, replace(ball_case(2), name="sub-01"))
    with pytest.raises(StorageError, match="sub-01 as it was prepared, but another run"):
        read_cases(tmp_path, digests, digests)


def test_a_case_that_is_replaced_while_it_is_opened_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(tmp_path, ball_case(1))
    digests, load = {"sub-01": case_digest(tmp_path, "sub-01")}, np.load

    def replace_and_load(path: Path, **words: Any) -> Any:
        if path.name == "sub-01_image.npy":
            write_case(tmp_path, replace(ball_case(2), name="sub-01"))
        return load(path, **words)

    monkeypatch.setattr(np, "load", replace_and_load)
    with pytest.raises(StorageError, match="another run has changed it"):
        read_cases(tmp_path, digests, digests)


def test_zero_means_outside_and_the_box_holds_the_brain(tmp_path: Path) -> None:
    _, brain, lesions = draw()
    case = make_case(tmp_path)
    box = bounding_box(brain, margin=(4, 4, 4))
    assert box is not None
    np.testing.assert_array_equal(np.asarray(case.image) != 0, brain[box])
    np.testing.assert_array_equal(np.asarray(case.target) > 0, lesions[box])
    assert case.lesion_ml == pytest.approx(lesions.sum() / 1000, abs=1e-3)


def test_a_coarse_label_keeps_its_volume(tmp_path: Path) -> None:
    case = make_case(tmp_path, zoom=2.0)
    assert case.target.sum() / 1000 == pytest.approx(case.lesion_ml, rel=0.12)


def test_a_good_case_has_no_finding(tmp_path: Path) -> None:
    assert problems(make_case(tmp_path)) == []


def test_a_lesion_free_control_is_a_case(tmp_path: Path) -> None:
    sick, control = make_case(tmp_path), make_case(tmp_path, "sub-2", lesions=0, seed=1)
    assert find_problems([row(sick), row(control)]) == []


def test_all_masks_empty(tmp_path: Path) -> None:
    (finding,) = problems(make_case(tmp_path, lesions=0))
    assert finding.fatal
    assert "nothing to learn" in finding.text


def test_a_label_value_that_no_mask_has_is_fatal_and_told(tmp_path: Path) -> None:
    (finding,) = [f for f in problems(make_case(tmp_path, values=(7,))) if f.fatal]
    assert "no lesion of value 7: sub-1_mask.nii.gz has 1. Say which" in finding.text


def test_a_label_value_that_one_mask_does_not_have_is_a_warning(tmp_path: Path) -> None:
    _, _, mask = draw()
    good = make_case(tmp_path, mask=7 * mask, values=(7,))
    other = make_case(tmp_path, "sub-2", seed=1, values=(7,))
    control = make_case(tmp_path, "sub-3", seed=2, lesions=0, values=(7,))
    (finding,) = find_problems([row(good), row(other), row(control)])
    assert (finding.case, finding.fatal, finding.loud) == ("sub-2", False, True)


def test_a_flipped_label_is_suspected(tmp_path: Path) -> None:
    _, _, mask = draw()
    (finding,) = problems(make_case(tmp_path, mask=mask[::-1]))
    assert "flipped left to right" in finding.text
    assert (finding.fatal, finding.loud) == (False, True)


def test_a_flipped_label_is_suspected_though_part_of_it_lies_outside(tmp_path: Path) -> None:
    _, _, mask = draw()
    mask = mask[::-1].copy()
    corner = mask[:8, :8, :8]
    corner.flat[: np.count_nonzero(mask) // 4] = True
    away, flipped = problems(make_case(tmp_path, mask=mask))
    assert "20% of the label lies outside the brain; that part" in away.text
    assert "flipped left to right" in flipped.text
    assert (flipped.fatal, flipped.loud) == (False, True)


def outside() -> NDArray[np.bool_]:
    mask = np.zeros(draw()[1].shape, bool)
    mask[:6, :6, :6] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "text"),
    [(draw()[1], "covers the brain"), (outside(), "100% of the label lies outside the brain")],
)
def test_labels_that_are_none(tmp_path: Path, mask: NDArray[np.bool_], text: str) -> None:
    findings = problems(make_case(tmp_path, mask=mask))
    assert any(finding.fatal and text in finding.text for finding in findings)


def test_an_image_without_brain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a brain"):
        make_case(tmp_path, shape=(1, 1, 1))


def test_duplicates_are_fatal_between_participants_only(tmp_path: Path) -> None:
    first, again = make_case(tmp_path, "sub-1_run-1"), make_case(tmp_path, "sub-1_run-2")
    other = make_case(tmp_path, "sub-2")
    (within,) = find_problems([row(first), row(again)])
    assert not within.fatal
    (between,) = find_problems([row(first), row(other)])
    assert between.fatal
    assert between.case == "sub-1_run-1, sub-2"


def test_all_fatal_findings_are_named_at_once(tmp_path: Path) -> None:
    rows = [
        row(make_case(tmp_path)),
        CaseRow("sub-2", "2", {}, {}, failure="/x/mask.nii: cannot be read."),
        CaseRow("sub-3", "3", {}, {}, failure="/y/mask.nii: needs --label-value."),
        CaseRow("sub-4", "4", {}, {}, labelled=False),
    ]
    with pytest.raises(InputError, match="reasons: 2") as caught:
        require_usable(find_problems(rows))
    assert "sub-2: /x/mask.nii" in str(caught.value)
    assert "sub-3: /y/mask.nii" in str(caught.value)
    assert "sub-4" not in str(caught.value)


def test_the_table_has_all_cases(tmp_path: Path) -> None:
    rows = [row(make_case(tmp_path)), CaseRow("sub-4", "4", {}, {}, labelled=False)]
    columns, cells = case_table(rows)
    assert all(len(line) == len(columns) for line in cells)
    assert cells[0][2] == "1 x 1 x 1"
    assert cells[1][-1] == "no label"


def test_too_few_cases() -> None:
    assert "one case only" in check_number(1, 1, mode="finetune", folds=3)
    many = check_number(3, 1, mode="finetune", folds=3)
    assert "3 cases of one participant only: nobody can be held out" in many
    assert not check_number(3, 2, mode="finetune", folds=3)
    assert not check_number(3, 3, mode="crossval", folds=3)
    for cases, participants, mode, text in (
        (0, 0, "train", "none that is usable. Put masks .* by -d NAME=PATH"),
        (1, 1, "crossval", "at least two participants"),
        (2, 1, "crossval", "at least two participants"),
        (3, 2, "crossval", "Take --folds 2"),
    ):
        with pytest.raises(InputError, match=text):
            check_number(cases, participants, mode=mode, folds=3)


def test_a_case_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, steps = make_case(tmp_path), list[str]()
    replace, fsync = Path.replace, os.fsync

    def note_sync(descriptor: int) -> None:
        steps.append("on disk")
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        steps.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    write_case(tmp_path / "store", case)
    names = ("sub-1_image.npy", "sub-1_target.npy", "sub-1.json")
    assert steps == [step for name in names for step in ("on disk", name)]


def test_a_full_disk_leaves_no_half_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(tmp_path)
    write_case(tmp_path / "store", case)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_case(tmp_path / "store", case)
    with pytest.raises(StorageError, match="gone or incomplete"):
        read_cases(tmp_path / "store", [case.name])
    assert not list((tmp_path / "store").glob("*.tmp"))

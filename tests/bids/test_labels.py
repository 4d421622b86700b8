"""Labels find their scans, or the message says what is there instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bids_flairseg.bids.labels import find_labelled, select
from bids_flairseg.bids.names import parse_name
from bids_flairseg.bids.scans import Scan
from bids_flairseg.errors import MissingInputError
from tests.bids.conftest import MakeTree


def scan(stem: str, root: Path = Path(), **sidecar: object) -> Scan:
    name = parse_name(f"{stem}_FLAIR.nii.gz")
    assert name is not None
    return Scan(root / f"{stem}_FLAIR.nii.gz", name.entities, sidecar)


def test_raters_and_derivatives_are_kept_apart(make_tree: MakeTree) -> None:
    first = make_tree(
        "sub-1/anat/sub-1_label-lesion_desc-b_mask.nii.gz",
        "sub-1/anat/sub-1_label-L_desc-a_mask.nii.gz",
        "sub-1/anat/sub-1_label-GM_mask.nii.gz",
        name="one",
    )
    second = make_tree("sub-1/anat/sub-1_label-lesion_mask.nii", name="two")
    bids = make_tree("participants.tsv")
    (case,) = find_labelled([scan("sub-1")], {"one": first, "two": second}, bids)
    assert set(case.raters) == {"one/a", "one/b", "two"}
    assert case.raters[-1] == "two"
    assert len(case.labels) == 3


def test_sessions_are_not_mixed_up_and_scans_without_label_stay(make_tree: MakeTree) -> None:
    masks = make_tree("sub-1/ses-2/anat/sub-1_ses-2_label-L_mask.nii.gz", name="masks")
    scans = [scan("sub-1_ses-1"), scan("sub-1_ses-2")]
    one, two = find_labelled(scans, {"m": masks}, make_tree())
    assert not one.labels
    assert [path.name for path in two.labels] == ["sub-1_ses-2_label-L_mask.nii.gz"]


def test_a_mask_that_could_mean_two_scans_is_of_neither(make_tree: MakeTree) -> None:
    masks = make_tree(
        "sub-1/anat/sub-1_label-L_mask.nii.gz", "sub-2/anat/sub-2_label-L_mask.nii.gz", name="m"
    )
    stems = ("sub-1_run-1", "sub-1_run-2", "sub-2_run-1")
    bids = make_tree(*(f"{stem[:5]}/anat/{stem}_FLAIR.nii.gz" for stem in stems))
    found = find_labelled([scan(stem) for stem in stems], {"m": masks}, bids)
    assert [len(case.labels) for case in found] == [0, 0, 1]


@pytest.mark.parametrize("left_out", ["sub-1", "sub-1_acq-2D"])
def test_a_mask_of_a_scan_that_is_left_out_goes_to_no_other(
    make_tree: MakeTree, left_out: str
) -> None:
    stems = ("sub-1_acq-3D", left_out, "sub-2_acq-3D")
    bids = make_tree(*(f"{stem[:5]}/anat/{stem}_FLAIR.nii.gz" for stem in stems))
    masks = make_tree(*(f"sub-{n}/anat/sub-{n}_label-L_mask.nii.gz" for n in (1, 2)), name="m")
    found = find_labelled([scan(stem) for stem in stems if stem != left_out], {"m": masks}, bids)
    assert [len(case.labels) for case in found] == [0, 1]


def test_attributes_come_from_the_table_and_the_sidecar(make_tree: MakeTree) -> None:
    masks = make_tree("sub-1/anat/sub-1_label-L_mask.nii.gz", name="m")
    bids = make_tree()
    (bids / "participants.tsv").write_text("participant_id\tsite\tage\nsub-1\tB\t40\n")
    (case,) = find_labelled(
        [scan("sub-1", MagneticFieldStrength=1.5, Manufacturer="GE")], {"m": masks}, bids
    )
    assert case.attributes == {
        "site": "B", "diagnosis": "n/a", "group": "n/a", "Manufacturer": "GE",
        "MagneticFieldStrength": "1.5", "MRAcquisitionType": "n/a",
    }  # fmt: skip


def test_cases_are_chosen_by_their_attributes(make_tree: MakeTree) -> None:
    masks = make_tree(*(f"sub-{n}/anat/sub-{n}_label-L_mask.nii.gz" for n in (1, 2, 3)), name="m")
    bids = make_tree()
    rows = "sub-1\tA\tMS\nsub-2\tB\tms\nsub-3\tB\tstroke\nsub-4\tC\tMS\n"
    (bids / "participants.tsv").write_text(f"participant_id\tsite\tdiagnosis\n{rows}")
    scans = [scan(f"sub-{n}", MagneticFieldStrength=n) for n in (1, 2, 3, 4)]
    cases = find_labelled(scans, {"m": masks}, bids)

    def chosen(*wanted: tuple[str, str]) -> str:
        return "".join(case.scan.participant for case in select(cases, wanted))

    assert chosen() == "1234"
    assert chosen(("site", "B")) == "23"
    assert chosen(("site", "B"), ("diagnosis", "MS")) == "2"
    assert chosen(("site", "A"), ("site", "B"), ("diagnosis", "ms")) == "12"
    assert chosen(("MagneticFieldStrength", "3.0")) == "3"
    with pytest.raises(MissingInputError, match="site: A, B") as caught:
        select(cases, [("site", "C")])
    assert "--cases-with site=C" in str(caught.value)


def test_no_derivative_at_all() -> None:
    with pytest.raises(MissingInputError, match="-d manual=PATH"):
        find_labelled([scan("sub-1")], {}, Path())


def test_labels_of_other_participants_are_named(make_tree: MakeTree) -> None:
    masks = make_tree("sub-7/anat/sub-7_label-L_mask.nii.gz", name="m")
    with pytest.raises(MissingInputError, match="found the masks sub-7_label-L_mask"):
        find_labelled([scan("sub-1")], {"m": masks}, make_tree())


def test_masks_of_nobody_in_the_dataset_are_told(
    make_tree: MakeTree, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = [f"sub-{n}/anat/sub-{n}_label-L_mask.nii.gz" for n in ("1", "2", "O2")]
    masks = make_tree(*names, name="m")
    bids = make_tree(*(f"sub-{n}/anat/sub-{n}_FLAIR.nii.gz" for n in ("1", "2")), name="bids")
    find_labelled([scan("sub-1")], {"m": masks}, bids)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "sub-O2_label-L_mask.nii.gz" in line
    assert "sub-2_" not in line


def test_masks_of_scans_that_are_left_out_are_not_told(
    make_tree: MakeTree, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stems = [f"sub-1/ses-{session}/anat/sub-1_ses-{session}" for session in "ABC"]
    bids = make_tree(*(f"{stem}_FLAIR.nii.gz" for stem in stems[:2]))
    drawn = make_tree(*(f"{stem}_label-L_mask.nii.gz" for stem in stems[:2]), name="drawn")
    ours = make_tree(f"{stems[0]}_label-L_mask.nii.gz", name="ours")
    describe(ours, "flairseg")
    derivatives = {"drawn": drawn, "ours": ours}
    (case,) = find_labelled([scan("sub-1_ses-B")], derivatives, bids)
    assert [path.name for path in case.labels] == ["sub-1_ses-B_label-L_mask.nii.gz"]
    assert not caplog.records
    (drawn / f"{stems[2]}_label-L_mask.nii.gz").parent.mkdir(parents=True)
    (drawn / f"{stems[2]}_label-L_mask.nii.gz").touch()
    find_labelled([scan("sub-1_ses-B")], derivatives, bids)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "sub-1_ses-C_label-L_mask.nii.gz" in line
    assert "ses-A" not in line


def test_a_folder_without_any_mask(make_tree: MakeTree) -> None:
    with pytest.raises(MissingInputError, match="found none of any scan"):
        find_labelled([scan("sub-1")], {"m": make_tree(name="m")}, make_tree())


def describe(folder: Path, generator: str) -> None:
    content = {"Name": "x", "GeneratedBy": [{"Name": generator}]}
    (folder / "dataset_description.json").write_text(json.dumps(content))


def test_predictions_of_flairseg_are_nobodys_labels(
    make_tree: MakeTree, caplog: pytest.LogCaptureFixture
) -> None:
    stem = "sub-1/anat/sub-1_space-orig_label-L_mask"
    ours = make_tree(f"{stem}.nii.gz", name="ours")
    describe(ours, "flairseg")
    copied = make_tree("sub-1/anat/sub-1_label-L_mask.nii.gz", name="copied")
    sidecar = copied / "sub-1" / "anat" / "sub-1_label-L_mask.json"
    sidecar.write_text('{"Model": {"Name": "m", "SHA256": "0"}}')
    derivatives = {"ours": ours, "copied": copied}
    with pytest.raises(MissingInputError, match=r"predictions of flairseg.*Manual"):
        find_labelled([scan("sub-1")], derivatives, make_tree())
    drawn = make_tree("sub-1/anat/sub-1_label-L_mask.nii.gz", name="drawn")
    describe(drawn, "another tool")
    caplog.clear()
    (case,) = find_labelled([scan("sub-1")], {**derivatives, "drawn": drawn}, make_tree())
    assert case.raters == ("drawn",)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.split("=")[0] for text in told] == ["-d ours", "-d copied"]


def test_a_prediction_that_somebody_has_corrected_is_a_label(make_tree: MakeTree) -> None:
    stem = "sub-1/anat/sub-1_space-orig_label-L_mask"
    ours = make_tree(f"{stem}.nii.gz", name="ours")
    describe(ours, "flairseg")
    (ours / f"{stem}.json").write_text('{"Model": {"SHA256": "0"}, "Manual": true}')
    (case,) = find_labelled([scan("sub-1")], {"ours": ours}, make_tree())
    assert case.raters == ("ours",)

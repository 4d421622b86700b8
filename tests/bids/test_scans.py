"""Finding scans: every FLAIR of the wanted participants, nothing else, and nothing crashes."""

from __future__ import annotations

import json
import logging
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bids_flairseg.bids.scans import Scan, find_scans
from bids_flairseg.errors import InputError, MissingInputError, NothingToDoError, UsageError
from tests.bids.conftest import MakeConfig, MakeTree

ONE = "sub-01/anat/sub-01_FLAIR.nii.gz"
TWO = "sub-02/ses-A/anat/sub-02_ses-A_acq-3D_run-01_FLAIR.nii"
THREE = "sub-10/ses-B/anat/sub-10_ses-B_FLAIR.nii.gz"


def names(scans: list[Scan]) -> list[str]:
    return [scan.name for scan in scans]


def test_sessions_acquisitions_runs_and_both_endings_are_found(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    root = make_tree(
        ONE, TWO, THREE, "sub-02/ses-A/anat/sub-02_ses-A_T1w.nii.gz", "sub-9/dwi/sub-9_FLAIR.nii.gz"
    )
    scans = find_scans(make_config(root))
    assert names(scans) == ["sub-01", "sub-02_ses-A_acq-3D_run-01", "sub-10_ses-B"]
    assert scans[1].entities == {"sub": "02", "ses": "A", "acq": "3D", "run": "01"}
    assert [root / scan.relative_dir / scan.flair.name for scan in scans] == [
        scan.flair for scan in scans
    ]
    assert pickle.loads(pickle.dumps(scans)) == scans


@pytest.mark.parametrize(
    ("participants", "sessions", "expected"),
    [
        (("sub-01",), (), ["sub-01"]),
        (("10", "01"), (), ["sub-01", "sub-10_ses-B"]),
        ((), ("ses-A",), ["sub-02_ses-A_acq-3D_run-01"]),
        (("02", "10"), ("A", "B"), ["sub-02_ses-A_acq-3D_run-01", "sub-10_ses-B"]),
    ],
)
def test_labels_narrow_with_and_without_prefix(
    make_tree: MakeTree,
    make_config: MakeConfig,
    participants: tuple[str, ...],
    sessions: tuple[str, ...],
    expected: list[str],
) -> None:
    config = make_config(
        make_tree(ONE, TWO, THREE), participant_labels=participants, session_labels=sessions
    )
    assert names(find_scans(config)) == expected


def test_a_filter_file_narrows(make_tree: MakeTree, make_config: MakeConfig) -> None:
    root = make_tree(ONE, TWO, THREE)
    path = root.parent / "filter.json"
    path.write_text(json.dumps({"flair": {"acquisition": None}}))
    assert names(find_scans(make_config(root, filter_file=path))) == ["sub-01", "sub-10_ses-B"]


def test_who_is_not_there_is_named_and_the_rest_goes_on(
    make_tree: MakeTree, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_tree(ONE, "sub-02/anat/sub-02_T1w.nii.gz", THREE)
    config = make_config(root, participant_labels=("01", "02", "1O", "10"), session_labels=("B",))
    assert names(find_scans(config)) == ["sub-10_ses-B"]
    assert "sub-1O: no such participant" in caplog.text
    assert re.search(r"no usable FLAIR.*: sub-02\n", caplog.text)
    assert re.search(r"no FLAIR left by session or filter: sub-01\n", caplog.text)


@pytest.mark.parametrize(
    ("files", "settings", "words"),
    [
        ([], {}, "Asked for: everything. Found: 0 participants."),
        (["sub-01/anat/sub-01_T1w.nii.gz"], {}, r"1 participants \(sub-01\); none of those"),
        ([ONE, TWO], {"participant_labels": ("7",)}, r"Asked for: sub-7\. Found: 2 participants"),
        ([ONE, TWO], {"session_labels": ("C",)}, r"ses-C\. Found: .*sub-01_FLAIR\.nii\.gz"),
    ],
)
def test_nothing_left_says_what_was_there(
    make_tree: MakeTree,
    make_config: MakeConfig,
    files: list[str],
    settings: dict[str, object],
    words: str,
) -> None:
    with pytest.raises(NothingToDoError, match=words):
        find_scans(make_config(make_tree(*files), **settings))


def test_a_missing_dataset_is_missing_input(tmp_path: Path, make_config: MakeConfig) -> None:
    with pytest.raises(MissingInputError, match="none"):
        find_scans(make_config(tmp_path / "none"))


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("sub-01/anat/sub-01_old_FLAIR.nii.gz", "does not follow BIDS"),
        ("sub-01/anat/sub-02_FLAIR.nii.gz", "belongs into sub-02/anat"),
        ("sub-01/anat/sub-01_ses-A_FLAIR.nii.gz", "belongs into sub-01/ses-A/anat"),
        ("sub-01/anat/sub-01_space-MNI_FLAIR.nii.gz", "derived image"),
        ("sub-01/anat/sub-01_part-phase_FLAIR.nii.gz", "no magnitude"),
        ("sub-01/anat/sub-01_FLAIR.nii", "is there as .nii.gz"),
    ],
)
def test_a_file_that_is_no_scan_is_left_out_with_the_reason(
    make_tree: MakeTree,
    make_config: MakeConfig,
    caplog: pytest.LogCaptureFixture,
    file: str,
    reason: str,
) -> None:
    scans = find_scans(make_config(make_tree(ONE, file)))
    assert [scan.flair.name for scan in scans] == ["sub-01_FLAIR.nii.gz"]
    assert reason in caplog.text


def test_links_are_followed_and_those_without_content_are_kept(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    store = make_tree("sub-09/anat/sub-09_FLAIR.nii.gz", name="store")
    root = make_tree(ONE, "sub-02/anat/x")
    (root / "sub-02/anat/sub-02_FLAIR.nii.gz").symlink_to("../../.git/annex/objects/absent")
    (root / "sub-09").symlink_to(store / "sub-09")
    (root / "sub-11").symlink_to(root / "nowhere")
    assert names(find_scans(make_config(root))) == ["sub-01", "sub-02", "sub-09"]


@pytest.mark.parametrize("place", ["ses-9/pet/run-3", "a b#c/ü", "sub-77/anat"])
def test_folders_above_the_dataset_do_not_matter(
    make_tree: MakeTree, make_config: MakeConfig, place: str
) -> None:
    root = make_tree(ONE, TWO, name=f"{place}/bids")
    config = make_config(root, participant_labels=("02",))
    assert names(find_scans(config)) == ["sub-02_ses-A_acq-3D_run-01"]


def test_derivatives_and_sourcedata_are_not_searched(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    root = make_tree(ONE, f"derivatives/x/{THREE}", f"sourcedata/{THREE}", f"code/{TWO}")
    assert names(find_scans(make_config(root))) == ["sub-01"]


def test_a_broken_sidecar_becomes_a_warning_of_the_scan(
    make_tree: MakeTree, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_tree(ONE, THREE)
    (root / "FLAIR.json").write_text('{"EchoTime": 0.1}')
    (root / "sub-01/anat/sub-01_FLAIR.json").write_text('{"EchoTime": ')
    broken, sound = find_scans(make_config(root))
    assert broken.sidecar == sound.sidecar == {"EchoTime": 0.1}
    assert len(broken.warnings) == 1
    assert sound.warnings == ()
    assert "sub-01_FLAIR.json" in caplog.text


def test_brain_masks_of_the_user_are_attached(
    make_tree: MakeTree, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mask = "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    root, masks = make_tree(ONE, THREE), make_tree(mask, name="masks")
    one, three = find_scans(make_config(root, derivatives={"other": root, "brains": masks}))
    assert (one.brain_mask, one.brain_mask_source) == (masks / mask, "brains")
    assert (three.brain_mask, three.brain_mask_source) == (None, "")
    assert "no *_desc-brain_mask.nii.gz for sub-10_ses-B" in caplog.text
    assert f"-d other={root}: no brain mask" in caplog.text
    assert "-d brains" not in caplog.text


def test_the_first_derivative_with_a_mask_wins(
    make_tree: MakeTree, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    mask = "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    derivatives = {name: make_tree(mask, name=name) for name in ("second", "first")}
    (scan,) = find_scans(make_config(make_tree(ONE), derivatives=derivatives))
    assert scan.brain_mask == derivatives["second"] / mask
    assert "-d first: not used for sub-01" in caplog.text


@pytest.mark.parametrize(
    ("more", "filters"), [("acq-2D", {"acquisition": "2D"}), ("run-1", {"run": "1"})]
)
def test_a_mask_of_a_scan_that_is_filtered_out_goes_to_no_other(
    make_tree: MakeTree, make_config: MakeConfig, more: str, filters: dict[str, str]
) -> None:
    mask = "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    root = make_tree(ONE, f"sub-01/anat/sub-01_{more}_FLAIR.nii.gz")
    masks = make_tree(mask, name="masks")
    path = root.parent / "filter.json"
    path.write_text(json.dumps({"flair": filters}))
    config = make_config(root, derivatives={"m": masks})
    found = {scan.name: scan.brain_mask for scan in find_scans(config)}
    assert found == {"sub-01": masks / mask, f"sub-01_{more}": None}
    (scan,) = find_scans(replace(config, filter_file=path))
    assert (scan.name, scan.brain_mask) == (f"sub-01_{more}", None)


@pytest.mark.parametrize("chosen", [{"session_labels": ("B",)}, {"participant_labels": ("2",)}])
def test_brain_masks_of_scans_that_are_left_out_are_no_reason_to_warn(
    make_tree: MakeTree,
    make_config: MakeConfig,
    caplog: pytest.LogCaptureFixture,
    chosen: dict[str, tuple[str, ...]],
) -> None:
    stems = [f"sub-{n}/ses-{s}/anat/sub-{n}_ses-{s}" for n, s in ("1A", "1B", "2B")]
    root = make_tree(*(f"{stem}_FLAIR.nii.gz" for stem in stems))
    masks = make_tree(f"{stems[0]}_desc-brain_mask.nii.gz", name="masks")
    scans = find_scans(make_config(root, derivatives={"m": masks}, **chosen))
    assert all(scan.brain_mask is None for scan in scans)
    assert "no brain mask" not in caplog.text


def test_of_a_mask_that_is_not_needed_nothing_else_is_told(
    make_tree: MakeTree, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    stem = "sub-01/anat/sub-01_desc-brain_mask"
    own, prep = (make_tree(f"{stem}.nii.gz", name=name) for name in ("own", "fmriprep"))
    (prep / f"{stem}.json").write_text('{"RawSources": ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]}')
    derivatives = {"own": own, "fmriprep": prep}
    (scan,) = find_scans(make_config(make_tree(ONE), derivatives=derivatives))
    assert scan.brain_mask == own / f"{stem}.nii.gz"
    assert "-d fmriprep: not used for sub-01, an earlier derivative has theirs" in caplog.text
    assert "made on other images" not in caplog.text


def test_masks_made_on_other_images_are_not_used_and_named(
    make_tree: MakeTree, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    stem = "sub-01/anat/sub-01_desc-brain_mask"
    root, prep = make_tree(ONE), make_tree(f"{stem}.nii.gz", name="fmriprep")
    (prep / f"{stem}.json").write_text('{"RawSources": ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]}')
    (scan,) = find_scans(make_config(root, derivatives={"fmriprep": prep}))
    assert scan.brain_mask is None
    assert "-d fmriprep: not used, made on other images than the FLAIR" in caplog.text
    assert f"{prep / stem}.nii.gz. Resample them to the FLAIR" in caplog.text
    own = make_tree(f"{stem}.nii.gz", name="own")
    derivatives = {"fmriprep": prep, "own": own}
    (scan,) = find_scans(make_config(root, derivatives=derivatives))
    assert scan.brain_mask == own / f"{stem}.nii.gz"


def test_no_derivative_takes_the_name_of_the_dataset(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    root = make_tree(ONE)
    with pytest.raises(UsageError, match="expected another name"):
        find_scans(make_config(root, derivatives={"raw": root}))


def test_an_index_is_made_once_and_used_again(
    make_tree: MakeTree, make_config: MakeConfig, tmp_path: Path
) -> None:
    root, database = make_tree(ONE, TWO), tmp_path / "index"
    config = make_config(root, database_dir=database, participant_labels=("01",))
    assert names(find_scans(config)) == ["sub-01"]
    assert [path.name for path in database.iterdir()] == ["layout_index.sqlite"]
    make_tree(THREE)  # after the index was made, so it is not in it
    everyone = make_config(root, database_dir=database)
    assert names(find_scans(everyone)) == ["sub-01", "sub-02_ses-A_acq-3D_run-01"]


def test_a_file_gone_since_the_index_was_made_is_left_out(
    make_tree: MakeTree, make_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_tree(ONE, TWO)
    config = make_config(root, database_dir=tmp_path / "index")
    find_scans(config)
    (root / TWO).unlink()
    assert names(find_scans(config)) == ["sub-01"]
    assert "Delete the folder of --bids-database-dir" in caplog.text


def test_the_index_of_another_dataset_is_refused(
    make_tree: MakeTree, make_config: MakeConfig, tmp_path: Path
) -> None:
    find_scans(make_config(make_tree(ONE), database_dir=tmp_path / "index"))
    other = make_config(make_tree(TWO, name="other"), database_dir=tmp_path / "index")
    with pytest.raises(InputError, match="its own --bids-database-dir"):
        find_scans(other)


@pytest.mark.parametrize("content", [b"", b"no database at all, just text " * 100])
def test_a_damaged_index_is_refused(
    make_tree: MakeTree, make_config: MakeConfig, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index/layout_index.sqlite").write_bytes(content)
    with pytest.raises(InputError, match="Delete the folder"):
        find_scans(make_config(make_tree(ONE), database_dir=tmp_path / "index"))


def test_a_file_that_lies_where_the_sub_folder_should_be(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    assert names(find_scans(make_config(make_tree(ONE, "sub-05")))) == ["sub-01"]


def test_the_real_dataset(shared_data: Path, make_config: MakeConfig) -> None:
    scans = find_scans(make_config(shared_data / "openms-bids"))
    assert len(scans) == 14
    assert scans[0].sidecar["MagneticFieldStrength"] == 3
    assert scans[-1].name == "sub-long20_ses-2"

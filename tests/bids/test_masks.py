"""Masks of the user find their scan, and only that one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bids_flairseg.bids.masks import (
    Mask,
    find_brain_masks,
    find_references,
    lies_on_flair,
    match_masks,
)
from bids_flairseg.bids.outputs import ScanPaths, sidecar_path
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import BRAIN_MASK_METHODS, Processing, build_sidecars
from bids_flairseg.errors import MissingInputError
from tests.conftest import write_json


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_brain_masks_in_the_scans_own_space_are_found_without_a_description(
    tmp_path: Path,
) -> None:
    folder = tree(
        tmp_path,
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "sub-01/ses-A/anat/sub-01_ses-A_acq-3D_space-orig_desc-brain_mask.nii",
        "sub-01/anat/sub-01_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_space-orig_res-1mm_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_label-lesion_mask.nii.gz",
        "sub-01/anat/sub-02_desc-brain_mask.nii.gz",
        "sub-02/anat/sub-02_desc-brain_mask.nii.gz",
    )
    found = find_brain_masks(folder, ["01", "03"])
    assert [mask.entities for mask in found] == [
        {"sub": "01"},
        {"sub": "01", "ses": "A", "acq": "3D"},
    ]


def test_references_of_several_raters_are_told_apart(tmp_path: Path) -> None:
    folder = tree(
        tmp_path,
        "sub-01/anat/sub-01_label-lesion_mask.nii.gz",
        "sub-01/anat/sub-01_label-L_desc-anna_mask.nii.gz",
        "sub-01/anat/sub-01_label-L_desc-ben_mask.nii.gz",
        "sub-01/anat/sub-01_label-GM_mask.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    )
    assert {mask.rater for mask in find_references(folder, ["01"])} == {None, "anna", "ben"}


T1W, FLAIR = ("bids:raw:sub-01/anat/sub-01_T1w.nii.gz", "bids:raw:sub-01/anat/sub-01_FLAIR.nii")


@pytest.mark.parametrize(
    ("sidecar", "taken"),
    [
        ("", True),
        ("{broken", True),
        ('{"Type": "Brain", "SpatialReference": "orig"}', True),
        (json.dumps({"Sources": [T1W]}), False),
        (json.dumps({"RawSources": T1W}), False),
        (json.dumps({"SpatialReference": T1W}), False),
        (json.dumps({"Sources": [T1W, FLAIR]}), True),
        (json.dumps({"Sources": [T1W], "SpatialReference": f"{FLAIR}.gz"}), True),
    ],
)
def test_a_mask_lies_on_the_flair_unless_its_sidecar_names_other_images(
    tmp_path: Path, sidecar: str, taken: bool
) -> None:
    mask = Mask(tmp_path / "sub-01_desc-brain_mask.nii.gz", {"sub": "01"})
    if sidecar:
        (tmp_path / "sub-01_desc-brain_mask.json").write_text(sidecar)
    assert lies_on_flair(mask) is taken


@pytest.mark.parametrize("method", BRAIN_MASK_METHODS)
def test_the_masks_of_flairseg_lie_on_the_flair(tmp_path: Path, scan: Scan, method: str) -> None:
    supplied = Path("/masks/sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    scan = dataclasses.replace(scan, brain_mask=supplied, brain_mask_source="masks")
    paths = ScanPaths(tmp_path, scan)
    sidecars = build_sidecars(paths, Processing("m", "0", "a", "0", 0.5, 0.01, brain_mask=method))
    write_json(sidecar_path(paths.brain_mask), sidecars[sidecar_path(paths.brain_mask)])
    assert lies_on_flair(Mask(paths.brain_mask, scan.entities))


def test_a_missing_folder_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="-d NAME=PATH"):
        find_brain_masks(tmp_path / "none", ["01"])


RUN1 = {"sub": "01", "ses": "A", "run": "1"}
RUN2 = {"sub": "01", "ses": "A", "run": "2"}


@pytest.mark.parametrize(
    ("mask", "others", "fits"),
    [
        (RUN1, [RUN1, RUN2], True),
        (RUN2, [RUN1, RUN2], False),
        ({"sub": "01", "ses": "A"}, [RUN1], True),
        ({"sub": "01", "ses": "A"}, [RUN1, RUN2], False),
        ({"sub": "01"}, [RUN1], False),
        ({**RUN1, "acq": "3D"}, [RUN1], False),
    ],
)
def test_a_mask_belongs_to_one_scan(
    mask: dict[str, str], others: list[dict[str, str]], fits: bool
) -> None:
    assert bool(match_masks(RUN1, [Mask(Path("m.nii"), mask)], others)) is fits


def test_the_exact_mask_wins() -> None:
    loose, exact = Mask(Path("a.nii"), {"sub": "01", "ses": "A"}), Mask(Path("b.nii"), RUN1)
    assert match_masks(RUN1, [loose, exact], [RUN1]) == [exact]


def test_the_real_masks_are_found(shared_data: Path) -> None:
    folder = shared_data / "openms-bids" / "derivatives" / "manual"
    assert len(find_references(folder, ["cs07", "cs19", "cs26"])) == 3
    assert len(find_brain_masks(folder, ["long01", "long03", "long04"])) == 3

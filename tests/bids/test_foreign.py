"""Masks of other programs are found by the names that those programs give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_flairseg.bids.foreign import find_foreign, read_mapping
from bids_flairseg.errors import MissingInputError, UsageError

# what each program leaves for one participant: the mask, then files that are no lesion mask
OUTPUTS = {
    "LST-AI": (
        "sub-01/space-flair_seg-lst.nii.gz",
        "sub-01/space-flair_desc-annotated_seg-lst.nii.gz",
    ),
    "LST-AI later": (
        "sub-01/ses-A/space-orig_seg-lst.nii.gz",
        "sub-01/ses-A/space-orig_desc-annotated_seg-lst.nii.gz",
    ),
    "SHiVAi": (
        "results/segmentations/wmh_segmentation/sub-01/sub-01_wmh_map.nii.gz",
        "results/segmentations/wmh_segmentation/sub-01/labelled_wmh.nii.gz",
        "results/segmentations/pvs_segmentation/sub-01/sub-01_pvs_map.nii.gz",
        "results/shiva_preproc/t1_preproc/sub-01/brainmask_cropped.nii.gz",
    ),
    "MARS-WMH": ("sub-01/anat/sub-01_acq-3D_FLAIR_wmh.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz"),
    "MindGlide": ("sub-01_FLAIR_seg.nii.gz", "sub-01_FLAIR-labelProb.nii.gz"),
    "MindGlide in a container": (
        "sub-01_FLAIR-segMajorityVoted.nii.gz",
        "sub-01_FLAIR-seg0.nii.gz",
    ),
    "nnU-Net": ("sub-01_ses-A.nii.gz", "imagesTs/sub-01_ses-A_0000.nii.gz"),
}


def fill(folder: Path, files: tuple[str, ...]) -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("program", OUTPUTS)
def test_of_a_programs_outputs_the_lesion_mask_alone_is_taken(tmp_path: Path, program: str) -> None:
    mask, *others = OUTPUTS[program]
    fill(tmp_path, (mask, *others))
    found, pattern = find_foreign(tmp_path, [], name=program.lower())
    assert [item.path for item in found] == [tmp_path / mask]
    assert found[0].entities["sub"] == "01"
    assert pattern is not None
    assert program.startswith(pattern.tool)
    assert pattern.kind == "model"


def test_labels_and_thresholds_of_the_programs_go_with_the_masks(tmp_path: Path) -> None:
    fill(tmp_path / "mindglide", ("sub-01_FLAIR_seg.nii.gz",))
    fill(tmp_path / "shivai", ("sub-01/wmh_map.nii.gz",))
    (glide,), _ = find_foreign(tmp_path / "mindglide", [])
    (shiva,), _ = find_foreign(tmp_path / "shivai", [])
    assert (glide.labels, glide.threshold) == ((18,), None)
    assert (shiva.labels, shiva.threshold) == ((), 0.2)


def test_a_mask_that_ends_in_seg_is_not_taken_for_that_of_mindglide(tmp_path: Path) -> None:
    """By label 18, a person's mask of 0 and 1 would be empty."""
    fill(tmp_path, ("sub-01_FLAIR_seg.nii.gz",))
    assert find_foreign(tmp_path, [], name="manual") == ([], None)


def test_only_the_participants_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, ("sub-01_FLAIR.nii.gz", "sub-02_FLAIR.nii.gz", "nobody.nii.gz"))
    found, _ = find_foreign(tmp_path, ["02"])
    assert [mask.entities for mask in found] == [{"sub": "02"}]
    with pytest.raises(MissingInputError, match="expected a folder"):
        find_foreign(tmp_path / "nowhere", [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a\n", "expected TOML"),
        ("[a]\nlabels = [1]\n", "with a pattern"),
        ("[a]\npattern = '('\n", "makes no sense"),
        ("[a]\npattern = 'x'\ncolour = 3\n", "colour"),
        ("[a]\npattern = 'x'\nkind = 'truth'\n", "truth"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "names.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_mapping(file)


def test_masks_that_flairseg_is_still_writing_are_left_out(tmp_path: Path) -> None:
    name = "sub-01/anat/sub-01_FLAIR_wmh.nii.gz"
    fill(tmp_path, (name, f"sub-01/.flairseg-0123456789ab/{name}"))
    found, _ = find_foreign(tmp_path, [])
    assert [mask.path for mask in found] == [tmp_path / name]

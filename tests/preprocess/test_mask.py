"""Lesion masks on other grids than their FLAIR, resampled or refused; brain masks as they are."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.measure.agreement import dice
from bids_flairseg.preprocess.grid import resample
from bids_flairseg.preprocess.mask import (
    NO_SUCH_VALUE,
    GridError,
    label_on_grid,
    load_brain_mask,
)
from tests.conftest import MakeImage, rotation


@pytest.fixture
def flair(make_image: MakeImage) -> nib.Nifti1Image:
    return make_image((40, 46, 36), (4.0, 4.0, 5.0))


def lesion(image: nib.Nifti1Image) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = np.asarray(image.dataobj) == 170
    return mask


def save(folder: Path, data: NDArray[np.generic], affine: NDArray[np.float64]) -> Path:
    path = folder / "mask.nii.gz"
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def test_the_same_grid_in_other_axes_is_read_as_it_is(
    tmp_path: Path, flair: nib.Nifti1Image
) -> None:
    image = nib.Nifti1Image(lesion(flair).astype(np.uint8), flair.affine)
    codes = nib.orientations.axcodes2ornt("PSL")
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(flair.affine), codes)
    turned = image.as_reoriented(turn)
    path = save(tmp_path, np.asarray(turned.dataobj), turned.affine)
    mask, note = label_on_grid(path, flair)
    np.testing.assert_array_equal(mask, lesion(flair))
    assert not note


def test_a_finer_grid_is_resampled_and_said_so(tmp_path: Path, flair: nib.Nifti1Image) -> None:
    image = nib.Nifti1Image(lesion(flair).astype(np.float32), flair.affine)
    fine = resample(image, 2.0)
    path = save(tmp_path, (np.asarray(fine.dataobj) > 0.5).astype(np.uint8), fine.affine)
    mask, note = label_on_grid(path, flair)
    assert dice(mask, lesion(flair)) > 0.9
    assert "resampled from" in note


@pytest.mark.parametrize("kind", ["moved", "turned", "cut"])
def test_incompatible_grids_are_refused_with_both(
    tmp_path: Path, flair: nib.Nifti1Image, kind: str
) -> None:
    data, affine = lesion(flair).astype(np.uint8), flair.affine.copy()
    reference = flair
    if kind == "moved":
        affine[:3, 3] += 120
    elif kind == "turned":
        affine[:3, :3] = rotation(30, 1) @ affine[:3, :3]
    else:  # the lesion lies where the FLAIR has no voxels
        reference = flair.slicer[:20]
    with pytest.raises(GridError, match=r"FLAIR: shape .* affine .* Mask: shape 40 x 46 x 36"):
        label_on_grid(save(tmp_path, data, affine), reference)


def test_several_values_need_a_choice(tmp_path: Path, flair: nib.Nifti1Image) -> None:
    data = lesion(flair).astype(np.uint8) * 3
    data[0, 0, 0] = 1
    path = save(tmp_path, data, flair.affine)
    with pytest.raises(InputError, match=r"0 and 1, 3\. Say which mean lesion: --label-value"):
        label_on_grid(path, flair)
    np.testing.assert_array_equal(label_on_grid(path, flair, [3])[0], lesion(flair))
    assert label_on_grid(path, flair, [1, 3])[0].sum() == lesion(flair).sum() + 1


def test_an_empty_mask_is_a_mask(tmp_path: Path, flair: nib.Nifti1Image) -> None:
    path = save(tmp_path, np.zeros(flair.shape, np.uint8), flair.affine)
    assert not label_on_grid(path, flair)[0].any()


def test_a_value_that_the_mask_does_not_have_is_told_with_those_it_has(
    tmp_path: Path, flair: nib.Nifti1Image
) -> None:
    path = save(tmp_path, 2 * lesion(flair).astype(np.uint8), flair.affine)
    mask, note = label_on_grid(path, flair, [4, 5])
    assert not mask.any()
    assert note == f"{NO_SUCH_VALUE} 4, 5: mask.nii.gz has 2"
    assert label_on_grid(path, flair, [2, 4])[1] == ""
    empty = save(tmp_path, np.zeros(flair.shape, np.uint8), flair.affine)
    assert label_on_grid(empty, flair, [4])[1] == ""


def test_a_brain_may_fill_its_mask_and_what_is_no_number_lies_outside(
    tmp_path: Path, flair: nib.Nifti1Image
) -> None:
    data = np.ones(flair.shape, np.float32)
    everywhere = load_brain_mask(save(tmp_path, data, flair.affine)).image
    assert np.asarray(everywhere.dataobj).all()
    np.testing.assert_array_equal(everywhere.affine, flair.affine)
    data[:20], data[30:] = np.nan, 0
    half = load_brain_mask(save(tmp_path, data, flair.affine)).image
    np.testing.assert_array_equal(half.dataobj, np.nan_to_num(data))


def test_what_is_odd_about_a_brain_mask_is_said_and_a_broken_one_refused(
    tmp_path: Path, flair: nib.Nifti1Image
) -> None:
    path = save(tmp_path, lesion(flair).astype(np.uint8), flair.affine)
    assert load_brain_mask(path).warnings == (
        "The header gives no unit for voxel sizes; they are taken as mm.",
    )
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"mask\.nii\.gz: expected an intact gzip file"):
        load_brain_mask(path)

"""A file is read as it is; what is unusual about it is said."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess import image as image_module
from bids_flairseg.preprocess.image import load_flair, load_grid
from tests.preprocess.nifti import AFFINE, SHAPE, content, pixdim, put, ramp


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", "<u2", "<i4", "<f4", "<f8", ">i2", ">f4"])
def test_every_real_type_is_read_alike(tmp_path: Path, name: str, dtype: str) -> None:
    path = put(tmp_path, content(ramp(dtype=dtype)), name)

    checked = load_flair(path)

    assert checked.warnings == ()
    assert checked.image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(checked.image.dataobj, ramp())
    np.testing.assert_allclose(checked.image.affine, AFFINE)


def test_a_large_image_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "_CHUNK_BYTES", 100)
    path = put(tmp_path, content(ramp(dtype="<f8"), scl_slope=2), "a.nii.gz")

    np.testing.assert_array_equal(load_flair(path).image.dataobj, 2 * ramp())


@pytest.mark.parametrize(
    ("slope", "intercept", "factor", "shift"),
    [(0, 7, 1, 0), (np.nan, 7, 1, 0), (0.5, -3, 0.5, -3), (2, np.nan, 2, 0)],
)
def test_scaling(
    tmp_path: Path, slope: float, intercept: float, factor: float, shift: float
) -> None:
    path = put(tmp_path, content(ramp(dtype="<i2"), scl_slope=slope, scl_inter=intercept))

    np.testing.assert_allclose(load_flair(path).image.dataobj, factor * ramp() + shift)


def test_negative_intensities_are_fine(tmp_path: Path) -> None:
    checked = load_flair(put(tmp_path, content(ramp() - 60)))

    assert checked.warnings == ()
    assert np.min(checked.image.dataobj) == -60


def test_a_single_volume_is_squeezed(tmp_path: Path) -> None:
    checked = load_flair(put(tmp_path, content(ramp((*SHAPE, 1, 1)))))

    assert checked.image.shape == SHAPE


def test_nifti2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti2Image(ramp(), AFFINE), path)

    image = load_flair(path).image

    assert isinstance(image, nib.Nifti1Image)
    np.testing.assert_array_equal(image.dataobj, ramp())
    np.testing.assert_allclose(image.affine, AFFINE)


def test_forms_and_codes_survive(tmp_path: Path) -> None:
    stored = content(qform_code=3, sform_code=2, qoffset_x=9.25)
    path = put(tmp_path, stored)

    for image in (load_flair(path).image, load_grid(path)):
        for name in ("qform_code", "sform_code", "qoffset_x", "quatern_b", "srow_y", "pixdim"):
            expected = nib.Nifti1Header(stored[:348], check=False)[name]
            np.testing.assert_array_equal(image.header[name], expected)


@pytest.mark.parametrize("forms", [{}, {"sform_code": 0}, {"qform_code": 0}])
@pytest.mark.parametrize("sign", [0, 2, np.nan])
def test_a_qform_without_a_sign_has_that_of_one(
    tmp_path: Path, forms: dict[str, Any], sign: float
) -> None:
    edges = pixdim(2, 2.55, 3.04)
    expected = load_flair(put(tmp_path, content(pixdim=edges, **forms)))
    path = put(tmp_path, content(pixdim=[sign, *edges[1:]], **forms))

    checked = load_flair(path)

    assert checked.warnings == expected.warnings
    for image in (checked.image, load_grid(path)):
        np.testing.assert_array_equal(image.affine, expected.image.affine)
        assert image.header["pixdim"][0] == 1


def test_the_grid_is_read_without_the_voxels(tmp_path: Path) -> None:
    path = put(tmp_path, gzip.compress(content())[:-60], "a.nii")

    grid = load_grid(path)

    assert grid.shape == SHAPE
    assert not np.any(grid.dataobj)
    with pytest.raises(InputError, match="damaged or cut short"):
        load_flair(path)


@pytest.mark.parametrize(
    ("data", "fields", "warning"),
    [
        (ramp((20, 20, 5)), {}, "only 5 slices"),
        (None, {"xyzt_units": 0}, "gives no unit"),
        (None, {"xyzt_units": 3}, "gives micrometres"),
        (None, {"qform_code": 0, "sform_code": 0}, "neither qform nor sform"),
        (None, {"qoffset_x": 29}, "differ by up to 20.0 mm; the sform"),
        (None, {"pixdim": [1, 2, 2.55, 3.04, 0, 0, 0, 0]}, "mirror image"),
        (None, {"quatern_b": 1, "quatern_c": 1}, "no rotation; the sform"),
        (None, {"qform_code": 0, "pixdim": pixdim(2, 2.55, 5)}, "pixdim says voxels of 2 x 2.55"),
    ],
)
def test_what_is_unusual_is_used_and_said(
    tmp_path: Path, data: NDArray[Any] | None, fields: dict[str, Any], warning: str
) -> None:
    checked = load_flair(put(tmp_path, content(data, **fields), "a.nii.gz"))

    assert len(checked.warnings) == 1
    assert warning in checked.warnings[0]
    assert np.isfinite(checked.image.affine).all()


def test_rounded_voxel_edges_are_usual(tmp_path: Path) -> None:
    path = put(tmp_path, content(qform_code=0, pixdim=pixdim(2.02, 2.5, 3)))

    assert load_flair(path).warnings == ()


def test_the_sform_wins_over_the_qform(tmp_path: Path) -> None:
    path = put(tmp_path, content(qoffset_x=29))

    np.testing.assert_allclose(load_flair(path).image.affine, AFFINE)


def test_bytes_beyond_the_voxels_draw_a_warning(tmp_path: Path) -> None:
    checked = load_flair(put(tmp_path, content() + bytes(1000), "a.nii.gz"))

    assert "1000 bytes beyond" in checked.warnings[0]
    np.testing.assert_array_equal(checked.image.dataobj, ramp())


def test_bytes_beyond_the_gzip_draw_a_warning(tmp_path: Path) -> None:
    path = put(tmp_path, content(), "a.nii.gz")
    packed = path.read_bytes()

    path.write_bytes(packed + b"more")
    checked = load_flair(path)

    assert "bytes beyond its gzip data" in checked.warnings[0]
    np.testing.assert_array_equal(checked.image.dataobj, ramp())
    path.write_bytes(packed + bytes(600))  # what fills a block is no data
    assert load_flair(path).warnings == ()


def test_few_nan_and_infinite_voxels_get_the_mean_of_their_neighbours(tmp_path: Path) -> None:
    data = np.full(SHAPE, 50, dtype="<f4")
    data[0, 0, 0] = 20
    data[5, 5, 5], data[0, 10, 9], data[7, 3, 2] = np.nan, np.inf, -np.inf

    checked = load_flair(put(tmp_path, content(data)))

    assert "3 voxels were NaN or infinite" in checked.warnings[0]
    np.testing.assert_allclose(np.asarray(checked.image.dataobj).ravel()[1:], 50, rtol=1e-5)


def test_a_background_of_nan_is_the_darkest_there_is(tmp_path: Path) -> None:
    data = ramp()
    brain = np.zeros(SHAPE, bool)
    brain[3:9, 3:8, 2:8] = True
    within = (5, 5, 5)
    spoilt = np.where(brain, data, np.nan).astype(data.dtype)
    spoilt[within] = np.nan

    checked = load_flair(put(tmp_path, content(spoilt), "a.nii"))

    found = np.asarray(checked.image.dataobj)
    brain[within] = False
    np.testing.assert_array_equal(found[brain], data[brain])
    brain[within] = True
    assert (found[~brain] == data[brain].min()).all()
    near = data[4:7, 4:7, 4:7]
    assert found[within] == pytest.approx((near.sum() - data[within]) / (near.size - 1), rel=1e-4)
    assert [text.split()[0] for text in checked.warnings] == ["The", "1"]


def test_real_scans_are_read_as_nibabel_reads_them(shared_data: Path) -> None:
    for path in sorted((shared_data / "openms-bids").glob("sub-*1*/**/*_FLAIR.nii.gz"))[:3]:
        checked, reference = load_flair(path), nib.Nifti1Image.from_filename(path)
        assert checked.warnings == ()
        np.testing.assert_array_equal(checked.image.dataobj, reference.get_fdata(dtype=np.float32))
        np.testing.assert_array_equal(checked.image.affine, reference.affine)

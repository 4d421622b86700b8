"""No grid is mirrored, shifted or forgotten."""

from __future__ import annotations

import gzip
import itertools
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import OutputError, StorageError
from bids_flairseg.preprocess import grid
from bids_flairseg.preprocess.grid import (
    conform,
    new_image,
    resample,
    restore,
    save_like,
    voxel_sizes,
    voxels,
)
from bids_flairseg.preprocess.image import load_flair, load_grid
from tests.conftest import MakeImage, rotation

# every order of the axes, and every handedness with it
AXES = [
    "".join(choice)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for choice in itertools.product(*order)
]
GEOMETRY = grid._GEOMETRY


def world(image: nib.Nifti1Image) -> NDArray[np.float64]:
    """Return the RAS mm of each voxel, shape (X, Y, Z, 3)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), axis=-1)
    where: NDArray[np.float64] = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    return where


def plane(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Return an image of a linear function of the position in the world."""
    return new_image((world(image) @ (0.3, -0.2, 0.5) + 7).astype(np.float32), image.affine)


def grid_of(image: nib.Nifti1Image, shift: int = 0, order: int = 0) -> nib.Nifti1Image:
    """Return another grid around the same place, turned by 20 degrees if asked."""
    affine = image.affine.copy()
    affine[:3, 3] += shift
    if order:
        turn = np.eye(4)
        turn[:3, :3] = rotation(20, 2)
        affine = turn @ affine
    return new_image(np.zeros(image.shape, np.float32), affine)


@pytest.mark.parametrize("tilt", [0.0, 17.0])
@pytest.mark.parametrize("axes", AXES)
def test_conformed_axes_run_right_front_up_and_back_again(
    make_image: MakeImage, axes: str, tilt: float
) -> None:
    image = make_image(axes=axes, tilt=tilt)

    conformed = conform(image)
    restored = restore(conformed, image)

    assert nib.aff2axcodes(conformed.affine) == ("R", "A", "S")
    # the lesion lies where it was in the world, off the centre along every axis
    before, after = (world(head)[voxels(head) == 170].mean(0) for head in (image, conformed))
    np.testing.assert_allclose(after, before)
    assert (before > 15).all()
    np.testing.assert_array_equal(voxels(restored), voxels(image))
    np.testing.assert_array_equal(restored.affine, image.affine)


def test_conforming_twice_changes_nothing(make_image: MakeImage) -> None:
    once = conform(make_image(axes="PIL", tilt=10))

    np.testing.assert_array_equal(conform(once).affine, once.affine)
    np.testing.assert_array_equal(voxels(conform(once)), voxels(once))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SRP", "AIL"])
@pytest.mark.parametrize("tilt", [0.0, 25.0])
def test_the_way_there_and_back_leaves_the_lesion_in_its_voxels(
    make_image: MakeImage, axes: str, tilt: float
) -> None:
    image = make_image((30, 36, 26), (5.0, 4.0, 6.0), axes=axes, tilt=tilt)
    lesion = (voxels(image) == 170) & (np.linalg.norm(world(image), axis=-1) < 60)

    fine = resample(conform(image), 1.0)
    near = np.linalg.norm(world(fine) - (28, 22, 18), axis=-1) < 20
    found = restore(new_image((voxels(fine) > 150) & near, fine.affine), image)

    overlap = 2 * np.sum((voxels(found) > 0.5) & lesion)
    assert overlap / (np.sum(voxels(found) > 0.5) + lesion.sum()) > 0.9


@pytest.mark.parametrize("zoom", [1.0, 2.0, 7.0])
@pytest.mark.parametrize("tilt", [0.0, 25.0])
def test_resampling_keeps_the_field_of_view_and_its_centre(
    make_image: MakeImage, zoom: float, tilt: float
) -> None:
    image = make_image((11, 12, 13), (3.1, 2.5, 4.0), tilt=tilt)

    new = resample(image, zoom)

    np.testing.assert_allclose(voxel_sizes(new.affine), zoom)
    np.testing.assert_allclose(world(new).mean((0, 1, 2)), world(image).mean((0, 1, 2)), atol=1e-4)
    gain = np.array(new.shape) * zoom - np.array(image.shape) * voxel_sizes(image.affine)
    assert (gain > -0.01).all()
    assert (gain < zoom).all()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("zoom", [1.0, 2.5, 6.0])
def test_a_linear_function_stays_one(make_image: MakeImage, zoom: float, antialias: bool) -> None:
    image = plane(make_image((20, 21, 22), (2.0, 3.0, 1.5), axes="LSP", tilt=20))

    new = resample(image, zoom, antialias=antialias)

    inner = (slice(3, -3),) * 3 if zoom < 6 else (slice(2, -2),) * 3
    np.testing.assert_allclose(voxels(new)[inner], voxels(plane(new))[inner], atol=0.06)


@pytest.mark.parametrize("order", [0, 1])
def test_an_isotropic_image_of_that_size_stays_as_it_is(make_image: MakeImage, order: int) -> None:
    image = make_image((10, 11, 12), (2.0, 2.0, 2.0), tilt=15)

    same = resample(image, 2.0, order=order)

    np.testing.assert_array_equal(voxels(same), voxels(image))
    np.testing.assert_allclose(same.affine, image.affine, atol=1e-5)


@pytest.mark.parametrize("edge", [1.00001, 0.99998, 1.004])
def test_the_last_digit_of_a_header_shifts_nothing(edge: float) -> None:
    noise = np.random.default_rng(0).normal(size=(256, 6, 5)).astype(np.float32)
    image = new_image(noise, np.diag([edge, 1, 1, 1.0]))
    same = resample(image, 1.0)
    np.testing.assert_array_equal(voxels(same), noise)
    np.testing.assert_array_equal(voxels(restore(same, image)), noise)


def test_the_nearest_voxel_brings_no_new_values(make_image: MakeImage) -> None:
    labels = new_image((voxels(make_image()) / 10).astype(np.uint8), make_image().affine)

    for zoom in (2.0, 3.3, 15.0):
        new = resample(labels, zoom, order=0)
        assert new.get_data_dtype() == np.uint8
        assert set(np.unique(new.dataobj)) <= set(np.unique(labels.dataobj))


def test_smoothing_comes_before_coarse_sampling(make_image: MakeImage) -> None:
    stripes = np.zeros((40, 8, 8), np.float32)
    stripes[::2] = 1
    image = new_image(stripes, np.eye(4))

    smooth, rough = (resample(image, 3.0, antialias=value) for value in (True, False))

    assert np.ptp(voxels(smooth)[2:-2]) < 0.1
    assert np.ptp(voxels(rough)[2:-2]) > 0.5
    np.testing.assert_allclose(voxels(smooth)[2:-2].mean(), 0.5, atol=0.02)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("order", [0, 1])
def test_restoring_follows_the_world(make_image: MakeImage, turned: int, order: int) -> None:
    image = plane(make_image((30, 31, 32), (2.0, 2.0, 2.0), tilt=10))
    target = grid_of(image, 5, turned)

    there = restore(image, target, order=order, fill=-99)

    index = nib.affines.apply_affine(np.linalg.inv(image.affine), world(target))
    between = ((index >= 0) & (index <= np.array(image.shape) - 1)).all(-1)
    difference = np.abs(voxels(there) - voxels(plane(target)))[between]
    assert between.mean() > 0.5
    assert difference.max() < (1e-3 if order else 1.01)  # half a voxel of the plane's slope


@pytest.mark.parametrize("turned", [False, True])
def test_beyond_the_field_of_view_is_the_fill(make_image: MakeImage, turned: bool) -> None:
    image = new_image(np.ones((6, 6, 6), np.float32), np.diag([2.0, 2, 2, 1]))
    affine = np.eye(4)  # voxels of 1 mm: those in [-1, 11] mm lie in the field of view
    affine[:3, 3] = -4
    if turned:
        affine[:3, :3] = rotation(0.06, 2)
    target = new_image(np.zeros((20, 20, 20), np.float32), affine)

    found = voxels(restore(image, target, fill=-5))

    distance = np.abs(world(target) - 5).max(-1)
    clear = np.abs(distance - 6) > 0.05  # but for the turned grid's voxels on the very edge
    expected = np.where(distance <= 6.001, 1, -5)
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert turned or np.array_equal(found, expected)


def test_the_rounding_of_a_stored_affine_moves_nothing(
    make_image: MakeImage, tmp_path: Path
) -> None:
    image = make_image((30, 31, 32), (0.7187, 0.7187, 3.3), axes="LPS", tilt=9)
    nib.save(conform(image), tmp_path / "a.nii")

    stored = nib.Nifti1Image.from_filename(tmp_path / "a.nii")

    np.testing.assert_array_equal(voxels(restore(stored, image)), voxels(image))


def sheared() -> NDArray[np.float64]:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[0, 1], affine[:3, 3] = 0.7, (-20.1, 30.2, 5.3)
    return affine


def odd_header(image: nib.Nifti1Image, **fields: Any) -> nib.Nifti1Image:
    """Give an image header fields that nibabel would not write itself."""
    header = image.header.copy()
    for name, value in fields.items():
        header[name] = value
    return nib.Nifti1Image(image.dataobj, header.get_best_affine(), header)


REFERENCES: dict[str, dict[str, Any]] = {
    "plain": {},
    "codes": {"qform_code": 4, "sform_code": 2},
    "qform only": {"sform_code": 0},
    "sform only": {"qform_code": 0},
    "neither": {"qform_code": 0, "sform_code": 0},
    "no unit": {"xyzt_units": 0},
    "forms differ": {"qoffset_x": 17.3},
    "broken qform": {"quatern_b": 1.0, "quatern_c": 1.0},
    "left-handed": {"pixdim": [-1, 6, 6, 8, 2.5, 1, 1, 1]},
}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("case", REFERENCES)
def test_a_saved_image_lies_exactly_where_its_reference_does(
    make_image: MakeImage, tmp_path: Path, case: str, name: str
) -> None:
    reference = odd_header(make_image(axes="LSA", tilt=12), **REFERENCES[case])
    data = voxels(reference) > 100

    save_like(data, reference, tmp_path / "deep" / name, np.uint8)

    saved = load_flair(tmp_path / "deep" / name).image
    for field in GEOMETRY:
        np.testing.assert_array_equal(saved.header[field], reference.header[field], err_msg=field)
    np.testing.assert_array_equal(saved.dataobj, data)
    np.testing.assert_array_equal(saved.affine, reference.affine)


def test_a_shear_survives(tmp_path: Path) -> None:
    reference = nib.Nifti1Image(np.random.default_rng(0).random((9, 8, 7), np.float32), sheared())

    save_like(voxels(conform(reference)).astype(np.float32), conform(reference),
              tmp_path / "a.nii.gz", np.float32)  # fmt: skip

    saved = nib.Nifti1Image.from_filename(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(saved.affine, conform(reference).affine, rtol=1e-6)
    np.testing.assert_array_equal(voxels(restore(saved, reference)), voxels(reference))


def test_a_big_endian_reference_is_followed(make_image: MakeImage, tmp_path: Path) -> None:
    image = make_image(tilt=5)
    header = image.header.as_byteswapped(">")
    nib.Nifti1Image(image.dataobj, image.affine, header).to_filename(tmp_path / "big.nii")

    save_like(voxels(image), load_grid(tmp_path / "big.nii"), tmp_path / "a.nii", np.int16)

    saved = nib.Nifti1Image.from_filename(tmp_path / "a.nii")
    np.testing.assert_array_equal(saved.affine, image.affine.astype(np.float32))
    assert saved.get_data_dtype() == np.dtype("<i2")


def test_the_same_voxels_give_the_same_bytes(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image()
    save_like(voxels(image), image, tmp_path / "one.nii.gz", np.float32)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    save_like(voxels(image), image, tmp_path / "other.nii.gz", np.float32)

    written = (tmp_path / "one.nii.gz").read_bytes()
    assert written == (tmp_path / "other.nii.gz").read_bytes()
    assert written[3] == 0  # no name, no comment
    assert written[4:8] == bytes(4)  # no time


def test_another_shape_is_a_mistake(make_image: MakeImage, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected shape"):
        save_like(np.zeros((2, 2, 2)), make_image(), tmp_path / "a.nii", np.uint8)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    image = make_image()
    save_like(voxels(image), image, tmp_path / "a.nii", np.float32)
    before = (tmp_path / "a.nii").read_bytes()
    monkeypatch.setattr(grid, "_write", full)

    with pytest.raises(StorageError, match=r"a\.nii: .*the disk is full.*No space left"):
        save_like(0 * voxels(image), image, tmp_path / "a.nii", np.float32)

    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]
    assert (tmp_path / "a.nii").read_bytes() == before


def test_an_interruption_leaves_no_part(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gzip.GzipFile, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        save_like(voxels(make_image()), make_image(), tmp_path / "a.nii.gz", np.float32)

    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(make_image: MakeImage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match=r"a\.nii: cannot be written"):
        save_like(voxels(make_image()), make_image(), tmp_path / "file" / "a.nii", np.uint8)


def test_real_oblique_scans_come_back_unchanged(shared_data: Path) -> None:
    for subject in ("sub-long09", "sub-cs07"):
        path = next((shared_data / "openms-bids" / subject).rglob("*_FLAIR.nii.gz"))
        image = load_flair(path).image

        np.testing.assert_array_equal(voxels(restore(conform(image), image)), voxels(image))

        fine = resample(conform(image), 1.0)
        again = restore(fine, image)
        change = np.abs(voxels(again) - voxels(image)).mean() / voxels(image).mean()
        assert change < 0.08

"""The brain mask has the network's surface and no steps; a stripped brain is recognised."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.brain import (
    ANATOMY_MM,
    anatomy_input,
    brain_mask_from_classes,
    classes_on_grid,
    find_anatomy,
    foreground_mask,
    is_skull_stripped,
    outside_fraction,
    stripped_mask,
)
from bids_flairseg.preprocess.grid import conform, new_image, resample, restore, voxels
from bids_flairseg.preprocess.image import load_flair
from tests.conftest import MakeImage, rotation

Array = NDArray[np.float32]


def ball(
    radius_mm: float, *, zooms: tuple[float, float, float] = (2, 2, 2), extent: float = 100
) -> nib.Nifti1Image:
    """Return a ball around the origin with soft edges, as a network would see it."""
    affine = np.diag([*zooms, 1.0])
    affine[:3, :3] = rotation(12, 1) @ affine[:3, :3]
    shape = [int(extent / zoom) for zoom in zooms]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    depth = radius_mm - np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3], axis=-1)
    return new_image(np.clip(depth / 3 + 0.5, 0, 1).astype(np.float32), affine)


def classes_of(brain: Array, ventricle: NDArray[np.bool_] | None = None) -> Array:
    """Return the probabilities of seven classes for a brain of one class, or two."""
    probabilities = np.zeros((*brain.shape, 7), np.float32)
    probabilities[..., 0], probabilities[..., 2] = 1 - brain, brain
    if ventricle is not None:
        probabilities[ventricle] = np.eye(7)[3]
    return probabilities


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * np.sum(one & other) / (one.sum() + other.sum()))


@pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), (0.8, 0.8, 4.0)])
def test_the_mask_is_finer_than_the_network_s_grid(zooms: tuple[float, float, float]) -> None:
    coarse, fine = ball(40), ball(40, zooms=zooms)

    mask = brain_mask_from_classes(classes_of(voxels(coarse)), coarse.affine, fine)

    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, fine.affine)
    assert dice(voxels(mask) > 0, voxels(fine) > 0.5) > 0.993
    # steps of 2 mm would leave the surface in more than one voxel of 1 mm, there and back
    assert abs(voxels(mask).sum() / (voxels(fine) > 0.5).sum() - 1) < 0.005


def test_clefts_and_hollows_belong_to_the_brain_and_other_parts_do_not() -> None:
    coarse = ball(36, extent=110)
    smooth = brain_mask_from_classes(classes_of(voxels(coarse)), coarse.affine, coarse)
    brain = voxels(coarse).copy()
    middle = np.array(brain.shape) // 2
    brain[middle[0] - 1 : middle[0] + 2, :, middle[2] :] = 0  # a cleft of 6 mm down to the centre
    brain[tuple(slice(edge - 8, edge - 3) for edge in middle)] = 0  # a hollow
    brain[1:4, 1:4, 1:4] = 1  # an eye

    mask = brain_mask_from_classes(classes_of(brain), coarse.affine, coarse)

    assert dice(voxels(mask) > 0, voxels(smooth) > 0) > 0.97
    assert not voxels(mask)[:6, :6, :6].any()
    assert voxels(mask)[tuple(edge - 6 for edge in middle)] == 1


def test_no_brain_is_said() -> None:
    coarse = ball(12)

    with pytest.raises(InputError, match="found 7 ml of brain"):
        brain_mask_from_classes(classes_of(voxels(coarse)), coarse.affine, coarse)
    with pytest.raises(InputError, match="found 0 ml of brain"):
        brain_mask_from_classes(classes_of(0 * voxels(coarse)), coarse.affine, coarse)


def test_classes_lie_within_the_mask_and_only_there() -> None:
    coarse, fine = ball(40), ball(40, zooms=(1, 1, 3))
    inner = voxels(ball(15)) > 0.5
    probabilities = classes_of(voxels(coarse), inner)
    wider = new_image(voxels(ball(46, zooms=(1, 1, 3))) > 0.5, fine.affine)

    classes = classes_on_grid(probabilities, coarse.affine, wider)

    found = np.asarray(classes.dataobj)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found > 0, voxels(wider) > 0)
    assert dice(found == 3, voxels(ball(15, zooms=(1, 1, 3))) > 0.5) > 0.95
    assert set(np.unique(found[(voxels(fine) < 0.01) & (voxels(wider) > 0)])) == {4}


def test_the_input_is_padded_around_the_same_place(make_image: MakeImage) -> None:
    image = make_image((25, 27, 19), (6.0, 5.5, 7.0), tilt=14)

    padded = anatomy_input(image, 4.0, multiple=16)

    assert all(edge % 16 == 0 for edge in padded.shape)
    assert voxels(padded).min() == 0
    expected = voxels(resample(image, 4.0))
    np.testing.assert_allclose(voxels(restore(padded, resample(image, 4.0))), expected, atol=1e-3)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.01, 0.0), (300.0, -1000.0), (1, 50)])
def test_both_passes_see_the_same_whatever_the_scale(
    make_image: MakeImage, gain: float, offset: float
) -> None:
    image = make_image()
    scaled = new_image(voxels(image) * np.float32(gain) + np.float32(offset), image.affine)
    seen: list[Array] = []

    def predict(volume: Array) -> Array:
        seen.append(volume)
        return classes_of((abs(volume - 0.55) < 0.15).astype(np.float32))

    for head in (image, scaled):
        anatomy = find_anatomy(head, predict, multiple=8)
        assert anatomy.probabilities.shape[:3] == seen[-1].shape
        assert all(edge % 8 == 0 for edge in seen[-1].shape)

    assert len(seen) == 4
    np.testing.assert_allclose(seen[2], seen[0], atol=1e-2)
    np.testing.assert_allclose(seen[3], seen[1], atol=1e-2)
    # scalp is brightest in the first pass; the brain in the second
    assert seen[0].max() < 1.2 < seen[1].max()


def test_without_brain_the_first_pass_counts(make_image: MakeImage) -> None:
    calls = []

    def predict(volume: Array) -> Array:
        calls.append(volume)
        return classes_of(0 * volume)

    find_anatomy(make_image(), predict)

    assert len(calls) == 1


def stripped(image: nib.Nifti1Image, background: float = 0) -> nib.Nifti1Image:
    """Return a drawn head without skull and scalp."""
    data = voxels(make_brain(image))
    return new_image(np.where(data > 0, voxels(image), np.float32(background)), image.affine)


def make_brain(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Return the mask of the drawn head's brain."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(image.affine, index)
    return new_image(((world / (66.0, 80.0, 64.0)) ** 2).sum(-1) < 0.84**2, image.affine)


@pytest.mark.parametrize("background", [0.0, -7.0])
def test_a_drawn_head_is_told_from_its_brain(make_image: MakeImage, background: float) -> None:
    head = make_image((80, 94, 76), (2.0, 2.0, 2.0), tilt=8)
    brain = stripped(head, background)
    defaced = new_image(voxels(head) * (np.arange(94) < 72)[:, None], head.affine)

    assert is_skull_stripped(brain)
    assert not is_skull_stripped(head)
    assert not is_skull_stripped(defaced)
    assert dice(voxels(stripped_mask(brain)) > 0, voxels(make_brain(head)) > 0) == 1
    assert outside_fraction(brain, make_brain(head)) < 0.02
    assert outside_fraction(head, make_brain(head)) > 0.3


def test_noise_around_the_brain_is_no_stripping(make_image: MakeImage) -> None:
    brain = stripped(make_image((80, 94, 76), (2.0, 2.0, 2.0)))
    noise = np.random.default_rng(0).normal(0, 2, brain.shape).astype(np.float32)

    assert not is_skull_stripped(new_image(voxels(brain) + noise, brain.affine))
    assert not is_skull_stripped(new_image(0 * noise, brain.affine))
    assert not is_skull_stripped(new_image(voxels(brain)[30:36, 30:36, 30:36], brain.affine))


def test_a_slab_of_one_coarse_voxel_is_no_stripped_brain() -> None:
    noise = np.random.default_rng(0).random((60, 60, 2), dtype=np.float32)
    slab = new_image(noise, np.diag([1, 1, 0.9, 1.0]))  # 1.8 mm, and the grid is one of 2 mm

    assert not is_skull_stripped(slab)


def test_the_foreground_is_the_head_without_its_noise(make_image: MakeImage) -> None:
    head = make_image((80, 94, 76), (2.0, 2.0, 2.0))
    noise = np.random.default_rng(0).normal(0, 4, head.shape).astype(np.float32)

    found = foreground_mask(new_image(voxels(head) + noise, head.affine))

    assert dice(found, voxels(head) > 0) > 0.99


def test_real_scans_stripped_and_whole(shared_data: Path) -> None:
    folder = shared_data / "openms-bids"
    for subject, expected in (("cs07", True), ("cs19", True), ("cs26", True), ("long20", False)):
        path = next((folder / f"sub-{subject}").rglob("*_FLAIR.nii.gz"))
        assert is_skull_stripped(conform(load_flair(path).image)) == expected


def test_a_real_head_with_a_zeroed_background_is_not_stripped(shared_data: Path) -> None:
    folder = shared_data / "openms-bids" / "sub-long20" / "ses-2" / "anat"
    image = load_flair(folder / "sub-long20_ses-2_FLAIR.nii.gz").image
    head = new_image(voxels(image) * foreground_mask(image), image.affine)
    rough = new_image(voxels(image) * (voxels(image) > 20), image.affine)  # no skull, no noise
    front = np.arange(image.shape[1])[:, None] > 60  # LPS: the second axis runs back
    defaced = new_image(voxels(head) * (front | (np.arange(image.shape[2]) > 18)), image.affine)

    assert not is_skull_stripped(head)
    assert not is_skull_stripped(rough)
    assert not is_skull_stripped(defaced)


def test_a_real_brain_mask_survives_the_coarse_grid(shared_data: Path) -> None:
    path = shared_data / "lesion-shapes" / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz"
    truth = conform(nib.Nifti1Image.from_filename(path))
    soft = new_image((voxels(truth) > 0).astype(np.float32), np.asarray(truth.affine))
    coarse = anatomy_input(soft, ANATOMY_MM)

    mask = brain_mask_from_classes(classes_of(voxels(coarse)), np.asarray(coarse.affine), truth)

    assert dice(voxels(mask) > 0, voxels(truth) > 0) > 0.985  # the closing adds some sulci


def test_a_head_on_a_step_looks_as_without_it(make_image: MakeImage) -> None:
    head = make_image((54, 62, 50), (3.0, 3.0, 3.0))
    data = voxels(head).copy()
    data[data < 0.05 * data.max()] = 0
    stepped = np.where(data > 0, data + 2 * data.max(), 0).astype(np.float32)
    plain, shifted = (
        voxels(anatomy_input(new_image(one, np.asarray(head.affine)), 3.0))
        for one in (data, stepped)
    )
    inside = plain > 0.5 * plain.max()
    assert np.median(shifted[inside] / plain[inside]) == pytest.approx(1, abs=0.25)

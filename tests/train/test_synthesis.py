"""Synthetic images: what must hold whatever the dice say."""

from __future__ import annotations

from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import MissingInputError
from bids_flairseg.train.synthesis import acquisition, atrophy, contrast, healthy, shapes, space
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.anatomy import anatomy_example
from bids_flairseg.train.synthesis.lesion import draw_lesions, lesion_example
from bids_flairseg.train.synthesis.outline import rated, visible
from bids_flairseg.train.synthesis.places import Places, landmarks
from bids_flairseg.train.synthesis.shapes import LesionShapes, punctate

KINDS = ("none", "demyelination", "small vessel", "tumour", "stroke")
SMALL = (48, 56, 48)
Labels = NDArray[np.uint16]


def test_the_closing_bridges_gaps_and_fills_holes() -> None:
    mask = np.zeros((40, 40, 40), bool)
    mask[5:35, 5:35, 5:35] = True
    mask[18:22, :, 10:] = False  # a sulcus 4 mm wide
    mask[8:12, 8:12, 20:24] = False  # a hole
    closed = lb.close(mask, 4.0, 1.0)
    assert closed[20, 20, 20]
    assert closed[10, 10, 22]
    assert not closed[0].any()
    assert (closed | mask == closed).all()


def test_the_closing_does_not_shrink_at_the_border_of_the_image() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[:, :, :10] = True
    assert (lb.close(mask, 4.0, 1.0) == mask).all()


def test_classes_cover_the_brain_and_nothing_else(head: Labels) -> None:
    classes = lb.anatomy_classes(head, 1.0)
    assert {0, 1, 2, 3, 5, 6} <= set(np.unique(classes).tolist()) <= set(range(7))
    upper = slice(40, None)  # below, the brainstem leaves the skull
    assert (classes[..., upper][head[..., upper] == 511] == 0).all()
    assert (classes[np.isin(head, lb.CORTEX)] == 1).all()
    assert len(lb.CLASSES) == 7


def test_a_pose_without_movement_is_the_identity(head: Labels) -> None:
    still = space.PoseConfig(
        rotation_deg=0, nod_deg=0, scale=0, shear=0, shift_mm=0, bend_mm=0, flip=False
    )  # fmt: skip
    centre = (np.array(head.shape) - 1) / 2
    where = space.random_coordinates(np.random.default_rng(0), head.shape, 1.0, centre, still)
    assert (space.sample_labels(head, where) == head).all()


def test_outside_the_label_map_is_background(head: Labels) -> None:
    where = np.full((3, 2, 2, 2), -5, np.float32)
    assert not space.sample_labels(np.maximum(head, 1), where).any()


def test_stretching_keeps_a_ramp_and_the_outer_knots() -> None:
    ramp = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32)
    fine = space.stretch(ramp, (31, 5, 5))
    np.testing.assert_allclose(fine[:, 2, 2], np.linspace(0, 3, 31), atol=1e-5)


def test_grey_is_brighter_than_white_and_csf_is_dark() -> None:
    for seed in range(50):
        signals = contrast.tissue_signals(np.random.default_rng(seed), wide=False)
        assert signals[3] > signals[2] > 2 * signals[4] > 0
        assert signals[0] == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_keep_a_constant_and_blur_along_one_axis_only(axis: int) -> None:
    rng = np.random.default_rng(3)
    image = np.ones((24, 24, 24), np.float32)
    edge = np.zeros_like(image)
    edge[12:] = 1
    gains = acquisition.slices(rng, [image, image, edge], 1.0, axis=axis, thickness_mm=4.0)
    np.testing.assert_allclose(gains[1], 1, atol=1e-5)
    blurred = np.any((gains[2] > 0.01) & (gains[2] < 0.99))
    assert blurred == (axis == 0)


@pytest.mark.parametrize("axis", [0, 2])
def test_noise_is_that_of_the_slices(axis: int) -> None:
    rng = np.random.default_rng(4)
    image = np.ones((40, 40, 40), np.float32)

    def grain(slices: NDArray[np.float32]) -> NDArray[np.float32]:
        return slices + rng.normal(0, 0.2, slices.shape).astype(np.float32)

    noisy, untouched = acquisition.slices(
        rng, [image, image], 1.0, axis=axis, thickness_mm=5.0, spoil=grain
    )
    np.testing.assert_allclose(untouched, 1, atol=1e-5)
    for along in range(3):  # next to each other, voxels have their noise in common in one axis only
        moved = np.moveaxis(noisy, along, 0)
        together = np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]
        assert (together > 0.7) if along == axis else (abs(together) < 0.05)


def test_falx_and_tentorium_stop_strokes_and_most_tumours() -> None:
    labels = np.zeros((64, 64, 64), np.uint16)
    labels[4:32, 4:60, 28:60], labels[32:60, 4:60, 28:60] = 2, 41
    labels[4:60, 4:60, 4:28] = 7
    places = Places.of(labels)
    parts = [labels == value for value in (2, 41, 7)]
    sides = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lesion = shapes._from_random_centre(rng, labels > 0, places) < 30
        assert sum((lesion & part).any() for part in parts) == 1
        core = shapes.tumour(np.random.default_rng(seed), places)[1]
        met = [bool((core & part).any()) for part in parts]
        assert not (met[2] and (met[0] or met[1]))
        sides.append(met[0] and met[1])
    assert 0 < sum(sides) < 15


def test_noise_and_numbers_stay_finite_and_positive() -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        image = acquisition.noise(rng, np.ones((16, 16, 16), np.float32))
        image = acquisition.numbers(rng, acquisition.bias(rng, image, 1.0))
        assert np.isfinite(image).all()
        assert (image >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_lesions_lie_in_tissue(head: Labels, kind: str) -> None:
    places = Places.of(head)
    drawn = [draw_lesions(np.random.default_rng(seed), places, None, kind) for seed in range(4)]
    allowed = (head > 0) & (head < lb.OUTSIDE_FROM)
    if kind != "tumour":  # a mass displaces CSF
        allowed &= ~np.isin(head, lb.CSF + lb.VENTRICLES)
    assert all((lesions.mask <= allowed).all() for lesions in drawn)
    assert any(lesions.mask.any() for lesions in drawn) == (kind != "none")


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_example_is_bright_where_its_target_is(head: Labels, kind: str) -> None:
    contrasts = []
    for seed in range(2):
        image, target = lesion_example(
            np.random.default_rng(seed), Places.of_head(head), None, kind=kind, shape=SMALL
        )
        assert image.shape == target.shape == SMALL
        assert np.isfinite(image).all()
        if target.any():  # 0 is the median of the brain as well as the outside
            assert (image[target > 0] == 0).mean() < 0.05
        healthy = (image != 0) & (target == 0)
        if target.any():
            contrasts.append(float(np.median(image[target > 0]) - np.median(image[healthy])))
    if kind != "none":
        assert np.median(contrasts) > 0.5


def test_the_same_seed_gives_the_same_example(head: Labels) -> None:
    first = anatomy_example(np.random.default_rng(7), head, shape=(32, 32, 32))
    again = anatomy_example(np.random.default_rng(7), head, shape=(32, 32, 32))
    other = anatomy_example(np.random.default_rng(8), head, shape=(32, 32, 32))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_an_anatomy_example_shows_no_class_outside_its_field_of_view(head: Labels) -> None:
    for seed in range(5):
        image, classes = anatomy_example(np.random.default_rng(seed), head, shape=(48, 48, 48))
        assert classes.max() < len(lb.CLASSES)
        assert np.isfinite(image).all()
        empty = ~(image > 0).any((0, 1))
        assert not classes[:, :, empty].any()


def test_real_shapes_are_placed_by_the_boxes_of_the_brains(tmp_path: Path, head: Labels) -> None:
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    brain, lesion = np.zeros((2, 50, 60, 50), np.uint8)
    brain[5:45, 5:55, 5:45] = 1
    lesion[10:16, 28:34, 22:28] = 1
    # stored left-handed, so that reading has to turn it
    affine = np.diag([-1.0, 1, 1, 1])
    for name, data in (("desc-brain", brain), ("label-lesion", lesion)):
        nib.save(
            nib.Nifti1Image(data[::-1], affine), folder / f"sub-01_{name}_mask.nii.gz"
        )  # fmt: skip
    found = LesionShapes.read(tmp_path)
    places = Places.of(head)
    masks = [found.draw(np.random.default_rng(seed), places) for seed in range(8)]
    sides = {bool(np.argwhere(mask)[:, 0].mean() < 31.5) for mask in masks if mask.any()}
    assert sides == {True, False}  # mirrored in half of the draws
    assert all(mask.any() for mask in masks)
    with pytest.raises(MissingInputError, match="expected sub-"):
        LesionShapes.read(tmp_path, leave_out=("01",))


def test_a_folder_without_shapes_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="label-lesion"):
        LesionShapes.read(tmp_path)


def test_only_what_a_rater_can_see_is_outlined() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.3, (40, 40, 20)).astype(np.float32)
    bright, faint, hollow = (np.zeros(image.shape, bool) for _ in range(3))
    bright[4:10, 4:10, 4:10] = True
    faint[4:10, 24:30, 4:10] = True
    hollow[22:34, 10:22, 4:16] = True
    image[bright] += 2
    image[faint] += 0.4
    image[hollow] += 3
    image[24:32, 12:20, 6:14] = -3
    assert np.array_equal(visible(image, bright | faint | hollow), bright | hollow)


def test_an_outline_follows_what_the_image_shows() -> None:
    soft, core, change = np.zeros((3, 30, 30, 30), np.float32)
    soft[5:15, 5:15, 5:15] = change[5:15, 5:15, 5:15] = 1
    change[5:15, 5:15, 5:15] = 2
    change[11:15, 5:15, 5:15] = 0.1  # a part that nobody would see
    soft[20:24, 20:24, 20:24] = 0.3  # a small lesion in a slice thicker than itself
    change[20:24, 20:24, 20:24] = 1.5
    soft[20:24, 5:9, 5:9] = core[20:24, 5:9, 5:9] = 1  # a mass as dark as its surroundings
    found = rated(soft, core, change)
    assert found[6:10, 6:14, 6:14].all()
    assert not found[13:16].any()
    assert found[20:24, 20:24, 20:24].mean() > 0.4
    assert found[20:24, 5:9, 5:9].all()
    assert not rated(0 * soft, 0 * core, 0 * change).any()


def test_what_is_enlarged_keeps_its_place_and_pushes_the_rest_away() -> None:
    axes = np.meshgrid(*[np.arange(41.0)] * 3, indexing="ij")
    where = np.stack(axes).astype(np.float32)
    moved = where.copy()
    space.magnify(moved, np.array([20.0, 20, 20]), radius_mm=6, amount=0.4)
    assert (moved[:, 20, 20, 20] == 20).all()
    # what lay at 22.4 lies at 24 now, and far away nothing has moved
    assert moved[0, 24, 20, 20] == pytest.approx(24 - 4 * 0.4 * np.exp(-16 / 72), abs=1e-4)
    assert np.abs(moved - where)[:, 0, 0, 0].max() < 1e-3
    assert (np.diff(moved[0, :, 20, 20]) > 0).all()  # nothing folds


def test_age_widens_sulci_and_leaves_white_matter(head: Labels) -> None:
    aged = [atrophy.change_sulci(np.random.default_rng(seed), head, 1.0) for seed in range(12)]
    changed = [one for one in aged if (one != head).any()]
    assert 0 < len(changed) < len(aged)
    for one in changed:
        assert np.isin(head[one != head], lb.CORTEX).all()
        assert (one[one != head] == lb.CSF[0]).all()


def test_lesions_have_no_crumbs_and_small_ones_are_small(head: Labels) -> None:
    places = Places.of_head(head)
    for seed, kind in enumerate(("demyelination", "small vessel", "stroke") * 2):
        mask = draw_lesions(np.random.default_rng(seed), places, None, kind).mask > 0
        sizes = np.bincount(cc3d.connected_components(mask, connectivity=26).ravel())[1:]
        assert len(sizes)
        assert sizes.min() >= 4
    dots = punctate(np.random.default_rng(1), places)
    sizes = np.bincount(cc3d.connected_components(dots, connectivity=26).ravel())[1:]
    assert len(sizes) > 3
    assert np.median(sizes) < 70
    assert not dots[~places.white].any()


def test_landmarks_are_the_tips_of_the_ventricles_and_what_lies_below_the_splenium() -> None:
    labels = np.zeros((40, 60, 50), np.uint16)
    assert (landmarks(labels) < -100).all()
    labels[10:13, 10:40, 20:23], labels[26:29, 14:44, 20:23] = 4, 43  # y points to the front
    labels[18:21, 16:50, 27:31] = 2
    left_front, left_back, right_front, right_back, between = landmarks(labels)
    assert left_front == pytest.approx([11, 38.5, 21], abs=1)
    assert left_back == pytest.approx([11, 10.5, 21], abs=1)
    assert right_front == pytest.approx([27, 42.5, 21], abs=1)
    assert right_back == pytest.approx([27, 14.5, 21], abs=1)
    assert between == pytest.approx([19, 22, 26], abs=1)


def test_the_landmarks_of_a_head_are_found_once_for_all_examples(
    head: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Labels] = []

    def find(labels: Labels) -> NDArray[np.float32]:
        measured.append(labels)
        return landmarks(labels)

    monkeypatch.setattr("bids_flairseg.train.synthesis.places.landmarks", find)
    places = Places.of_head(head)
    for seed in range(2):
        lesion_example(np.random.default_rng(seed), places, None, shape=SMALL)
    (labels,) = measured
    assert labels is places.labels
    np.testing.assert_array_equal(places.landmarks, landmarks(labels))


def test_caps_brighten_white_matter_at_the_landmarks_only(head: Labels) -> None:
    where = np.stack(np.meshgrid(*map(np.arange, head.shape), indexing="ij")).astype(np.float32)
    image = np.ones(head.shape, np.float32)
    healthy.add_caps(np.random.default_rng(3), image, head, where, landmarks(head))
    changed = image > 1.01
    assert changed.any()
    assert np.isin(head[changed], (*lb.WHITE, *lb.SEPTUM)).all()
    points = landmarks(head)[:, :, None]
    apart = np.linalg.norm(np.argwhere(changed).T[None] - points, axis=1).min(axis=0)
    assert apart.max() < 25


def test_sulci_of_the_young_are_narrow(head: Labels) -> None:
    found = [atrophy.change_sulci(np.random.default_rng(n), head, 1.0, young=0.7) for n in range(9)]
    narrow = [one for one in found if ((head == lb.CSF[0]) & (one != head)).any()]
    assert narrow
    for one in narrow:
        assert np.isin(one[one != head], lb.CORTEX).all()

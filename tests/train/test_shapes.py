"""Synthetic lesions: what must hold of their shapes whatever the dice say."""

from __future__ import annotations

from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.errors import MissingInputError
from bids_flairseg.train.synthesis import kinds, shapes, territories
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.kinds import draw_lesions
from bids_flairseg.train.synthesis.places import NOT_CORTEX_TABLE, Places
from bids_flairseg.train.synthesis.shapes import LesionShapes, punctate

KINDS = ("none", "demyelination", "small vessel", "tumour", "stroke")
Labels = NDArray[np.uint16]


def test_falx_and_tentorium_stop_strokes_and_most_tumours() -> None:
    labels = np.zeros((64, 64, 64), np.uint16)
    labels[4:32, 4:60, 28:60], labels[32:60, 4:60, 28:60] = 2, 41
    labels[4:60, 4:60, 4:28] = 7
    places = Places.of(labels)
    parts = [labels == value for value in (2, 41, 7)]
    sides = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lesion = territories._from_random_centre(rng, labels > 0, places) < 30
        assert sum((lesion & part).any() for part in parts) == 1
        core = territories.tumour(np.random.default_rng(seed), places)[1]
        met = [bool((core & part).any()) for part in parts]
        assert not (met[2] and (met[0] or met[1]))
        sides.append(met[0] and met[1])
    assert 0 < sum(sides) < 15


@pytest.mark.parametrize("kind", KINDS)
def test_lesions_lie_in_tissue(head: Labels, kind: str) -> None:
    places = Places.of(head)
    drawn = [draw_lesions(np.random.default_rng(seed), places, None, kind) for seed in range(4)]
    allowed = (head > 0) & (head < lb.OUTSIDE_FROM)
    if kind != "tumour":  # a mass displaces CSF
        allowed &= ~np.isin(head, lb.CSF + lb.VENTRICLES)
    assert all((lesions.mask <= allowed).all() for lesions in drawn)
    assert any(lesions.mask.any() for lesions in drawn) == (kind != "none")


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


def test_fingers_stand_upright_on_the_ventricles_and_are_longer_than_wide() -> None:
    labels = np.full((40, 40, 40), 2, np.uint16)
    labels[:, :12] = 4
    places, measured = Places.of(labels), 0
    for seed in range(40):
        finger = np.argwhere(shapes.fingers(np.random.default_rng(seed), places, 1))
        assert finger[:, 1].max() >= 12  # in the white matter, though they reach its border
        if len(finger) < 40:  # the axes of a few voxels are those of the grid
            continue
        spread, axes = np.linalg.eigh(np.cov(finger.T))
        assert abs(axes[1, -1]) > 0.9
        assert spread[-1] > 1.4 * spread[1]
        measured += 1
    assert measured > 10


def test_cavities_lie_in_tissue_and_their_rims_around_them(head: Labels) -> None:
    places, rimmed = Places.of(head), 0
    tissue = NOT_CORTEX_TABLE[head] > 0
    for seed in range(10):
        holes, rims = shapes.cavities(np.random.default_rng(seed), places, ~tissue)
        assert (holes <= tissue).all()
        assert (rims <= tissue).all()
        assert not (holes & rims).any()
        assert (rims <= ndimage.binary_dilation(holes, iterations=3)).all()
        rimmed += bool(rims.any())
    assert 2 < rimmed < 10


def test_half_of_the_cavities_lie_in_lesions(head: Labels) -> None:
    lesions = np.zeros(head.shape, bool)
    lesions[40:48, 30:40, 26:36] = True
    places, near = Places.of(head), ndimage.binary_dilation(lesions, iterations=8)
    drawn = [shapes.cavities(np.random.default_rng(seed), places, lesions)[0] for seed in range(20)]
    within = [bool((holes <= near).all()) for holes in drawn if holes.any()]
    assert 0.2 < np.mean(within) < 0.8


@pytest.mark.parametrize("kind", ["none", "small vessel", "tumour"])
def test_holes_are_no_part_of_the_lesions(
    head: Labels, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "_TAKEN_OUT", 0.5)
    monkeypatch.setattr(kinds, "_LACUNES", dict.fromkeys(KINDS, 0.5))
    places = Places.of(head)
    drawn = [draw_lesions(np.random.default_rng(seed), places, None, kind) for seed in range(8)]
    holes = [bool(lesions.hole.any()) for lesions in drawn]
    assert 0 < sum(holes) < len(drawn)
    assert not any((lesions.hole * lesions.mask).any() for lesions in drawn)
    if kind == "tumour":  # where it was taken out there is no mass
        assert {bool(lesions.core.any()) for lesions in drawn} == {True, False}


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
    for written in ("01", "sub-01"):
        with pytest.raises(MissingInputError, match="expected sub-"):
            LesionShapes.read(tmp_path, leave_out=(written,))
    with pytest.raises(MissingInputError, match="sub-1, which"):
        LesionShapes.read(tmp_path, leave_out=("1",))


def test_a_folder_without_shapes_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="label-lesion"):
        LesionShapes.read(tmp_path)

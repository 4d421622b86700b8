"""Synthetic images: what must hold whatever the dice say."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.noise import normalise_noisy
from bids_flairseg.train.synthesis import anatomy, atrophy, contrast, healthy, lesion, space
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.anatomy import anatomy_example
from bids_flairseg.train.synthesis.atrophy import Moved, Sulci
from bids_flairseg.train.synthesis.kinds import Lesions
from bids_flairseg.train.synthesis.lesion import lesion_example
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.space import Rng

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


def test_values_are_looked_up_alike_whatever_is_zero_around_them() -> None:
    rng = np.random.default_rng(0)
    where = rng.uniform(-3, 15, (3, 12, 12, 12)).astype(np.float32)
    for low, high in ((0, 12), (3, 7), (0, 4), (9, 12), (5, 5)):  # touching a face or not; nothing
        array = np.zeros((12, 12, 12), np.float32)
        array[low:high, low:high, 2:9] = rng.random((high - low, high - low, 7))
        expected = ndimage.map_coordinates(array, where, order=1, mode="nearest")
        assert np.allclose(space.sample(array, where), expected)
        chosen = rng.random(where.shape[1:]) < 0.5
        assert np.allclose(space.sample(array, where, chosen), np.where(chosen, expected, 0))


def test_stretching_keeps_a_ramp_and_the_outer_knots() -> None:
    ramp = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32)
    fine = space.stretch(ramp, (31, 5, 5))
    np.testing.assert_allclose(fine[:, 2, 2], np.linspace(0, 3, 31), atol=1e-5)


def test_grey_is_brighter_than_white_and_csf_is_dark() -> None:
    for seed in range(50):
        signals = contrast.tissue_signals(np.random.default_rng(seed), wide=False)
        assert signals[3] > signals[2] > 2 * signals[4] > 0
        assert signals[0] == 0


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
    first = anatomy_example(np.random.default_rng(7), Sulci.of(head), shape=(32, 32, 32))
    again = anatomy_example(np.random.default_rng(7), Sulci.of(head), shape=(32, 32, 32))
    other = anatomy_example(np.random.default_rng(8), Sulci.of(head), shape=(32, 32, 32))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_an_anatomy_example_shows_no_class_outside_its_field_of_view(head: Labels) -> None:
    for seed in range(5):
        image, classes = anatomy_example(
            np.random.default_rng(seed), Sulci.of(head), shape=(48, 48, 48)
        )
        assert classes.max() < len(lb.CLASSES)
        assert np.isfinite(image).all()
        empty = ~(image > 0).any((0, 1))
        assert not classes[:, :, empty].any()


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


def test_filling_sulci_leaves_all_but_csf(head: Labels) -> None:
    filled = Sulci.of(head).labels
    changed = filled != head
    assert changed.any()
    assert (head[changed] == lb.CSF[0]).all()
    assert np.isin(filled[changed], lb.CORTEX).all()


def test_sulci_are_drawn_in_the_depth_of_the_cortex(head: Labels) -> None:
    sulci, where = Sulci.of(head), np.indices(head.shape).astype(np.float32)
    shares = []
    for seed in range(12):
        moved = sulci.draw(np.random.default_rng(seed), where, 1.0)
        cortex = np.isin(sulci.labels, lb.CORTEX)
        assert not moved.fluid[~cortex].any()
        assert (moved.labels[~cortex] == sulci.labels[~cortex]).all()
        assert (moved.labels[moved.fluid > 0.5] == lb.CSF[0]).all()
        assert sulci.depth[moved.fluid > 0.5].min() > 1.0
        shares.append(float(moved.fluid[cortex].mean()))
    assert max(shares) > 1.5 * min(shares)  # the old and the young


def test_a_voxel_between_two_tissues_has_part_of_both() -> None:
    labels = np.full((8, 8, 8), lb.WHITE[0], np.uint16)
    labels[4:] = lb.VENTRICLES[0]
    signals = np.zeros(1024, np.float32)
    signals[lb.WHITE[0]] = 1
    where = np.indices((8, 8, 8)).astype(np.float32) + 0.25
    nothing = np.zeros((8, 8, 8), np.float32)
    image = Moved(labels, nothing, nothing, where, labels).paint(signals)
    np.testing.assert_allclose(image[2:5, 4, 4], [1, 0.75, 0])


def slab() -> Labels:
    """Two banks of cortex that touch in the middle of white matter, and one that ends in CSF."""
    labels = np.full((30, 30, 40), lb.WHITE[0], np.uint16)
    labels[:, :, 10:16] = lb.CORTEX[0]
    labels[:, :, 30:33] = lb.CORTEX[0]
    labels[:, :, 33:] = lb.CSF[0]
    return labels


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_where_the_banks_of_a_sulcus_touch_there_is_a_line_of_fluid(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atrophy, "TOUCHING", (share, share))
    monkeypatch.setattr(atrophy, "THICKNESS_MM", (3.9, 4.0, 4.1))  # no sulcus is wide
    monkeypatch.setattr(atrophy, "smooth_field", lambda rng, shape, *_: np.zeros(shape, np.float32))
    sulci = Sulci.of(slab())
    where = np.indices(sulci.labels.shape).astype(np.float32)
    fluid = sulci.draw(np.random.default_rng(0), where, 1.0).fluid[15, 15]
    assert share / 2 <= fluid[12:14].min() <= fluid[12:14].max() <= share
    assert not fluid[:12].any()
    assert not fluid[14:32].any()


def test_the_rim_of_the_cortex_is_brighter_than_its_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atrophy, "RIM", (0.2, 0.2))
    monkeypatch.setattr(atrophy, "THICKNESS_MM", (2.9, 3.0, 3.1))
    signals = np.zeros(1024, np.float32)
    signals[list(lb.CORTEX)], signals[list(lb.WHITE)] = 1.2, 1
    sulci = Sulci.of(slab())
    where = np.indices(sulci.labels.shape).astype(np.float32)
    image = sulci.draw(np.random.default_rng(1), where, 1.0).paint(signals)[15, 15]
    assert image[20] == 1  # white matter
    assert image[32] > 1.2 > image[30] > 1
    assert image[32] < 1.2 * 1.1 + 1e-5


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.5])
def test_no_cortex_is_left_around_a_sulcus(
    head: Labels, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atrophy, "THICKNESS_MM", (0.4, 0.5, 0.6))
    sulci, where = Sulci.of(head), np.indices(head.shape).astype(np.float32) + np.float32(offset)
    signals = np.zeros(1024, np.float32)
    signals[list(lb.CORTEX)] = 1
    moved = sulci.draw(np.random.default_rng(0), where, 1.0)
    deep = space.sample(sulci.depth, where) > 3
    assert np.isin(sulci.labels, lb.CORTEX)[deep].any()
    assert np.abs(moved.paint(signals)[deep]).max() < 1e-5


def test_holes_are_dark_and_no_lesion(head: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    mask, hole = np.zeros((2, *head.shape), np.float32)
    mask[38:50, 30:42, 26:38], hole[40:48, 32:40, 28:36] = 1, 1
    drawn = Lesions(mask * (1 - hole), 0 * mask, hole, "demyelination")
    monkeypatch.setattr(lesion, "draw_lesions", lambda *_: drawn)
    monkeypatch.setattr(lesion, "_move", lambda *_: np.indices(head.shape).astype(np.float32))
    monkeypatch.setattr(healthy, "add_normal_brightness", lambda *_: None)  # no bright fluid
    places, middle, levels = Places.of(head), np.s_[42:46, 34:38, 30:34], []
    for seed in range(12):
        image, target = lesion_example(np.random.default_rng(seed), places, None, shape=head.shape)
        assert not target[middle].any()
        around = image[target > 0]
        if around.size:
            levels.append(float(np.median(around) - np.median(image[middle])))
    assert len(levels) > 3
    assert np.median(levels) > 2


def test_the_brain_of_an_example_is_one_piece_without_zeros(
    head: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = []

    def rough_brain(rng: Rng, labels: Labels, distance: NDArray[np.float32]) -> NDArray[np.bool_]:
        mask = distance < 0
        mask[0, 0, 0] = True  # a crumb
        return mask

    def normalise(image: NDArray[np.float32], inside: NDArray[np.bool_], *, kind: str) -> Any:
        masks.append(inside)
        assert not image[~inside].any()
        normalised, smoothed = normalise_noisy(image, inside, kind=kind)
        return np.round(normalised), smoothed  # few grey levels, the median one of them

    monkeypatch.setattr(lesion, "_rough_brain", rough_brain)
    monkeypatch.setattr(lesion, "normalise_noisy", normalise)
    image, _ = lesion_example(np.random.default_rng(0), Places.of_head(head), None, shape=SMALL)
    assert cc3d.connected_components(masks[0], connectivity=6, return_N=True)[1] == 1
    np.testing.assert_array_equal(image != 0, masks[0])


def test_lesions_of_a_whole_head_lie_where_they_were_drawn_in_its_brain(
    head: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places.of_head(np.pad(head, ((30, 0), (0, 0), (0, 20))))
    assert places.offset[0] > 0
    drawn = np.zeros(places.labels.shape, np.float32)
    drawn[12:30, 20:40, 15:32] = 1
    nothing = np.zeros_like(drawn)
    monkeypatch.setattr(anatomy, "_ILL", 1.0)
    monkeypatch.setattr(atrophy, "THICKNESS_MM", (90, 91, 92))  # no sulci
    monkeypatch.setattr(atrophy, "TOUCHING", (-9, -9))
    monkeypatch.setattr(
        anatomy, "draw_lesions", lambda *_: Lesions(drawn, nothing, nothing, "stroke")
    )
    seen: dict[str, Any] = {}

    def push(rng: Rng, where: NDArray[np.float32], lesions: Lesions, offset: Any) -> None:
        seen["where"], seen["offset"] = where.copy(), offset

    def add_lesions(
        rng: Rng, image: NDArray[np.float32], parts: tuple[Any, ...], **_: object
    ) -> NDArray[np.float32]:
        seen["soft"], seen["brain"] = parts[0], parts[2]
        return image

    monkeypatch.setattr(anatomy, "push", push)
    monkeypatch.setattr(anatomy, "add_lesions", add_lesions)
    labels = np.pad(head, ((30, 0), (0, 0), (0, 20)))
    _, classes = anatomy_example(
        np.random.default_rng(2), Sulci.of(labels), places=places, shape=SMALL
    )
    whole = np.zeros(labels.shape, np.float32)
    x, y, z = seen["offset"]
    whole[x:, y:, z:][tuple(map(slice, drawn.shape))] = drawn
    expected = space.sample(whole, seen["where"])
    inside = seen["brain"]
    np.testing.assert_allclose(seen["soft"][inside], expected[inside], atol=1e-4)
    assert (seen["soft"] > 0.5).sum() > 100
    assert set(np.unique(classes).tolist()) <= set(range(len(lb.CLASSES)))

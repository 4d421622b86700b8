"""Examples that are drawn on the device: what must hold whatever the dice say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.online import heads
from bids_flairseg.train.online.heads import (
    CORE,
    DEPTH_STEP_MM,
    HOLE,
    NUMBERS,
    PART,
    SHELL,
    draw_map,
    pack_head,
)
from bids_flairseg.train.synthesis import acquisition as numpy_acquisition
from bids_flairseg.train.synthesis import atrophy
from bids_flairseg.train.synthesis import contrast as numpy_contrast
from bids_flairseg.train.synthesis import healthy as numpy_healthy
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.kinds import Lesions
from bids_flairseg.train.synthesis.places import Places, landmarks
from bids_flairseg.train.synthesis.space import PoseConfig

jax = pytest.importorskip("jax", reason="no JAX in this environment (extra bids-flairseg[jax])")

from bids_flairseg.train.online import acquisition, contrast, healthy, space  # noqa: E402
from bids_flairseg.train.online.draws import SHARP, Draws, blur, quantiles  # noqa: E402

STILL = PoseConfig(rotation_deg=0, nod_deg=0, scale=0, shear=0, shift_mm=0, bend_mm=0)
Labels = NDArray[np.uint16]
INDEX = np.zeros(1024, np.int32)
INDEX[list(NUMBERS)] = np.arange(len(NUMBERS))


def draws(seed: int) -> Draws:
    return Draws(jax.random.key(seed))


def test_a_head_is_packed_without_loss(head: Labels) -> None:
    places = Places.of_head(head)
    packed = pack_head(places.labels, places.to_ventricles)
    assert (np.array(NUMBERS)[packed.words & 255] == places.sulci.labels).all()
    depth = np.maximum(places.sulci.depth, 0)
    np.testing.assert_allclose(packed.depth * DEPTH_STEP_MM, depth, atol=0.02)
    surface = ((packed.words >> 16) & 255).astype(float) - 128
    assert (surface[places.white] < 0).all()
    assert (surface[places.labels == 511] > 0).mean() > 0.95  # the brainstem leaves the skull
    assert (packed.classes > 0).any()


def test_the_spine_is_no_brain() -> None:
    labels = np.zeros((40, 40, 120), np.uint16)
    labels[8:32, 8:32, 80:110] = 3
    labels[12:28, 12:28, 84:106] = 2
    labels[18:22, 18:22, :84] = lb.CSF[0]  # down the spinal canal
    places = Places.of_head(labels, margin=5)
    assert places.labels.shape == (34, 34, 40)


def test_a_lesion_map_names_parts_and_what_is_around_them(head: Labels) -> None:
    places = Places.of_head(head)
    for seed in range(12):
        found = draw_map(np.random.default_rng(seed), places, None)
        inside = (found.codes & PART > 0) & (found.codes & SHELL == 0)
        assert inside.any() == (found.level > 0) == bool((found.codes & PART).any())
        assert np.isnan(found.mass).any() == (not (found.codes & CORE).any())
        around = found.codes & SHELL > 0
        assert not (around & inside).any()


@pytest.mark.parametrize("lesion_voxels", [0, 6])
def test_a_lesion_map_tells_holes_also_where_there_is_no_lesion(
    head: Labels, lesion_voxels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, hole = np.zeros((2, *head.shape), np.float32)
    hole[20:24, 20:24, 20:24] = 1
    mask[30 : 30 + lesion_voxels, 20:26, 20:26] = mask[24 : 24 + lesion_voxels // 3, 20, 20] = 1
    drawn = Lesions(mask, 0 * mask, hole, "demyelination")
    monkeypatch.setattr(heads, "draw_lesions", lambda *_: drawn)
    found = draw_map(np.random.default_rng(0), Places.of(head), None)
    assert ((found.codes & HOLE > 0) == (hole > 0)).all()
    assert (((found.codes & PART > 0) & (found.codes & SHELL == 0)) == (mask > 0)).all()
    assert found.level == (lesion_voxels > 0)


@pytest.mark.slow
def test_fields_have_no_mean_and_unit_variance() -> None:
    values = [np.asarray(draws(seed).field((40, 48, 40), 8.0, 1.0)) for seed in range(24)]
    assert abs(np.mean(values)) < 0.15  # three standard deviations
    assert np.std(values) == pytest.approx(1, abs=0.1)
    steps = np.abs(np.diff(values[0], axis=0)).max()
    assert steps < 0.7  # smooth


@pytest.mark.slow
def test_a_pose_without_movement_is_the_identity_or_its_mirror_image(head: Labels) -> None:
    centre = (np.array(head.shape, np.float32) - 1) / 2
    seen = set()
    for seed in range(8):
        where = space.coordinates(draws(seed), head.shape, 1.0, centre, STILL)
        found = np.asarray(space.sample(INDEX[head], where))
        straight, mirrored = (found == INDEX[head]).all(), (found == INDEX[head][::-1]).all()
        assert straight or mirrored
        seen.add(bool(straight))
    assert seen == {True, False}


def test_outside_the_label_map_there_is_nothing(head: Labels) -> None:
    where = np.full((3, 2, 2, 2), -3, np.float32)
    assert not np.asarray(space.sample(np.maximum(head, 1), where)).any()


def test_smoothing_keeps_a_constant() -> None:
    assert np.asarray(blur(np.ones((9, 9, 9), np.float32), 2.0)) == pytest.approx(1, abs=1e-5)


def test_quantiles_are_those_of_the_mask() -> None:
    values = np.random.default_rng(0).normal(size=(60, 60, 60)).astype(np.float32)
    inside = values > 0.5
    found = [float(v) for v in quantiles(values, inside, (0.25, 0.5, 0.9))]
    assert found == pytest.approx(np.percentile(values[inside], [25, 50, 90]), abs=0.03)
    assert float(quantiles(values, inside & False, (0.5,))[0]) == 0


@pytest.mark.parametrize("step", [1.0, 1.4, 4.3])
def test_slices_keep_a_ramp_and_fine_ones_keep_all(step: float) -> None:
    ramp = np.arange(40, dtype=np.float32)[:, None, None] * np.ones((1, 6, 6), np.float32)
    for seed in range(5):
        cut = acquisition.draw_slices(draws(seed), 40, np.float32(step))
        found = np.asarray(cut.back @ cut.profile) @ ramp[:, 0, 0]
        inner = slice(6, -6) if step > 1 else slice(None)
        assert found[inner] == pytest.approx(ramp[inner, 0, 0], abs=0.1)
        assert np.asarray(cut.gain) == pytest.approx(1, abs=0.061)


@pytest.mark.slow
def test_noise_is_as_smooth_as_the_slices_are_thick() -> None:
    flat = np.ones((32, 32, 40), np.float32)
    still = [acquisition.draw_slices(draws(1), 32, np.float32(1)) for _ in range(2)]
    thick = acquisition.draw_slices(draws(1), 40, np.float32(5))
    scanner = acquisition.Scanner(np.float32(0.05), np.full(3, SHARP), np.zeros(3, bool))
    noisy, _ = acquisition.acquire(draws(2), flat, [], [*still, thick], scanner)
    noisy = np.asarray(noisy)[4:-4, 4:-4, 6:-6]
    across, within = (np.diff(noisy, axis=axis).std() for axis in (2, 0))
    assert across < 0.5 * within


def test_noise_is_common_to_neighbours_in_a_plane() -> None:
    flat = np.ones((40, 40, 40), np.float32)
    grain = np.asarray(acquisition._grain(draws(0), flat, np.array([0.6, 0.6, SHARP])))
    assert grain.std() == pytest.approx(1, abs=0.01)
    for axis, expected in enumerate((0.5, 0.5, 0)):
        moved = np.moveaxis(grain, axis, 0)
        together = np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]
        assert together == pytest.approx(expected, abs=0.08)


def test_a_head_that_moves_between_slices_takes_its_lesions_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acquisition, "MOVED_BETWEEN", 1.0)
    cuts = [acquisition.draw_slices(draws(1), 20, np.float32(step)) for step in (1.0, 2.0, 1.2)]
    blob = np.zeros((20, 20, 20), np.float32)
    blob[6:14, 2:8, 6:14] = 1
    image, other = (
        np.asarray(moved) for moved in acquisition._move_between(draws(0), [blob, blob], cuts)
    )
    assert (image == other).all()
    assert (image[:, ::2] == blob[:, ::2]).all()
    assert (image[:, 3:8:2] != blob[:, 3:8:2]).any((0, 2)).all()
    np.testing.assert_allclose(image.sum((0, 2)), blob.sum((0, 2)), rtol=1e-5)


def test_a_shift_by_parts_of_a_voxel_is_that_of_scipy() -> None:
    image = np.random.default_rng(0).random((9, 10, 11), np.float32)
    voxels = np.array([0.3, -1.7, 0], np.float32)
    expected = ndimage.shift(image, voxels, order=1, mode="nearest")
    np.testing.assert_allclose(np.asarray(acquisition._shift(image, voxels)), expected, atol=1e-5)


def test_grey_is_brighter_than_white_and_csf_is_dark() -> None:
    for seed in range(20):
        signals = np.asarray(contrast.tissue_signals(draws(seed), np.bool_(0)))
        grey, white, fluid = (signals[NUMBERS.index(number)] for number in (3, 2, 4))
        assert grey > white > 2 * fluid > 0
        assert signals[0] == 0


def test_sulci_are_as_wide_as_in_the_other_synthesis(
    head: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (space, atrophy):
        monkeypatch.setattr(module, "THICKNESS_MM", (2.4, 2.5, 2.6))
        monkeypatch.setattr(module, "TOUCHING", (0.3, 0.5))
    places, where = Places.of(head), np.indices(head.shape).astype(np.float32)
    packed = pack_head(head, places.to_ventricles)
    cortex = np.isin(places.sulci.labels, lb.CORTEX)
    shares = np.empty((2, 6))
    for seed in range(6):
        moved = places.sulci.draw(np.random.default_rng(seed), where, 1.0)
        anatomy = space.move(draws(seed), packed, where, 1.0)
        fluid, labels = np.asarray(anatomy.fluid), np.array(NUMBERS)[np.asarray(anatomy.labels)]
        assert not fluid[~cortex].any()
        assert (np.isin(labels, lb.CORTEX) == (cortex & (fluid <= 0.5))).all()
        shares[:, seed] = moved.fluid[cortex].mean(), fluid[cortex].mean()
    assert 0.85 < np.divide(*shares.mean(1)) < 1.15


def test_tracts_run_as_in_the_other_synthesis() -> None:
    where = np.indices((30, 40, 60)).astype(np.float32)
    for x in (8, 22):
        capsule = np.array([x, 20, 30], np.float32)
        expected = numpy_healthy._to_tract(where, capsule, 15.0)
        found = np.asarray(healthy._square_to_tract(where, capsule, 15.0))
        np.testing.assert_allclose(np.sqrt(found), expected, atol=1e-3)


def test_tracts_and_limbic_cortex_brighten_nothing_else(head: Labels) -> None:
    far = np.zeros(head.shape, np.float32)
    anatomy = contrast.Anatomy(INDEX[head], 0 * far, 0 * far, far, far, far)
    places = np.indices(head.shape).astype(np.float32), landmarks(head)
    tissue = np.isin(head, (*lb.WHITE, *lb.BRAINSTEM, *lb.CORTEX, *numpy_healthy.VENTRAL))
    changed = [
        np.asarray(healthy.add_tracts_and_limbic(draws(seed), 1 + far, anatomy, places)) > 1.01
        for seed in range(8)
    ]
    assert all((each <= tissue).all() for each in changed)
    assert {bool(each.any()) for each in changed} == {True, False}


def test_tubes_are_as_rare_as_in_the_other_synthesis() -> None:
    shape = (60, 60, 60)
    shares = [
        [float((np.asarray(tube) > 0.5).mean()) for tube in tubes]
        for tubes in (
            [numpy_contrast.tubes(np.random.default_rng(n), shape, 15, 1.5, 1) for n in range(6)],
            [contrast.tubes(draws(n), shape, 15.0, 1.5, 1.0) for n in range(6)],
        )
    ]
    assert 0.6 < np.mean(shares[1]) / np.mean(shares[0]) < 1.6


@pytest.mark.parametrize("amount", [0.0, 0.9])
def test_edges_are_enhanced_as_in_the_other_synthesis(
    amount: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.ones((20, 20, 20), np.float32)
    image[10:] = 2
    for module in (acquisition, numpy_acquisition):
        monkeypatch.setattr(module, "SHARPENED", 1.0)
        monkeypatch.setattr(module, "SHARPEN_OVER", (0.8, 0.8))
        monkeypatch.setattr(module, "SHARPEN_BY", (amount, amount))
    for in_plane in ([True, True, True], [False, True, True]):
        expected = numpy_acquisition.sharpen(np.random.default_rng(0), image, in_plane)
        found = np.asarray(acquisition.sharpen(draws(0), image, np.array(in_plane)))
        np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_lines_of_fluid_and_bright_rims_are_those_of_the_other_synthesis(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.full((40, 40, 40), 2, np.uint16)
    labels[:, :, 10:16] = 3  # two banks that touch
    labels[:, :, 30:33], labels[:, :, 33:] = 3, 24  # and one with CSF beside it
    for module in (space, atrophy):
        monkeypatch.setattr(module, "THICKNESS_MM", (3.9, 4.0, 4.1))
        monkeypatch.setattr(module, "TOUCHING", (share, share))
        monkeypatch.setattr(module, "RIM", (0.2, 0.2))
    monkeypatch.setattr(Draws, "field", lambda self, shape, *_: np.zeros(shape, np.float32))
    monkeypatch.setattr(atrophy, "smooth_field", lambda rng, shape, *_: np.zeros(shape, np.float32))
    where = np.indices(labels.shape).astype(np.float32)
    packed = pack_head(labels, np.full(labels.shape, 20, np.float32))
    expected = atrophy.Sulci.of(labels).draw(np.random.default_rng(0), where, 1.0)
    found = space.move(draws(0), packed, where, 1.0)
    middle = np.s_[20, 20, :32]
    np.testing.assert_allclose(found.fluid[middle], expected.fluid[middle], atol=0.2)
    np.testing.assert_allclose(found.rim[middle], expected.rim[middle], atol=0.03)
    assert found.rim[20, 20, 32] > 0 > found.rim[20, 20, 30]
    signals = np.full(len(NUMBERS), 1.2, np.float32)
    monkeypatch.setattr(contrast, "tissue_signals", lambda *_: signals)
    monkeypatch.setattr(contrast, "CHANGES", ())
    monkeypatch.setattr(contrast, "BLUR_MM", (-0.09, -0.09))
    image = np.asarray(contrast.paint(draws(1), found, 1.0, np.bool_(0)))
    assert image[18:22, 18:22, 32].mean() > image[18:22, 18:22, 30].mean()

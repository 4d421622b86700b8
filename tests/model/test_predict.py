"""Cutting, padding and blending change nothing that the network did not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.errors import UsageError
from bids_flairseg.model.predict import Box, mirrored, predict, predict_windows
from bids_flairseg.model.settings import BundleConfig, Preprocessing
from tests.model.conftest import TINY, with_classes

Array = NDArray[np.float32]
WHOLE_HEAD = dataclasses.replace(TINY, preprocessing=Preprocessing(1.0, brain_only=False))
SHAPES = [(16, 16, 16), (5, 3, 9), (17, 40, 24), (33, 16, 1)]
EVERYWHERE = pytest.mark.parametrize("inference", ["brain", "windows"])


class Recorder:
    """A network that remembers the shapes it was given."""

    def __init__(self, apply: Callable[[Array], Array]) -> None:
        self.apply, self.shapes = apply, list[tuple[int, ...]]()

    def __call__(self, batch: Array) -> Array:
        self.shapes.append(batch.shape)
        return self.apply(batch)


def identity(batch: Array) -> Array:
    return batch


def by_position(batch: Array) -> Array:
    """Weight each voxel by its place in the batch; zero stays zero."""
    ramps = [np.linspace(1, 2 + axis, n) for axis, n in enumerate(batch.shape[1:4])]
    weight = np.einsum("i,j,k->ijk", *ramps)[None, ..., None]
    return np.asarray(batch * weight, np.float32)


def blurred(batch: Array) -> Array:
    found: Array = ndimage.uniform_filter(batch, (1, 3, 3, 3, 1), mode="constant")
    return found


def noise(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).random(shape, np.float32) + np.float32(0.1)


@EVERYWHERE
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("config", [TINY, WHOLE_HEAD])
def test_identity_gives_the_volume(
    shape: tuple[int, ...], config: BundleConfig, inference: str
) -> None:
    volume = noise(shape)
    found = predict(identity, volume, config, inference=inference)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], volume, rtol=1e-6)


@EVERYWHERE
@pytest.mark.parametrize("shape", SHAPES)
def test_constant_gives_the_constant_everywhere(shape: tuple[int, ...], inference: str) -> None:
    found = predict(
        lambda batch: np.full_like(batch, 0.25), noise(shape), WHOLE_HEAD, inference=inference
    )
    np.testing.assert_allclose(found, np.full((*shape, 1), 0.25), rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_network_sees_edges_it_can_take(shape: tuple[int, ...]) -> None:
    network = Recorder(identity)
    predict(network, noise(shape), TINY, inference="brain")
    assert len(network.shapes) == 1
    assert all(n % TINY.architecture.multiple == 0 for n in network.shapes[0][1:4])


def test_windows_are_all_of_one_shape() -> None:
    network = Recorder(identity)
    predict(network, noise((20, 40, 7)), TINY, inference="windows")
    assert set(network.shapes) == {(1, 16, 16, 16, 1)}


def test_windows_are_averaged_as_in_the_paper() -> None:
    volume = noise((30, 16, 20))
    total, count = np.zeros((*volume.shape, 1)), np.zeros((*volume.shape, 1))
    for x in (0, 8, 14):  # steps of 8, the last window flush with the end
        for z in (0, 4):
            cube = (slice(x, x + 16), slice(None), slice(z, z + 16))
            total[cube] += by_position(volume[cube][None, ..., None])[0]
            count[cube] += 1
    found = predict_windows(by_position, volume, window=16, step=8)
    np.testing.assert_allclose(found, total / count, rtol=1e-5)


def test_one_pass_and_windows_agree_for_a_local_network() -> None:
    volume = ndimage.gaussian_filter(noise((40, 36, 44)), 2)
    one = predict(blurred, volume, WHOLE_HEAD, inference="brain")
    many = predict(blurred, volume, WHOLE_HEAD, inference="windows")
    # the zeros beyond the faces of the windows make the rest of the difference
    assert np.abs(one - many).mean() < 0.1 * one.mean()


@EVERYWHERE
@pytest.mark.parametrize("before", [(0, 0, 0), (1, 7, 3), (16, 5, 20)])
def test_zeros_around_a_brain_change_nothing(before: tuple[int, ...], inference: str) -> None:
    volume = noise((19, 22, 18))
    padded = np.pad(volume, [(n, 9) for n in before])
    inside = tuple(slice(a, a + n) for a, n in zip(before, volume.shape, strict=True))
    plain = predict(by_position, volume, TINY, inference=inference)
    found = predict(by_position, padded, TINY, inference=inference)
    np.testing.assert_array_equal(found[inside], plain)


def test_brain_in_a_large_volume_costs_no_more_than_the_brain() -> None:
    volume = np.zeros((80, 80, 80), np.float32)
    volume[30:40, 50:60, 3:13] = 1
    network = Recorder(identity)
    predict(network, volume, TINY, inference="brain")
    assert np.prod(network.shapes[0]) <= 24**3


def test_windows_without_brain_are_skipped() -> None:
    volume = np.zeros((64, 16, 16), np.float32)
    volume[:8], volume[56:] = 1, 1
    skipping, seeing = Recorder(identity), Recorder(identity)
    one = predict_windows(skipping, volume, window=16, step=8, skip_zeros=True)
    two = predict_windows(seeing, volume, window=16, step=8)
    np.testing.assert_array_equal(one, two)
    assert len(skipping.shapes) == 2
    assert len(seeing.shapes) == 7


@EVERYWHERE
def test_nothing_but_zeros_is_background_unseen(inference: str) -> None:
    network = Recorder(identity)
    volume = np.zeros((20, 20, 20), np.float32)
    assert not predict(network, volume, TINY, inference=inference).any()
    several = predict(network, volume, with_classes(3, brain_only=True), inference=inference)
    assert (several[..., 0] == 1).all()
    assert not several[..., 1:].any()
    assert not network.shapes


@EVERYWHERE
@pytest.mark.parametrize("brain_only", [True, False])
def test_probabilities_of_several_classes_sum_to_one(brain_only: bool, inference: str) -> None:
    def softmax(batch: Array) -> Array:
        raised = np.exp(np.concatenate([batch, 2 * batch, 1 - batch], axis=-1))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)

    volume = np.zeros((60, 20, 20), np.float32)
    volume[3:9], volume[50:] = noise((6, 20, 20)), noise((10, 20, 20))
    config = with_classes(3, brain_only=brain_only)
    found = predict(softmax, volume, config, inference=inference)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


@EVERYWHERE
def test_flip_makes_left_and_right_alike(inference: str) -> None:
    volume = noise((32, 24, 16))
    one = predict(by_position, volume, WHOLE_HEAD, inference=inference, flip=True)
    other = predict(by_position, volume[::-1], WHOLE_HEAD, inference=inference, flip=True)
    np.testing.assert_allclose(other[::-1], one, rtol=1e-5)
    plain = predict(by_position, volume, WHOLE_HEAD, inference=inference)
    assert not np.allclose(plain, one)


def test_mirrored_network_averages_both() -> None:
    batch = noise((1, 8, 8, 8, 1))
    expected = (by_position(batch) + by_position(batch[:, ::-1])[:, ::-1]) / 2
    np.testing.assert_allclose(mirrored(by_position)(batch), expected, rtol=1e-6)


def test_memory_decides_between_one_pass_and_windows() -> None:
    volume = noise((40, 40, 40))
    rich, poor = Recorder(identity), Recorder(identity)
    predict(rich, volume, TINY, memory_bytes=1 << 40)
    predict(poor, volume, TINY, memory_bytes=0)
    assert len(rich.shapes) == 1
    assert set(poor.shapes) == {(1, 16, 16, 16, 1)}


def refuse_large(batch: Array) -> Array:
    if batch[0].size > 16**3:
        raise MemoryError
    return batch


def test_failed_pass_is_followed_by_windows() -> None:
    volume = noise((40, 40, 40))
    found = predict(refuse_large, volume, TINY, memory_bytes=1 << 40)
    np.testing.assert_allclose(found[..., 0], volume, rtol=1e-6)


def test_failed_pass_that_was_asked_for_is_an_error() -> None:
    with pytest.raises(MemoryError):
        predict(refuse_large, noise((40, 40, 40)), TINY, inference="brain")


def test_unknown_inference_is_refused() -> None:
    with pytest.raises(UsageError, match="auto, brain, windows"):
        predict(identity, noise((4, 4, 4)), TINY, inference="magic")


def test_box_beyond_the_volume_is_zero_there() -> None:
    volume = noise((4, 5, 6))
    part = Box((-2, 1, 3), (3, 9, 5)).cut(volume)
    assert part.shape == (5, 8, 2)
    np.testing.assert_array_equal(part[2:, :4], volume[:3, 1:, 3:5])
    assert part.sum() == pytest.approx(volume[:3, 1:, 3:5].sum())

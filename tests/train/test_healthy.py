"""What is bright in healthy synthetic brains: what must hold whatever the dice say."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import healthy
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.contrast import tubes
from bids_flairseg.train.synthesis.lesion import lesion_example
from bids_flairseg.train.synthesis.places import Places, landmarks

Labels = NDArray[np.uint16]
# What is left of the middle plane: numbers left and right, and box.
NUCLEI = (
    ((3, 42), np.s_[6:50, 5:65, 6:68]), ((2, 41), np.s_[16:50, 10:60, 10:60]),
    ((4, 43), np.s_[42:47, 20:50, 40:44]), ((10, 49), np.s_[38:44, 24:36, 28:38]),
    ((13, 52), np.s_[30:34, 36:46, 28:38]), ((12, 51), np.s_[22:26, 28:46, 28:38]),
)  # fmt: skip


@pytest.fixture(scope="module")
def nuclei() -> Labels:
    labels = np.zeros((100, 70, 70), np.uint16)
    for numbers, box in NUCLEI:
        for half, number in zip((labels[:50], labels[50:][::-1]), numbers, strict=True):
            half[box] = number
    labels[40:60, 26:36, 4:14] = 16
    return labels


def grid(labels: Labels) -> NDArray[np.float32]:
    return np.indices(labels.shape).astype(np.float32)


def test_landmarks_are_the_tips_of_the_ventricles_and_what_lies_below_the_splenium() -> None:
    labels = np.zeros((40, 60, 50), np.uint16)
    assert (landmarks(labels) < -100).all()
    labels[10:13, 10:40, 20:23], labels[26:29, 14:44, 20:23] = 4, 43  # y points to the front
    labels[18:21, 16:50, 27:31] = 2
    left_front, left_back, right_front, right_back, between = landmarks(labels)[:5]
    assert left_front == pytest.approx([11, 38.5, 21], abs=1)
    assert left_back == pytest.approx([11, 10.5, 21], abs=1)
    assert right_front == pytest.approx([27, 42.5, 21], abs=1)
    assert right_back == pytest.approx([27, 14.5, 21], abs=1)
    assert between == pytest.approx([19, 22, 26], abs=1)


def test_landmarks_lie_in_the_internal_capsule_the_insula_and_the_cingulum(nuclei: Labels) -> None:
    points = landmarks(nuclei)
    numbers = [int(nuclei[tuple(np.rint(point).astype(int))]) for point in points[5:]]
    assert numbers[:4] == [2, 41, 3, 42]
    assert numbers[4] in lb.CORTEX
    assert 26 < points[5, 0] < 38  # lateral to the thalamus, medial to the putamen
    assert 62 < points[6, 0] < 74
    mirrored = landmarks(nuclei[::-1])
    np.testing.assert_allclose(mirrored[:, 0], 99 - points[:, 0], atol=1.01)
    np.testing.assert_allclose(mirrored[:, 1:], points[:, 1:], atol=0.01)


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
        lesion_example(np.random.default_rng(seed), places, None, shape=(48, 56, 48))
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


def test_the_tract_runs_between_thalamus_and_putamen_alike_on_both_sides(nuclei: Labels) -> None:
    where, points = grid(nuclei), landmarks(nuclei)
    middle = points[[0, 2], 0].mean()
    left, right = (healthy._to_tract(where, point, middle) for point in points[5:7])
    np.testing.assert_allclose(left, right[::-1], atol=1.01)  # landmarks are whole voxels
    for level in range(30, 37):
        x, y = np.unravel_index(left[:, :, level].argmin(), left.shape[:2])
        assert 26 <= x < 38
        assert 24 <= y < 36
    assert (nuclei[left < 2] == 16).any()  # down to the crus
    assert np.argwhere(left < 2)[:, 2].max() > 55  # and up to the cortex


def test_tracts_brighten_white_matter_insula_and_cingulum_cortex(nuclei: Labels) -> None:
    where, points = grid(nuclei), landmarks(nuclei)
    middle = points[[0, 2], 0].mean()
    to_tract = np.minimum(*(healthy._to_tract(where, point, middle) for point in points[5:7]))
    reaches = np.array([healthy.INSULA_MM] * 2 + [healthy.CINGULUM_MM])
    white, cortex = (
        np.isin(nuclei, lb.WHITE + lb.BRAINSTEM + healthy.VENTRAL),
        np.isin(nuclei, lb.CORTEX),
    )
    seen = []
    for seed in range(12):
        image = np.ones(nuclei.shape, np.float32)
        healthy.add_tracts_and_limbic(np.random.default_rng(seed), image, nuclei, where, points)
        assert image.min() == 1
        changed = image > 1.01
        assert (changed <= white | cortex).all()
        assert to_tract[changed & white].max(initial=0) < 2.5 * healthy.TRACT_MM[1]
        voxels = np.argwhere(changed & cortex)[:, None]
        apart = np.linalg.norm((voxels - points[7:]) / reaches, axis=2).min(1)
        assert apart.max(initial=0) < 2.6
        seen.append(((changed & white).any(), (changed & cortex).any()))
    assert (np.any(seen, axis=0) & ~np.all(seen, axis=0)).all()  # each in some heads


def test_tubes_are_long_and_thin_and_rare() -> None:
    for seed in range(4):
        found = tubes(np.random.default_rng(seed), (60, 60, 60), 20.0, 1.5, 1.0) > 0.5
        assert 0.0005 < found.mean() < 0.03
        parts = cc3d.connected_components(found, connectivity=26)
        largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
        thickness = 2 * ndimage.distance_transform_edt(largest).max()
        assert np.ptp(np.argwhere(largest), axis=0).max() > 3 * thickness
        assert largest.sum() > 0.15 * found.sum()

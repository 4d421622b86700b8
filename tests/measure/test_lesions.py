"""Lesions: what belongs together, in which order, and how large."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from bids_flairseg.bids.spec import load_spec
from bids_flairseg.measure.lesions import LESION_COLUMNS, label_lesions, lesion_table
from bids_flairseg.measure.regions import DEEP_WHITE

OBLIQUE = np.array(
    [[-0.7, 0.1, 0.3, 90.0], [0.1, -0.69, 0.6, 100.0], [0.05, 0.1, 4.9, -40.0], [0, 0, 0, 1]]
)


def empty() -> NDArray[np.bool_]:
    return np.zeros((12, 11, 10), dtype=bool)


def test_corners_connect() -> None:
    mask = empty()
    mask[2, 2, 2] = mask[3, 3, 3] = True
    assert label_lesions(mask, voxel_ml=1.0, min_ml=0.0).max() == 1


def test_largest_lesion_is_number_one() -> None:
    mask = empty()
    mask[0, 0, 0] = True
    mask[4:7, 4:7, 4:7] = True
    mask[10, 0, 0:4] = True
    labels = label_lesions(mask, voxel_ml=1.0, min_ml=0.0)
    assert labels.dtype == np.int32
    assert [int((labels == number).sum()) for number in (1, 2, 3)] == [27, 4, 1]
    assert np.array_equal(labels > 0, mask)


@pytest.mark.parametrize("order", ["C", "F"])
def test_equal_lesions_are_numbered_by_position(order: str) -> None:
    mask = np.array(empty(), order="C" if order == "C" else "F")
    mask[1, 9, 9] = mask[5, 1, 1] = mask[5, 1, 8] = True
    labels = label_lesions(mask, voxel_ml=1.0, min_ml=0.0)
    assert [labels[1, 9, 9], labels[5, 1, 1], labels[5, 1, 8]] == [1, 2, 3]


@pytest.mark.parametrize(("min_ml", "kept"), [(0.002, 2), (0.003, 2), (0.0031, 1), (1.0, 0)])
def test_the_smallest_size_is_kept(min_ml: float, kept: int) -> None:
    mask = empty()
    mask[0:3, 0, 0] = True
    mask[6:9, 6:9, 6:9] = True
    assert label_lesions(mask, voxel_ml=0.001, min_ml=min_ml).max() == kept


def test_no_lesions() -> None:
    labels = label_lesions(empty(), voxel_ml=0.001, min_ml=0.0)
    table = lesion_table(labels, np.zeros(labels.shape), np.eye(4), np.zeros_like(labels))
    assert not labels.any()
    assert list(table.columns) == list(LESION_COLUMNS)
    assert table.empty
    assert table["voxels"].sum() == 0


def test_every_column_is_described() -> None:
    columns = load_spec().outputs["lesion_table"].columns
    assert columns is not None
    assert list(columns) == list(LESION_COLUMNS)


def test_table_describes_each_lesion_in_the_world_of_the_scan() -> None:
    mask = empty()
    mask[2:5, 3, 4] = True
    mask[9, 9, 9] = True
    labels = label_lesions(mask, voxel_ml=0.001, min_ml=0.0)
    probability = np.where(labels == 1, 0.8, 0.6)
    table = lesion_table(labels, probability, OBLIQUE, np.full(mask.shape, DEEP_WHITE))
    assert table["index"].tolist() == [1, 2]
    assert table["voxels"].tolist() == [3, 1]
    assert table["region"].tolist() == ["deep_white", "deep_white"]
    assert table["mean_probability"].tolist() == [0.8, 0.6]
    volume = abs(np.linalg.det(OBLIQUE[:3, :3]))
    np.testing.assert_allclose(table["volume_mm3"], [3 * volume, volume], atol=1e-3)
    centroids = table[["centroid_x", "centroid_y", "centroid_z"]].to_numpy()
    expected = [(OBLIQUE @ [3, 3, 4, 1])[:3], (OBLIQUE @ [9, 9, 9, 1])[:3]]
    np.testing.assert_allclose(centroids, expected, atol=0.005)


def test_regions_are_not_invented() -> None:
    labels = np.ones((2, 2, 2), dtype=np.int32)
    assert lesion_table(labels, np.ones((2, 2, 2)), np.eye(4))["region"].tolist() == ["n/a"]


def measured_diameter(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> float:
    labels = mask.astype(np.int32)
    return float(lesion_table(labels, mask.astype(float), affine)["max_diameter_mm"][0])


def test_a_row_of_voxels_is_as_long_as_it_is() -> None:
    mask = empty()
    mask[3:9, 5, 5] = True
    assert measured_diameter(mask, np.diag([2.0, 2.0, 2.0, 1.0])) == 12.0
    assert measured_diameter(mask[3:4], np.diag([2.0, 2.0, 2.0, 1.0])) == 2.0


@pytest.mark.parametrize("shape", [(30, 30, 30), (40, 40, 1), (1, 300, 1), (300, 1, 2)])
def test_the_hull_finds_the_same_diameter_as_all_pairs(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n + 2)[1:-1] for n in shape), indexing="ij"))
    mask = (grid**2).sum(axis=0) < random.uniform(0.5, 1.2, shape)
    positions = np.argwhere(mask) @ OBLIQUE[:3, :3].T
    edge = np.linalg.norm(OBLIQUE[:3, :3], axis=0).min()
    expected = pdist(positions[:: max(len(positions) // 4000, 1)]).max()
    found = measured_diameter(mask, OBLIQUE) - edge
    assert found >= expected - 0.01
    if len(positions) <= 4000:
        assert found == pytest.approx(expected, abs=0.01)


def test_diameter_does_not_depend_on_the_axis_order() -> None:
    mask = empty()
    mask[2:9, 3:5, 4:6] = True
    turned = OBLIQUE[:, [2, 0, 1, 3]]
    assert measured_diameter(mask, OBLIQUE) == measured_diameter(
        mask.transpose(2, 0, 1).copy(), turned
    )

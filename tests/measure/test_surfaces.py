"""Distances between surfaces, against all pairs of voxels and against distance maps."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from bids_flairseg.measure.arrays import voxel_spacing
from bids_flairseg.measure.surfaces import surface_distances


def by_all_pairs(
    first: NDArray[np.bool_], second: NDArray[np.bool_], zooms: list[float]
) -> tuple[float, float]:
    """Compute the same with a loop over neighbours and all pairs of points."""
    points = []
    for mask in (first, second):
        padded = np.pad(mask, 1)
        shifted = [np.roll(padded, step, axis) for axis in range(3) for step in (1, -1)]
        surface = padded & ~np.all(shifted, axis=0)
        points.append(np.argwhere(surface) * zooms)
    table = cdist(points[0], points[1])
    forth, back = table.min(axis=1), table.min(axis=0)
    hausdorff = max(np.percentile(forth, 95), np.percentile(back, 95))
    return float(hausdorff), float(np.concatenate([forth, back]).mean())


@pytest.mark.parametrize("zooms", [[1.0, 1.0, 1.0], [0.5, 0.7, 5.0]])
def test_against_all_pairs(zooms: list[float]) -> None:
    random = np.random.default_rng(1)
    first, second = (ndimage.gaussian_filter(random.random((14, 12, 8)), 1.5) for _ in range(2))
    one, other = first > np.median(first), second > np.quantile(second, 0.7)
    found = surface_distances(one, other, np.diag([*zooms, 1.0]))
    assert found is not None
    expected = by_all_pairs(one, other, zooms)
    assert (found.hausdorff95_mm, found.mean_mm) == pytest.approx(expected)
    assert surface_distances(other, one, np.diag([*zooms, 1.0])) == found


def test_a_shift_is_its_own_distance() -> None:
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[2:5, 2:5, 3] = True
    shifted = np.roll(mask, 4, axis=2)
    found = surface_distances(mask, shifted, np.diag([1.0, 1.0, 3.0, 1.0]))
    assert found is not None
    assert (found.hausdorff95_mm, found.mean_mm) == pytest.approx((12.0, 12.0))


def test_nothing_has_no_distance_and_the_same_has_none() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    assert surface_distances(mask, ~mask, np.eye(4)) is None
    same = surface_distances(~mask, ~mask, np.eye(4))
    assert same is not None
    assert (same.hausdorff95_mm, same.mean_mm) == (0.0, 0.0)


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 2, 1)])
def test_real_masks_against_distance_maps(shared_data: Path, shift: tuple[int, ...]) -> None:
    folder = shared_data / "openms-bids/derivatives/manual/sub-cs26/anat"
    image = nib.Nifti1Image.from_filename(folder / "sub-cs26_label-lesion_mask.nii.gz")
    mask = np.asarray(image.dataobj) > 0
    other = ndimage.binary_dilation(np.roll(mask, shift, (0, 1, 2)))
    spacing = voxel_spacing(image.affine)
    surfaces = [m & ~ndimage.binary_erosion(m) for m in (mask, other)]
    maps = [ndimage.distance_transform_edt(~s, sampling=spacing) for s in surfaces]
    forth, back = maps[1][surfaces[0]], maps[0][surfaces[1]]
    found = surface_distances(mask, other, image.affine)
    assert found is not None
    hausdorff = max(np.percentile(forth, 95), np.percentile(back, 95))
    assert found.hausdorff95_mm == pytest.approx(hausdorff)
    assert found.mean_mm == pytest.approx(np.concatenate([forth, back]).mean())

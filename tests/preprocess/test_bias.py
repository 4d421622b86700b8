"""N4 removes a smooth field and leaves the tissues."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess import bias
from bids_flairseg.preprocess.bias import correct_bias
from bids_flairseg.preprocess.grid import new_image, voxels


def brain() -> tuple[nib.Nifti1Image, NDArray[np.bool_]]:
    """Draw two tissues under a field that doubles from left to right; 8 thick slices."""
    shape, zooms = (40, 44, 8), np.array([3.0, 3.0, 12.0])
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    radius = np.linalg.norm((index - (np.array(shape) - 1) / 2) * zooms, axis=-1)
    field = 1 + np.linspace(-0.33, 0.33, shape[0])[:, None, None]
    data = np.where(radius < 55, 100.0, 0) + np.where(radius < 30, 30.0, 0)
    return new_image((data * field).astype(np.float32), np.diag([*zooms, 1.0])), radius < 50


@pytest.mark.slow
def test_the_field_goes_and_the_mean_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bias, "ITERATIONS", (10, 10))
    image, mask = brain()
    tissue = mask & (voxels(image) > 0)

    corrected = correct_bias(image, mask)

    def tilt(data: NDArray[np.float32]) -> float:
        left, right = data[:20][tissue[:20]].mean(), data[20:][tissue[20:]].mean()
        return float(right / left)

    assert tilt(voxels(image)) > 1.2
    assert abs(tilt(voxels(corrected)) - 1) < 0.05
    assert voxels(corrected)[mask].mean() == pytest.approx(voxels(image)[mask].mean(), rel=1e-4)
    assert np.isfinite(voxels(corrected)).all()
    np.testing.assert_array_equal(corrected.affine, image.affine)
    np.testing.assert_array_equal(voxels(correct_bias(image, mask)), voxels(corrected))


def test_a_brain_without_signal_is_refused() -> None:
    image, mask = brain()

    with pytest.raises(InputError, match="above zero in the brain"):
        correct_bias(new_image(-voxels(image), image.affine), mask)

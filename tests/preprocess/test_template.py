"""Standard space: a brain comes to lie on the template, and right stays right."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.grid import new_image, voxels
from bids_flairseg.preprocess.template import load_template, match_template, to_template
from tests.conftest import rotation

# From the template to a smaller and turned head, in RAS mm.
HEAD = np.eye(4)
HEAD[:3, :3] = rotation(9, 0) @ rotation(-6, 2) @ rotation(5, 1) @ np.diag([0.93, 0.97, 0.9])
HEAD[:3, 3] = (12, -7, 20)
#: A spot in the right hemisphere of the template, mm.
SPOT = np.array([32.0, -20.0, 24.0])


def ball(
    affine: NDArray[np.float64], shape: tuple[int, ...], centre: NDArray[np.float64]
) -> nib.Nifti1Image:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    far = ((grid @ affine[:3, :3].T + affine[:3, 3] - centre) ** 2).sum(axis=-1)
    return new_image((far < 6.0**2).astype(np.uint8), affine)


def centre_of(share: NDArray[np.float32]) -> NDArray[np.float64]:
    places = np.indices(share.shape).reshape(3, -1)
    middle = places @ share.ravel() / share.sum()
    affine = np.asarray(load_template().affine)
    return np.asarray(affine[:3, :3] @ middle + affine[:3, 3])


def test_the_template_is_a_brain_with_alike_halves() -> None:
    template = load_template()
    data = voxels(template)
    assert nib.aff2axcodes(template.affine) == ("R", "A", "S")
    assert 1600 < (data > 0).sum() * 8 / 1000 < 2400  # ml, sulci and cisterns inside
    middle = round(-float(template.affine[0, 3]) / 2)  # column of x = 0
    left, right = data[middle - 30 : middle][::-1], data[middle + 1 : middle + 31]
    assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "ILA"])
def test_a_spot_goes_where_the_affine_says_however_the_mask_is_stored(axes: str) -> None:
    grid = HEAD @ np.diag([1.5, 1.0, 3.0, 1.0])
    grid[:3, 3] = HEAD[:3, :3] @ (SPOT - (24, 18, 18)) + HEAD[:3, 3]
    there = HEAD[:3, :3] @ SPOT + HEAD[:3, 3]
    mask = ball(grid, (36, 40, 14), there)
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    share = to_template(mask.as_reoriented(turn), np.asarray(np.linalg.inv(HEAD), np.float64))
    assert np.abs(centre_of(share) - SPOT).max() < 0.5
    volume = float(np.asarray(mask.dataobj).sum()) * abs(np.linalg.det(grid[:3, :3]))
    grown = volume / abs(np.linalg.det(HEAD[:3, :3]))
    assert share.sum() * 8 == pytest.approx(grown, rel=0.05)


def test_an_image_without_brain_is_refused() -> None:
    with pytest.raises(InputError, match="expected a brain"):
        match_template(new_image(np.zeros((20, 20, 20), np.float32), np.eye(4)))


@pytest.mark.slow
def test_a_turned_head_of_another_contrast_is_found_and_not_mirrored() -> None:
    template = load_template()
    inside = voxels(template) > 0
    noise = np.random.default_rng(0).normal(0, 25, inside.shape)
    data = np.where(inside, voxels(template) ** 1.4 * 700 + noise, 0).astype(np.float32)
    found = match_template(new_image(data, HEAD @ np.asarray(template.affine)))
    points = np.argwhere(inside)[::500] @ template.affine[:3, :3].T + template.affine[:3, 3]
    whole = found.affine @ HEAD  # back to where it was
    gone = np.linalg.norm(points @ whole[:3, :3].T + whole[:3, 3] - points, axis=1)
    assert gone.mean() < 0.5  # mm
    assert found.overlap > 0.97

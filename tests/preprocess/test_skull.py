"""Of three ways to a brain mask the one that fits is taken, and named."""

from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess import skull
from bids_flairseg.preprocess.grid import conform, new_image, resample, restore, voxels
from bids_flairseg.preprocess.skull import find_brain
from tests.conftest import MakeImage

Array = NDArray[np.float32]


def drawn_brain(head: nib.Nifti1Image) -> nib.Nifti1Image:
    """Return the mask of the drawn head's brain."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in head.shape), indexing="ij"), axis=-1)
    place = nib.affines.apply_affine(head.affine, index) / (66.0, 80.0, 64.0)
    return new_image((place**2).sum(-1) < 0.84**2, np.asarray(head.affine))


def network(brain: nib.Nifti1Image) -> Callable[[Array], Array]:
    """Return a network that sees this brain wherever it looks."""
    coarse = voxels(resample(new_image(voxels(brain), np.asarray(brain.affine)), 2.0))

    def predict(volume: Array) -> Array:
        if any(edge < least for edge, least in zip(volume.shape, coarse.shape, strict=True)):
            return nothing(volume)  # asked about a turned head
        before = [(wide - edge) // 2 for wide, edge in zip(volume.shape, coarse.shape, strict=True)]
        where = tuple(slice(low, low + n) for low, n in zip(before, coarse.shape, strict=True))
        brain = np.zeros(volume.shape, np.float32)
        brain[where] = coarse
        probabilities = np.zeros((*volume.shape, 7), np.float32)
        probabilities[..., 0], probabilities[..., 2] = 1 - brain, brain
        return probabilities

    return predict


def nothing(volume: Array) -> Array:
    """Be a network that sees no brain."""
    return np.broadcast_to(np.eye(7, dtype=np.float32)[0], (*volume.shape, 7))


@pytest.fixture
def head(make_image: MakeImage) -> nib.Nifti1Image:
    """Give a head of 3 mm voxels."""
    return make_image((54, 62, 50), (3.0, 3.0, 3.0), tilt=8)


def dice(one: nib.Nifti1Image, other: nib.Nifti1Image) -> float:
    first, second = voxels(one) > 0, voxels(other) > 0
    return float(2 * np.sum(first & second) / (first.sum() + second.sum()))


def test_a_head_gets_the_network_s_brain(head: nib.Nifti1Image) -> None:
    found = find_brain(head, network(drawn_brain(head)))

    assert found.source == "network"
    assert dice(found.mask, drawn_brain(head)) > 0.98
    np.testing.assert_array_equal(voxels(found.classes) > 0, voxels(found.mask) > 0)


@pytest.mark.parametrize("blind", [False, True])
def test_a_stripped_brain_keeps_all_of_its_voxels(head: nib.Nifti1Image, blind: bool) -> None:
    truth = drawn_brain(head)
    image = new_image(voxels(head) * voxels(truth), np.asarray(head.affine))

    found = find_brain(image, nothing if blind else network(truth))

    assert found.source == "stripped"
    np.testing.assert_array_equal(found.mask.dataobj, truth.dataobj)


def test_a_supplied_mask_is_taken_from_any_grid(
    head: nib.Nifti1Image, make_image: MakeImage
) -> None:
    other = drawn_brain(make_image((70, 80, 66), (2.5, 2.5, 2.5), axes="PIR"))

    found = find_brain(head, nothing, supplied=other)

    assert found.source == "resampled"
    assert "70 voxels of 2.5 x 2.5 x 2.5 mm) lies on another grid" in found.warnings[0]
    assert dice(found.mask, restore(conform(other), head, order=0)) == 1
    assert dice(found.mask, drawn_brain(head)) > 0.95


def test_a_large_bright_tumour_stays_in_a_stripped_brain(head: nib.Nifti1Image) -> None:
    truth = voxels(drawn_brain(head)) > 0
    index = np.stack(np.meshgrid(*(np.arange(n) for n in head.shape), indexing="ij"), axis=-1)
    place = nib.affines.apply_affine(head.affine, index)
    tumour = truth & (np.linalg.norm(place - (22, 0, 8), axis=-1) < 38)  # 200 ml and more
    data = np.where(tumour, 1.8 * np.median(voxels(head)[truth]), voxels(head)) * truth
    image = new_image(data.astype(np.float32), np.asarray(head.affine))
    seen = new_image(truth & ~tumour, np.asarray(head.affine))  # a network blind to it

    found = find_brain(image, network(seen))

    assert found.source == "stripped"
    np.testing.assert_array_equal(voxels(found.mask) > 0, truth)


@pytest.mark.parametrize(
    ("shift_mm", "turn", "source"),
    [(0.0, False, "supplied"), (0.05, True, "supplied"), (0.5, False, "resampled")],
)
def test_a_supplied_mask_on_another_grid_is_told(
    head: nib.Nifti1Image, shift_mm: float, turn: bool, source: str
) -> None:
    brain = drawn_brain(head)
    affine = np.asarray(head.affine).copy()
    affine[0, 3] += shift_mm
    mask = nib.Nifti1Image(np.asarray(brain.dataobj), affine)
    if turn:  # the same voxels in another order
        mask = mask.as_reoriented(np.array([[2, -1], [0, 1], [1, 1]]))

    found = find_brain(head, nothing, supplied=mask)

    assert found.source == source
    assert len(found.warnings) == (source == "resampled")


def test_no_brain_and_a_mask_elsewhere_are_said(head: nib.Nifti1Image) -> None:
    away = np.asarray(head.affine).copy()
    away[:3, 3] += 500

    said = r"found 0 ml of brain\. .* supply a mask .* 54 x 62 x 50 voxels of 3 x 3 x 3 mm\.$"
    with pytest.raises(InputError, match=said):
        find_brain(head, nothing)
    given = find_brain(head, nothing, supplied=drawn_brain(head))
    assert dice(given.mask, drawn_brain(head)) == 1
    with pytest.raises(InputError, match="Check that both lie in the same space"):
        find_brain(head, nothing, supplied=new_image(voxels(drawn_brain(head)), away))


def test_only_a_whole_brain_is_asked_how_it_lies(
    head: nib.Nifti1Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skull, "orientation_hints", lambda *_: ("lies oddly",))
    assert find_brain(head, network(drawn_brain(head))).warnings == ("lies oddly",)

    upper = head.slicer[:, :, head.shape[2] // 2 :]
    assert find_brain(upper, network(drawn_brain(upper))).warnings == ()

"""Two mask files: the same place in the head counts, not the same place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.bids.masks import Mask
from bids_flairseg.errors import InputError
from bids_flairseg.group.pairs import compare_files
from bids_flairseg.measure.regions import REGIONS
from bids_flairseg.preprocess.mask import GridError
from tests.group.conftest import AFFINE, SHAPE, lesion, save

VOXEL_ML = abs(np.linalg.det(AFFINE[:3, :3])) / 1000


def dice_of(predicted: Path, reference: Path) -> float | None:
    return compare(predicted, reference)["dice"]


def compare(predicted: Path, *references: Path) -> Mapping[str, float | None]:
    masks = [Mask(path, {}) for path in references]
    return compare_files(Mask(predicted, {}), masks).values


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    return save(tmp_path / "predicted.nii.gz", lesion())


def test_numbers(tmp_path: Path, predicted: Path) -> None:
    half = lesion()
    half[:, :, 5:] = 0
    result = compare(predicted, save(tmp_path / "half.nii", half))
    assert result["dice"] == pytest.approx(2 * 12 / (24 + 12))
    assert result["predicted_volume_ml"] == pytest.approx(24 * VOXEL_ML)
    assert result["reference_volume_ml"] == pytest.approx(12 * VOXEL_ML)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAL", "PIR"])
def test_axes_in_another_order_are_the_same_grid(
    tmp_path: Path, predicted: Path, axes: str
) -> None:
    image = nib.Nifti1Image(lesion(), AFFINE)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(axes)
    )
    path = tmp_path / "turned.nii.gz"
    nib.save(image.as_reoriented(turn), path)
    assert dice_of(predicted, path) == 1.0


def test_a_mirrored_mask_is_another_mask(tmp_path: Path, predicted: Path) -> None:
    path = save(tmp_path / "mirrored.nii", lesion()[::-1])
    assert dice_of(predicted, path) == 0.0


@pytest.mark.parametrize("value", [1, 255, 7])
def test_any_number_may_mean_lesion(tmp_path: Path, predicted: Path, value: int) -> None:
    path = save(tmp_path / "mask.nii", lesion() * np.float32(value))
    assert dice_of(predicted, path) == 1.0


def test_numbered_lesions_are_a_mask(tmp_path: Path, predicted: Path) -> None:
    numbered = lesion().astype(np.int16)
    numbered[2] *= 2
    assert dice_of(predicted, save(tmp_path / "n.nii", numbered)) == 1.0


def test_one_trailing_volume_is_a_mask(tmp_path: Path, predicted: Path) -> None:
    assert dice_of(predicted, save(tmp_path / "n.nii", lesion()[..., None])) == 1.0


def test_rounding_of_headers_is_forgiven(tmp_path: Path, predicted: Path) -> None:
    nearly = AFFINE.copy()
    nearly[:3, 3] += 0.01
    assert dice_of(predicted, save(tmp_path / "n.nii", lesion(), nearly)) == 1.0


def moved() -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[0, 3] += 1.0
    return affine


@pytest.mark.parametrize(
    ("data", "affine"),
    [(lesion(), moved()), (lesion()[1:], AFFINE), (lesion(), AFFINE * [[1.1], [1], [1], [1]])],
)
def test_another_grid_is_refused(
    tmp_path: Path, predicted: Path, data: NDArray[np.uint8], affine: NDArray[np.float64]
) -> None:
    with pytest.raises(GridError, match=r"other\.nii: expected the grid of the FLAIR"):
        compare(predicted, save(tmp_path / "other.nii", data, affine))


def test_probabilities_are_no_mask(tmp_path: Path, predicted: Path) -> None:
    random = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    with pytest.raises(InputError, match="Threshold"):
        compare(predicted, save(tmp_path / "p.nii", random))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x1f\x8b\x08\x00broken"])
def test_a_damaged_file_is_refused(tmp_path: Path, predicted: Path, content: bytes) -> None:
    path = tmp_path / "damaged.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.nii\.gz: expected a NIfTI image"):
        compare(predicted, path)


def test_a_truncated_file_is_refused(tmp_path: Path, predicted: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2, SHAPE, dtype=np.uint8)
    path = save(tmp_path / "cut.nii.gz", noise)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="cannot be read"):
        compare(predicted, path)


def test_several_volumes_are_refused(tmp_path: Path, predicted: Path) -> None:
    path = save(tmp_path / "four.nii", np.stack([lesion(), lesion()], axis=-1))
    with pytest.raises(InputError, match="Take one volume"):
        compare(predicted, path)


def test_the_majority_of_raters_counts(tmp_path: Path, predicted: Path) -> None:
    wide = lesion()
    wide[1:6] = lesion()[1:2]
    drawn = (lesion(), lesion(), wide)
    raters = [save(tmp_path / f"{n}.nii", data) for n, data in enumerate(drawn)]
    assert compare(predicted, *raters)["dice"] == 1.0
    assert compare(predicted, raters[0], raters[2])["dice"] == 1.0  # both marked it
    assert compare(predicted, raters[2])["dice"] != 1.0


def test_labels_and_thresholds_of_other_tools(tmp_path: Path, predicted: Path) -> None:
    classes = save(tmp_path / "classes.nii", lesion() * np.uint8(18) + np.uint8(1))
    chosen = compare_files(Mask(predicted, {}), [Mask(classes, {}, labels=(19,))])
    assert chosen.values["dice"] == 1.0
    soft = save(tmp_path / "soft.nii", lesion() * np.float32(0.4) + np.float32(0.2))
    cut = compare_files(Mask(predicted, {}), [Mask(soft, {}, threshold=0.5)])
    assert cut.values["dice"] == 1.0


@pytest.mark.parametrize("axes", ["RAS", "PIR"])
def test_lesions_of_both_masks_have_regions(tmp_path: Path, axes: str) -> None:
    missed = lesion()
    missed[7:9, 7:9, 0:2] = 1
    places = np.zeros(SHAPE, np.uint8)
    places[:5], places[6:] = REGIONS.index("periventricular"), REGIONS.index("deep_white")
    image = nib.Nifti1Image(places, AFFINE)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(axes)
    )
    regions = tmp_path / "a_seg-regions_dseg.nii.gz"
    nib.save(image.as_reoriented(turn), regions)
    masks = [
        Mask(save(tmp_path / f"{name}.nii", data), {})
        for name, data in (("found", lesion()), ("true", missed))
    ]
    rows = compare_files(masks[0], masks[1:], regions=regions).lesions
    found = {(row["mask"], row["region"], row["found_any"]) for row in rows}
    assert found == {
        ("reference", "periventricular", True),
        ("reference", "deep_white", False),
        ("predicted", "periventricular", True),
    }
    for broken in (b"", b"no image"):
        regions.write_bytes(broken)
        rows = compare_files(masks[0], masks[1:], regions=regions).lesions
        assert {row["region"] for row in rows} == {None}

"""An unremarkable scan draws no hint, each defect draws its own."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.preprocess.brain import stripped_mask
from bids_flairseg.preprocess.grid import conform, new_image, voxels
from bids_flairseg.preprocess.image import load_flair
from bids_flairseg.preprocess.quality import quality_hints

Scan = tuple[nib.Nifti1Image, NDArray[np.bool_]]
ZOOMS = np.array([3.0, 3.0, 4.0])


def scan(
    shape: tuple[int, int, int] = (64, 70, 46), *, contrast: float = 0.12, noise: float = 0.03,
    size: float = 68,
) -> Scan:  # fmt: skip
    """Draw a brain of two tissues, 1.3 litres unless told otherwise."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    place = (index - (np.array(shape) - 1) / 2) * ZOOMS
    mask: NDArray[np.bool_] = np.linalg.norm(place, axis=-1) < size
    white = np.linalg.norm(place, axis=-1) < size * 0.8
    rng = np.random.default_rng(0)
    data = np.where(mask, 100 * (1 + contrast * (1 - 2 * white)), 0)
    data += rng.normal(0, noise * 100, shape)
    magnitude = np.abs(data).astype(np.float32)
    return new_image(magnitude, np.diag([*ZOOMS, 1.0])), mask


def part(drawn: Scan, *where: slice) -> Scan:
    image, mask = drawn
    return new_image(voxels(image)[where], np.asarray(image.affine)), mask[where]


ALL = slice(None)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (scan(), []),
        (scan(contrast=0.035, noise=0.005), ["Low contrast"]),
        (scan(contrast=0.01, noise=0.02), ["No structure"]),
        (scan(contrast=0.0, noise=0.12), ["No structure"]),  # its grain has contrast enough
        (scan(noise=0.4), ["Noisy"]),
        (scan(size=45), ["The brain mask has 38"]),
        (scan(size=84), ["The brain mask has 24"]),
        (part(scan(), ALL, ALL, slice(0, 30)), ["cuts the brain at the top (125 cm²): lesions"]),
        (part(scan(), ALL, ALL, slice(16, None)), ["cuts the brain at the bottom"]),
        (part(scan(), slice(18, None)), ["cuts the brain at the left"]),
        (part(scan(), ALL, slice(0, 48)), ["cuts the brain at the front"]),
        (
            part(scan(), ALL, ALL, slice(20, 25)),
            ["only 20 mm long (bottom-top)", "at the bottom", "at the top"],
        ),
    ],
)
def test_each_defect_has_its_hint(drawn: Scan, expected: list[str]) -> None:
    hints = quality_hints(*drawn)

    assert len(hints) == len(expected)
    for hint, start in zip(hints, expected, strict=True):
        assert start in hint


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (50.0, -400.0)])
def test_the_scale_of_intensities_does_not_matter(gain: float, offset: float) -> None:
    for contrast, noise in ((0.12, 0.03), (0.01, 0.02), (0.12, 0.4)):
        image, mask = scan(contrast=contrast, noise=noise)
        other = new_image(voxels(image) * np.float32(gain) + np.float32(offset), image.affine)
        assert len(quality_hints(other, mask)) == len(quality_hints(image, mask))


def test_a_dark_brain_is_doubted() -> None:
    image, mask = scan()
    inverse = new_image(np.where(mask, 0, 100 + voxels(image)), image.affine)

    assert any("is this a FLAIR?" in hint for hint in quality_hints(inverse, mask))


def test_an_empty_mask_is_small() -> None:
    image, mask = scan()

    assert quality_hints(image, np.zeros_like(mask)) == (
        "The brain mask has 0 ml, usual are 700 to 2100: check its outline in the report.",
    )


def test_real_scans_are_unremarkable(shared_data: Path) -> None:
    for subject in ("cs07", "cs19"):
        folder = shared_data / "openms-bids" / f"sub-{subject}" / "anat"
        image = conform(load_flair(folder / f"sub-{subject}_FLAIR.nii.gz").image)
        assert quality_hints(image, voxels(stripped_mask(image)) > 0) == ()

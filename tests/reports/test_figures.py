"""Figures show what is there, where it is, and on the side where it is."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.reports.figures import draw_brain, draw_largest, draw_lesions
from bids_flairseg.reports.panels import WIDTH
from bids_flairseg.reports.views import load
from tests.reports.heads import SHAPE, make_head
from tests.reports.svg import Panel, panels_of

GRIDS = [("RAS", 0.0), ("LAS", 0.0), ("LPI", 0.0), ("PIR", 0.0), ("SLP", 14.0), ("RAS", -20.0)]


def lesion_panels(panels: list[Panel]) -> list[Panel]:
    """Keep the panels on which a lesion is outlined."""
    return [panel for panel in panels if panel.outlines]


@pytest.mark.parametrize(("axes", "tilt"), GRIDS)
def test_outlines_enclose_exactly_the_bright_pixels(axes: str, tilt: float) -> None:
    flair, brain, lesions = make_head(axes=axes, tilt=tilt)
    panels = lesion_panels(panels_of(draw_lesions(flair, lesions, brain)))
    assert {number for panel in panels for number in panel.outlines} == {1, 2}
    for panel in panels:
        outlined = np.any([panel.filled(number) for number in panel.outlines], axis=0)
        bright = panel.pixels > 128
        assert np.array_equal(outlined, bright)
        # What this test is worth: no flip and no shift by a pixel would pass.
        for wrong in (outlined[:, ::-1], outlined[::-1], np.roll(outlined, 1, axis=1)):
            assert not np.array_equal(wrong, bright)


@pytest.mark.parametrize(("axes", "tilt"), GRIDS)
def test_left_is_left_and_front_is_up(axes: str, tilt: float) -> None:
    flair, brain, lesions = make_head(axes=axes, tilt=tilt)
    for panel in lesion_panels(panels_of(draw_lesions(flair, lesions, brain))):
        assert panel.texts[:2] == ["L", "R"]
        for number in panel.outlines:
            rows, columns = np.nonzero(panel.filled(number))
            on_the_right = columns.mean() + 0.5 > panel.pixels.shape[1] / 2
            at_the_back = rows.mean() + 0.5 > panel.pixels.shape[0] / 2
            assert on_the_right == at_the_back == (number == 1)


@pytest.mark.parametrize(("axes", "tilt"), GRIDS)
def test_three_planes_agree_on_the_place_of_the_largest_lesion(axes: str, tilt: float) -> None:
    panels = panels_of(draw_largest(*_with_lesions(axes, tilt)))
    axial, coronal, sagittal = panels[1], panels[3], panels[5]
    middles = []
    for panel in (axial, coronal, sagittal):
        rows, columns = np.nonzero(panel.filled(1))
        height, width = panel.pixels.shape
        middles.append(((columns.mean() + 0.5) / width - 0.5, 0.5 - (rows.mean() + 0.5) / height))
    (x, y), (x_again, z), (y_again, z_again) = middles
    assert (x, y, z) == pytest.approx((x_again, y_again, z_again))
    assert x > 0.1
    assert y < -0.1
    assert z > 0.1
    assert sagittal.texts[:2] == ["P", "A"]
    assert sagittal.texts[2].endswith("right")


def _with_lesions(axes: str, tilt: float) -> tuple[nib.Nifti1Image, ...]:
    flair, brain, lesions = make_head(axes=axes, tilt=tilt)
    return flair, lesions, brain


def test_the_largest_lesion_is_shown_without_and_with_outline_and_crosshair() -> None:
    panels = panels_of(draw_largest(*_with_lesions("LAS", 0.0)))
    assert len(panels) == 8
    for plain, drawn in zip(panels[::2], panels[1::2], strict=True):
        assert np.array_equal(plain.pixels, drawn.pixels)
        assert not plain.outlines
        assert not plain.crosshair
        assert 1 in drawn.outlines
    for panel in panels[1:6:2]:
        points = np.array(re.findall(r"[\d.]+", panel.crosshair or ""), float).reshape(-1, 2)
        x, y = np.median(points, axis=0) / panel.scale / panel.pixel
        assert panel.filled(1)[int(y), int(x)]
        assert (x % 1, y % 1) == pytest.approx((0.5, 0.5), abs=0.02)


@pytest.mark.parametrize("zooms", [(6.0, 6.0, 6.0), (6.0, 5.0, 9.0), (3.0, 3.0, 18.0)])
def test_pixels_have_the_shape_of_voxels(zooms: tuple[float, float, float]) -> None:
    flair, brain, _ = make_head(zooms)
    panels = panels_of(draw_brain(flair, brain))
    for panel, (across, down) in ((panels[0], (0, 1)), (panels[10], (0, 2)), (panels[15], (1, 2))):
        assert panel.pixel[0] / panel.pixel[1] == pytest.approx(
            zooms[across] / zooms[down], rel=0.01
        )


def test_all_panels_of_a_mosaic_have_one_scale_and_fit_the_width() -> None:
    flair, brain, _ = make_head()
    figure = draw_brain(flair, brain)
    panels = panels_of(figure)
    per_mm = [panel.scale / min(edges) for panel, edges in zip(panels, _edges(), strict=True)]
    assert per_mm == pytest.approx([per_mm[0]] * len(panels), rel=1e-3)
    assert max(panel.size[0] * panel.scale for panel in panels) <= WIDTH / 5
    assert ET.fromstring(figure).attrib["viewBox"].startswith(f"0 0 {WIDTH} ")


def _edges() -> list[tuple[float, float]]:
    return [(6.0, 5.0)] * 10 + [(6.0, 7.0)] * 5 + [(5.0, 7.0)] * 5


def test_the_brain_outline_encloses_the_brain() -> None:
    flair, brain, _ = make_head(axes="PSL", lesions=False)
    panels = panels_of(draw_brain(flair, brain))
    assert len(panels) == 20
    for panel in panels:
        # The whole brain has one intensity, drawn as a middle gray.
        assert np.array_equal(panel.filled(0), panel.pixels > 64)
        assert panel.filled(0).any()


def test_a_hundred_lesions_are_all_outlined_and_numbered() -> None:
    shape = (60, 70, 50)
    labels = np.zeros(shape, dtype=np.int32)
    places = np.stack(
        np.unravel_index(np.random.default_rng(1).permutation(10 * 11 * 8), (10, 11, 8))
    )
    for number, place in enumerate(places.T[:100] * 6 + 2, start=1):
        x, y, z = place
        labels[x : x + 2, y : y + 3, z : z + 2] = number
    flair = nib.Nifti1Image(np.where(labels, 200, 50).astype(np.int16), np.diag([3.0, 3, 3, 1]))
    panels = panels_of(draw_lesions(flair, nib.Nifti1Image(labels, flair.affine)))
    expected = set(range(1, 101))
    assert {number for panel in panels for number in panel.outlines} == expected
    assert {number for panel in panels for number in panel.numbers} == expected
    assert len(panels) <= 15


def test_thick_slices_are_looked_at_along_their_own_axis() -> None:
    flair, brain, lesions = make_head((3.0, 18.0, 3.0), axes="RSA")
    figure = draw_lesions(flair, lesions, brain)
    assert "coronal" in ET.fromstring(figure).attrib["aria-label"]
    # Acquired slices: pixels are square, as they were within the slice.
    assert panels_of(figure)[0].pixel == pytest.approx((1.0, 1.0))


def test_without_lesions_the_brain_is_shown_without_outlines() -> None:
    flair, brain, lesions = make_head(lesions=False)
    figure = draw_lesions(flair, lesions, brain)
    assert not lesion_panels(panels_of(figure))
    assert "no lesion" in figure
    with pytest.raises(ValueError, match="lesion with the number 1"):
        draw_largest(flair, lesions, brain)


def test_a_mask_of_another_grid_is_refused() -> None:
    flair, brain, _ = make_head()
    moved = nib.Nifti1Image(np.asanyarray(brain.dataobj), brain.affine + np.eye(4)[:, [3, 0, 1, 2]])
    with pytest.raises(ValueError, match="voxels of the FLAIR"):
        draw_brain(flair, moved)


@pytest.mark.parametrize("value", [0, 7])
def test_an_image_without_contrast_is_drawn(value: int) -> None:
    flair = nib.Nifti1Image(np.full(SHAPE, value, dtype=np.int16), np.eye(4))
    empty = nib.Nifti1Image(np.zeros(SHAPE, dtype=np.uint8), np.eye(4))
    assert len(panels_of(draw_brain(flair, empty))) == 20
    assert panels_of(draw_lesions(flair, empty, empty))


def test_images_are_stored_as_they_come_and_seen_upright() -> None:
    reference = load(make_head()[0])
    for axes, _ in GRIDS:
        turned = load(make_head(axes=axes)[0])
        assert np.array_equal(turned.flair, reference.flair)
        assert np.allclose(turned.grid.affine, reference.grid.affine)
        assert turned.grid.position(0, 3) == pytest.approx((3 - 11.5) * 6.0)


def test_real_lesions_are_all_shown_in_little_space(shared_data: Path) -> None:
    folder = shared_data / "openms-bids"
    flair = nib.Nifti1Image.from_filename(folder / "sub-cs07" / "anat" / "sub-cs07_FLAIR.nii.gz")
    manual = folder / "derivatives" / "manual" / "sub-cs07" / "anat"
    mask = nib.Nifti1Image.from_filename(manual / "sub-cs07_label-lesion_mask.nii.gz")
    labels = np.asanyarray(mask.dataobj).astype(np.int32)
    labels[:, :, labels.shape[2] // 2 :] *= 2  # two "lesions" are enough here
    lesions = nib.Nifti1Image(labels, mask.affine)
    brain = nib.Nifti1Image((np.asanyarray(flair.dataobj) > 0).astype(np.uint8), flair.affine)
    figure = draw_lesions(flair, lesions, brain)
    assert {number for panel in panels_of(figure) for number in panel.numbers} == {1, 2}
    assert len(figure) < 500_000

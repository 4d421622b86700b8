"""The demo dataset: valid, repeatable, and what it says was put in is in it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_flairseg.demo.__main__ import main
from bids_flairseg.demo.compare import compare
from bids_flairseg.demo.dataset import PLANS, REFERENCE, draw_scan, make_dataset, scan_affine
from bids_flairseg.demo.head import Template, cavity_depth, load_template, smooth_noise
from bids_flairseg.demo.lesions import LesionPlan, find_places, place_lesions
from bids_flairseg.errors import MissingInputError

# The same heads, seen through few large voxels.
SMALL = tuple(
    replace(plan, zooms=(5.0, 5.0, 5.0), shape=(44, 48, 44), lesions=plan.lesions[:1])
    for plan in PLANS
)


@pytest.fixture(scope="module")
def template() -> Template:
    """Give the tissue maps."""
    return load_template()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the small form of the dataset."""
    root = tmp_path_factory.mktemp("demo") / "bids"
    make_dataset(root, plans=SMALL)
    return root


def test_bids_validator_finds_no_error(dataset: Path) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [str(validator), "--recursive", str(dataset)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "[ERROR]" not in result.stdout


def test_same_seed_gives_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path, plans=SMALL[:1])
    for file in sorted(tmp_path.rglob("*.nii.gz")):
        assert file.read_bytes() == (dataset / file.relative_to(tmp_path)).read_bytes()


def test_another_seed_gives_another_head(template: Template) -> None:
    first, second = (
        draw_scan(template, SMALL[0], np.random.default_rng(seed))[0].get_fdata() for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_masks_lie_on_bright_tissue(template: Template) -> None:
    image, mask = draw_scan(template, SMALL[1], np.random.default_rng(1))
    data, inside = image.get_fdata(), mask.get_fdata() > 0
    assert np.array_equal(image.affine, mask.affine)
    assert inside.any()
    around = ndimage.binary_dilation(inside, iterations=3) & ~ndimage.binary_dilation(inside)
    assert np.median(data[inside]) > 1.2 * np.median(data[around])


def test_scan_without_plan_has_no_lesion(template: Template) -> None:
    _, mask = draw_scan(template, SMALL[2], np.random.default_rng(1))
    assert not mask.get_fdata().any()


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_stored_axes_and_zooms_are_those_planned(plan: object) -> None:
    scan = PLANS[[p is plan for p in PLANS].index(True)]
    affine = scan_affine(scan)
    assert "".join(nib.orientations.aff2axcodes(affine)) == scan.axes
    assert nib.affines.voxel_sizes(affine) == pytest.approx(scan.zooms)


def test_depth_is_positive_inside_and_grows_by_one_per_mm() -> None:
    tissue = np.zeros((80, 80, 80), dtype=np.float32)
    tissue[20:60, 20:60, 20:60] = 1
    depth = cavity_depth(tissue)
    line = depth[:, 40, 40]
    assert line[40] > 0 > line[5]
    assert np.diff(line[5:15]) == pytest.approx(1, abs=0.1)
    assert abs(line[20]) < 2.5


def test_smooth_noise_is_standardised_and_smooth() -> None:
    field = smooth_noise((40, 30, 20), 4, np.random.default_rng(0))
    assert field.shape == (40, 30, 20)
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(np.diff(field, axis=0)).max() < 0.6


def test_lesions_lie_in_tissue_where_planned(template: Template) -> None:
    places = find_places(template)
    assert all(len(voxels) > 50 for voxels in places.values())
    for place in places:
        share = place_lesions(template, (LesionPlan(place, 1, 4.0),), np.random.default_rng(3))
        centre = np.array(ndimage.center_of_mass(share))
        assert share.max() > 0.9
        assert (share <= template.grey + template.white + 1e-6).all()
        assert np.linalg.norm(places[place] - centre, axis=1).min() < 5


def test_comparing_the_reference_with_itself_agrees(dataset: Path) -> None:
    findings = compare(dataset, dataset / REFERENCE)
    assert [row.name for row in findings] == [plan.name for plan in PLANS]
    assert all(row.dice == 1 and row.put_in_ml == row.found_ml for row in findings)
    assert findings[0].put_in > 0
    assert findings[2].put_in_ml == 0


def test_missing_results_are_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"sub-01_acq-3D.*expected a result"):
        compare(dataset, tmp_path)


def test_command_prints_the_table_and_the_reports(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(dataset), str(dataset / REFERENCE)]) == 0
    assert "sub-02_acq-2D" in capsys.readouterr().out
    assert main(["compare", str(tmp_path), str(tmp_path)]) == MissingInputError.exit_code
    assert "none" in capsys.readouterr().err

"""The map of lesions: each participant counts once, sides stay, and nothing is done twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.bids.outputs import ScanPaths
from bids_flairseg.cli import group_config
from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.group.run import write_group
from bids_flairseg.group.space import CACHE, FEWEST, MAP, Place, place_key, place_line
from bids_flairseg.parser import parse_arguments
from bids_flairseg.reports.atlas import HEIGHTS, Atlas, upright
from tests.group.conftest import Finish, save

# On the right (+x), stored with its first axis towards the left.
STORED = np.diag([-2.0, 2.0, 2.0, 1.0])
STORED[:3, 3] = (60, -40, 0)


def spot(right_mm: float) -> np.ndarray:
    """Mark a cube of 12 mm edge around x = ``right_mm``, y = -20, z = 20."""
    mask = np.zeros((60, 30, 20), np.uint8)
    column = round((60 - right_mm) / 2)
    mask[column - 3 : column + 3, 7:13, 7:13] = 1
    return mask


def known(dataset: DatasetConfig, paths: ScanPaths, place: Place) -> None:
    """Write into the cache where a scan lies."""
    with (dataset.output_dir / CACHE).open("a") as file:
        file.write(place_line(place_key(paths.preprocessed), place))


@pytest.fixture
def cohort(dataset: DatasetConfig, finish: Finish) -> DatasetConfig:
    """Six participants with a spot on the right, the first with a second scan on the left."""
    stems = ["sub-1_ses-A", "sub-1_ses-B", *(f"sub-{n}" for n in range(2, FEWEST + 2))]
    for stem in stems:
        paths = finish(stem)
        save(paths.mask, spot(-30 if stem.endswith("B") else 30), STORED)
        known(dataset, paths, Place(np.eye(4), 0.95))
    return dataset


def test_the_map_counts_participants_and_keeps_sides(cohort: DatasetConfig) -> None:
    people = FEWEST + 1
    with (cohort.output_dir / CACHE).open("a") as file:
        file.write("half a line, as after a crash\n{")
    write_group(GroupConfig(cohort, lesion_map=True))
    image = nib.Nifti1Image.from_filename(cohort.output_dir / MAP)
    shares = image.get_fdata()
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    at = {
        x: shares[tuple(np.round(np.linalg.inv(image.affine) @ (x, -21, 19, 1)).astype(int)[:3])]
        for x in (30, -30)
    }
    assert at[30] == pytest.approx((people - 0.5) / people, abs=0.02)
    assert at[-30] == pytest.approx(0.5 / people, abs=0.02)
    about = json.loads((cohort.output_dir / "group_lesion_map.json").read_text())
    assert (about["Participants"], about["Scans"]) == (people, people + 1)
    with (cohort.output_dir / "group_figures/lesion_map.tsv").open() as file:
        weights = {
            row["scan"]: float(row["weight"]) for row in csv.DictReader(file, delimiter="\t")
        }
    assert sum(weights.values()) == pytest.approx(1, abs=0.001)
    assert weights["sub-1_ses-A"] == pytest.approx(weights["sub-2"] / 2, abs=0.001)
    page = (cohort.output_dir / "group.html").read_text()
    assert f"Share of {people} participants ({people + 1} scans)" in page
    write_group(GroupConfig(cohort))  # without it, no map of an earlier run stays behind
    assert not (cohort.output_dir / MAP).exists()
    assert "lesion_map" not in (cohort.output_dir / "group.html").read_text()


def test_too_few_participants_and_scans_that_do_not_fit_are_said(
    dataset: DatasetConfig, finish: Finish
) -> None:
    for number in range(FEWEST):
        bad = number == 0
        known(
            dataset,
            finish(f"sub-{number}"),
            Place(None if bad else np.eye(4), 0.6 if bad else 0.9, "no brain"),
        )
    summary = write_group(GroupConfig(dataset, lesion_map=True))
    kinds = {problem.kind: problem for problem in summary.problems}
    assert kinds["not_placed"].scan == "sub-0"
    assert f"fewer than {FEWEST} participants" in kinds["no_map"].detail
    assert not (dataset.output_dir / MAP).exists()


def test_rejected_scans_are_not_in_the_map(cohort: DatasetConfig) -> None:
    rows = "".join(f"sub-{n}\treject\tn/a\n" for n in range(2, FEWEST + 2))
    (cohort.output_dir / "group_verdicts.tsv").write_text("scan\tverdict\tnote\n" + rows)
    summary = write_group(GroupConfig(cohort, lesion_map=True))
    assert "no_map" in {problem.kind for problem in summary.problems}


def test_left_is_shown_on_the_left_and_front_at_the_top() -> None:
    volume = np.zeros((5, 7, 3))
    volume[0, 6, 1] = 1  # left, front
    assert np.argwhere(upright(volume, 1)).tolist() == [[0, 0]]


def test_slices_lie_at_their_heights() -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-98, -134, -72)
    shares = np.zeros((99, 117, 95))
    shares[64, 57, 47] = 0.4
    atlas = Atlas(shares, shares, affine, [])
    assert atlas.peak == (0.4, (30.0, -20.0, 22.0))
    shown = [affine[2, 2] * atlas.level(height) + affine[2, 3] for height in HEIGHTS]
    assert np.abs(np.array(shown) - HEIGHTS).max() <= 1.0


def test_the_option_reaches_the_group_level(tmp_path: Path) -> None:
    words = [str(tmp_path), str(tmp_path / "out"), "group"]
    assert group_config(parse_arguments([*words, "--lesion-map"])).lesion_map
    assert not group_config(parse_arguments(words)).lesion_map

"""Sidecars: inherited as BIDS says, and a broken one harms nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.bids.metadata import SidecarReader

ENTITIES = {"sub": "01", "ses": "A", "acq": "3D"}


def read(root: Path, **files: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write sidecars by their path and read what applies to one FLAIR."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    flair = root / "sub-01/ses-A/anat/sub-01_ses-A_acq-3D_FLAIR.nii.gz"
    flair.parent.mkdir(parents=True, exist_ok=True)
    return SidecarReader(root).read(flair, ENTITIES)


def test_the_nearest_sidecar_wins(tmp_path: Path) -> None:
    merged, warnings = read(
        tmp_path,
        **{
            "FLAIR.json": '{"a": 0, "b": 0, "c": 0, "d": 0}',
            "acq-3D_FLAIR.json": '{"b": 1, "c": 1, "d": 1}',
            "sub-01/sub-01_FLAIR.json": '{"c": 2, "d": 2}',
            "sub-01/ses-A/anat/sub-01_ses-A_acq-3D_FLAIR.json": '{"d": 3}',
        },
    )
    assert merged == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert warnings == ()


def test_sidecars_of_other_files_do_not_apply(tmp_path: Path) -> None:
    merged, _ = read(
        tmp_path,
        **{
            "acq-2D_FLAIR.json": '{"a": 1}',
            "T1w.json": '{"a": 1}',
            "myFLAIR.json": '{"a": 1}',
            "sub-01/ses-A/anat/sub-01_ses-A_run-1_FLAIR.json": '{"a": 1}',
            "sub-01/ses-B/anat/sub-01_ses-B_FLAIR.json": '{"a": 1}',
        },
    )
    assert merged == {}


@pytest.mark.parametrize("text", ["{broken", "", "[1, 2]", "\x00\x01", "null"])
def test_a_broken_sidecar_is_a_warning_that_names_it(tmp_path: Path, text: str) -> None:
    near = "sub-01/ses-A/anat/sub-01_ses-A_acq-3D_FLAIR.json"
    merged, warnings = read(tmp_path, **{"FLAIR.json": '{"a": 1}', near: text})
    assert merged == {"a": 1}
    assert len(warnings) == 1
    assert near in warnings[0]


def test_a_link_without_content_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "FLAIR.json").symlink_to(tmp_path / "gone")
    _, warnings = read(tmp_path)
    assert len(warnings) == 1

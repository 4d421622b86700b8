"""Trees of empty files, for tests that look at names and not at images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import DatasetConfig

MakeTree = Callable[..., Path]
MakeConfig = Callable[..., DatasetConfig]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Give a maker of datasets: ``make_tree("sub-01/anat/sub-01_FLAIR.nii.gz", ...)``."""

    def make(*files: str, name: str = "bids") -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
        for file in files:
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return root

    return make


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """Give a maker of settings for a dataset: ``make_config(root, session_labels=("A",))``."""

    def make(root: Path, **settings: object) -> DatasetConfig:
        places = {"bids_dir": root, "output_dir": tmp_path / "out", "work_dir": tmp_path / "work"}
        return DatasetConfig(**{**places, **settings})  # type: ignore[arg-type]

    return make


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Give a scan with several entities and a little metadata."""
    entities = {"sub": "01", "ses": "A", "acq": "3D", "run": "02"}
    name = "sub-01_ses-A_acq-3D_run-02_FLAIR.nii.gz"
    return Scan(tmp_path / "bids/sub-01/ses-A/anat" / name, entities, {"FlipAngle": 120})

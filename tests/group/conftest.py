"""A folder of results as the participant level leaves it, without running that."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.bids.names import parse_name
from bids_flairseg.bids.outputs import ScanPaths, sidecar_path, write_table
from bids_flairseg.bids.scans import Scan
from bids_flairseg.config import DatasetConfig
from bids_flairseg.nodes.derivatives import FINGERPRINT

AFFINE = np.array([[-1.0, 0, 0.2, 9], [0, 1.5, 0, -4], [0.1, 0, 3.0, -7], [0, 0, 0, 1]])
SHAPE = (10, 9, 8)

Finish = Callable[..., ScanPaths]


def lesion() -> NDArray[np.uint8]:
    """Draw a lesion of 2 x 3 x 4 voxels that no mirror leaves in its place."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:3, 2:5, 3:7] = 1
    return mask


def save(path: Path, data: NDArray[np.generic], affine: NDArray[np.float64] = AFFINE) -> Path:
    """Write an image and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetConfig:
    """Give an empty dataset, an empty output folder and one derivative, ``manual``."""
    for name in ("bids", "out", "manual"):
        (tmp_path / name).mkdir()
    return DatasetConfig(
        tmp_path / "bids",
        tmp_path / "out",
        tmp_path / "work",
        derivatives={"manual": tmp_path / "manual"},
    )


@pytest.fixture
def finish(dataset: DatasetConfig) -> Finish:
    """Give a maker of finished scans: ``finish("sub-01_ses-A", lesion_volume_ml=2.5)``."""

    def make(stem: str, **stats: object) -> ScanPaths:
        name = parse_name(f"{stem}_FLAIR.nii.gz")
        assert name is not None
        scan = Scan(Path(f"{stem}_FLAIR.nii.gz"), name.entities)
        flair = dataset.bids_dir / scan.relative_dir / scan.flair
        flair.parent.mkdir(parents=True, exist_ok=True)
        flair.touch()
        paths = ScanPaths(dataset.output_dir, scan)
        for path in paths.files():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        row = {"lesion_volume_ml": 1.5, "lesion_count": 2, "model": "lesion", "threshold": 0.5}
        write_table(paths, "stats", [row | stats])
        save(paths.mask, lesion())
        sidecar_path(paths.stats).write_text(json.dumps({FINGERPRINT: "ab" * 32}))
        return paths

    return make


def write_participants(dataset: DatasetConfig, lines: Sequence[str]) -> None:
    """Write participants.tsv from lines with spaces for tabs."""
    text = "\n".join(line.replace(" ", "\t") for line in lines) + "\n"
    (dataset.bids_dir / "participants.tsv").write_text(text)

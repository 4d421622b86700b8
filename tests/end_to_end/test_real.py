"""The command as a user runs it, shipped models and all, on real scans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.bids.validate import find_errors
from bids_flairseg.measure.agreement import dice
from bids_flairseg.model.bundle import bundled
from tests.conftest import ROOT, write_json
from tests.end_to_end.heads import load, outputs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run the command as a user would, shipped models and all, on two real scans."""
    for name in ("lesion", "anatomy"):
        assert (bundled(name) / "model.weights.h5").is_file(), f"no bundle {name}"
    folder = tmp_path_factory.mktemp("real")
    bids = shared_data / "openms-bids"
    words = [
        sys.executable, "-m", "bids_flairseg", bids, folder / "out", "participant", "-w",
        folder / "work", "--participant-label", "cs19", "long01", "--bids-filter-file",
        folder / "filter.json",
    ]  # fmt: skip
    write_json(folder / "filter.json", {"flair": {"session": [None, "1"]}})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [str(word) for word in words]
    subprocess.run(arguments, check=True, cwd=folder, env=environment, timeout=1200)
    return bids / "derivatives" / "manual", folder / "out"


def overlap(found: Path, reference: Path) -> float:
    """Return the Dice of two masks on the same grid."""
    images = load(found), load(reference)
    assert np.allclose(images[0].affine, images[1].affine, atol=1e-3)
    first, second = (np.asarray(image.dataobj) > 0 for image in images)
    return dice(first, second)


def test_lesions_of_a_stripped_scan(real: tuple[Path, Path]) -> None:
    references, out = real
    found = outputs(out, "cs19", "space-orig_label-L_mask.nii.gz")
    reference = references / "sub-cs19" / "anat" / "sub-cs19_label-lesion_mask.nii.gz"
    assert overlap(found, reference) >= 0.65
    sidecar = json.loads(outputs(out, "cs19", "space-orig_desc-brain_mask.json").read_text())
    assert "skull-stripped" in sidecar["Method"]


def test_brain_of_a_whole_head(real: tuple[Path, Path]) -> None:
    references, out = real
    folder = Path("sub-long01", "ses-1", "anat")
    found = out / folder / "sub-long01_ses-1_space-orig_desc-brain_mask.nii.gz"
    reference = references / folder / "sub-long01_ses-1_desc-brain_mask.nii.gz"
    assert overlap(found, reference) >= 0.94


def test_real_outputs_are_valid_bids(real: tuple[Path, Path]) -> None:
    assert find_errors(real[1]) == []

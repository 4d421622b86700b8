"""Brainlife's ``main`` in folders as Brainlife makes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.end_to_end.heads import draw_head


def run_main(folder: Path) -> tuple[int, dict[str, Any]]:
    """Run ``./main`` there and return its exit code and product.json."""
    (folder / "main").symlink_to(ROOT / "main")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = subprocess.run(
        ["./main"],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "product.json").is_file(), run.stderr
    product: dict[str, Any] = json.loads((folder / "product.json").read_text())
    return run.returncode, product


@pytest.mark.slow
def test_main_segments_what_config_json_names(tmp_path: Path) -> None:
    write = [sys.executable, "-m", "tests.tiny", str(tmp_path / "bundles")]
    subprocess.run(write, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    flair = tmp_path / "input" / "flair.nii.gz"
    flair.parent.mkdir()
    image = draw_head("RAS", 0.0, lesion=True)
    nib.save(image, flair)
    meta = {"subject": "S_1", "session": "A", "MagneticFieldStrength": 3}
    task = tmp_path / "task"
    task.mkdir()
    config = {
        "flair": "../input/flair.nii.gz",
        "model": str(tmp_path / "bundles" / "lesion"),
        "anatomy_model": str(tmp_path / "bundles" / "anatomy"),
        "nprocs": 2,
        "no_flip": False,
        "_inputs": [{"id": "flair", "keys": ["flair"], "meta": meta, "datatype_tags": []}],
    }
    (task / "config.json").write_text(json.dumps(config))
    code, product = run_main(task)
    assert code == 0, product
    assert (task / "bids/sub-S1/ses-A/anat/sub-S1_ses-A_FLAIR.nii.gz").is_symlink()
    mask = nib.Nifti1Image.from_filename(task / "output" / "mask" / "mask.nii.gz")
    np.testing.assert_allclose(mask.affine, image.affine)
    millilitres = np.count_nonzero(mask.dataobj) * 4.0**3 / 1000
    assert millilitres == pytest.approx(float(product["stats"]["lesion_volume_ml"]), abs=0.01)
    assert millilitres > 1
    assert (task / "output" / "flair" / "flair.nii.gz").is_file()
    assert "<html" in (task / "output" / "html" / "index.html").read_text()
    kinds = {message["type"]: message for message in product["brainlife"]}
    assert {"success", "plotly"} <= set(kinds)
    assert sum(kinds["plotly"]["data"][0]["y"]) == int(product["stats"]["lesion_count"])
    assert (task / "product.json").stat().st_size < 8000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "config.json: expected a JSON file"),
        ("{", "config.json: expected a JSON file"),
        ("[]", "expected an object, got list"),
        ('{"t1": "t1.nii.gz"}', "expected 'flair' to name a NIfTI file, got None"),
        ('{"flair": "gone.nii.gz"}', "gone.nii.gz: expected the image"),
        ('{"flair": "here.nii.gz", "n4": "yes"}', "expected 'n4' to be true or false, got 'yes'"),
        ('{"flair": "here.nii.gz", "threshold": "high"}', "invalid float number value: 'high'"),
        ('{"flair": "here.nii.gz", "_inputs": 5, "nprocs": [2]}', "invalid int number value"),
        (
            '{"flair": "here.nii.gz", "_inputs": [{"id": 1, "keys": 2}, 3], "model": "x"}',
            "x: expected a folder, but there is none",
        ),
    ],
)
def test_bad_config_is_said_in_product_json(
    text: str | None, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "here.nii.gz").touch()
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    code, product = run_main(tmp_path)
    assert code == 1
    (message,) = product["brainlife"]
    assert message["type"] == "error"
    assert expected in message["msg"]
    assert not (tmp_path / "output").exists()

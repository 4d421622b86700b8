"""Images, models, folders and disks that are no good: said in words, with an exit code."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.bids.validate import find_errors
from tests.conftest import ROOT
from tests.end_to_end.heads import Command, draw_head, load, outputs, write_dataset

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("damage", "code"), [("model.weights.h5", 65), ("config.json", 66)], ids=["changed", "missing"]
)
def test_broken_model_stops_before_anything_starts(
    command: Command, three_heads: Path, tmp_path: Path, damage: str, code: int
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(command.bundles / "lesion", broken)
    if code == 65:
        with (broken / damage).open("ab") as stream:
            stream.write(b"more")
    else:
        (broken / damage).unlink()
    result, text = command.run(three_heads, tmp_path / "out", "--model", str(broken))
    assert result == code, text
    assert str(broken / damage) in text
    assert "checking the image" not in text
    assert not (tmp_path / "out" / "sub-01").exists()


def test_output_that_cannot_be_made(command: Command, three_heads: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, text = command.run(three_heads, tmp_path / "file" / "out")
    assert code == 73, text
    assert "Traceback" not in text


def test_full_disk_is_told_as_such(command: Command, three_heads: Path, tmp_path: Path) -> None:
    words = command.arguments(three_heads, tmp_path / "out", "--skip-bids-validation")
    # a limit on the size of files fails in the same place as a full disk
    result = subprocess.run(
        ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode == 74, text
    assert "Traceback" not in text
    assert "the disk is full" in text
    assert not list((tmp_path / "out").glob("sub-*/**/*.nii.gz"))


def change(image: nib.Nifti1Image, data: Any = None, **fields: Any) -> bytes:
    """Return a file whose voxels or header, which NiBabel would mend, are other ones."""
    voxels = np.asarray(image.dataobj) if data is None else data
    other = nib.Nifti1Image(voxels, image.affine)
    other.header.set_xyzt_units("mm", "sec")
    content = bytearray(other.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    return gzip.compress(bytes(content))


def bad_files(head: nib.Nifti1Image) -> Mapping[str, tuple[bytes, str]]:
    """Return contents that no scan has, and what is said about each."""
    voxels = np.asarray(head.dataobj)
    whole = change(head)
    holes = np.where(np.arange(voxels.shape[2]) < 9, np.nan, voxels)
    colour = np.zeros(voxels.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return {
        "truncated": (whole[: len(whole) // 2], "damaged or cut short"),
        "corrupt": (whole[:9000] + bytes(200) + whole[9200:], "damaged or cut short"),
        "text": (b"this is no image, although its name says so\n" * 20, "found text"),
        "empty": (b"", "found an empty file"),
        "series": (change(head, np.stack([voxels] * 2, axis=-1)), "expected a 3D image"),
        "slice": (change(head, voxels[:, :, :1]), "expected several slices"),
        "zeros": (change(head, np.zeros_like(voxels)), "found only zeros"),
        "constant": (change(head, np.full_like(voxels, 7)), "found 7 in every voxel"),
        "holes": (change(head, holes), "voxels NaN or infinite"),
        "complex": (change(head, voxels.astype(np.complex64)), "found complex voxels"),
        "colour": (change(head, colour), "found colour (RGB) voxels"),
        "singular": (change(head, srow_y=[4, 0, 0, 0]), "voxel edges of 5.65"),
        "flat": (change(head, pixdim=[1, 4, 0, 4, 0, 0, 0, 0]), "found 4, 0, 4 in pixdim"),
        "negative": (change(head, pixdim=[1, 4, -4, 4, 0, 0, 0, 0]), "found 4, -4, 4 in pixdim"),
        "giant": (change(head, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "promises 32767 x 32767"),
    }


def odd_files(head: nib.Nifti1Image) -> Mapping[str, tuple[bytes, str]]:
    """Return contents that are used all the same, and what is said about each."""
    voxels = np.asarray(head.dataobj)
    few = voxels.copy()
    few[3, 4, 5], few[30, 4, 5] = np.nan, np.inf
    return {
        "volume": (change(head, voxels[..., np.newaxis]), ""),
        "below": (change(head, voxels - 90), ""),
        "unitless": (change(head, xyzt_units=0), "gives no unit"),
        "few": (change(head, few), "2 voxels were NaN or infinite"),
        "five": (change(head, voxels[:, :, 20:25]), "has only 5 slices"),
        "cut": (change(head, voxels[:, :, :24]), "cuts the brain at the top"),
        "sidecar": (change(head), "sub-sidecar_FLAIR.json: expected a JSON object"),
    }


def test_every_bad_image_fails_alone_and_is_named(command: Command, tmp_path: Path) -> None:
    head, out = draw_head("RAS", 0.0, lesion=True), tmp_path / "out"
    bad, odd = bad_files(head), odd_files(head)
    bids = write_dataset(tmp_path / "bids", dict.fromkeys([*bad, *odd], head))
    for label, (content, _) in {**bad, **odd}.items():
        (bids / f"sub-{label}/anat/sub-{label}_FLAIR.nii.gz").write_bytes(content)
    (bids / "sub-sidecar/anat/sub-sidecar_FLAIR.json").write_text("{broken")
    (bids / "participants.tsv").write_text("participant_id\tage\nsub-text\n\t1\t2\n")
    code, text = command.run(bids, out)
    assert code == 1, text
    assert "Traceback" not in text
    for label, (_, finding) in bad.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"sub-{label}: /"))
        assert f"sub-{label}_FLAIR.nii.gz: expected" in line
        assert finding in line
        assert text.index(f"flairseg: error: {line}") < text.index(f"sub-{label}: failed after")
        assert finding in (out / f"sub-{label}.html").read_text()
    assert {path.name for path in out.glob("sub-*/")} == {f"sub-{label}" for label in odd}
    assert len(list((out / "logs").glob("crash-*.txt"))) == len(bad)
    for label, (_, warning) in odd.items():
        assert warning in text
        assert np.asarray(load(outputs(out, label, "space-orig_label-L_mask.nii.gz")).dataobj).any()
    assert find_errors(out) == []

"""What a run leaves on the disk: images in place, tables, pages, the record."""

from __future__ import annotations

import json
import tomllib

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.bids.validate import find_errors
from tests.end_to_end.heads import (
    HEADS,
    LESION_MM,
    LESION_RADIUS_MM,
    ZOOM_MM,
    Finished,
    load,
    outputs,
)

pytestmark = pytest.mark.slow


def test_outputs_are_valid_bids(finished: Finished) -> None:
    assert find_errors(finished[2]) == []


@pytest.mark.parametrize("label", HEADS)
def test_images_lie_where_their_flair_does(finished: Finished, label: str) -> None:
    _, bids, out, _ = finished
    flair = load(bids / f"sub-{label}" / "anat" / f"sub-{label}_FLAIR.nii.gz")
    kinds = ("label-L_mask", "label-L_probseg", "seg-lesions_dseg", "seg-regions_dseg")
    for kind in (*kinds, "desc-brain_mask"):
        image = load(outputs(out, label, f"space-orig_{kind}.nii.gz"))
        assert image.shape == flair.shape
        for field in ("qform_code", "sform_code", "xyzt_units", "pixdim", "quatern_b", "srow_x"):
            assert np.array_equal(image.header[field], flair.header[field]), field


@pytest.mark.parametrize("label", [label for label, head in HEADS.items() if head[2]])
def test_the_lesion_is_found_where_it_was_drawn(finished: Finished, label: str) -> None:
    mask = load(outputs(finished[2], label, "space-orig_label-L_mask.nii.gz"))
    voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
    centre = nib.affines.apply_affine(mask.affine, voxels.mean(axis=0))
    assert np.allclose(centre, LESION_MM, atol=1.0)
    truth = 4 / 3 * np.pi * LESION_RADIUS_MM**3
    assert len(voxels) * ZOOM_MM**3 == pytest.approx(truth, rel=0.1)


def test_tables_agree_with_the_mask(finished: Finished) -> None:
    out = finished[2]
    mask = np.asarray(load(outputs(out, "psr", "space-orig_label-L_mask.nii.gz")).dataobj)
    header, row = outputs(out, "psr", "label-L_stats.tsv").read_text().splitlines()
    stats = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    volume = int(mask.sum()) * ZOOM_MM**3 / 1000
    assert float(stats["lesion_volume_ml"]) == pytest.approx(volume, abs=1e-3)
    table = outputs(out, "psr", "space-orig_seg-lesions_dseg.tsv").read_text().splitlines()
    assert len(table) == 1 + int(stats["lesion_count"]) == 2


def test_a_scan_without_lesions_is_a_result(finished: Finished) -> None:
    out = finished[2]
    mask = load(outputs(out, "none", "space-orig_label-L_mask.nii.gz"))
    assert not np.asarray(mask.dataobj).any()
    assert "sub-none" in (out / "sub-none.html").read_text()


def test_a_bad_file_fails_alone_and_says_why(finished: Finished) -> None:
    _, _, out, text = finished
    assert "sub-bad_FLAIR.nii.gz: expected a NIfTI image, found text" in text
    assert "Traceback" not in text
    assert not (out / "sub-bad").exists()
    assert "expected a NIfTI image, found text" in (out / "sub-bad.html").read_text()
    (crash,) = (out / "logs").glob("crash-*.txt")
    assert crash.name in (out / "sub-bad.html").read_text()
    assert "Traceback" in crash.read_text()


def test_nothing_unfinished_stays(finished: Finished) -> None:
    left = [path.name for path in finished[2].rglob(".*") if path.is_file()]
    assert sorted(left) == [".bidsignore", ".participants.lock"]


def test_the_run_is_recorded(finished: Finished) -> None:
    command, _, out, _ = finished
    record = next((out / "logs").glob("*/flairseg.toml"))
    content = tomllib.loads(record.read_text())
    digest = json.loads((command.bundles / "lesion" / "model.json").read_text())["sha256"]
    assert content["models"]["lesion"]["sha256"] == digest
    assert content["result"] == {"exit_code": 1, "done": 4, "failed": 1}
    assert content["arguments"]["random_seed"] == 0
    assert {"flairseg", "tensorflow", "nipype"} <= content["versions"].keys()

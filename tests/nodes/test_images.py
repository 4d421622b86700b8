"""Nodes from image to image, run as Nipype runs them, without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from bids_flairseg.errors import InputError, StorageError
from bids_flairseg.model import predict
from bids_flairseg.nodes.files import load, load_array, save
from bids_flairseg.nodes.fingerprint import fingerprint
from bids_flairseg.nodes.images import Check, Prepare, Restore
from bids_flairseg.nodes.networks import FindBrain
from bids_flairseg.nodes.results import Measure
from bids_flairseg.nodes.step import Step
from bids_flairseg.reports.records import Settings
from tests.conftest import MakeImage


def run(step: Step, folder: Path) -> dict[str, object]:
    """Run a node in a folder of its own and return its outputs."""
    place = folder / type(step).__name__
    place.mkdir()
    outputs: dict[str, object] = step.run(cwd=str(place)).outputs.get_traitsfree()
    return outputs


@pytest.fixture
def flair(tmp_path: Path, make_image: MakeImage) -> Path:
    path = tmp_path / "flair.nii.gz"
    nib.save(make_image(axes="PSL", tilt=8.0), path)
    return path


def test_check_turns_the_axes_and_says_what_was_read(flair: Path, tmp_path: Path) -> None:
    outputs = run(Check(flair=str(flair), settings="abc"), tmp_path)
    image = load(str(outputs["image"]))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert outputs["fingerprint"] == fingerprint("abc", flair, None)
    assert outputs["warnings"] == []


def test_check_refuses_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "flair.nii.gz"
    path.write_text("text")
    with pytest.raises(InputError, match=r"flair\.nii\.gz"):
        run(Check(flair=str(path), settings=""), tmp_path)


def test_a_supplied_mask_may_be_all_brain(
    flair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Nifti1Image.from_filename(flair)
    mask = tmp_path / "mask.nii.gz"
    nib.save(Nifti1Image(np.ones(image.shape, np.float32), image.affine), mask)
    config = SimpleNamespace(architecture=SimpleNamespace(multiple=2))
    network = SimpleNamespace(apply=None, config=config)
    monkeypatch.setattr(FindBrain, "network", lambda _: (network, "cpu"))
    seen = np.eye(7, dtype=np.float32)[0]  # background everywhere
    monkeypatch.setattr(
        predict, "predict", lambda _, data, *__, **___: np.broadcast_to(seen, (*data.shape, 7))
    )
    checked = run(Check(flair=str(flair), settings=""), tmp_path)["image"]
    step = FindBrain(image=checked, bundle="", fingerprint="", supplied=str(mask))
    outputs = run(step, tmp_path)
    assert outputs["source"] == "supplied"
    assert load_array(str(outputs["brain"])).all()
    assert "Supplied brain mask: The header gives no unit" in str(outputs["warnings"])


def test_prepare_is_zero_outside_the_brain(flair: Path, tmp_path: Path) -> None:
    image = load(str(run(Check(flair=str(flair), settings=""), tmp_path)["image"]))
    mask = np.asarray(image.dataobj) > 60
    brain = save(Nifti1Image(mask.astype(np.uint8), image.affine), tmp_path / "brain.nii")
    step = Prepare(
        image=str(tmp_path / "Check" / "image.nii"),
        brain=brain,
        voxel_size_mm=5.0,
        normalisation="zscore",
    )
    prepared = load(str(run(step, tmp_path)["image"]))
    data = np.asarray(prepared.dataobj)
    inside = data[data != 0]
    assert np.allclose(nib.affines.voxel_sizes(prepared.affine), 5.0)
    assert inside.mean() == pytest.approx(0, abs=1e-4)
    assert inside.std() == pytest.approx(1, abs=1e-4)
    assert data[0, 0, 0] == 0


def test_restore_brings_every_voxel_home(flair: Path, tmp_path: Path) -> None:
    native = np.asarray(Nifti1Image.from_filename(flair).dataobj)
    image = load(str(run(Check(flair=str(flair), settings=""), tmp_path)["image"]))
    probability = Nifti1Image(np.asarray(image.dataobj) / 200, image.affine)
    ones = Nifti1Image(np.ones(image.shape, np.uint8), image.affine)
    step = Restore(
        flair=str(flair),
        probability=save(probability, tmp_path / "p.nii"),
        brain=save(ones, tmp_path / "b.nii"),
        classes=save(ones, tmp_path / "c.nii"),
    )
    outputs = run(step, tmp_path)
    assert np.allclose(load_array(str(outputs["probability"])), native / 200, atol=1e-4)


def test_prepare_smooths_what_is_noisy(flair: Path, tmp_path: Path) -> None:
    image = load(str(run(Check(flair=str(flair), settings=""), tmp_path)["image"]))
    data = np.asarray(image.dataobj)
    mask = data > 60
    shares = []
    for sd in (0.0, 40.0):
        noisy = data + np.random.default_rng(0).normal(0, sd, data.shape).astype(np.float32)
        step = Prepare(
            image=save(Nifti1Image(noisy.astype(np.float32), image.affine), tmp_path / "noisy.nii"),
            brain=save(Nifti1Image(mask.astype(np.uint8), image.affine), tmp_path / "mask.nii"),
            voxel_size_mm=float(nib.affines.voxel_sizes(image.affine)[0]),
            normalisation="robust",
        )
        folder = tmp_path / f"{sd}"
        folder.mkdir()
        shares.append(run(step, folder)["smoothed"])
    assert shares == [0.0, 1.0]


SETTINGS = Settings("m", "0" * 64, threshold=0.5, min_lesion_ml=0.001)


def measured(
    probability: NDArray[np.float32], tmp_path: Path, settings: Settings = SETTINGS
) -> tuple[NDArray[Any], str]:
    """Return the lesions of a probability map in a brain that fills it, and what is told."""
    image = Nifti1Image(probability, np.eye(4))
    ones = save(Nifti1Image(np.ones(probability.shape, np.uint8), np.eye(4)), tmp_path / "ones.nii")
    step = Measure(
        probability=save(image, tmp_path / "p.nii"),
        brain=ones,
        classes=ones,
        settings=settings,
        scan_warnings=["odd sidecar"],
        file_warnings=["no units"],
    )
    outputs = run(step, tmp_path)
    return load_array(str(outputs["lesions"])), Path(str(outputs["measures"])).read_text()


def test_measure_cuts_at_the_threshold(tmp_path: Path) -> None:
    probability = np.zeros((12, 12, 12), np.float32)
    probability[2:5, 2:5, 2:5], probability[8, 8, 8] = 0.7, 0.4
    lesions, text = measured(probability, tmp_path)
    assert np.array_equal(lesions > 0, probability >= 0.5)
    assert "odd sidecar" in text
    assert '"lesion_count": "1"' in text
    assert '"warning_count": "2"' in text


def test_measure_extends_large_lesions(tmp_path: Path) -> None:
    probability = np.zeros((12, 12, 12), np.float32)
    probability[2:6, 2:5, 2:5], probability[2:5, 2:5, 2:5] = 0.3, 0.7
    probability[9:11, 9, 9], probability[9, 9, 9] = 0.3, 0.7
    settings = replace(SETTINGS, large_ml=0.02, large_threshold=0.25)
    lesions, text = measured(probability, tmp_path, settings)
    assert [np.count_nonzero(lesions == number) for number in (1, 2)] == [36, 1]
    assert '"lesion_count": "2"' in text


def test_a_brain_full_of_lesion_is_doubted(tmp_path: Path) -> None:
    _, text = measured(np.full((12, 12, 12), 0.7, np.float32), tmp_path)
    assert "Lesions take up 100 % of the brain mask" in text
    assert '"warning_count": "3"' in text


def test_gone_intermediate_file_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="work folder"):
        load(tmp_path / "gone.nii")

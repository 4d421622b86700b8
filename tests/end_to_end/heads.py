"""Tiny heads, datasets of them, and the command that works on them with tiny networks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil

from tests.conftest import ROOT, rotation, write_json

ZOOM_MM = 4.0
LESION_MM, LESION_RADIUS_MM = (28.0, 22.0, 18.0), 12.0
#: Heads by participant: order and direction of the axes, tilt in degrees, with a lesion or not.
HEADS = {
    "ras": ("RAS", 0.0, True),
    "lps": ("LPS", 0.0, True),
    "psr": ("PSR", 12.0, True),
    "none": ("RAS", 0.0, False),
}


def draw_head(axes: str, tilt: float, *, lesion: bool) -> nib.Nifti1Image:
    """Draw a brain in faint noise; its lesion lies to the right, in front and above."""
    shape = (40, 46, 36)
    affine = np.eye(4)
    affine[:3, :3] = rotation(tilt, 0) * ZOOM_MM
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]
    rng = np.random.default_rng(0)
    data = rng.uniform(0, 6, shape).astype(np.float32)
    brain = ((world / (56.0, 68.0, 54.0)) ** 2).sum(axis=-1) < 1
    data[brain] = 100 + rng.normal(0, 3, int(brain.sum()))
    if lesion:
        data[((world - LESION_MM) ** 2).sum(axis=-1) < LESION_RADIUS_MM**2] = 170
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    image: nib.Nifti1Image = nib.Nifti1Image(data, affine).as_reoriented(turn)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(image.affine, code=2)
    image.set_qform(image.affine, code=1)
    return image


def write_dataset(root: Path, heads: Mapping[str, nib.Nifti1Image]) -> Path:
    """Write a valid BIDS dataset of one FLAIR per participant."""
    write_json(
        root / "dataset_description.json",
        {"Name": "Tiny", "BIDSVersion": "1.10.0", "DatasetType": "raw"},
    )
    (root / "README").write_text("Heads drawn for a test. They show nobody.\n")
    for label, image in heads.items():
        stem = root / f"sub-{label}" / "anat" / f"sub-{label}_FLAIR"
        write_json(stem.with_suffix(".json"), {"MagneticFieldStrength": 3})
        nib.save(image, stem.with_suffix(".nii.gz"))
    return root


@dataclass(frozen=True)
class Command:
    """The command with the tiny networks, in a process of its own."""

    bundles: Path
    folder: Path

    def arguments(self, bids: Path, out: Path, *more: str) -> list[str]:
        models = ["--model", self.bundles / "lesion", "--anatomy-model", self.bundles / "anatomy"]
        limits = ["--nprocs", "2", "--device", "cpu"]
        words = [sys.executable, "-m", "bids_flairseg", bids, out, "participant", *models, *limits]
        work = [] if "-w" in more else ["-w", str(self.folder / "work")]
        return [*(str(word) for word in words), *work, *more]

    def start(self, bids: Path, out: Path, *more: str) -> subprocess.Popen[str]:
        return launch(self.arguments(bids, out, *more), self.folder)

    def run(self, bids: Path, out: Path, *more: str) -> tuple[int, str]:
        return finish(self.start(bids, out, *more))


def launch(words: list[str], folder: Path, *, home: bool = True) -> subprocess.Popen[str]:
    """Start a command in a folder, with or without a home; all it prints goes to one pipe."""
    environment = {key: value for key, value in os.environ.items() if home or key != "HOME"}
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command and return its exit code and all that it printed."""
    text, _ = process.communicate(timeout=600)
    return process.returncode, text


Finished = tuple[Command, Path, Path, str]


def load(path: Path) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(path)


def outputs(out: Path, label: str, ending: str) -> Path:
    return out / f"sub-{label}" / "anat" / f"sub-{label}_{ending}"


def wait_for(text: str, process: subprocess.Popen[str]) -> str:
    """Read a process's output up to some words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{seen}")


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def still_alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that do not end within 20 s; one that only waits to be reaped has ended."""
    deadline = time.monotonic() + 20
    alive = processes
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    return alive

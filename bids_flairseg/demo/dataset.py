"""Writing the demo dataset: three scans with what was put into them, as BIDS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.demo.head import Template, Volume, load_template, paint_head, smooth_noise
from bids_flairseg.demo.lesions import LesionPlan, place_lesions

REFERENCE = Path("derivatives", "reference")
README = """Made-up heads for trying out flairseg
======================================

Nobody was scanned for these images. They are drawn from the tissue maps of the ICBM 152
template (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033), with skull, scalp and
lesions added by bids_flairseg.demo. sub-01 is a 3D scan with lesions, sub-02 a tilted 2D scan
of 4 mm slices with lesions, sub-03 a 3D scan without. The lesions that were put in are in
derivatives/reference.

They show how the command is used and how its results look. They are no evidence of how well
it does on real scans.
"""


@dataclass(frozen=True)
class HeadPlan:
    """One scan of the dataset.

    Parameters
    ----------
    name : str
        Entities of the file name.
    zooms : tuple of float
        Voxel size in mm along the axes as stored, slices last.
    shape : tuple of int
        Voxels along them.
    axes : str
        Directions of the axes as stored, as nibabel codes.
    tilt : float
        Turn of the field of view against the head in degrees.
    size : float
        Size of the head against that of the template.
    lesions : tuple of LesionPlan
        What is put in.
    """

    name: str
    zooms: tuple[float, float, float]
    shape: tuple[int, int, int]
    axes: str
    tilt: float
    size: float
    lesions: tuple[LesionPlan, ...] = ()

    @property
    def sidecar(self) -> dict[str, Any]:
        """Metadata of the scan, as BIDS names them."""
        return {
            "Modality": "MR",
            "MagneticFieldStrength": 3,
            "MRAcquisitionType": "2D" if max(self.zooms) > 2 else "3D",
            "SliceThickness": self.zooms[2],
        }


PLANS = (
    HeadPlan(
        name="sub-01_acq-3D",
        zooms=(1.0, 1.0, 1.0),
        shape=(232, 188, 180),
        axes="PSR",
        tilt=0.0,
        size=0.92,
        lesions=(
            LesionPlan("periventricular", 6, 5.0),
            LesionPlan("deep", 4, 3.5),
            LesionPlan("juxtacortical", 3, 3.5),
            LesionPlan("infratentorial", 1, 4.0),
        ),
    ),
    HeadPlan(
        name="sub-02_acq-2D",
        zooms=(0.9, 0.9, 4.0),
        shape=(208, 256, 44),
        axes="LPS",
        tilt=14.0,
        size=0.96,
        lesions=(
            LesionPlan("periventricular", 14, 7.0),
            LesionPlan("deep", 6, 5.0),
            LesionPlan("juxtacortical", 3, 4.5),
        ),
    ),
    HeadPlan(
        name="sub-03_acq-3D",
        zooms=(1.0, 1.0, 1.0),
        shape=(184, 230, 186),
        axes="RAS",
        tilt=4.0,
        size=0.89,
    ),
)


def make_dataset(root: Path, *, seed: int = 0, plans: tuple[HeadPlan, ...] = PLANS) -> list[str]:
    """Write the whole dataset; the same seed gives the same bytes.

    Parameters
    ----------
    root : Path
        Folder of the dataset, made when it is not there; files in it are replaced.
    seed : int
        Where chance starts.
    plans : tuple of HeadPlan
        What to draw.

    Returns
    -------
    names : list of str
        Entities of the scans, such as ``sub-01_acq-3D``.
    """
    _write_texts(root, plans)
    template = load_template()
    for number, plan in enumerate(plans):
        rng = np.random.default_rng((seed, number))
        image, mask = draw_scan(template, plan, rng)
        anat = Path(plan.name.split("_")[0], "anat")
        _save(root / anat / f"{plan.name}_FLAIR", image, plan.sidecar)
        source = f"bids:raw:{(anat / f'{plan.name}_FLAIR.nii.gz').as_posix()}"
        _save(
            root / REFERENCE / anat / f"{plan.name}_space-orig_label-L_mask",
            mask,
            {"Type": "Lesion", "SpatialReference": source, "Sources": [source]},
        )
    return [plan.name for plan in plans]


def draw_scan(
    template: Template, plan: HeadPlan, rng: np.random.Generator
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Draw one scan and the lesions in it.

    Thick slices are drawn as thin ones and averaged, so they carry partial volume.

    Parameters
    ----------
    template : Template
        Tissue maps.
    plan : HeadPlan
        What to draw.
    rng : Generator
        Where chance comes from.

    Returns
    -------
    image, mask : Nifti1Image
        The FLAIR as int16 and its lesion mask as uint8, on the same grid.
    """
    affine = scan_affine(plan)
    thin = max(1, round(plan.zooms[2]))
    fine = affine.copy()
    fine[:3, 2] /= thin
    fine[:3, 3] -= affine[:3, 2] * (thin - 1) / (2 * thin)
    shape = (*plan.shape[:2], plan.shape[2] * thin)
    lesions = place_lesions(template, plan.lesions, rng)
    signal, share = paint_head(template, lesions, head_positions(fine, shape, plan, rng), rng)
    signal, share = _average_slices(signal, thin), _average_slices(share, thin)
    data = np.rint(3 * _degrade(signal, rng)).astype(np.int16)
    return _nifti(data, affine), _nifti((share >= 0.5).astype(np.uint8), affine)


def scan_affine(plan: HeadPlan) -> NDArray[np.float64]:
    """Lay the field of view around the head.

    Parameters
    ----------
    plan : HeadPlan
        Axes, voxel size, shape and tilt.

    Returns
    -------
    affine : ndarray of float, shape (4, 4)
        From voxel to world in mm, RAS+; the centre of the image is at (0, -10, 12).
    """
    order = nib.orientations.axcodes2ornt(plan.axes)
    directions = np.zeros((3, 3))
    for axis, (world_axis, sign) in enumerate(order):
        directions[int(world_axis), axis] = sign
    affine = np.eye(4)
    affine[:3, :3] = _turn(plan.tilt, 0) @ _turn(plan.tilt / 3, 2) @ directions * plan.zooms
    affine[:3, 3] = (0, -10, 12) - affine[:3, :3] @ ((np.array(plan.shape) - 1) / 2)
    return affine


def head_positions(
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    plan: HeadPlan,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Say where in the template each voxel of a scan lies.

    Parameters
    ----------
    affine : ndarray of float, shape (4, 4)
        Of the scan.
    shape : tuple of int
        Of the scan.
    plan : HeadPlan
        Size of the head.
    rng : Generator
        Where the shape of this head comes from: smooth shifts of about 2 mm.

    Returns
    -------
    world : ndarray of float32, shape (3, X, Y, Z)
        Positions in the template's world in mm.
    """
    matrix = (affine[:3, :3] / plan.size).astype(np.float32)
    start = (affine[:3, 3] / plan.size).astype(np.float32)
    voxels = np.indices(shape, dtype=np.float32, sparse=True)
    world = np.empty((3, *shape), dtype=np.float32)
    for row in range(3):
        world[row] = start[row] + 2 * smooth_noise(shape, 5, rng)
        for axis in range(3):
            world[row] += matrix[row, axis] * voxels[axis]
    return world


def _turn(degrees: float, axis: int) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix that turns around an axis of the world."""
    angle = np.deg2rad(degrees)
    first, second = [other for other in range(3) if other != axis]
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def _average_slices(volume: Volume, thin: int) -> Volume:
    """Average each run of thin slices along the last axis."""
    slices: Volume = volume.reshape(*volume.shape[:2], -1, thin).mean(axis=-1)
    return slices


def _degrade(signal: Volume, rng: np.random.Generator) -> Volume:
    """Add a bias field of about 10 % and Rician noise of 4 % of white matter."""
    field = np.exp(0.1 * smooth_noise(signal.shape, 4, rng))
    real, imaginary = (4 * rng.standard_normal(signal.shape, dtype=np.float32) for _ in range(2))
    noisy: Volume = np.hypot(signal * field + real, imaginary)
    return noisy


def _nifti(data: NDArray[Any], affine: NDArray[np.float64]) -> nib.Nifti1Image:
    """Make an image whose header says all that a scanner's would."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return image


def _save(stem: Path, image: nib.Nifti1Image, sidecar: Mapping[str, Any]) -> None:
    """Write an image and its metadata; nibabel's gzip carries neither time nor name."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, stem.with_name(f"{stem.name}.nii.gz"))
    _write_json(stem.with_name(f"{stem.name}.json"), sidecar)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file and the folder for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_texts(root: Path, plans: tuple[HeadPlan, ...]) -> None:
    """Write what describes the dataset and the reference masks in it."""
    common = {"BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["flairseg maintainers"]}
    maker = [{"Name": "bids_flairseg.demo", "Description": "Drawn, not scanned."}]
    _write_json(
        root / "dataset_description.json",
        {"Name": "flairseg demo heads", "DatasetType": "raw", "GeneratedBy": maker, **common},
    )
    _write_json(
        root / REFERENCE / "dataset_description.json",
        {
            "Name": "flairseg demo heads: lesions that were put in",
            "DatasetType": "derivative",
            "GeneratedBy": maker,
            "DatasetLinks": {"raw": "../.."},
            **common,
        },
    )
    rows = [f"{plan.name.split('_')[0]}\t{plan.sidecar['MRAcquisitionType']}" for plan in plans]
    table = "\n".join(["participant_id\tacquisition", *rows]) + "\n"
    (root / "participants.tsv").write_text(table, encoding="utf-8")
    _write_json(
        root / "participants.json",
        {
            "acquisition": {
                "Description": "Slices (2D) or volume (3D)",
                "Levels": {"2D": "4 mm slices", "3D": "1 mm volume"},
            }
        },
    )
    (root / "README").write_text(README, encoding="utf-8")

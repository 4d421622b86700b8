"""How much a prediction changes when the scan changes and the brain does not.

Every chosen FLAIR is changed in several ways, and the real command runs once over all
versions. The prediction on each version is compared with the prediction on the unchanged
scan, moved the same way: Dice, and the change of volume.

``python benchmarks/robustness.py BIDS WORK --participants cs07 cs19 cs26``
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.arrays import voxel_volume_ml
from bids_flairseg.measure.lesions import label_lesions
from bids_flairseg.measure.outline import cut

Move = Callable[[NDArray[np.float32], NDArray[np.float64]], Nifti1Image]
Stain = Callable[[NDArray[np.float32]], NDArray[np.float32]]

SEED = 0


@dataclass(frozen=True)
class Change:
    """One way to change a scan.

    Attributes
    ----------
    name : str
        BIDS label of the version.
    move : callable or None
        Voxels and affine to the moved image; also applied to the clean probability.
    stain : callable or None
        Intensities to other intensities.
    inverted : bool
        Store the same intensities as falling integers, with a negative slope and an offset.
    floor : float or None
        Median Dice that is asked for.
    """

    name: str
    move: Move | None = None
    stain: Stain | None = None
    inverted: bool = False
    floor: float | None = None


def flip(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Nifti1Image:
    """Mirror the anatomy: the voxels are reversed, the affine stays."""
    axis = int(np.argmax(np.abs(affine[0, :3])))
    return Nifti1Image(np.flip(data, axis).copy(), affine)


def permute(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Nifti1Image:
    """Store the same image with permuted and reversed axes."""
    codes = nib.orientations.axcodes2ornt(("P", "I", "R"))
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), codes)
    return Nifti1Image(data, affine).as_reoriented(turn)


def rotate(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Nifti1Image:
    """Turn the head by 10 degrees about the axis of the slices."""
    axes = tuple(int(np.argmax(np.abs(affine[row, :3]))) for row in (0, 1))
    return Nifti1Image(ndimage.rotate(data, 10, axes=axes, reshape=False, order=1), affine)


def thicken(millimetres: float) -> Move:
    """Average neighbouring slices to a thickness; scans that are as thick stay as they are."""

    def move(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Nifti1Image:
        axis = int(np.argmax(np.abs(affine[2, :3])))
        edge = float(np.linalg.norm(affine[:3, axis]))
        count = max(1, round(millimetres / edge))
        whole = data.shape[axis] // count * count
        cut = np.moveaxis(data, axis, 0)[:whole]
        thick = cut.reshape(-1, count, *cut.shape[1:]).mean(1)
        new = affine.copy()
        new[:3, 3] += affine[:3, axis] * (count - 1) / 2
        new[:3, axis] *= count
        return Nifti1Image(np.ascontiguousarray(np.moveaxis(thick, 0, axis)), new)

    return move


def crop(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Nifti1Image:
    """Leave the lowest fifth of the slices out."""
    axis = int(np.argmax(np.abs(affine[2, :3])))
    rising = affine[2, axis] > 0
    first = data.shape[axis] // 5 if rising else 0
    last = data.shape[axis] - (0 if rising else data.shape[axis] // 5)
    box = tuple(slice(first, last) if a == axis else slice(None) for a in range(3))
    return Nifti1Image(data, affine).slicer[box]


def noise(share: float) -> Stain:
    """Add Rician noise of a share of the 99th centile; zero background stays zero."""

    def stain(data: NDArray[np.float32]) -> NDArray[np.float32]:
        rng = np.random.default_rng(SEED)
        sigma = share * np.percentile(data[data > 0], 99)
        real, imaginary = rng.normal(0, sigma, (2, *data.shape)).astype(np.float32)
        return np.where(data != 0, np.hypot(data + real, imaginary), 0).astype(np.float32)

    return stain


def lower(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract a fifth of the 99th centile everywhere, so that the background is negative."""
    return data - np.float32(0.2 * np.percentile(data[data > 0], 99))


def inverted(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Nifti1Image:
    """Return the same image whose stored integers fall where the intensities rise."""
    low, high = float(data.min()), float(data.max())
    slope = -(high - low) / 30000
    image = Nifti1Image(np.rint((data - high) / slope).astype(np.int16), affine)
    image.header.set_slope_inter(slope, high)
    return image


def bias(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply by a gain that falls from 1.2 to 0.8 across the head."""
    ramp = np.linspace(1.2, 0.8, data.shape[1], dtype=np.float32)[:, None]
    return data * ramp


CHANGES = (
    Change("clean"),
    Change("scaled", stain=lambda data: data * np.float32(0.037), floor=1.0),
    Change("shifted", stain=lambda data: np.where(data != 0, data + 500, 0), floor=0.9),
    Change("lowered", stain=lower, floor=0.9),
    Change("inverted", inverted=True, floor=1.0),
    Change("permuted", move=permute, floor=1.0),
    Change("flipped", move=flip, floor=0.97),
    Change("rotated", move=rotate, floor=0.9),
    Change("slices15", move=thicken(1.5), floor=0.9),
    Change("slices3", move=thicken(3.0)),
    Change("slices5", move=thicken(5.0)),
    Change("noise3", stain=noise(0.03), floor=0.9),
    Change("noise8", stain=noise(0.08)),
    Change("bias", stain=bias, floor=0.9),
    Change("cropped", move=crop, floor=0.9),
)


def load(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read voxels and affine."""
    image = nib.load(path)
    return image.get_fdata(dtype=np.float32), np.asarray(image.affine)


def write_versions(flairs: list[Path], folder: Path, changes: Sequence[Change]) -> None:
    """Write a BIDS dataset with one acquisition per change."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {"Name": "changed scans", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description))
    for flair in flairs:
        data, affine = load(flair)
        for change in changes:
            image = change.move(data, affine) if change.move else Nifti1Image(data, affine)
            voxels = np.asarray(image.dataobj)
            voxels = change.stain(voxels) if change.stain else voxels
            target = folder / version(flair, change)
            target.parent.mkdir(parents=True, exist_ok=True)
            voxels = voxels.astype(np.float32)
            store = inverted if change.inverted else Nifti1Image
            nib.save(store(voxels, image.affine), target)


def version(flair: Path, change: Change) -> Path:
    """Return where a version of a scan lies within a dataset."""
    if "_acq-" in flair.name:
        name = re.sub(r"(_acq-[^_]+)", rf"\g<1>{change.name}", flair.name)
    else:  # after subject and session, before all other entities
        name = re.sub(r"^(sub-[^_]+(_ses-[^_]+)?)", rf"\g<1>_acq-{change.name}", flair.name)
    parts = [part for part in flair.parts if part.startswith(("sub-", "ses-"))][:-1]
    return Path(*parts, "anat", name)


def compare(flairs: list[Path], output: Path, changes: Sequence[Change]) -> pd.DataFrame:
    """Compare the prediction on each version with the moved one on the clean scan."""
    rows = []
    for flair in flairs:
        stem = {
            c.name: str(output / version(flair, c)).removesuffix("_FLAIR.nii.gz") for c in changes
        }
        clean, affine = load(Path(f"{stem['clean']}_space-orig_label-L_probseg.nii.gz"))
        for change in changes[1:]:
            path = Path(f"{stem[change.name]}_space-orig_label-L_mask.nii.gz")
            if not path.exists():
                rows.append({"scan": flair.name, "change": change.name})
                continue
            told = json.loads(path.with_suffix("").with_suffix(".json").read_text())
            mask, grid = load(path)
            moved = change.move(clean, affine).get_fdata(dtype=np.float32) if change.move else clean
            voxel_ml = voxel_volume_ml(grid)
            bright = cut(
                moved, told["Threshold"], voxel_ml=voxel_ml,
                large_ml=told.get("LargeLesionVolume", 0.0),
                large_threshold=told.get("LargeLesionThreshold"),
            )  # fmt: skip
            least = told["MinimumLesionVolume"]
            expected = label_lesions(bright, voxel_ml=voxel_ml, min_ml=least) > 0
            found = mask > 0
            total = np.count_nonzero(expected) + np.count_nonzero(found)
            rows.append({
                "scan": flair.name, "change": change.name,
                "dice": 2 * np.count_nonzero(expected & found) / total if total else 1.0,
                "volume_ratio": np.count_nonzero(found) / max(np.count_nonzero(expected), 1),
                "floor": change.floor,
            })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Make the versions, run the command, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--participants", nargs="+", default=["cs07", "cs19", "cs26"])
    parser.add_argument("--changes", nargs="+", choices=[c.name for c in CHANGES[1:]])
    chosen = parser.parse_args()
    changes = [c for c in CHANGES if c.name in ("clean", *(chosen.changes or [c.name]))]
    flairs = sorted(
        path for label in chosen.participants
        for path in chosen.bids.glob(f"sub-{label}/**/*_FLAIR.nii.gz")
    )  # fmt: skip
    write_versions(flairs, chosen.work / "bids", changes)
    command = ["-m", "bids_flairseg", str(chosen.work / "bids"), str(chosen.work / "out")]
    options = ["participant", "--skip-bids-validation", "-w", str(chosen.work / "work")]
    subprocess.run([sys.executable, *command, *options], check=False)
    table = compare(flairs, chosen.work / "out", changes)
    table.to_csv(chosen.work / "robustness.tsv", sep="\t", index=False)
    summary = table.groupby("change", sort=False).agg(
        dice_median=("dice", "median"), dice_min=("dice", "min"),
        volume_ratio_median=("volume_ratio", "median"), floor=("floor", "first"),
    )  # fmt: skip
    sys.stdout.write(summary.round(3).to_string() + "\n")


if __name__ == "__main__":
    main()

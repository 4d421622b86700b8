"""What was found in the demo dataset against what was put in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from rich.table import Table

from bids_flairseg.demo.dataset import REFERENCE
from bids_flairseg.errors import MissingInputError
from bids_flairseg.measure.agreement import agreement
from bids_flairseg.measure.arrays import BoolArray, voxel_volume_ml
from bids_flairseg.measure.lesions import label_lesions

SMALLEST_ML = 0.01
ENDING = "_space-orig_label-L_mask.nii.gz"


@dataclass(frozen=True)
class Finding:
    """One scan: what was put in, what was found.

    Attributes
    ----------
    name : str
        Entities of the scan.
    put_in_ml, found_ml : float
        Lesion volumes in ml.
    put_in, found : int
        Numbers of lesions of at least 0.01 ml.
    dice : float
        Overlap of the two masks, 0 to 1.
    """

    name: str
    put_in_ml: float
    found_ml: float
    put_in: int
    found: int
    dice: float


def compare(bids_dir: Path, output_dir: Path) -> list[Finding]:
    """Compare the masks of a run with those that the dataset carries.

    Parameters
    ----------
    bids_dir : Path
        The demo dataset.
    output_dir : Path
        What flairseg made of it.

    Returns
    -------
    findings : list of Finding
        One for each scan, in the order of their names.

    Raises
    ------
    MissingInputError
        The dataset has no reference masks, or a scan has no result.
    """
    return list(_findings(bids_dir / REFERENCE, output_dir))


def as_table(findings: list[Finding]) -> Table:
    """Lay the findings out for a terminal.

    Parameters
    ----------
    findings : list of Finding
        One for each row.

    Returns
    -------
    table : Table
        Scan, volumes, numbers, Dice.
    """
    table = Table(title="Lesions put into the demo heads, and found")
    table.add_column("scan")
    for title in ("put in (ml)", "found (ml)", "put in", "found", "Dice"):
        table.add_column(title, justify="right")
    for row in findings:
        volumes = (f"{row.put_in_ml:.2f}", f"{row.found_ml:.2f}")
        table.add_row(row.name, *volumes, str(row.put_in), str(row.found), f"{row.dice:.2f}")
    return table


def _findings(reference: Path, output_dir: Path) -> Iterator[Finding]:
    """Read the pairs of masks."""
    masks = sorted(reference.glob(f"sub-*/anat/*{ENDING}"))
    if not masks:
        raise MissingInputError(
            f"{reference}: expected the masks of the demo dataset, found none. "
            "Make it with: python -m bids_flairseg.demo make FOLDER"
        )
    for put_in in masks:
        found = output_dir / put_in.relative_to(reference)
        if not found.is_file():
            raise MissingInputError(
                f"{found}: expected a result for each demo scan, found none. "
                "See the log of the run for why this scan failed."
            )
        yield _finding(put_in, found)


def _finding(put_in: Path, found: Path) -> Finding:
    """Compare one pair of masks."""
    voxel_ml = voxel_volume_ml(nib.Nifti1Image.from_filename(put_in).affine)
    reference, result = _read(put_in), _read(found)
    both = agreement(result, reference, voxel_ml=voxel_ml)
    counts = [
        int(label_lesions(mask, voxel_ml=voxel_ml, min_ml=SMALLEST_ML).max())
        for mask in (reference, result)
    ]
    return Finding(
        name=put_in.name.removesuffix(ENDING),
        put_in_ml=both.reference_ml,
        found_ml=both.predicted_ml,
        put_in=counts[0],
        found=counts[1],
        dice=both.dice,
    )


def _read(path: Path) -> BoolArray:
    """Read a mask of shape (X, Y, Z)."""
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj) > 0

"""The numbers of one scan, as one row of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from bids_flairseg.measure.arrays import BoolArray, FloatArray, LabelArray, voxel_volume_ml
from bids_flairseg.measure.regions import REGIONS, VENTRICLES

_NOT_AVAILABLE = "n/a"


@dataclass(frozen=True)
class Provenance:
    """With what the lesions of a scan were found.

    Attributes
    ----------
    model : str
        Name of the lesion bundle.
    model_sha256 : str
        Digest of its weights.
    threshold : float
        Lesion probability from which a voxel is lesion.
    min_lesion_ml : float
        Smallest lesion that was kept, in ml.
    warnings : sequence of str
        Quality hints of the scan.
    """

    model: str
    model_sha256: str
    threshold: float
    min_lesion_ml: float
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ScanStats:
    """One row of ``*_label-L_stats.tsv``; `STATS_COLUMNS` says what each column means.

    Volumes are in ml and counts in lesions. None stands for what could not be measured.
    """

    lesion_volume_ml: float
    lesion_count: int
    largest_lesion_ml: float
    periventricular_ml: float | None
    juxtacortical_ml: float | None
    deep_white_ml: float | None
    infratentorial_ml: float | None
    other_ml: float | None
    periventricular_count: int | None
    juxtacortical_count: int | None
    deep_white_count: int | None
    infratentorial_count: int | None
    other_count: int | None
    brain_volume_ml: float
    ventricle_volume_ml: float | None
    lesion_load_percent: float | None
    voxel_volume_mm3: float
    threshold: float
    min_lesion_ml: float
    model: str
    model_sha256: str
    warning_count: int
    warnings: str

    def row(self) -> dict[str, str]:
        """Return the columns as text, in order, for a BIDS table.

        Returns
        -------
        dict of str to str
            Floats with up to four decimals; ``n/a`` where there is no value.
        """
        return {item.name: _text(getattr(self, item.name)) for item in fields(self)}


def _column(description: str, units: str | None = None) -> dict[str, str]:
    """Describe one column as BIDS sidecars do."""
    return {"Description": description} | ({"Units": units} if units else {})


#: Meaning and unit of every column of `ScanStats`, in order.
STATS_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "lesion_volume_ml": _column("Volume of the lesion mask on the grid of the FLAIR", "mL"),
    "lesion_count": _column("Number of lesions, 26-connected"),
    "largest_lesion_ml": _column("Volume of the largest lesion; 0 without lesions", "mL"),
    **{
        f"{name}_ml": _column(f"Volume of the lesions whose region is {name}", "mL")
        for name in (*REGIONS[1:], REGIONS[0])
    },
    **{
        f"{name}_count": _column(f"Number of the lesions whose region is {name}")
        for name in (*REGIONS[1:], REGIONS[0])
    },
    "brain_volume_ml": _column(
        "Volume of the filled brain mask: sulci, cisterns and ventricles belong to it", "mL"
    ),
    "ventricle_volume_ml": _column("Volume of all four ventricles (anatomy network)", "mL"),
    "lesion_load_percent": _column("Lesion volume as a share of brain_volume_ml", "%"),
    "voxel_volume_mm3": _column("Volume of one voxel of the FLAIR", "mm^3"),
    "threshold": _column("Lesion probability from which a voxel is lesion, 0 to 1"),
    "min_lesion_ml": _column("Smaller lesions are left out", "mL"),
    "model": _column("Name of the lesion model"),
    "model_sha256": _column("SHA-256 of the weights of the lesion model"),
    "warning_count": _column("Number of quality hints"),
    "warnings": _column("Quality hints, separated by '; '; n/a where there are none"),
}


def scan_stats(
    lesions: pd.DataFrame,
    brain: BoolArray,
    classes: LabelArray | None,
    *,
    affine: FloatArray,
    provenance: Provenance,
) -> ScanStats:
    """Sum up one scan.

    Parameters
    ----------
    lesions : pandas.DataFrame
        What `lesion_table` gives.
    brain : ndarray of bool, shape (X, Y, Z)
        Brain mask on the grid of the FLAIR.
    classes : ndarray of int, shape (X, Y, Z), or None
        Anatomy classes on the same grid; without them there is no ventricle volume.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to mm.
    provenance : Provenance
        What found the lesions.

    Returns
    -------
    ScanStats
        The lesion volume is that of all voxels of the table; the regions add up to it.
    """
    voxel_ml = voxel_volume_ml(affine)
    lesion_ml = float(lesions["voxels"].sum() * voxel_ml)
    brain_ml = float(np.count_nonzero(brain) * voxel_ml)
    warnings = [" ".join(text.split()) for text in provenance.warnings]
    return ScanStats(
        lesion_volume_ml=lesion_ml,
        lesion_count=len(lesions),
        largest_lesion_ml=float(lesions["voxels"].max() * voxel_ml) if len(lesions) else 0.0,
        **_by_region(lesions, voxel_ml),
        brain_volume_ml=brain_ml,
        ventricle_volume_ml=_class_ml(classes, VENTRICLES, voxel_ml),
        lesion_load_percent=100.0 * lesion_ml / brain_ml if brain_ml else None,
        voxel_volume_mm3=voxel_ml * 1000.0,
        threshold=provenance.threshold,
        min_lesion_ml=provenance.min_lesion_ml,
        model=provenance.model,
        model_sha256=provenance.model_sha256,
        warning_count=len(warnings),
        warnings="; ".join(warnings) or _NOT_AVAILABLE,
    )


def _by_region(lesions: pd.DataFrame, voxel_ml: float) -> dict[str, Any]:
    """Return volume in ml and count of every region, None where regions are unknown."""
    known = lesions["region"].isin(REGIONS).all()
    values: dict[str, Any] = {}
    for name in REGIONS:
        voxels = lesions.loc[lesions["region"] == name, "voxels"]
        values[f"{name}_ml"] = float(voxels.sum() * voxel_ml) if known else None
        values[f"{name}_count"] = len(voxels) if known else None
    return values


def _class_ml(classes: LabelArray | None, number: int, voxel_ml: float) -> float | None:
    """Return the volume of one anatomy class in ml."""
    return None if classes is None else float(np.count_nonzero(classes == number) * voxel_ml)


def _text(value: str | float | int | None) -> str:
    """Print a value as the tables do: no more decimals than carry meaning."""
    if value is None or value == "":
        return _NOT_AVAILABLE
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)

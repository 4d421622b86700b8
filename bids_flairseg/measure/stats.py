"""The numbers of one scan, as one row of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from bids_flairseg.measure.arrays import BoolArray, FloatArray, LabelArray, voxel_volume_ml
from bids_flairseg.measure.regions import REGIONS, VENTRICLES

MAX_LOAD_PERCENT = 25.0
"""Share of the brain above which lesions are doubted: a large tumour with its oedema, 250 ml, is
a fifth of a brain."""

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
    large_ml : float
        Volume in ml from which a lesion is large.
    large_threshold : float or None
        Probability from which a voxel around a large lesion is lesion; None for no other.
    warnings : sequence of str
        Quality hints of the scan.
    """

    model: str
    model_sha256: str
    threshold: float
    min_lesion_ml: float
    large_ml: float = 0.0
    large_threshold: float | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ScanStats:
    """One row of ``*_label-L_stats.tsv``, whose sidecar says what each column means.

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
    large_lesion_threshold: float | None
    large_lesion_ml: float | None
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
        return {item.name: as_text(getattr(self, item.name)) for item in fields(self)}


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
    # the full stop goes, as '; ' follows
    warnings = [" ".join(text.split()).removesuffix(".") for text in provenance.warnings]
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
        large_lesion_threshold=provenance.large_threshold,
        large_lesion_ml=None if provenance.large_threshold is None else provenance.large_ml,
        min_lesion_ml=provenance.min_lesion_ml,
        model=provenance.model,
        model_sha256=provenance.model_sha256,
        warning_count=len(warnings),
        warnings="; ".join(warnings) or _NOT_AVAILABLE,
    )


def load_hints(lesions: BoolArray, brain: BoolArray) -> tuple[str, ...]:
    """Say so where more of the brain counts as lesion than ever is.

    Parameters
    ----------
    lesions, brain : ndarray of bool, shape (X, Y, Z)
        Masks on the same grid.

    Returns
    -------
    hints : tuple of str
        One sentence, or none.
    """
    percent = 100.0 * int(np.count_nonzero(lesions)) / max(int(np.count_nonzero(brain)), 1)
    if percent <= MAX_LOAD_PERCENT:
        return ()
    hint = (
        f"Lesions take up {percent:.0f} % of the brain mask, which is hardly possible: do not use "
        "the numbers before you have looked at the outlines."
    )
    return (hint,)


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


def as_text(value: str | float | int | None) -> str:
    """Print a value as all tables do.

    Parameters
    ----------
    value : str, float, int or None
        Any value of a table.

    Returns
    -------
    str
        A float with up to four decimals (0.1 mm^3 for a volume in ml); ``n/a`` for None
        and for what is not finite.

    Examples
    --------
    >>> as_text(12.50004), as_text(0.0), as_text(None)
    ('12.5', '0', 'n/a')
    """
    if value is None or value == "":
        return _NOT_AVAILABLE
    if isinstance(value, float):
        text = f"{value:.4f}".rstrip("0").rstrip(".")
        return {"-0": "0"}.get(text, text) if math.isfinite(value) else _NOT_AVAILABLE
    return str(value)

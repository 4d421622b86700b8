"""Intensities made comparable between scans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import InputError

KINDS = ("zscore", "robust")
LOW, HIGH = -6.0, 12.0
"""Limits in units of the tissue's spread, between which ``robust`` clips."""


def normalise_array(
    data: NDArray[np.float32], mask: NDArray[np.bool_], *, kind: str
) -> NDArray[np.float32]:
    """Shift and scale by the brain's own intensities; zero outside.

    ``zscore`` takes mean and standard deviation of the brain (Rauschecker et
    al. 2022). ``robust`` takes median and interquartile range / 1.349 of the
    brain's tissue, which neither a large lesion nor wide ventricles move much:
    CSF is left out as what lies further below the median than three times the
    distance from the median to the third quartile. It clips to [-6, 12].

    Parameters
    ----------
    data : ndarray of float32, shape (X, Y, Z)
        Intensities, any scale and offset.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain.
    kind : str
        ``zscore`` or ``robust``.

    Returns
    -------
    normalised : ndarray of float32, shape (X, Y, Z)
        Unchanged by gain (above zero) and offset of the input.

    Raises
    ------
    InputError
        If the mask is empty, the brain has one intensity only, or the kind is unknown.
    """
    if kind not in KINDS:
        raise InputError(
            f"normalisation: expected {' or '.join(KINDS)}, found {kind!r}. "
            "Correct config.json of the model, or update flairseg."
        )
    values = data[mask]
    if values.size < 2 or not np.ptp(values):
        raise InputError(
            f"expected a brain of varying intensity, found {values.size} voxels of one value. "
            "Check the image and its brain mask."
        )
    centre, spread = _zscore(values) if kind == "zscore" else _robust(values)
    normalised = (data - np.float32(centre)) / np.float32(spread)
    if kind == "robust":
        np.clip(normalised, LOW, HIGH, out=normalised)
    normalised[~mask] = 0
    return normalised


def _zscore(values: NDArray[np.float32]) -> tuple[float, float]:
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def _robust(values: NDArray[np.float32]) -> tuple[float, float]:
    median, upper = np.percentile(values, [50, 75])
    tissue = values[values > median - 3 * (upper - median)]
    low, centre, high = np.percentile(tissue if tissue.size else values, [25, 50, 75])
    spread = (high - low) / 1.349
    return float(centre), float(spread) if spread > 0 else float(values.std())

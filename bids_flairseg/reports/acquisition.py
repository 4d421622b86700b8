"""What kind of image a scan is, in words: voxels, matrix, sequence and scanner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bids_flairseg.reports.records import Acquisition

_KINDS = ("2D", "3D")


def read_acquisition(
    voxel_mm: Sequence[float], matrix: Sequence[int], sidecar: Mapping[str, Any]
) -> Acquisition:
    """Gather what header and sidecar say about an image.

    Parameters
    ----------
    voxel_mm : sequence of float
        Edges of a voxel in mm, along the axes of the file.
    matrix : sequence of int
        Voxels along the same axes.
    sidecar : mapping
        Metadata of BIDS; what is missing, or of no use, is unknown.

    Returns
    -------
    Acquisition
        For the record of the scan.
    """
    kind = _text(sidecar.get("MRAcquisitionType"))
    return Acquisition(
        voxel_mm=tuple(round(float(edge), 3) for edge in voxel_mm),
        matrix=tuple(int(count) for count in matrix),
        kind=kind if kind in _KINDS else "",
        manufacturer=_text(sidecar.get("Manufacturer")),
        scanner=_text(sidecar.get("ManufacturersModelName")),
        field_t=_positive(sidecar.get("MagneticFieldStrength")),
        slice_mm=_positive(sidecar.get("SliceThickness")),
    )


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _positive(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def voxels_in_words(image: Acquisition) -> str:
    """Print the edges of a voxel.

    Parameters
    ----------
    image : Acquisition
        The image.

    Returns
    -------
    str
        In mm, without the unit.

    Examples
    --------
    >>> voxels_in_words(Acquisition((0.9375, 0.9375, 3.0), (256, 256, 48)))
    '0.94 × 0.94 × 3.00'
    """
    return " × ".join(f"{edge:.2f}" for edge in image.voxel_mm)


def acquisition_in_words(image: Acquisition) -> str:
    """Sum up an image in one line.

    Parameters
    ----------
    image : Acquisition
        The image.

    Returns
    -------
    str
        What is known of it, separated by commas.

    Examples
    --------
    >>> acquisition_in_words(Acquisition((1.0, 1.0, 3.0), (256, 256, 48), "2D", field_t=1.5))
    'voxels of 1.00 × 1.00 × 3.00 mm, matrix 256 × 256 × 48, 2D, 1.5 T'
    """
    scanner = f"{image.manufacturer} {image.scanner}"
    if image.scanner.lower().startswith(image.manufacturer.lower()):
        scanner = image.scanner or image.manufacturer
    parts = [
        f"voxels of {voxels_in_words(image)} mm",
        f"matrix {' × '.join(str(count) for count in image.matrix)}",
        image.kind,
        "" if image.slice_mm is None else f"slice thickness {image.slice_mm:g} mm",
        scanner.strip(),
        "" if image.field_t is None else f"{image.field_t:g} T",
    ]
    return ", ".join(part for part in parts if part)

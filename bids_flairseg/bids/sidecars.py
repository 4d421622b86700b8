"""What the JSON files beside the outputs of a scan say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_flairseg.bids.outputs import ScanPaths, sidecar_path
from bids_flairseg.bids.scans import RAW, Scan
from bids_flairseg.bids.spec import Columns, load_spec
from bids_flairseg.measure.outline import HOLLOW_ML

#: How a brain mask came about, by key.
BRAIN_MASK_METHODS: Mapping[str, str] = {
    "network": "Filled envelope of the classes of the anatomy network, found on the FLAIR",
    "supplied": "Brain mask supplied by the user",
    "resampled": "Brain mask supplied by the user on another grid than the FLAIR; resampled to the "
    "nearest voxel",
    "stripped": "The FLAIR came skull-stripped: its non-zero voxels, holes filled",
}
# Copied from the FLAIR where known: who reads the preprocessed image may need them.
_KEPT_METADATA = (
    "Manufacturer",
    "ManufacturersModelName",
    "MagneticFieldStrength",
    "MRAcquisitionType",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "SliceThickness",
)


@dataclass(frozen=True)
class Processing:
    """How the outputs of one scan were made.

    Attributes
    ----------
    model, model_sha256 : str
        Name of the lesion bundle and digest of its weights.
    anatomy, anatomy_sha256 : str
        The same of the anatomy bundle.
    threshold : float
        Lesion probability from which a voxel is lesion.
    min_lesion_ml : float
        Smallest lesion kept, in ml.
    large_ml : float
        Volume in ml from which a lesion is large.
    large_threshold : float or None
        Probability from which a voxel around a large lesion is lesion; None for no other.
    brain_mask : str
        A key of `BRAIN_MASK_METHODS`.
    voxel_size_mm : float
        Edge of the voxels of the preprocessed image, in mm.
    normalisation : str
        How its intensities were scaled, in words.
    denoising : str
        What was done about noise, in words.
    bias_corrected : bool
        N4 was applied.
    warnings : tuple of str
        Quality hints of the scan.
    """

    model: str
    model_sha256: str
    anatomy: str
    anatomy_sha256: str
    threshold: float
    min_lesion_ml: float
    large_ml: float = 0.0
    large_threshold: float | None = None
    brain_mask: str = "network"
    voxel_size_mm: float = 1.0
    normalisation: str = "z-score over the brain, zero outside"
    denoising: str = "none"
    bias_corrected: bool = False
    warnings: tuple[str, ...] = ()


def describe_surroundings(scan: Scan) -> str:
    """Gather what the outputs say about a scan that is not in its images.

    Parameters
    ----------
    scan : Scan
        The scan.

    Returns
    -------
    str
        JSON; the same as long as metadata, warnings and the source of the mask are.
    """
    mask = input_uri(scan, scan.brain_mask) if scan.brain_mask else None
    return json.dumps([_kept_metadata(scan), scan.warnings, mask], sort_keys=True, default=str)


def input_uri(scan: Scan, path: Path | None = None) -> str:
    """Name an input by its BIDS URI.

    Parameters
    ----------
    scan : Scan
        The scan.
    path : Path, optional
        The brain mask that the user supplied; by default the FLAIR is meant.

    Returns
    -------
    str
        ``bids:NAME:PATH``.

    Examples
    --------
    >>> input_uri(Scan(Path("/data/sub-01/anat/sub-01_FLAIR.nii"), {"sub": "01"}))
    'bids:raw:sub-01/anat/sub-01_FLAIR.nii'
    """
    if path is None:
        return f"bids:{RAW}:{(scan.relative_dir / scan.flair.name).as_posix()}"
    parts = path.parts
    last = len(parts) - 1 - parts[::-1].index(f"sub-{scan.participant}")
    return f"bids:{scan.brain_mask_source}:{'/'.join(parts[last:])}"


def output_uri(paths: ScanPaths, kind: str) -> str:
    """Name an output by its BIDS URI within the outputs: ``bids::sub-01/anat/...``."""
    return f"bids::{paths.path(kind).relative_to(paths.output_dir).as_posix()}"


def build_sidecars(paths: ScanPaths, processing: Processing) -> dict[Path, dict[str, Any]]:
    """Build the contents of all sidecars of a scan, by their path.

    An image and a table of the same name share one sidecar, as BIDS has it.

    Parameters
    ----------
    paths : ScanPaths
        Where the outputs go, and for which scan.
    processing : Processing
        How they were made.

    Returns
    -------
    dict of Path to dict
        What to write where.
    """
    sidecars: dict[Path, dict[str, Any]] = {}
    for kind, output in load_spec().outputs.items():
        content = {"Description": output.description}
        if output.columns is not None:
            content = _describe_columns(output.columns)
        if kind in _BUILDERS:
            content |= _BUILDERS[kind](paths, processing)
        sidecars.setdefault(sidecar_path(paths.path(kind)), {}).update(content)
    return sidecars


def _describe_columns(columns: Columns) -> dict[str, Any]:
    """Copy the definitions of a table's columns."""
    return {name: dict(definition) for name, definition in columns.items()}


def _numbers(paths: ScanPaths, processing: Processing) -> dict[str, Any]:
    """Say what was measured; what the numbers mean is said of each column."""
    kinds = ("mask", "brain_mask", "regions", "probability")
    return {"Sources": [output_uri(paths, kind) for kind in kinds], **_models(processing)}


def _reference(paths: ScanPaths) -> dict[str, Any]:
    """Say in which space an output lies: that of its FLAIR."""
    return {"SpatialReference": input_uri(paths.scan)}


def _brain_source(paths: ScanPaths) -> list[str]:
    """Name the FLAIR and the brain mask."""
    return [input_uri(paths.scan), output_uri(paths, "brain_mask")]


def _models(processing: Processing) -> dict[str, Any]:
    """Name the model that found the lesions."""
    return {"Model": {"Name": processing.model, "SHA256": processing.model_sha256}}


def _mask(paths: ScanPaths, processing: Processing) -> dict[str, Any]:
    """Say what the lesion mask is."""
    return {
        "Type": "Lesion",
        **_reference(paths),
        "Sources": [input_uri(paths.scan), output_uri(paths, "probability")],
        "Threshold": processing.threshold,
        **_large(processing),
        "InsidesFilledFrom": HOLLOW_ML,
        "InsidesFilledFromUnits": "mL",
        "MinimumLesionVolume": processing.min_lesion_ml,
        "MinimumLesionVolumeUnits": "mL",
        **_models(processing),
        "Warnings": list(processing.warnings),
    }


def _large(processing: Processing) -> dict[str, Any]:
    """Say how large lesions were outlined, where that is another way."""
    if processing.large_threshold is None:
        return {}
    return {
        "LargeLesionThreshold": processing.large_threshold,
        "LargeLesionVolume": processing.large_ml,
        "LargeLesionVolumeUnits": "mL",
    }


def _probability(paths: ScanPaths, processing: Processing) -> dict[str, Any]:
    """Say what the probability map is."""
    sources = [*_brain_source(paths), output_uri(paths, "preprocessed")]
    return {**_reference(paths), "Sources": sources, **_models(processing)}


def _lesions(paths: ScanPaths, processing: Processing) -> dict[str, Any]:
    """Say what the image of numbered lesions is."""
    sources = [output_uri(paths, "mask"), output_uri(paths, "probability")]
    return {**_reference(paths), "Sources": sources, "Connectivity": 26, **_models(processing)}


def _regions(paths: ScanPaths, processing: Processing) -> dict[str, Any]:
    """Say what the image of regions is, and which network found them."""
    model = {"Name": processing.anatomy, "SHA256": processing.anatomy_sha256}
    sources = [*_brain_source(paths), output_uri(paths, "mask")]  # cortex in lesions is doubted
    return {**_reference(paths), "Sources": sources, "Model": model}


def _brain_mask(paths: ScanPaths, processing: Processing) -> dict[str, Any]:
    """Say what the brain mask is and where it comes from."""
    scan = paths.scan
    content = {
        "Type": "Brain",
        **_reference(paths),
        "Sources": [input_uri(scan)],
        "Method": BRAIN_MASK_METHODS[processing.brain_mask],
    }
    if processing.brain_mask in ("supplied", "resampled") and scan.brain_mask is not None:
        content["Sources"] = [input_uri(scan, scan.brain_mask)]
    if processing.brain_mask == "network":
        content["Model"] = {"Name": processing.anatomy, "SHA256": processing.anatomy_sha256}
    return content


def _preprocessed(paths: ScanPaths, processing: Processing) -> dict[str, Any]:
    """Say what was done to the image that the network saw."""
    size = f"{processing.voxel_size_mm:g} mm"
    return {
        **_kept_metadata(paths.scan),
        "SkullStripped": True,
        "Resolution": f"{size} isotropic, axes as close to right, front and up as the FLAIR's",
        **_reference(paths),
        "Sources": _brain_source(paths),
        "InputSkullStripped": processing.brain_mask == "stripped",
        "BiasFieldCorrection": "N4" if processing.bias_corrected else "none",
        "Denoising": processing.denoising,
        "Normalisation": processing.normalisation,
    }


def _kept_metadata(scan: Scan) -> dict[str, Any]:
    """Pick the metadata of the FLAIR that the preprocessed image keeps."""
    return {key: scan.sidecar[key] for key in _KEPT_METADATA if key in scan.sidecar}


_BUILDERS = {
    "mask": _mask,
    "probability": _probability,
    "lesions": _lesions,
    "regions": _regions,
    "brain_mask": _brain_mask,
    "preprocessed": _preprocessed,
    "stats": _numbers,
}

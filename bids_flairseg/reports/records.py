"""What a report tells of a scan, as frozen records that can be kept as JSON.

A page shows all sessions and runs of a participant, while a run may process one of them:
the records of the others are read back from where they were kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """All that the methods paragraph of a scan depends on.

    Attributes
    ----------
    model, model_sha256 : str
        Name of the lesion bundle and digest of its weights.
    threshold : float
        Lesion probability from which a voxel is lesion.
    min_lesion_ml : float
        Smallest lesion that is kept, in ml.
    large_ml : float
        Volume in ml from which a lesion is large.
    large_threshold : float or None
        Probability from which a voxel around a large lesion is lesion; None for no other.
    anatomy, anatomy_sha256 : str
        The same of the anatomy bundle.
    brain : str
        Where the brain mask comes from: ``network``, ``supplied`` (a derivative dataset),
        ``resampled`` (the same, on another grid) or ``stripped`` (the image had no skull).
    n4, flip : bool
        Whether N4 ran, and whether mirrored predictions were averaged.
    inference : str
        ``brain`` (one pass) or ``windows`` (overlapping cubes).
    voxel_size_mm : float
        Voxel edge of the network's input.
    normalisation : str
        ``zscore`` or ``robust``.
    smoothed : float
        Share of a smoothed version that was mixed into the image, 0 to 1.
    device, precision : str
        Where and how the networks ran, such as ``cpu`` and ``float32``.
    licence : str
        Licence of the lesion model.
    networks : int
        Networks of the lesion model, whose logits are averaged.
    data, anatomy_data : str
        What the two models were trained on, as their cards say; empty where they do not.
    """

    model: str
    model_sha256: str
    threshold: float
    min_lesion_ml: float
    large_ml: float = 0.0
    large_threshold: float | None = None
    anatomy: str = "anatomy"
    anatomy_sha256: str = ""
    brain: str = "network"
    n4: bool = False
    flip: bool = False
    inference: str = "brain"
    voxel_size_mm: float = 1.0
    normalisation: str = "zscore"
    smoothed: float = 0.0
    device: str = ""
    precision: str = ""
    licence: str = ""
    networks: int = 1
    data: str = ""
    anatomy_data: str = ""


@dataclass(frozen=True)
class Acquisition:
    """The image of a scan as its header and its sidecar describe it.

    Attributes
    ----------
    voxel_mm : tuple of float
        Edges of a voxel in mm, along the axes of the file.
    matrix : tuple of int
        Voxels along the same axes.
    kind : str
        ``2D`` or ``3D``; empty where the sidecar does not say, as are the next two.
    manufacturer, scanner : str
        Who made the scanner, and which it is.
    field_t, slice_mm : float or None
        Field strength in T and slice thickness in mm, where the sidecar says so.
    """

    voxel_mm: tuple[float, ...]
    matrix: tuple[int, ...]
    kind: str = ""
    manufacturer: str = ""
    scanner: str = ""
    field_t: float | None = None
    slice_mm: float | None = None


@dataclass(frozen=True)
class Figures:
    """Files of the figures module; None where there is none."""

    lesions: Path | None = None
    largest: Path | None = None
    brain: Path | None = None


@dataclass(frozen=True)
class ScanReport:
    """One scan of a page.

    Attributes
    ----------
    name : str
        Entities of the scan, such as ``sub-01_ses-A_run-1``.
    source : str
        The FLAIR, relative to the dataset.
    stats : mapping
        One row of the scan's statistics, as numbers or as their text; empty for a failed scan.
    lesions : sequence of mapping
        Rows of the lesion table, largest lesion first.
    figures : Figures
        Where the figures lie.
    settings : Settings, optional
        How the lesions were found.
    versions : mapping of str to str
        Versions of the software by name, as in ``{"TensorFlow": "2.20.0"}``.
    warnings : tuple of str
        What somebody should look at.
    error : str, optional
        Why the scan failed: file, expectation, finding, remedy. None for a scan that is done.
    crash_file : str, optional
        Where more is told of the failure, relative to the output folder.
    acquisition : Acquisition, optional
        The image; None where that was not kept.
    """

    name: str
    source: str = ""
    stats: Mapping[str, Any] = field(default_factory=dict)
    lesions: Sequence[Mapping[str, Any]] = ()
    figures: Figures = Figures()
    settings: Settings | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str | None = None
    crash_file: str | None = None
    acquisition: Acquisition | None = None

    def number(self, column: str) -> float | None:
        """Return a statistic, or None where it is missing, ``n/a`` or no number."""
        try:
            value = float(self.stats.get(column, "n/a"))
        except (TypeError, ValueError):
            return None
        return value if value == value else None  # noqa: PLR0124 - NaN differs from itself


def record_from(content: Mapping[str, Any]) -> ScanReport:
    """Rebuild a record from what was kept of it.

    Parameters
    ----------
    content : mapping
        What `dataclasses.asdict` gave, after JSON. Names that this version does not know are
        left out.

    Returns
    -------
    ScanReport
        The record.

    Raises
    ------
    TypeError
        A value that must be there is missing.
    """
    known = _known(ScanReport, content)
    figures = _known(Figures, known.pop("figures", {}))
    settings, image = known.pop("settings", None), known.pop("acquisition", None)
    return ScanReport(
        **known | {"warnings": tuple(known.get("warnings", ()))},
        figures=Figures(**{name: Path(path) for name, path in figures.items() if path}),
        settings=Settings(**_known(Settings, settings)) if settings else None,
        acquisition=_acquisition(image) if image else None,
    )


def _known(kind: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in content.items() if name in names}


def _acquisition(content: Mapping[str, Any]) -> Acquisition:
    known = _known(Acquisition, content)
    numbers = {name: tuple(known.get(name, ())) for name in ("voxel_mm", "matrix")}
    return Acquisition(**known | numbers)

"""All files of a finished scan, written so that a scan counts as done only when it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_flairseg.bids.atomic import write_json, write_text
from bids_flairseg.bids.outputs import ScanPaths, sidecar_path, write_table
from bids_flairseg.bids.sidecars import Processing, build_sidecars
from bids_flairseg.measure.regions import REGIONS
from bids_flairseg.nodes.files import load, load_array
from bids_flairseg.nodes.publish import staged
from bids_flairseg.preprocess.grid import save_like, voxel_sizes
from bids_flairseg.preprocess.image import load_grid
from bids_flairseg.preprocess.noise import SIGMA
from bids_flairseg.preprocess.normalise import HIGH, LOW
from bids_flairseg.reports.acquisition import read_acquisition
from bids_flairseg.reports.records import Figures, ScanReport, Settings, record_from

FINGERPRINT, REPORT = "Fingerprint", "Report"
#: Figures of a scan by the names that the report gives them, and their labels in file names.
FIGURES: Mapping[str, str] = {"lesions": "lesions", "largest": "largest", "brain": "brain"}


@dataclass(frozen=True)
class Found:
    """What the earlier nodes of a scan found.

    Attributes
    ----------
    probability, brain, lesions, regions, preprocessed : Path
        Images; all but the last on the grid of the FLAIR.
    figures : mapping of str to Path
        SVG files by their key in ``FIGURES``.
    stats : mapping of str to str
        Row of the scan's table.
    table : list of mapping
        Rows of the lesion table.
    warnings : tuple of str
        Quality hints.
    """

    probability: Path
    brain: Path
    lesions: Path
    regions: Path
    preprocessed: Path
    figures: Mapping[str, Path]
    stats: Mapping[str, str]
    table: list[Mapping[str, Any]]
    warnings: tuple[str, ...]


def write_scan(
    paths: ScanPaths,
    found: Found,
    settings: Settings,
    *,
    fingerprint: str,
    versions: Mapping[str, str],
) -> Path:
    """Write all outputs of a scan; they appear together, when all of them are complete.

    Parameters
    ----------
    paths : ScanPaths
        Where to.
    found : Found
        What is written.
    settings : Settings
        How it was found.
    fingerprint : str
        Digest of all that it depends on.
    versions : mapping of str to str
        Versions of the software by name.

    Returns
    -------
    Path
        The JSON file of the scan's numbers, which came last and marks the scan as done.

    Raises
    ------
    OutputError, StorageError
        A file cannot be written.
    """
    with staged(paths) as places:
        _write_images(places, found)
        write_table(places, "lesion_table", found.table)
        names = enumerate(REGIONS[1:], start=1)
        write_table(places, "region_table", [{"index": n, "name": name} for n, name in names])
        write_table(places, "stats", [found.stats])
        sidecars = build_sidecars(places, _processing(settings, found.warnings))
        report = _report(places, found, settings, versions)
        marks = {FINGERPRINT: fingerprint, REPORT: asdict(report)}
        sidecars[sidecar_path(places.stats)] |= marks
        for path, sidecar in sidecars.items():
            write_json(path, sidecar)
    for label in FIGURES.keys() - found.figures.keys():
        paths.figure(FIGURES[label]).unlink(missing_ok=True)  # of a run that had one to show
    return sidecar_path(paths.stats)


def _report(
    paths: ScanPaths, found: Found, settings: Settings, versions: Mapping[str, str]
) -> ScanReport:
    """Write the figures and return what the page says about the scan."""
    grid = load_grid(paths.scan.flair)
    edges = voxel_sizes(np.asarray(grid.affine))
    return ScanReport(
        name=paths.scan.name,
        source=(paths.scan.relative_dir / paths.scan.flair.name).as_posix(),
        stats=found.stats,
        lesions=found.table,
        figures=_write_figures(paths, found.figures),
        settings=settings,
        versions=versions,
        warnings=found.warnings,
        acquisition=read_acquisition(edges.tolist(), grid.shape, paths.scan.sidecar),
    )


def _write_images(paths: ScanPaths, found: Found) -> None:
    grid = load_grid(paths.scan.flair)
    lesions = load_array(found.lesions)
    save_like(lesions > 0, grid, paths.mask, "uint8")
    save_like(lesions, grid, paths.lesions, lesions.dtype)
    save_like(load_array(found.regions), grid, paths.regions, "uint8")
    save_like(load_array(found.probability), grid, paths.probability, "float32")
    save_like(load_array(found.brain), grid, paths.brain_mask, "uint8")
    preprocessed = load(found.preprocessed)
    save_like(load_array(found.preprocessed), preprocessed, paths.preprocessed, "float32")


def _write_figures(paths: ScanPaths, figures: Mapping[str, Path]) -> Figures:
    """Write the figures; paths in the record are relative, so that the outputs may move."""
    written = {}
    for key, path in figures.items():
        final = paths.figure(FIGURES[key])
        write_text(final, path.read_text(encoding="utf-8"))
        written[key] = final.relative_to(paths.output_dir)
    return Figures(**written)


def _processing(settings: Settings, warnings: tuple[str, ...]) -> Processing:
    words = {
        "zscore": "z-score over the brain",
        "robust": "median and interquartile range / 1.349 of the brain's tissue, clipped to "
        f"[{LOW:g}, {HIGH:g}]",
    }
    return Processing(
        model=settings.model,
        model_sha256=settings.model_sha256,
        anatomy=settings.anatomy,
        anatomy_sha256=settings.anatomy_sha256,
        threshold=settings.threshold,
        min_lesion_ml=settings.min_lesion_ml,
        large_ml=settings.large_ml,
        large_threshold=settings.large_threshold,
        brain_mask=settings.brain,
        voxel_size_mm=settings.voxel_size_mm,
        normalisation=f"{words[settings.normalisation]}, zero outside",
        denoising=f"mixed with {settings.smoothed:.0%} of itself smoothed within the brain "
        f"(Gaussian, standard deviation {SIGMA:g} voxels)"
        if settings.smoothed
        else "none",
        bias_corrected=settings.n4,
        warnings=warnings,
    )


def read_fingerprint(paths: ScanPaths) -> str | None:
    """Return the fingerprint of a finished scan, None if it is not finished.

    Parameters
    ----------
    paths : ScanPaths
        The scan's files, all of which have to be there.

    Returns
    -------
    str or None
        What `write_scan` was given.
    """
    content = _read(sidecar_path(paths.stats))
    value = content.get(FINGERPRINT)
    if not isinstance(value, str) or not all(path.is_file() for path in paths.files()):
        return None
    report = _report_of(content, paths)
    figures = [] if report is None else list(report.figures.__dict__.values())
    return value if all(path.is_file() for path in figures if path) else None


def read_report(paths: ScanPaths) -> ScanReport | None:
    """Return what the page says about a finished scan, None if that cannot be read.

    Parameters
    ----------
    paths : ScanPaths
        The scan's files.

    Returns
    -------
    ScanReport or None
        With figures that lie in the output folder of `paths`.
    """
    return _report_of(_read(sidecar_path(paths.stats)), paths)


def read_version(paths: ScanPaths) -> str:
    """Return the version of flairseg that has made a scan's outputs, empty where it is unknown.

    Parameters
    ----------
    paths : ScanPaths
        The scan's files.

    Returns
    -------
    str
        Such as ``1.2.0``.
    """
    try:
        return str(_read(sidecar_path(paths.stats))[REPORT]["versions"]["flairseg"])
    except (KeyError, TypeError):
        return ""


def _report_of(content: Mapping[str, Any], paths: ScanPaths) -> ScanReport | None:
    """Return what the page says, from the content of a scan's record."""
    try:
        report = record_from(content[REPORT])
        figures = {
            key: paths.output_dir / path for key, path in report.figures.__dict__.items() if path
        }
    except (KeyError, TypeError, AttributeError):
        return None
    return replace(report, figures=Figures(**figures))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

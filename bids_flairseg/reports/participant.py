"""The page of a participant: what was found on each scan, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_flairseg.bids.atomic import write_text
from bids_flairseg.measure.regions import CORTEX_REACH_MM, VENTRICLE_REACH_MM
from bids_flairseg.reports.acquisition import acquisition_in_words, voxels_in_words
from bids_flairseg.reports.embed import read_figure
from bids_flairseg.reports.page import render
from bids_flairseg.reports.panels import LESION_COLOURS, colour
from bids_flairseg.reports.records import ScanReport
from bids_flairseg.reports.text import REGION_NAMES, amount, describe_methods, summarise

_ENTITIES = {
    "ses": "session",
    "task": "task",
    "acq": "acquisition",
    "ce": "contrast agent",
    "rec": "reconstruction",
    "run": "run",
    "echo": "echo",
    "part": "part",
}


@dataclass(frozen=True)
class Region:
    """One row of the table of regions."""

    name: str
    lesions: float
    volume_ml: float
    percent: float


@dataclass(frozen=True)
class Lesion:
    """One row of the lesion table, ready to be printed."""

    number: int
    colour: str
    volume_ml: float | None
    voxels: float | None
    region: str
    centre: tuple[float | None, float | None, float | None]
    diameter_mm: float | None
    probability: float | None
    confidence: float | None


@dataclass(frozen=True)
class ScanView:
    """A scan as the template shows it.

    Attributes
    ----------
    record : ScanReport
        What is told.
    title : str
        Its entities in words.
    anchor : str
        Its name within the page.
    summary : str
        What was found, in words; empty for a failed scan.
    image, voxels : str
        The image in words, and the edges of its voxels in mm; empty where unknown.
    lesions, regions
        Rows of the two tables.
    figures : mapping
        Markup by name: ``lesions``, ``largest``, ``brain``; None where there is none.
    """

    record: ScanReport
    title: str
    anchor: str
    summary: str
    image: str
    voxels: str
    lesions: Sequence[Lesion]
    regions: Sequence[Region]
    figures: Mapping[str, str | None]


def write_participant_report(
    path: Path, participant: str, scans: Sequence[ScanReport], *, command: str = ""
) -> None:
    """Write one self-contained page with all scans of a participant.

    The page needs no other file and no network: figures lie within it, and what a dataset
    or an option brought along is escaped.

    Parameters
    ----------
    path : Path
        ``sub-XX.html``; replaced in one step if it is there.
    participant : str
        Label, with or without ``sub-``.
    scans : sequence of ScanReport
        In the order to be shown; failed ones among them.
    command : str
        The command line that was run, for those who want to run it again.

    Raises
    ------
    OutputError, StorageError
        The page cannot be written.
    """
    views = [_view(scan, number) for number, scan in enumerate(scans, start=1)]
    page = render(
        "participant.html.j2",
        participant=f"sub-{participant.removeprefix('sub-')}",
        scans=views,
        failed=[view for view in views if view.record.error is not None],
        methods=describe_methods(scans),
        command=command,
        amount=amount,
        colours=len(LESION_COLOURS),
        ventricle_reach_mm=VENTRICLE_REACH_MM,
        cortex_reach_mm=CORTEX_REACH_MM,
    )
    write_text(path, page)


def _view(scan: ScanReport, number: int) -> ScanView:
    failed = scan.error is not None
    figures = {} if failed else scan.figures.__dict__
    return ScanView(
        record=scan,
        title=title(scan.name),
        anchor=f"scan-{number}",
        summary="" if failed else summarise(scan),
        image=acquisition_in_words(scan.acquisition) if scan.acquisition else "",
        voxels=voxels_in_words(scan.acquisition) if scan.acquisition else "",
        lesions=[] if failed else [_lesion(row, place) for place, row in enumerate(scan.lesions)],
        regions=[] if failed else _regions(scan),
        figures={name: read_figure(path) for name, path in figures.items()},
    )


def title(name: str) -> str:
    """Say the entities of a scan in words, without the participant.

    Parameters
    ----------
    name : str
        Entities of the scan: ``sub-01_run-1``.

    Returns
    -------
    str
        Heading of the scan.

    Examples
    --------
    >>> title("sub-01_ses-A_run-1")
    'Session A, run 1'
    >>> title("sub-01")
    'FLAIR'
    """
    pairs = (part.partition("-") for part in name.split("_") if not part.startswith("sub-"))
    words = [f"{_ENTITIES.get(key, key)} {value}" for key, dash, value in pairs if dash]
    text = ", ".join(words) or "FLAIR"
    return text[0].upper() + text[1:]


def _number(row: Mapping[str, object], column: str) -> float | None:
    return ScanReport(name="", stats=row).number(column)


def _lesion(row: Mapping[str, object], place: int) -> Lesion:
    number = _number(row, "index")
    volume = _number(row, "volume_mm3")
    lesion = place + 1 if number is None else int(number)
    region = str(row.get("region", "n/a"))
    x, y, z = (_number(row, f"centroid_{axis}") for axis in "xyz")
    return Lesion(
        number=lesion,
        colour=colour(lesion),
        volume_ml=None if volume is None else volume / 1000.0,
        voxels=_number(row, "voxels"),
        region=REGION_NAMES.get(region, region),
        centre=(x, y, z),
        diameter_mm=_number(row, "max_diameter_mm"),
        probability=_number(row, "mean_probability"),
        confidence=_number(row, "confidence"),
    )


def _regions(scan: ScanReport) -> list[Region]:
    """Return all regions with their share of the lesion volume; none where unknown."""
    total = scan.number("lesion_volume_ml")
    rows = []
    for region, name in REGION_NAMES.items():
        volume = scan.number(f"{region}_ml")
        if volume is None or not total:
            return []
        count = scan.number(f"{region}_count") or 0.0
        rows.append(Region(name, count, volume, 100.0 * volume / total))
    return rows

"""Scans as statistics see them: numbers, and the groups that a scan belongs to."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bids_flairseg.bids.metadata import SidecarReader
from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.config import GroupConfig
from bids_flairseg.errors import UsageError
from bids_flairseg.group.agreement import Comparison
from bids_flairseg.group.collect import LesionTable
from bids_flairseg.group.compute import OK
from bids_flairseg.group.results import ScanResult, identity

#: Columns that are taken without being asked for, as far as they are there.
USUAL: tuple[str, ...] = (
    "diagnosis",
    "group",
    "site",
    "Manufacturer",
    "ManufacturersModelName",
    "MagneticFieldStrength",
    "MRAcquisitionType",
    "slice_thickness",
    "lesion_volume",
    "training_cases",
)
#: How factors are called in sentences.
FACTOR_WORDS: Mapping[str, str] = {
    "lesion_volume": "reference lesion volume",
    "slice_thickness": "slice thickness",
    "Manufacturer": "manufacturer",
    "ManufacturersModelName": "scanner model",
    "MagneticFieldStrength": "field strength (T)",
    "MRAcquisitionType": "acquisition (2D or 3D)",
    "training_cases": "training cases",
}
VOLUME_BIN, THICKNESS_BIN = "lesion_volume", "slice_thickness"
_NOT_AVAILABLE = "n/a"
_ATTRIBUTES = (
    "Manufacturer",
    "ManufacturersModelName",
    "MagneticFieldStrength",
    "MRAcquisitionType",
    "SliceThickness",
)
_MOST_LEVELS = 20


@dataclass(frozen=True)
class Observation:
    """One scan, or one scan compared with one reference.

    Attributes
    ----------
    scan, participant : str
        Whose.
    model, reference : str
        Names; the reference is empty where nothing was compared, and has its rater after a
        colon.
    kind : str
        ``model``, ``rater`` or ``scan``.
    values : mapping of str to float
        By column; NaN where there is none.
    groups : mapping of str to str
        Level of every factor; ``n/a`` where it is unknown.
    """

    scan: str
    participant: str
    model: str
    reference: str
    kind: str
    values: Mapping[str, float]
    groups: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """Return a number, NaN where there is none."""
        return self.values.get(name, math.nan)


def volume_bin(volume_ml: float) -> str:
    """Return the bin of a lesion volume, as in the paper.

    Parameters
    ----------
    volume_ml : float
        In ml; NaN has no bin.

    Returns
    -------
    str
        One of three, or ``n/a``.

    Examples
    --------
    >>> volume_bin(9.9), volume_bin(10), volume_bin(100.1)
    ('<10 ml', '10-100 ml', '>100 ml')
    """
    if math.isnan(volume_ml):
        return _NOT_AVAILABLE
    return "<10 ml" if volume_ml < 10 else "10-100 ml" if volume_ml <= 100 else ">100 ml"


def thickness_bin(text: str) -> str:
    """Return the bin of a slice thickness in mm, ``n/a`` where it is no number."""
    value = as_number(text)
    if math.isnan(value):
        return _NOT_AVAILABLE
    return "<=1.5 mm" if value <= 1.5 else "1.5-3 mm" if value <= 3 else ">3 mm"


def as_number(text: object) -> float:
    """Read a number from a cell, NaN where there is none.

    Parameters
    ----------
    text : object
        Any cell.

    Returns
    -------
    float
        Finite, or NaN.
    """
    try:
        value = float(str(text))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def scan_groups(
    config: GroupConfig, scans: Sequence[ScanResult], table: LesionTable
) -> dict[str, dict[str, str]]:
    """Look up the factors of every scan in participants.tsv and the FLAIR's sidecars.

    Parameters
    ----------
    config : GroupConfig
        The dataset, and the columns asked for.
    scans : sequence of ScanResult
        Finished scans.
    table : LesionTable
        Their rows, joined with participants.tsv.

    Returns
    -------
    dict of str to dict
        By name of the scan, then by factor.

    Raises
    ------
    UsageError
        ``--group-by`` names a column that does not exist.
    """
    reader = SidecarReader(config.dataset.bids_dir)
    wanted = dict.fromkeys((*_ATTRIBUTES, *config.group_by))
    rows = {row["scan"]: row for row in table.rows}
    found: dict[str, dict[str, str]] = {}
    for scan in scans:
        known = scan.paths.scan
        folder = config.dataset.bids_dir / known.relative_dir
        sidecar = reader.read(folder / known.flair.name, known.entities)[0]
        groups = {name: _text(sidecar[name]) for name in wanted if name in sidecar}
        row = rows.get(scan.name, {})
        groups |= {name: row.get(name, _NOT_AVAILABLE) for name in table.joined}
        groups |= {name: row[name] for name in config.group_by if name in row}
        groups[THICKNESS_BIN] = thickness_bin(groups.get("SliceThickness", ""))
        found[scan.name] = groups
    _check_columns(config.group_by, found, table)
    return found


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def _check_columns(
    asked: Iterable[str], found: Mapping[str, Mapping[str, str]], table: LesionTable
) -> None:
    """Make sure that every column asked for exists, and suggest the nearest if not."""
    known = dict.fromkeys(name for groups in found.values() for name in groups)
    known |= dict.fromkeys((*table.joined, VOLUME_BIN))
    for name in asked:
        if found and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            advice = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"--group-by {name}: expected a column of participants.tsv or an attribute of the "
                f"FLAIR's JSON file. {advice}There are {enumerate_some(list(known), 20)}."
            )


def observe_scans(
    table: LesionTable, groups: Mapping[str, Mapping[str, str]], models: Mapping[str, str]
) -> list[Observation]:
    """Turn the lesion table into observations.

    Parameters
    ----------
    table : LesionTable
        All scans.
    groups : mapping
        What `scan_groups` gives.
    models : mapping of str to str
        Name of the model by scan.

    Returns
    -------
    list of Observation
        One per scan.
    """
    return [
        Observation(
            scan=row["scan"],
            participant=row["participant_id"],
            model=models.get(row["scan"], _NOT_AVAILABLE),
            reference="",
            kind="scan",
            values={
                name: as_number(text) for name, text in row.items() if name not in table.joined
            },
            groups=groups.get(row["scan"], {}),
        )
        for row in table.rows
    ]


def observe_pairs(
    comparisons: Iterable[Comparison], groups: Mapping[str, Mapping[str, str]]
) -> list[Observation]:
    """Turn the pairs that have numbers into observations.

    Parameters
    ----------
    comparisons : iterable of Comparison
        All pairs.
    groups : mapping
        What `scan_groups` gives.

    Returns
    -------
    list of Observation
        One per pair, with the bin of its reference volume as a further factor; model after model,
        those of the output folder first.
    """
    found, order = [], dict[str, int]()
    for item in comparisons:
        order.setdefault(item.model, len(order))  # a pair without numbers keeps its model's place
        if item.status != OK or item.outcome.numbers is None:
            continue
        who = identity(item.entities)
        values = {
            name: math.nan if value is None else float(value)
            for name, value in item.outcome.numbers.values.items()
        }
        own = dict(groups.get(who["scan"], {}))
        own[VOLUME_BIN] = volume_bin(values["reference_volume_ml"])
        found.append(
            Observation(
                scan=who["scan"],
                participant=who["participant_id"],
                model=item.model,
                reference=reference_of(item),
                kind=item.kind,
                values=values,
                groups=own,
            )
        )
    return sorted(found, key=lambda item: order[item.model])


def reference_of(item: Comparison) -> str:
    """Name the reference of a pair, its rater after a colon."""
    return f"{item.reference}:{item.rater}" if item.rater else item.reference


def factors_of(observations: Sequence[Observation], asked: Sequence[str]) -> list[str]:
    """Choose the factors by which groups are compared.

    Parameters
    ----------
    observations : sequence of Observation
        All of one kind.
    asked : sequence of str
        What ``--group-by`` says; none: the usual ones.

    Returns
    -------
    list of str
        Those with at least two levels; without being asked for, not those with more than 20.
    """
    chosen = []
    for name in asked or USUAL:
        levels = levels_of(observations, name)
        if len(levels) > 1 and (asked or len(levels) <= _MOST_LEVELS):
            chosen.append(name)
    return chosen


def levels_of(observations: Iterable[Observation], factor: str) -> list[str]:
    """List the levels of a factor in a natural order, unknown left out.

    Parameters
    ----------
    observations : iterable of Observation
        Any.
    factor : str
        Its name.

    Returns
    -------
    list of str
        Numbers by size, volume bins by volume, the rest by name.
    """
    levels = {item.groups.get(factor, _NOT_AVAILABLE) for item in observations}
    order = {"<10 ml": 0, "10-100 ml": 1, ">100 ml": 2, "<=1.5 mm": 0, "1.5-3 mm": 1, ">3 mm": 2}

    def key(level: str) -> tuple[float, str]:
        number = as_number(level)
        return (order.get(level, 0.0 if math.isnan(number) else number), level)

    return sorted(levels - {_NOT_AVAILABLE, ""}, key=key)

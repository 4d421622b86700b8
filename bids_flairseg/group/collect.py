"""One table of all scans: their numbers, joined with what is known of the participants."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.bids.tables import Participants
from bids_flairseg.group.problems import Problem
from bids_flairseg.group.results import (
    FOLD,
    Results,
    ScanResult,
    identity,
    model_of,
    weights_of,
)

#: Meaning of the columns with which every group table starts.
IDENTITY_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session; n/a in a dataset without sessions"},
    "scan": {"Description": "Name of the FLAIR without suffix"},
}
#: What a column of participants.tsv gets when the scans have one of that name.
SUFFIX = "_participants"
# Settings that have to be the same for numbers to be comparable.
_THRESHOLDS = ("threshold", "large_lesion_threshold")
_SETTINGS = ("model", "model_sha256", *_THRESHOLDS, "large_lesion_ml", "min_lesion_ml")


@dataclass(frozen=True)
class LesionTable:
    """The content of ``group_lesions.tsv``.

    Attributes
    ----------
    columns : mapping
        Description of each column, in order.
    rows : tuple of mapping
        Text by column, one row per scan.
    joined : tuple of str
        Those of the columns that come from participants.tsv.
    """

    columns: Mapping[str, Mapping[str, Any]]
    rows: tuple[Mapping[str, str], ...]
    joined: tuple[str, ...] = ()


def join(scans: Sequence[ScanResult], participants: Participants, bids_dir: Path) -> LesionTable:
    """Join the numbers of all scans with the participants' columns.

    Parameters
    ----------
    scans : sequence of ScanResult
        Finished scans.
    participants : Participants
        Content of participants.tsv. A column that the scans have as well gets the ending
        ``_participants``.
    bids_dir : Path
        Whose participants.json describes those columns.

    Returns
    -------
    LesionTable
        One row per scan; ``n/a`` for participants that participants.tsv does not list.
    """
    numbers = _stats_columns(scans)
    names: dict[str, str] = {}
    for column in participants.columns:
        name = column
        while name in IDENTITY_COLUMNS or name in numbers or name in names.values():
            name += SUFFIX
        names[column] = name
    described = _describe_participants(bids_dir)
    rows = []
    for scan in scans:
        known = participants.rows.get(scan.paths.scan.participant, {})
        own = {names[column]: known.get(column) or "n/a" for column in participants.columns}
        rows.append(identity(scan.entities) | dict(scan.stats) | own)
    columns = {
        **IDENTITY_COLUMNS,
        **numbers,
        **{
            name: described.get(column, {"Description": f"{column} of participants.tsv"})
            for column, name in names.items()
        },
    }
    return LesionTable(columns, tuple(rows), tuple(names.values()))


def find_problems(results: Results, participants: Participants) -> list[Problem]:
    """Say what a reader of the table should know.

    Parameters
    ----------
    results : Results
        All scans and what is wrong with some.
    participants : Participants
        Content of participants.tsv.

    Returns
    -------
    list of Problem
        Empty if all is well.
    """
    problems = [Problem("unreadable_table", text) for text in results.unreadable]
    for kind, names, detail in (
        ("no_result", results.without_result, "Run the participant level."),
        ("unfinished", results.unfinished, "Run the participant level again."),
        ("no_flair", results.without_flair, "Its FLAIR is no longer in the dataset."),
    ):
        problems += [Problem(kind, detail, scan=name) for name in names]
    problems += [Problem("participants", text) for text in participants.warnings]
    absent = dict.fromkeys(
        f"sub-{scan.paths.scan.participant}"
        for scan in results.scans
        if scan.paths.scan.participant not in participants.rows
    )
    if participants.columns and absent:
        text = f"participants.tsv does not list {enumerate_some(absent, 20)}."
        problems.append(Problem("participants", text))
    return problems + _mixtures(results.scans)


def _mixtures(scans: Sequence[ScanResult]) -> list[Problem]:
    """Name the settings in which scans differ."""
    problems = []
    folds = all(FOLD.search(scan.stats.get("model", "n/a")) for scan in scans)
    versions = Counter(scan.version for scan in scans if scan.version)
    if len(versions) > 1:
        shares = [f"{version} (scans: {count})" for version, count in versions.most_common()]
        text = (
            f"The scans were processed by several versions of flairseg: {enumerate_some(shares)}. "
            "Their numbers may not be comparable; run the participant level again with --overwrite."
        )
        problems.append(Problem("mixed", text))
    for setting in _SETTINGS:
        if folds and setting in _THRESHOLDS:
            continue  # each fold of a cross-validation chooses its own
        reading = {"model": model_of, "model_sha256": weights_of}.get(setting)
        counts = Counter(
            reading(scan.stats) if reading else scan.stats.get(setting, "n/a") for scan in scans
        )
        if len(counts) > 1:
            shares = [f"{value[:12]} (scans: {count})" for value, count in counts.most_common()]
            text = (
                f"The scans differ in {setting}: {enumerate_some(shares)}. Their numbers are not "
                "comparable; run the participant level again with --overwrite."
            )
            problems.append(Problem("mixed", text))
    return problems


def _stats_columns(scans: Sequence[ScanResult]) -> dict[str, Mapping[str, str]]:
    """Return the columns of the scans: those of this version, then what others have."""
    present = dict.fromkeys(column for scan in scans for column in scan.stats)
    known = load_spec().outputs["stats"].columns or {}
    extra = {name: {"Description": "Column of another version"} for name in present}
    kept = {name: column for name, column in known.items() if name in present or not scans}
    return {**kept, **{name: extra[name] for name in extra if name not in known}}


def _describe_participants(bids_dir: Path) -> dict[str, Mapping[str, Any]]:
    """Read participants.json, as far as it can be read."""
    try:
        content = json.loads((bids_dir / "participants.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    columns = content.items() if isinstance(content, dict) else ()
    return {name: column for name, column in columns if isinstance(column, dict)}

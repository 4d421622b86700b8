"""Scans ranked by suspicion, so that a person looks at those that are worth it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.group.observations import Observation, as_number
from bids_flairseg.group.problems import Problem
from bids_flairseg.group.results import ScanResult
from bids_flairseg.group.sources import MODEL
from bids_flairseg.group.statistic import by_model
from bids_flairseg.group.volumes import VOLUME
from bids_flairseg.measure.suspicion import robust_z, without_trend
from bids_flairseg.reports.text import hints_in_words

#: The table that a reviewer exports from the page and puts into the output folder.
VERDICTS = "group_verdicts.tsv"
ACCEPT, REJECT = "accept", "reject"
#: Scans that the page shows with their outlines.
SHOWN = 20
#: Robust SD from which a value counts as unusual.
LIMIT = 2.5
_BRAIN_ML = (700.0, 2000.0)
# Dice below the median of all scans from which it can be unusual, and from which it is, even
# where scans are too few, or scatter too much, to say what is usual. Three have a median.
_DICE_GAP, _DICE_FAR, _DICE_FEWEST = 0.1, 0.3, 3
_NEEDED = ("scan", "verdict")

#: Meaning of the columns of ``group_review.tsv``.
REVIEW_COLUMNS: Mapping[str, Mapping[str, object]] = {
    "rank": {"Description": "1: look at this scan first"},
    "scan": {"Description": "Name of the FLAIR without suffix"},
    "suspicion": {
        "Description": "Sum over all reasons of the robust SD beyond 2, plus 1 for each quality "
        "hint; 0: nothing unusual"
    },
    "reasons": {"Description": "What is unusual"},
    "verdict": {
        "Description": "Of the reviewer, from group_verdicts.tsv",
        "Levels": {ACCEPT: "Seen and good", REJECT: "Left out of the statistics"},
    },
    "note": {"Description": "Of the reviewer"},
}


@dataclass(frozen=True)
class Verdict:
    """What a reviewer said of a scan."""

    verdict: str
    note: str = ""


@dataclass(frozen=True)
class Suspect:
    """One scan of the ranking.

    Attributes
    ----------
    scan : str
        Its name.
    suspicion : float
        0 for nothing unusual.
    reasons : tuple of str
        What is unusual.
    verdict : Verdict or None
        None where nobody has looked yet.
    """

    scan: str
    suspicion: float
    reasons: tuple[str, ...]
    verdict: Verdict | None = None

    def row(self, rank: int) -> dict[str, str]:
        """Return the row of ``group_review.tsv``."""
        return {
            "rank": str(rank),
            "scan": self.scan,
            "suspicion": f"{self.suspicion:.2f}",
            "reasons": "; ".join(self.reasons) or "n/a",
            "verdict": self.verdict.verdict if self.verdict else "n/a",
            "note": (self.verdict.note if self.verdict else "") or "n/a",
        }


def read_verdicts(
    output_dir: Path, names: Iterable[str]
) -> tuple[dict[str, Verdict], list[Problem]]:
    """Read what a reviewer has exported from the page.

    Parameters
    ----------
    output_dir : Path
        Where ``group_verdicts.tsv`` lies, if there is one.
    names : iterable of str
        All scans.

    Returns
    -------
    dict of str to Verdict
        By scan; of a scan that is listed twice the last row counts.
    list of Problem
        What is wrong with the table, and which scans are rejected.
    """
    path = output_dir / VERDICTS
    if not path.exists():
        return {}, []
    table = read_tsv(path)
    problems = [Problem("verdict", text) for text in table.warnings]
    if not set(_NEEDED) <= set(table.columns):
        text = f"{path}: expected the columns {', '.join(_NEEDED)}, found {list(table.columns)}. "
        return {}, [*problems, Problem("verdict", text + "Export it from the page again.")]
    known, found = set(names), {}
    for row in table.rows:
        scan, verdict = row["scan"], row["verdict"].lower()
        note = row.get("note", "")
        if scan not in known:
            problems.append(Problem("verdict", f"{path}: there is no scan {scan!r}.", scan=scan))
        elif verdict not in (ACCEPT, REJECT, "n/a", ""):
            text = f"{path}: expected accept or reject for {scan}, found {verdict!r}."
            problems.append(Problem("verdict", text, scan=scan))
        else:
            found[scan] = Verdict(verdict.replace("n/a", ""), "" if note == "n/a" else note)
    problems += [
        Problem("rejected", verdict.note or "no reason given", scan=scan)
        for scan, verdict in found.items()
        if verdict.verdict == REJECT
    ]
    return found, problems


def rank_scans(
    scans: Sequence[ScanResult],
    observed: Sequence[Observation],
    verdicts: Mapping[str, Verdict],
    pairs: Sequence[Observation] = (),
) -> list[Suspect]:
    """Rank all scans, the most suspicious first and those with a verdict last.

    Parameters
    ----------
    scans : sequence of ScanResult
        Finished scans.
    observed : sequence of Observation
        The same, in the same order, with their groups.
    verdicts : mapping of str to Verdict
        What a reviewer has said.
    pairs : sequence of Observation, optional
        Models and raters compared with references.

    Returns
    -------
    list of Suspect
        All scans.
    """
    if not scans:
        return []
    points = np.zeros(len(scans))
    reasons: list[list[str]] = [[] for _ in scans]

    def add(scores: NDArray[np.float64], words: Sequence[str]) -> None:
        for place in np.flatnonzero(np.abs(scores) > LIMIT):
            points[place] += min(abs(float(scores[place])), 10.0) - 2.0
            reasons[place].append(words[place])

    add(*_volume(observed))
    add(*_brain(observed))
    add(*_confidence(scans))
    add(*_change(observed))
    add(*_dice(observed, pairs))
    for place, scan in enumerate(scans):
        hints = hints_in_words(scan.stats.get("warnings", "n/a"))
        if hints:
            points[place] += max(as_number(scan.stats.get("warning_count", "1")), 1.0)
            reasons[place].append(hints)
    suspects = [
        Suspect(scan.name, float(points[place]), tuple(reasons[place]), verdicts.get(scan.name))
        for place, scan in enumerate(scans)
    ]
    return sorted(suspects, key=lambda s: (_has_verdict(s), -s.suspicion))


def _has_verdict(suspect: Suspect) -> bool:
    return suspect.verdict is not None and bool(suspect.verdict.verdict)


def _column(observed: Sequence[Observation], name: str) -> NDArray[np.float64]:
    return np.array([item.value(name) for item in observed])


def _volume(observed: Sequence[Observation]) -> tuple[NDArray[np.float64], list[str]]:
    """Lesion volume, given age and diagnosis."""
    volumes = _column(observed, VOLUME)
    age = [as_number(item.groups.get("age")) for item in observed]
    groups = [item.groups.get("diagnosis", "") for item in observed]
    scores = robust_z(without_trend(np.log10(volumes + 0.1), age), groups)
    words = [
        f"lesion volume of {v:.2f} ml is unusually {'large' if z > 0 else 'small'} ({z:+.1f} SD "
        "given age and diagnosis as far as known)"
        for v, z in zip(volumes, scores, strict=True)
    ]
    return scores, words


def _brain(observed: Sequence[Observation]) -> tuple[NDArray[np.float64], list[str]]:
    """Volume of the brain mask: far from the others, or from what brains have."""
    volumes = _column(observed, "brain_volume_ml")
    scores = robust_z(volumes)
    outside = (volumes < _BRAIN_ML[0]) | (volumes > _BRAIN_ML[1])
    scores = np.where(outside & (np.abs(scores) < 4), 4.0, scores)
    return scores, [f"brain mask of {volume:.0f} ml" for volume in volumes]


def _confidence(scans: Sequence[ScanResult]) -> tuple[NDArray[np.float64], list[str]]:
    """Confidence of the lesions, weighted by their volume; only low ones are suspicious."""
    values = np.array([_mean_confidence(scan.paths.lesion_table) for scan in scans])
    scores = np.minimum(robust_z(values), 0.0)
    return scores, [f"low confidence ({value:.2f})" for value in values]


def _mean_confidence(table: Path) -> float:
    rows = read_tsv(table).rows
    name = "confidence" if rows and "confidence" in rows[0] else "mean_probability"
    pairs = [(as_number(row.get(name)), as_number(row.get("volume_mm3"))) for row in rows]
    known = [(value, size) for value, size in pairs if not math.isnan(value + size)]
    total = sum(size for _, size in known)
    return sum(value * size for value, size in known) / total if total > 0 else math.nan


def _change(observed: Sequence[Observation]) -> tuple[NDArray[np.float64], list[str]]:
    """Change of volume from one session to the next."""
    scores, words = np.zeros(len(observed)), [""] * len(observed)
    before: dict[str, tuple[float, str]] = {}
    gaps = np.full(len(observed), math.nan)
    for place, item in enumerate(observed):
        volume = item.value(VOLUME)
        if item.participant in before:
            old, name = before[item.participant]
            gaps[place] = math.log10((volume + 0.1) / (old + 0.1))
            words[place] = f"lesion volume {old:.2f} to {volume:.2f} ml since {name}"
        before[item.participant] = (volume, item.scan)
    scores = robust_z(gaps)
    # among few pairs of sessions, a change by a factor of two and 2 ml counts by itself
    for place in np.flatnonzero(np.isfinite(gaps)):
        volume = observed[place].value(VOLUME)
        gap = abs(volume - (volume + 0.1) / 10 ** gaps[place])
        if abs(gaps[place]) > math.log10(2) and gap > 2.0:
            scores[place] = math.copysign(max(abs(scores[place]), 3.0), gaps[place])
    return scores, words


def _dice(
    observed: Sequence[Observation], pairs: Sequence[Observation]
) -> tuple[NDArray[np.float64], list[str]]:
    """Dice against a reference far below that of the other scans; only low ones are suspicious."""
    places = {(item.scan, item.model): place for place, item in enumerate(observed)}
    scores, words = np.zeros(len(observed)), [""] * len(observed)
    models = [item for item in pairs if item.kind == MODEL and (item.scan, item.model) in places]
    for (_, reference), own in by_model(models).items():
        values = np.array([item.value("dice") for item in own])
        middle = float(np.median(values))
        gaps = middle - values
        found = np.where(gaps >= _DICE_GAP, np.minimum(robust_z(values), 0.0), 0.0)
        if values.size >= _DICE_FEWEST:
            found[gaps >= _DICE_FAR] = np.minimum(found[gaps >= _DICE_FAR], -3.0)
        for item, score in zip(own, found, strict=True):
            place = places[item.scan, item.model]
            if score < scores[place]:
                scores[place] = score
                dice = item.value("dice")
                words[place] = f"Dice of {dice:.2f} against {reference}, median {middle:.2f}"
    return scores, words

"""Everything that is odd about the cases of a training, found before it starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bids_flairseg.errors import InputError
from bids_flairseg.preprocess.mask import NO_SUCH_VALUE

_NONE = "n/a"
#: Share of the label outside the brain from which it is fatal, or worth a word.
OUTSIDE_FATAL, OUTSIDE_ODD = 0.5, 0.1
#: Dice of label and brain from which the label is taken for a brain mask.
BRAIN_DICE = 0.8
_FLIP_GAIN, _FLIP_ML = 1.2, 0.2
_SHOWN = 20


@dataclass(frozen=True)
class CaseRow:
    """One case of the table.

    Attributes
    ----------
    name, participant : str
        Names of the scan and of its participant.
    facts : mapping
        What was measured, see `bids_flairseg.train.cases.build_case`; empty if nothing
        could be.
    attributes : mapping of str to str
        Site, scanner and so on.
    labelled : bool
        Whether there is a mask; scans without are listed and not used.
    failure : str
        Why the case cannot be used at all.
    """

    name: str
    participant: str
    facts: Mapping[str, Any]
    attributes: Mapping[str, str]
    labelled: bool = True
    failure: str = ""

    @property
    def usable(self) -> bool:
        """Whether training can learn from it."""
        return self.labelled and not self.failure


@dataclass(frozen=True)
class Finding:
    """What is odd about a case.

    Attributes
    ----------
    case : str
        Name of the scan, or of several.
    text : str
        What was expected, what was found, what to do.
    fatal : bool
        Whether training must not start.
    loud : bool
        Whether it is to be told as a warning.
    """

    case: str
    text: str
    fatal: bool = False
    loud: bool = False


def find_problems(rows: Sequence[CaseRow]) -> list[Finding]:
    """Look at all cases of a training.

    Parameters
    ----------
    rows : sequence of CaseRow
        All cases, unlabelled ones as well.

    Returns
    -------
    list of Finding
        The fatal ones first.
    """
    usable = [row for row in rows if row.usable]
    findings = [Finding(row.name, row.failure, fatal=True) for row in rows if row.failure]
    for row in usable:
        findings += _look_at(row)
    findings += _duplicates(usable)
    if usable and not any(row.facts["lesion_ml"] for row in usable):
        findings.append(Finding("all cases", _say_empty(usable), fatal=True))
    without = [row.name for row in rows if not row.labelled]
    if without:
        findings.append(Finding(_names(without), "no lesion mask, so not used."))
    return sorted(findings, key=lambda finding: not finding.fatal)


def _look_at(row: CaseRow) -> list[Finding]:
    """Judge one case by its facts."""
    facts = row.facts
    found = [Finding(row.name, f"{note}.", loud=_is_absent(note)) for note in facts["notes"]]
    if facts["brain_dice"] >= BRAIN_DICE or facts["lesion_ml"] > BRAIN_DICE * facts["brain_ml"]:
        text = (
            f"the label covers the brain ({facts['lesion_ml']:.0f} of {facts['brain_ml']:.0f} ml). "
            "Is it a brain mask? Give a lesion mask."
        )
        return [*found, Finding(row.name, text, fatal=True)]
    outside = facts["outside"]
    if outside >= OUTSIDE_ODD:
        text = f"{outside:.0%} of the label lies outside the brain"
        fatal = outside >= OUTSIDE_FATAL
        remedy = ". Does it belong to this scan?" if fatal else "; that part is not learnt from."
        found.append(Finding(row.name, text + remedy, fatal=fatal))
    return found + _look_for_flip(row)


def _look_for_flip(row: CaseRow) -> list[Finding]:
    """Suspect a label that fits the image better mirrored; part of it may well lie outside."""
    direct, mirrored = row.facts["flip"]
    if row.facts["lesion_ml"] < _FLIP_ML or mirrored <= max(0.05, _FLIP_GAIN * direct):
        return []
    text = (
        f"the label may be flipped left to right: it correlates {direct:.2f} with the FLAIR "
        f"as it is, {mirrored:.2f} mirrored. Look at both in a viewer."
    )
    return [Finding(row.name, text, loud=True)]


def _is_absent(note: str) -> bool:
    """Tell whether a mask has values, but none that means lesion: it may as well be a slip."""
    return note.startswith(NO_SUCH_VALUE)


def _say_empty(rows: Sequence[CaseRow]) -> str:
    """Say why there is nothing to learn, and what the masks have instead."""
    absent = [note for row in rows for note in row.facts["notes"] if _is_absent(note)]
    if not absent:
        return "all masks are empty: there is nothing to learn. Add cases with lesions."
    return (
        f"all masks are empty: {_names(absent, separator='; ')}. Say which values mean lesion by "
        "--label-value."
    )


def _duplicates(rows: Sequence[CaseRow]) -> list[Finding]:
    """Find images that are there more than once; fatal between participants."""
    same: dict[str, list[CaseRow]] = defaultdict(list)
    for row in rows:
        same[row.facts["digest"]].append(row)
    findings = []
    for twins in same.values():
        if len(twins) > 1:
            apart = len({row.participant for row in twins}) > 1
            text = "the same image. " + (
                "Two participants cannot share one, and a test on one would have seen the other: "
                "leave all but one out (--participant-label)."
                if apart
                else "It counts as often as it is there."
            )
            findings.append(Finding(_names([row.name for row in twins]), text, fatal=apart))
    return findings


def _names(names: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more


def require_usable(findings: Sequence[Finding]) -> None:
    """Refuse to train where something fatal was found, naming all of it at once.

    Parameters
    ----------
    findings : sequence of Finding
        What `find_problems` gives.

    Raises
    ------
    InputError
        At least one finding is fatal.
    """
    fatal = [f"  {finding.case}: {finding.text}" for finding in findings if finding.fatal]
    if fatal:
        lines = "\n".join(fatal)
        raise InputError(f"training cannot start; reasons: {len(fatal)}\n{lines}")


def check_number(cases: int, participants: int, *, mode: str, folds: int) -> str:
    """Make sure that there are enough cases for what is to be done.

    Parameters
    ----------
    cases, participants : int
        How many there are.
    mode : str
        ``train``, ``finetune`` or ``crossval``.
    folds : int
        Of the cross-validation.

    Returns
    -------
    str
        A warning; empty if there is none.

    Raises
    ------
    InputError
        There are too few.
    """
    if cases == 0:
        raise InputError(
            "expected at least one case with a lesion mask, found none that is usable. Put masks "
            "with the names of their FLAIRs into a BIDS derivative, and name it by -d NAME=PATH."
        )
    if mode == "crossval" and participants < 2:
        raise InputError(
            f"expected at least two participants for --mode crossval, found {participants}: each "
            "is predicted by a model that never saw it. Add cases, or take --mode finetune."
        )
    if mode == "crossval" and folds > participants:
        raise InputError(
            f"--folds {folds}: expected at most as many folds as participants, found "
            f"{participants}. Take --folds {participants}."
        )
    if participants == 1:
        only = "one case only" if cases == 1 else f"{cases} cases of one participant only"
        return (
            f"{only}: nobody can be held out, so what is learnt is not tested on anyone else, and "
            "may be worth nothing elsewhere. Label scans of a few more."
        )
    return ""


def case_table(rows: Sequence[CaseRow]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Lay out the table of all cases.

    Parameters
    ----------
    rows : sequence of CaseRow
        All cases.

    Returns
    -------
    columns : tuple of str
        Names.
    cells : list of tuple of str
        One row per case.
    """
    columns = ("case", "lesion ml", "voxel mm", "raters", "site", "diagnosis", "scanner", "state")
    return columns, [_cells(row) for row in rows]


def _cells(row: CaseRow) -> tuple[str, ...]:
    facts, known = row.facts, row.attributes
    state = "ok"
    if not row.usable:
        state = "no label" if not row.labelled else "cannot be used"
    return (
        row.name,
        f"{facts['lesion_ml']:.2f}" if facts else "-",
        " x ".join(f"{edge:g}" for edge in facts["voxel_mm"]) if facts else "-",
        str(facts["raters"]) if facts else "-",
        known.get("site", _NONE),
        known.get("diagnosis", _NONE),
        scanner(known),
        state,
    )


def scanner(attributes: Mapping[str, str]) -> str:
    """Put manufacturer, field strength and dimension into a few words; n/a if unknown."""
    field = attributes.get("MagneticFieldStrength", _NONE)
    words = [
        attributes.get("Manufacturer", _NONE),
        field if field == _NONE else f"{field} T",
        attributes.get("MRAcquisitionType", _NONE),
    ]
    return " ".join(word for word in words if word != _NONE) or _NONE

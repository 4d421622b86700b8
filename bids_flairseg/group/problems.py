"""What a reader of the group's tables has to know: one row each, and a few lines in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bids_flairseg.bids.names import enumerate_some

#: Meaning of the columns of ``group_problems.tsv``.
PROBLEM_COLUMNS: Mapping[str, Mapping[str, object]] = {
    "problem": {
        "Description": "What kind of problem",
        "Levels": {
            "no_result": "A FLAIR without any result of the participant level",
            "unfinished": "A scan that the participant level has begun and not finished",
            "no_flair": "A result whose FLAIR is no longer in the dataset",
            "unreadable_table": "A table of a scan that cannot be read",
            "mixed": "Scans processed with different settings or models",
            "participants": "participants.tsv is broken, or does not list a participant",
            "no_masks": "A derivative without lesion masks",
            "grid_mismatch": "A mask does not lie on the grid of the FLAIR",
            "unreadable": "A mask cannot be read, or is no mask",
            "missing_prediction": "A reference without a finished scan, or a scan that another "
            "model has not predicted",
            "missing_reference": "A scan without a reference",
            "missing_scan": "A prediction of another model without a finished scan",
            "verdict": "group_verdicts.tsv is broken, or names a scan that is not there",
            "rejected": "A scan that a reviewer rejected: not in the statistics",
            "not_placed": "A scan that is not in the map of --lesion-map",
            "no_map": "There are too few participants for --lesion-map",
        },
    },
    "scan": {"Description": "Name of the FLAIR without suffix"},
    "source": {"Description": "NAME of -d NAME=PATH"},
    "detail": {"Description": "File, expectation, finding and remedy"},
}
#: Kinds that are told in the page, but are no error under ``--strict``.
HARMLESS = frozenset({"missing_reference", "rejected", "no_flair", "not_placed", "no_map"})
_SUMMED = {
    "no_result": "No result (run the participant level for them)",
    "unfinished": "Not finished, so left out (run the participant level again)",
    "no_flair": "A result, but no FLAIR in the dataset any more",
    "grid_mismatch": "Not compared, as the mask lies on another grid",
    "unreadable": "Not compared, as a mask cannot be read",
    "missing_prediction": "Not compared, as there is no prediction",
    "missing_scan": "Not compared, as there is no finished scan of that name",
    "rejected": "Rejected by a reviewer, so left out of the statistics",
    "not_placed": "Not in the lesion map, as the brain does not fit the template",
}
_MOST_NAMES = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be.

    Attributes
    ----------
    kind : str
        A level of the column ``problem``.
    detail : str
        What is wrong and what to do.
    scan, source : str
        Where; empty if it is about no scan or derivative.
    """

    kind: str
    detail: str
    scan: str = ""
    source: str = ""

    def row(self) -> dict[str, str]:
        """Return the row of ``group_problems.tsv``; ``n/a`` for what is empty."""
        values = (self.kind, self.scan, self.source, self.detail)
        return {name: value or "n/a" for name, value in zip(PROBLEM_COLUMNS, values, strict=True)}


def in_words(problems: Iterable[Problem]) -> list[str]:
    """Say in few lines what is wrong, those of a kind and source together.

    Parameters
    ----------
    problems : iterable of Problem
        All that were found.

    Returns
    -------
    list of str
        A sentence or two each; scans without reference are not among them.
    """
    lines: list[str] = []
    grouped: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        if problem.kind in _SUMMED:
            grouped.setdefault((problem.kind, problem.source), []).append(problem)
        elif problem.kind != "missing_reference":
            lines.append(problem.detail)
    for (kind, source), own in grouped.items():
        names = list(dict.fromkeys(problem.scan or problem.detail for problem in own))
        place = f", {source}" if source else ""
        lines.append(f"{_SUMMED[kind]}{place}: {enumerate_some(names, _MOST_NAMES)}.")
    return list(dict.fromkeys(lines))


def strict_errors(problems: Sequence[Problem]) -> list[Problem]:
    """Return those that ``--strict`` does not forgive."""
    return [problem for problem in problems if problem.kind not in HARMLESS]

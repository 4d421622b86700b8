"""What the page of the group level shows, gathered from all tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_flairseg.bids.outputs import ScanPaths
from bids_flairseg.config import GroupConfig
from bids_flairseg.group.agreement import Comparison
from bids_flairseg.group.collect import LesionTable
from bids_flairseg.group.problems import Problem, in_words
from bids_flairseg.group.results import Results
from bids_flairseg.group.review import SHOWN, Suspect
from bids_flairseg.group.statistic import Statistic
from bids_flairseg.group.words import results_paragraphs
from bids_flairseg.reports.charts import Chart
from bids_flairseg.reports.embed import read_figure
from bids_flairseg.reports.group import GroupPage, Review


@dataclass(frozen=True)
class Found:
    """All that a group run found.

    Attributes
    ----------
    results : Results
        All scans.
    table : LesionTable
        Their numbers.
    comparisons : sequence of Comparison
        All pairs.
    problems : sequence of Problem
        What a reader should know.
    suspects : sequence of Suspect
        All scans, the most suspicious first.
    statistics : sequence of Statistic
        All rows.
    charts : sequence of Chart
        All figures.
    study : sequence of str
        What the portability study says.
    """

    results: Results
    table: LesionTable
    comparisons: Sequence[Comparison]
    problems: Sequence[Problem]
    suspects: Sequence[Suspect] = ()
    statistics: Sequence[Statistic] = ()
    charts: Sequence[Chart] = ()
    study: Sequence[str] = ()


def build_page(config: GroupConfig, found: Found) -> GroupPage:
    """Gather what the page shows.

    Parameters
    ----------
    config : GroupConfig
        The run.
    found : Found
        What it found.

    Returns
    -------
    GroupPage
        For the page's template.
    """
    scans = found.results.scans
    exists = {report: report.exists() for report in {scan.paths.report for scan in scans}}
    return GroupPage(
        dataset=dataset_name(config.dataset.bids_dir),
        rows=found.table.rows,
        joined=found.table.joined,
        links={s.name: s.paths.report.name for s in scans if exists[s.paths.report]},
        comparisons=[item.row() for item in found.comparisons],
        problems=in_words(found.problems),
        paragraphs=results_paragraphs(found.statistics),
        study=found.study,
        review=_review(found),
        verdicts=[
            (suspect.scan, suspect.verdict.verdict, suspect.verdict.note)
            for suspect in found.suspects
            if suspect.verdict
        ],
        charts=found.charts,
        statistics=[row.row() for row in found.statistics if row.test or row.analysis in _SHOWN],
    )


def _review(found: Found) -> list[Review]:
    """Show the scans that there is a reason to look at, or that were looked at, with outlines."""
    paths = {scan.name: scan.paths for scan in found.results.scans}
    worth = [suspect for suspect in found.suspects if suspect.reasons or suspect.verdict]
    return [
        Review(
            scan=suspect.scan,
            link=page.name if (page := paths[suspect.scan].report).exists() else "",
            suspicion=suspect.suspicion,
            reasons=suspect.reasons,
            verdict=suspect.verdict.verdict if suspect.verdict else "",
            note=suspect.verdict.note if suspect.verdict else "",
            figure=read_figure(_outlines(paths[suspect.scan])),
        )
        for suspect in worth[:SHOWN]
    ]


def _outlines(paths: ScanPaths) -> Path | None:
    path = paths.figure("largest")
    return path if path.is_file() else None


# Statistics without a test that the page shows all the same; the others are in the table.
_SHOWN = frozenset({"summary", "detection", "repeatability", "volumes", "learning curve"})


def dataset_name(bids_dir: Path) -> str:
    """Return the name that the dataset gives itself, or else that of its folder."""
    try:
        content = json.loads(
            (bids_dir / "dataset_description.json").read_text(encoding="utf-8-sig")
        )
    except (OSError, ValueError):
        content = {}
    name = content.get("Name") if isinstance(content, dict) else None
    return str(name or bids_dir.resolve().name)

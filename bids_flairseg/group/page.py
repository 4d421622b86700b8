"""What the page of the group level shows, gathered from all tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bids_flairseg.config import GroupConfig
from bids_flairseg.group.agreement import Comparison
from bids_flairseg.group.collect import LesionTable
from bids_flairseg.group.problems import Problem, in_words
from bids_flairseg.group.results import Results
from bids_flairseg.reports.group import GroupPage


def build_page(
    config: GroupConfig,
    results: Results,
    table: LesionTable,
    comparisons: Sequence[Comparison],
    problems: Sequence[Problem],
) -> GroupPage:
    """Gather what the page shows.

    Parameters
    ----------
    config : GroupConfig
        The run.
    results : Results
        All scans.
    table : LesionTable
        Their numbers.
    comparisons : sequence of Comparison
        All pairs.
    problems : sequence of Problem
        What a reader should know.

    Returns
    -------
    GroupPage
        For the page's template.
    """
    links = {
        scan.name: scan.paths.report.name for scan in results.scans if scan.paths.report.exists()
    }
    return GroupPage(
        dataset=dataset_name(config.dataset.bids_dir),
        rows=table.rows,
        joined=table.joined,
        links=links,
        comparisons=[item.row() for item in comparisons],
        problems=in_words(problems),
    )


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

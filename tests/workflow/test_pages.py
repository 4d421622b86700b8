"""Pages are written from what is on the disk, which another run may change meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_flairseg.bids.outputs import ScanPaths, report_path
from bids_flairseg.bids.scans import Scan
from bids_flairseg.workflow.pages import Pages
from bids_flairseg.workflow.progress import Row, Status

SCAN = Scan(Path("/bids/sub-01/anat/sub-01_FLAIR.nii.gz"), {"sub": "01"})


def leave(paths: ScanPaths) -> None:
    """Leave a table as a finished scan has it."""
    paths.folder.mkdir(parents=True)
    paths.stats.touch()


@pytest.mark.parametrize(
    ("status", "written"), [(Status.UNCHANGED, True), (Status.ELSEWHERE, False)]
)
def test_the_page_of_a_participant_in_another_run_is_left_to_it(
    tmp_path: Path, status: Status, written: bool
) -> None:
    leave(ScanPaths(tmp_path, SCAN))
    Pages(tmp_path, [(SCAN, Row(SCAN.name, status))], "flairseg").complete({})
    assert report_path(tmp_path, "01").exists() is written


def test_a_result_that_goes_or_is_being_written_asks_for_no_page(tmp_path: Path) -> None:
    leave(ScanPaths(tmp_path / "sub-01" / ".flairseg-0123456789ab", SCAN))
    gone = ScanPaths(tmp_path, SCAN).stats
    gone.parent.mkdir(parents=True)
    gone.symlink_to("taken away")
    Pages(tmp_path, [(SCAN, Row(SCAN.name))], "flairseg").complete({})
    assert not report_path(tmp_path, "01").exists()

"""Which scans are left to do, and what is known of those that are not."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bids_flairseg.bids.outputs import ScanPaths
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import describe_surroundings
from bids_flairseg.config import DatasetConfig
from bids_flairseg.nodes.derivatives import read_fingerprint
from bids_flairseg.nodes.fingerprint import fingerprint
from bids_flairseg.storage import TEMPORARY_PREFIX
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.progress import Row, Status
from bids_flairseg.workflow.scan import Plan, node_name, run_folder

LOGGER = logging.getLogger(__name__)


def open_rows(scans: Iterable[Scan], plan: Plan, locks: ParticipantLocks) -> list[tuple[Scan, Row]]:
    """Tell for each scan whether it is to be done.

    Parameters
    ----------
    scans : iterable of Scan
        All of the run.
    plan : Plan
        Where results are looked for, with what settings they count as done, and whether
        they are to be made again all the same.
    locks : ParticipantLocks
        Whoever is taken by another run is left to it.

    Returns
    -------
    list of (Scan, Row)
        Rows are waiting, unchanged or in another run.
    """
    output_dir = plan.config.dataset.output_dir
    free: dict[str, bool] = {}
    rows = []
    for scan in scans:
        if scan.participant not in free:
            free[scan.participant] = locks.take(scan.participant)
        row, paths = Row(scan.name), ScanPaths(output_dir, scan, plan.settings.voxel_size_mm)
        if not free[scan.participant]:
            row.status = Status.ELSEWHERE
        elif not plan.config.overwrite and is_done(paths, settings=plan.settings_digest):
            row.status = Status.UNCHANGED
        rows.append((scan, row))
    return rows


def is_done(paths: ScanPaths, *, settings: str) -> bool:
    """Tell whether a scan's results are complete and would come out the same.

    Parameters
    ----------
    paths : ScanPaths
        The scan, and where its results are.
    settings : str
        Digest of all settings that change the numbers.

    Returns
    -------
    bool
        Whether there is nothing to do.
    """
    scan, known = paths.scan, read_fingerprint(paths)
    if known is None:
        return False
    about = describe_surroundings(scan)
    try:
        return known == fingerprint(settings, scan.flair, scan.brain_mask, about=about)
    except OSError as error:  # the scan's own branch will find out and say more
        LOGGER.debug("%s: cannot be compared with its results (%s)", scan.name, error)
        return False


def clean_branches(dataset: DatasetConfig, scans: Iterable[Scan]) -> None:
    """Remove the intermediate files of scans, those of other versions included.

    Parameters
    ----------
    dataset : DatasetConfig
        Its work folder may hold files of other runs, which stay.
    scans : iterable of Scan
        Scans that no other run works on.
    """
    folder = run_folder(dataset)
    for scan in scans:
        for branch in folder.glob(f"*/{node_name(scan.name)}"):
            shutil.rmtree(branch, ignore_errors=True)
    for empty in (*folder.glob("*"), folder):
        with suppress(OSError):  # a graph, or the files of other scans
            empty.rmdir()


def remove_leftovers(output_dir: Path, participants: Iterable[str]) -> None:
    """Remove unfinished files that a killed run left in the folders of locked participants.

    Parameters
    ----------
    output_dir : Path
        Root of the outputs.
    participants : iterable of str
        Labels of participants that no other run works on.
    """
    for label in participants:
        folder = output_dir / f"sub-{label}"
        for path in list(folder.rglob(f"{TEMPORARY_PREFIX}*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

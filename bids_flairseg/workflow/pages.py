"""The pages of participants, written anew whenever one of their scans is finished."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bids_flairseg.bids.names import natural_key
from bids_flairseg.bids.outputs import (
    ScanPaths,
    find_results,
    log_dir,
    modified_ns,
    report_path,
)
from bids_flairseg.bids.scans import Scan
from bids_flairseg.nodes.derivatives import read_report
from bids_flairseg.reports.participant import write_participant_report
from bids_flairseg.reports.records import ScanReport
from bids_flairseg.workflow.progress import Row, Status
from bids_flairseg.workflow.scan import node_name

LOGGER = logging.getLogger(__name__)


class Pages:
    """Writes pages from what is on the disk and from what failed in this run.

    Parameters
    ----------
    output_dir : Path
        Root of the outputs.
    rows : sequence of (Scan, Row)
        All of this run. The pages of participants that another run works on are left to that.
    command : str
        The command line.
    """

    def __init__(self, output_dir: Path, rows: Sequence[tuple[Scan, Row]], command: str) -> None:
        self._output_dir = output_dir
        self._scans = {scan.name: scan for scan, row in rows if row.status is not Status.ELSEWHERE}
        self._command = command
        self._failed: dict[str, Row] = {}

    def finish(self, row: Row) -> None:
        """Take note of a scan that is done or has failed, and write its participant's page.

        Parameters
        ----------
        row : Row
            The scan.
        """
        scan = self._scans[row.scan]
        report = last_report(self._output_dir, scan)
        if row.status is Status.FAILED:
            self._failed[row.scan] = row
            LOGGER.error("%s: %s", row.scan, _reason(row))
        elif report is not None:
            _log_result(report)
        self.write(scan.participant)

    def write(self, participant: str, crash_files: Mapping[str, str] | None = None) -> None:
        """Write one page: all finished scans of the participant, and those that failed now.

        Parameters
        ----------
        participant : str
            Label.
        crash_files : mapping of str to str, optional
            Crash file of each failed scan, relative to the output folder.

        Raises
        ------
        OutputError, StorageError
            The page cannot be written.
        """
        reports = {}
        for paths in find_results(self._output_dir, [participant]):
            report = read_report(paths)
            if report is not None:
                reports[paths.scan.name] = report
        for name, row in self._failed.items():
            if self._scans[name].participant == participant:
                reports[name] = self._failure(row, (crash_files or {}).get(name))
        write_participant_report(
            report_path(self._output_dir, participant),
            participant,
            [reports[name] for name in sorted(reports, key=natural_key)],
            command=self._command,
        )

    def complete(self, crash_files: Mapping[str, str]) -> None:
        """Write the pages that are missing, and those that can name a crash file now.

        Parameters
        ----------
        crash_files : mapping of str to str
            Crash file of each failed scan, relative to the output folder.
        """
        with_failure = {self._scans[name].participant for name in self._failed}
        for participant in dict.fromkeys(scan.participant for scan in self._scans.values()):
            if participant in with_failure or self._is_outdated(participant):
                self.write(participant, crash_files)

    def _is_outdated(self, participant: str) -> bool:
        """Tell whether a page is missing or older than a result that it should show."""
        written = modified_ns(report_path(self._output_dir, participant))
        results = find_results(self._output_dir, [participant])
        return any(modified_ns(paths.stats) > written for paths in results)

    def _failure(self, row: Row, crash_file: str | None) -> ScanReport:
        scan = self._scans[row.scan]
        return ScanReport(
            name=row.scan,
            source=(scan.relative_dir / scan.flair.name).as_posix(),
            error=_reason(row),
            crash_file=crash_file,
        )


def _reason(row: Row) -> str:
    return row.failure.text if row.failure else "It failed without a word."


def _log_result(report: ScanReport) -> None:
    volume, count = report.number("lesion_volume_ml"), report.number("lesion_count")
    word = "lesion" if count == 1 else "lesions"
    LOGGER.info("%s: %.2f ml in %d %s", report.name, volume or 0, count or 0, word)
    if report.settings is not None and report.settings.brain == "stripped":
        LOGGER.info("%s: the image is skull-stripped already and taken as it is", report.name)
    for warning in report.warnings:
        LOGGER.warning("%s: %s", report.name, warning)


def find_crash_files(output_dir: Path, scans: Iterable[Scan], *, since: float) -> dict[str, str]:
    """Find the crash files of a run.

    Parameters
    ----------
    output_dir : Path
        Root of the outputs.
    scans : iterable of Scan
        Those of the run.
    since : float
        Start of the run, in s since the epoch; older files belong to others.

    Returns
    -------
    dict of str to str
        Path relative to the root, by the scan's name.
    """
    names = {node_name(scan.name): scan.name for scan in scans}
    found = {}
    for path in sorted(log_dir(output_dir).glob("crash-*.txt")):
        if path.stat().st_mtime < since:
            continue
        with path.open(encoding="utf-8", errors="replace") as stream:
            branch = stream.readline().strip().split(".")[-2:-1]
        if branch and branch[0] in names:
            found[names[branch[0]]] = path.relative_to(output_dir).as_posix()
    return found


def last_report(output_dir: Path, scan: Scan) -> ScanReport | None:
    """Return what is known of a finished scan, None if it has no result."""
    return read_report(ScanPaths(output_dir, scan))

"""Where the results of a run come from, in the terms of W3C PROV.

Names and identifiers follow the proposed extension of BIDS for provenance (BEP028, "BIDS-Prov"),
which is no part of a released BIDS; so the file lies with the record of the run. It is JSON-LD
that brings its own context: nothing has to be fetched to read it as a graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bids_flairseg.bids.atomic import write_json
from bids_flairseg.bids.outputs import ScanPaths
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import input_uri, output_uri
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.model.card import WEIGHTS_FILE
from bids_flairseg.nodes.derivatives import read_fingerprint, read_report
from bids_flairseg.nodes.fingerprint import input_digests
from bids_flairseg.workflow.models import Models
from bids_flairseg.workflow.progress import Row
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.scan import Plan

FILE = "provenance.jsonld"
_PROV, _XSD = "http://www.w3.org/ns/prov#", "http://www.w3.org/2001/XMLSchema#"
CONTEXT: Mapping[str, Any] = {
    "@version": 1.1,
    "prov": _PROV,
    "flairseg": "urn:flairseg:",
    "Id": "@id",
    "Type": "@type",
    "Records": "@graph",
    "Activity": "prov:Activity",
    "Entity": "prov:Entity",
    "Software": "prov:SoftwareAgent",
    "Label": "http://www.w3.org/2000/01/rdf-schema#label",
    "StartedAtTime": {"@id": "prov:startedAtTime", "@type": f"{_XSD}dateTime"},
    "EndedAtTime": {"@id": "prov:endedAtTime", "@type": f"{_XSD}dateTime"},
    "GeneratedBy": {"@id": "prov:wasGeneratedBy", "@type": "@id"},
    "AssociatedWith": {"@id": "prov:wasAssociatedWith", "@type": "@id"},
    "Used": {"@id": "prov:used", "@type": "@id"},
    "AtLocation": "prov:atLocation",
    "Command": "flairseg:command",
    "Version": "flairseg:version",
    "OperatingSystem": "flairseg:operatingSystem",
    "Licence": "flairseg:licence",
    "Digest": "flairseg:digest",
    "sha256": "flairseg:sha256",
    "Parameters": {"@id": "flairseg:parameters", "@type": "@json"},
}


def write_provenance(
    record: Record, plan: Plan, models: Models, scans: Iterable[tuple[Scan, Row]]
) -> Path:
    """Write ``provenance.jsonld`` into the folder of a run's record.

    Parameters
    ----------
    record : Record
        The run.
    plan : Plan
        What its scans have in common.
    models : Models
        Both bundles.
    scans : iterable of (Scan, Row)
        Those that this run has finished, and when; the others are in the provenance of their own
        runs.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError, StorageError
        It cannot be written.
    """
    graph = _Graph(record)
    graph.add_run(models, n4=plan.config.segment.n4)
    for scan, row in scans:
        paths = ScanPaths(plan.config.dataset.output_dir, scan, plan.settings.voxel_size_mm)
        graph.add_scan(paths, row, plan.config.random_seed)
    path = record.folder / FILE
    write_json(path, {"@context": CONTEXT, "Records": graph.records})
    return path


class _Graph:
    """Software, activities and entities of a run; no file of a scan is read again for it."""

    def __init__(self, record: Record) -> None:
        self.records: list[dict[str, Any]] = []
        self._record = record
        self._software: list[str] = []
        self._used: list[str] = []

    def add_run(self, models: Models, *, n4: bool) -> None:
        """Add what all scans of the run have used; ANTs has a part in it by N4 alone."""
        versions = dict(self._record.content["versions"])
        system = versions.pop("system")
        if not n4:
            versions.pop("antspyx", None)
        for name, version in versions.items():
            self._software.append(self._own(name))
            self._add("Software", self._software[-1], Label=name, Version=version)
        self._used = [self._own("environment")]
        self._add("Entity", self._used[0], Label="environment", OperatingSystem=system)
        for role, model in (("lesion", models.lesion), ("anatomy", models.anatomy)):
            self._used.append(self._own(f"provEntity-{role}"))
            self._add(
                "Entity",
                self._used[-1],
                Label=model.config.name,
                AtLocation=str(model.path / WEIGHTS_FILE),
                Digest={"sha256": model.sha256},
                Licence=model.licence,
            )

    def add_scan(self, paths: ScanPaths, row: Row, seed: int) -> None:
        """Add a finished scan: its files, what was done, and the results."""
        mark, report, scan = read_fingerprint(paths), read_report(paths), paths.scan
        if mark is None or report is None or report.settings is None:
            return
        flair_sha256, mask_sha256 = input_digests(mark)
        inputs = [(input_uri(scan), scan.flair, flair_sha256)]
        if scan.brain_mask is not None:
            inputs.append((input_uri(scan, scan.brain_mask), scan.brain_mask, mask_sha256))
        for uri, path, digest in inputs:
            self._add(
                "Entity", uri, Label=path.name, AtLocation=str(path), Digest={"sha256": digest}
            )
        activity = self._own(f"segmentation-{scan.name}")
        self._add(
            "Activity",
            activity,
            Label=f"Segmentation of {scan.name}",
            Command=self._record.content["run"]["command"],
            AssociatedWith=self._software,
            Used=[*self._used, *(uri for uri, _, _ in inputs)],
            StartedAtTime=_spell(row.began),
            EndedAtTime=_spell(row.ended),
            Parameters={**asdict(report.settings), "random_seed": seed},
        )
        for kind, output in load_spec().outputs.items():
            self._add(
                "Entity",
                output_uri(paths, kind),
                Label=output.description,
                GeneratedBy=activity,
            )

    def _own(self, label: str) -> str:
        """Return an identifier that no other run has."""
        return f"bids::prov#{label}-{self._record.run_id}"

    def _add(self, kind: str, identifier: str, **values: Any) -> None:
        self.records.append({"Id": identifier, "Type": kind, **values})


def _spell(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")

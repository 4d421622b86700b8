"""Where every output goes: the only place that makes names of outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bids_flairseg.bids.atomic import write_tsv
from bids_flairseg.bids.names import format_stem, natural_key, parse_name
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.spec import load_spec


@dataclass(frozen=True)
class ScanPaths:
    """Final paths of all outputs of one scan.

    Attributes
    ----------
    output_dir : Path
        Root of the outputs.
    scan : Scan
        The scan they belong to.
    voxel_size_mm : float
        Edge of the voxels that the model works on.
    """

    output_dir: Path
    scan: Scan
    voxel_size_mm: float = 1.0

    def path(self, kind: str) -> Path:
        """Return the path of one kind of output, a key of ``outputs`` in ``spec.json``."""
        output = load_spec().outputs[kind]
        resolution = resolution_label(self.voxel_size_mm)
        added = {key: text.format(resolution=resolution) for key, text in output.entities.items()}
        stem = format_stem({**self.scan.entities, **added})
        return self.folder / f"{stem}_{output.suffix}{output.extension}"

    @property
    def folder(self) -> Path:
        """Folder of the scan's data: ``OUT/sub-01/ses-A/anat``."""
        return self.output_dir / self.scan.relative_dir

    @property
    def mask(self) -> Path:
        """Lesion mask on the FLAIR grid."""
        return self.path("mask")

    @property
    def probability(self) -> Path:
        """Lesion probability on the FLAIR grid."""
        return self.path("probability")

    @property
    def lesions(self) -> Path:
        """Image of numbered lesions on the FLAIR grid."""
        return self.path("lesions")

    @property
    def lesion_table(self) -> Path:
        """Table with one row per lesion."""
        return self.path("lesion_table")

    @property
    def regions(self) -> Path:
        """Image of the regions in which lesions may lie, on the FLAIR grid."""
        return self.path("regions")

    @property
    def brain_mask(self) -> Path:
        """Brain mask on the FLAIR grid."""
        return self.path("brain_mask")

    @property
    def preprocessed(self) -> Path:
        """The image that the network saw."""
        return self.path("preprocessed")

    @property
    def stats(self) -> Path:
        """Table with one row: the numbers of the scan."""
        return self.path("stats")

    @property
    def figures(self) -> Path:
        """Folder of the participant's figures."""
        return self.output_dir / f"sub-{self.scan.participant}" / "figures"

    @property
    def report(self) -> Path:
        """Page of the participant, shared by all scans of one."""
        return report_path(self.output_dir, self.scan.participant)

    def figure(self, description: str, extension: str = ".svg") -> Path:
        """Return the path of one figure, named by a label such as ``mosaic``."""
        stem = format_stem({**self.scan.entities, "desc": description})
        return self.figures / f"{stem}_FLAIR{extension}"

    def images(self) -> tuple[Path, ...]:
        """List the images."""
        return tuple(path for path in map(self.path, load_spec().outputs) if is_nifti(path))

    def files(self) -> tuple[Path, ...]:
        """List all files in `folder` that a finished scan has, sidecars included."""
        data = tuple(map(self.path, load_spec().outputs))
        return tuple(dict.fromkeys((*data, *map(sidecar_path, data))))


def resolution_label(voxel_size_mm: float) -> str:
    """Return the label of ``res-`` for a voxel size.

    Parameters
    ----------
    voxel_size_mm : float
        Edge in mm.

    Returns
    -------
    str
        Letters and digits only, as BIDS wants it.

    Examples
    --------
    >>> resolution_label(1.0), resolution_label(0.75)
    ('1mm', '0p75mm')
    """
    return f"{voxel_size_mm:g}mm".replace(".", "p")


def is_nifti(path: Path) -> bool:
    """Tell whether a file is an image by its name."""
    return path.name.endswith((".nii", ".nii.gz"))


def sidecar_path(path: Path) -> Path:
    """Return the path of the JSON file that goes with an image or a table."""
    return path.with_name(path.name.split(".", 1)[0] + ".json")


def report_path(output_dir: Path, participant: str) -> Path:
    """Return the path of a participant's page."""
    return output_dir / f"sub-{participant}.html"


def log_dir(output_dir: Path, run_id: str | None = None) -> Path:
    """Return the folder of crash files, or of the record of one run."""
    return output_dir / "logs" / run_id if run_id else output_dir / "logs"


def find_results(output_dir: Path, participants: Iterable[str] = ()) -> list[ScanPaths]:
    """Find the finished scans in a folder of outputs.

    Parameters
    ----------
    output_dir : Path
        Root of the outputs.
    participants : iterable of str
        Labels without ``sub-``; none means all.

    Returns
    -------
    list of ScanPaths
        Those with a table of numbers, in the natural order of their names. Each scan names
        the FLAIR's place in its dataset; the image itself may be out of reach.
    """
    suffix = load_spec().outputs["stats"].suffix
    added = load_spec().outputs["stats"].entities
    folders = [f"sub-{label}" for label in participants] or ["sub-*"]
    # Never deeper: results that are being written lie in hidden folders beside these.
    places = [f"{folder}/{inner}" for folder in folders for inner in ("anat", "ses-*/anat")]
    found = []
    for path in (p for place in places for p in output_dir.glob(f"{place}/*_{suffix}.tsv")):
        name = parse_name(path.name)
        if name is None or not added.items() <= name.entities.items():
            continue
        own = {key: label for key, label in name.entities.items() if key not in added}
        flair = Path(f"{format_stem(own)}_FLAIR.nii.gz")
        scan = Scan(Scan(flair, own).relative_dir / flair, own)
        found.append(ScanPaths(output_dir, scan, _voxel_size(path.parent, own)))
    return sorted(found, key=lambda paths: natural_key(paths.scan.name))


def _voxel_size(folder: Path, entities: Mapping[str, str]) -> float:
    """Tell from its name on which voxels a scan was segmented; 1 mm where there is none."""
    output = load_spec().outputs["preprocessed"]
    added = {key: text.format(resolution="*") for key, text in output.entities.items()}
    pattern = f"{format_stem({**entities, **added})}_{output.suffix}{output.extension}"
    times = {path: modified_ns(path) for path in folder.glob(pattern)}
    newest = max(times, key=lambda path: times[path], default=None)
    if newest is None or not times[newest]:
        return 1.0
    found = re.search(r"_res-(\d+)(?:p(\d+))?mm_", newest.name)
    return float(f"{found[1]}.{found[2] or 0}") if found else 1.0


def modified_ns(path: Path) -> int:
    """Tell when a file was written, in ns since the epoch; 0 if it is not there, or gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def write_table(paths: ScanPaths, kind: str, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write one of the tables of a scan with exactly the columns of ``spec.json``.

    Parameters
    ----------
    paths : ScanPaths
        Where to.
    kind : str
        ``lesion_table``, ``region_table`` or ``stats``.
    rows : iterable of mapping
        Values by column; what is missing becomes ``n/a``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        A row has a value for which there is no column, or the output is no table.
    OutputError, StorageError
        The file cannot be written.
    """
    columns = load_spec().outputs[kind].columns
    if columns is None:
        raise ValueError(f"{kind} is no table")
    rows = [dict(row) for row in rows]
    unknown = {column for row in rows for column in row} - set(columns)
    if unknown:
        raise ValueError(f"{kind}: no column in spec.json for {sorted(unknown)}")
    path = paths.path(kind)
    write_tsv(path, list(columns), rows)
    return path

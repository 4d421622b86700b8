"""What the participant level left below the output folder, read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bids_flairseg.bids.names import BidsName, format_stem, natural_key, parse_name, strip_labels
from bids_flairseg.bids.outputs import ScanPaths, find_results
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import InputError

# The column without which a table is no table of a scan's numbers.
_NEEDED = "lesion_volume_ml"
# A FLAIR with one of these is a derived image, not a scan.
_DERIVED = frozenset({"space", "res", "den", "desc", "label", "seg"})


@dataclass(frozen=True)
class ScanResult:
    """One scan that the participant level has finished.

    Attributes
    ----------
    paths : ScanPaths
        The scan and its outputs.
    stats : mapping of str to str
        Its row of numbers, as printed.
    """

    paths: ScanPaths
    stats: Mapping[str, str]

    @property
    def entities(self) -> Mapping[str, str]:
        """Entities of the FLAIR."""
        return self.paths.scan.entities

    @property
    def name(self) -> str:
        """File name without suffix: ``sub-01_ses-A_run-1``."""
        return self.paths.scan.name


@dataclass(frozen=True)
class Results:
    """All scans of an output folder, and what is wrong with some.

    Attributes
    ----------
    scans : tuple of ScanResult
        In the natural order of their names.
    unreadable : tuple of str
        Tables that could not be used, each with the reason.
    unfinished : tuple of str
        Scans that have a mask, but no table of numbers.
    without_result : tuple of str
        FLAIRs of the dataset without any result.
    without_flair : tuple of str
        Results whose FLAIR is no longer in the dataset.
    """

    scans: tuple[ScanResult, ...] = ()
    unreadable: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    without_result: tuple[str, ...] = ()
    without_flair: tuple[str, ...] = ()


def identity(entities: Mapping[str, str]) -> dict[str, str]:
    """Say whose scan it is, as the first columns of every group table do.

    Parameters
    ----------
    entities : mapping of str to str
        Entities of a FLAIR.

    Returns
    -------
    dict of str to str
        ``participant_id``, ``session_id`` (``n/a`` without sessions) and ``scan``.
    """
    session = entities.get("ses")
    return {
        "participant_id": f"sub-{entities['sub']}",
        "session_id": f"ses-{session}" if session else "n/a",
        "scan": format_stem(entities),
    }


def read_results(dataset: DatasetConfig) -> Results:
    """Read the numbers of all scans below the output folder.

    Parameters
    ----------
    dataset : DatasetConfig
        Input and output folder, and the labels to narrow both to.

    Returns
    -------
    Results
        Nothing is left out in silence: what has no row is named in the other fields.
    """
    sessions = set(strip_labels(dataset.session_labels, "ses"))
    labels = strip_labels(dataset.participant_labels, "sub")
    scans, unreadable, tables = [], [], {}
    for paths in find_results(dataset.output_dir, labels):
        if sessions and paths.scan.session not in sessions:
            continue
        tables[paths.scan.name] = paths
        try:
            scans.append(ScanResult(paths, read_stats(paths.stats)))
        except InputError as error:
            unreadable.append(str(error))
    masks, flairs = _find_masks(dataset), _find_flairs(dataset)
    return Results(
        scans=tuple(scans),
        unreadable=tuple(unreadable),
        unfinished=_sorted(masks - tables.keys()),
        without_result=_sorted(flairs - tables.keys() - masks),
        without_flair=_sorted(tables.keys() - flairs) if flairs else (),
    )


def read_stats(path: Path) -> Mapping[str, str]:
    """Read the one row of a scan's table.

    Parameters
    ----------
    path : Path
        A ``*_label-L_stats.tsv``.

    Returns
    -------
    mapping of str to str
        Values as printed, by column.

    Raises
    ------
    InputError
        The file is not a header and one row of as many cells, or the lesion volume is no
        number.
    """
    rows = read_tsv(path).rows
    volume = rows[0].get(_NEEDED, "") if len(rows) == 1 else ""
    if not _is_volume(volume):
        raise InputError(
            f"{path}: expected a header and one row with a number for {_NEEDED}, found "
            f"{len(rows)} rows and {volume or 'none'!r}. Delete the file and run the participant "
            "level again."
        )
    return rows[0]


def _is_volume(text: str) -> bool:
    """Tell whether a text is a number that a volume can have."""
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False


def _find_masks(dataset: DatasetConfig) -> set[str]:
    """Name the scans that have a lesion mask."""
    output = load_spec().outputs["mask"]
    end = "_".join(f"{key}-{label}" for key, label in output.entities.items())
    found = _named(dataset, dataset.output_dir, f"sub-*_{end}_{output.suffix}{output.extension}")
    return {
        format_stem({k: v for k, v in name.entities.items() if k not in output.entities})
        for name in found
    }


def _find_flairs(dataset: DatasetConfig) -> set[str]:
    """Name the FLAIRs of the dataset, by folder and file name alone.

    An index of thousands of participants would take most of the group level's time.
    """
    return {
        format_stem(name.entities)
        for name in _named(dataset, dataset.bids_dir, "sub-*_FLAIR.nii*")
        if name.extension in {".nii", ".nii.gz"} and not _DERIVED & name.entities.keys()
    }


def _named(dataset: DatasetConfig, root: Path, pattern: str) -> Iterator[BidsName]:
    """Yield the names of a pattern that belong to the wanted participants and sessions."""
    participants = set(strip_labels(dataset.participant_labels, "sub"))
    sessions = set(strip_labels(dataset.session_labels, "ses"))
    for folder in ("sub-*/anat", "sub-*/ses-*/anat"):
        for path in root.glob(f"{folder}/{pattern}"):
            name = parse_name(path.name)
            if name is None or (participants and name.entities.get("sub") not in participants):
                continue
            if not sessions or name.entities.get("ses") in sessions:
                yield name


def _sorted(names: set[str]) -> tuple[str, ...]:
    """Sort names as a person would."""
    return tuple(sorted(names, key=natural_key))

"""From a BIDS dataset to the scans to work on."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bids_flairseg.bids.filters import FlairFilter, read_filter
from bids_flairseg.bids.metadata import SidecarReader
from bids_flairseg.bids.names import (
    BidsName,
    enumerate_some,
    format_stem,
    natural_key,
    parse_name,
    strip_labels,
)
from bids_flairseg.bids.supplied import supply_brain_masks
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import MissingInputError, NothingToDoError, UsageError

LOGGER = logging.getLogger(__name__)

#: Name of the input dataset in BIDS URIs.
RAW = "raw"
# A FLAIR with one of these is a derived image, or a phase image: nothing to segment.
_DERIVED = ("space", "res", "den", "desc", "label", "seg")
_NO_MAGNITUDE = ("phase", "real", "imag")


@dataclass(frozen=True)
class Scan:
    """One FLAIR and what the dataset says about it.

    Attributes
    ----------
    flair : Path
        The image; a link whose content is absent (git-annex) is possible.
    entities : mapping of str to str
        Labels by key, as in the file name: ``{"sub": "01", "ses": "A"}``.
    sidecar : mapping
        Metadata, merged by the inheritance of BIDS.
    brain_mask : Path or None
        Mask supplied with ``-d NAME=PATH``.
    brain_mask_source : str
        The NAME; empty without a mask.
    warnings : tuple of str
        What was wrong with the files around the image.
    """

    flair: Path
    entities: Mapping[str, str]
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    brain_mask: Path | None = None
    brain_mask_source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without suffix: ``sub-01_ses-A_run-1``."""
        return format_stem(self.entities)

    @property
    def participant(self) -> str:
        """Label without ``sub-``."""
        return self.entities["sub"]

    @property
    def session(self) -> str | None:
        """Label without ``ses-``."""
        return self.entities.get("ses")

    @property
    def relative_dir(self) -> Path:
        """Folder within a dataset: ``sub-01/ses-A/anat``."""
        session = [f"ses-{self.session}"] if self.session else []
        return Path(f"sub-{self.participant}", *session, "anat")


def find_scans(dataset: DatasetConfig) -> list[Scan]:
    """Find the FLAIRs that a run is to work on.

    Parameters
    ----------
    dataset : DatasetConfig
        Dataset, labels (with or without prefix), filter file, index and derivatives.

    Returns
    -------
    list of Scan
        In the natural order of their names; never empty.

    Raises
    ------
    MissingInputError
        The dataset, the filter file or a derivative is not there.
    UsageError
        The filter file makes no sense, or a derivative has the name of the dataset itself.
    InputError
        The index cannot be used.
    NothingToDoError
        No scan is left; the message says what was there.
    """
    _check_names(dataset.derivatives)
    filters = read_filter(dataset.filter_file)
    present = list_participants(dataset.bids_dir)
    wanted = _choose_participants(dataset, present)
    flairs = _find_flairs(dataset, wanted)
    sessions = set(strip_labels(dataset.session_labels, "ses"))
    kept = {path: name for path, name in flairs.items() if _is_kept(name, sessions, filters)}
    _log_without_scan(wanted, flairs, kept)
    if not kept:
        raise NothingToDoError(_nothing_left(dataset, present, flairs))
    scans = _read_scans(dataset.bids_dir, kept)
    own = {name.entities["sub"] for name in flairs.values()}
    masks = supply_brain_masks(
        [scan.name for scan in scans],
        dataset.derivatives,
        flairs.values(),
        (label for label in present if label not in own),
    )
    return [_with_mask(scan, *masks.get(scan.name, ("", None))) for scan in scans]


def _with_mask(scan: Scan, source: str, mask: Path | None) -> Scan:
    return replace(scan, brain_mask=mask, brain_mask_source=source)


def _check_names(derivatives: Mapping[str, Path]) -> None:
    """Refuse the name by which the outputs link to the dataset itself."""
    if RAW in derivatives:
        raise UsageError(
            f"-d {RAW}={derivatives[RAW]}: expected another name, {RAW} is that of the dataset "
            f"itself. Say -d masks={derivatives[RAW]}, for instance."
        )


def list_participants(root: Path) -> list[str]:
    """List the participants of a dataset, labels without ``sub-``, by their folders.

    Parameters
    ----------
    root : Path
        The dataset.

    Returns
    -------
    list of str
        In natural order.

    Raises
    ------
    MissingInputError
        The dataset is not there.
    """
    if not root.is_dir():
        raise MissingInputError(
            f"{root}: expected a folder with a BIDS dataset, but there is none. Is it mounted?"
        )
    labels = (path.name.removeprefix("sub-") for path in root.glob("sub-*"))
    return sorted(labels, key=natural_key)


def list_flairs(root: Path, participant: str) -> list[Mapping[str, str]]:
    """List all FLAIRs of a participant, whatever a run selects, by folders and names alone.

    Parameters
    ----------
    root : Path
        The dataset.
    participant : str
        Label without ``sub-``.

    Returns
    -------
    list of mapping
        Entities of each, unsorted.
    """
    found = {}
    for place in ("anat", "ses-*/anat"):
        for path in root.glob(f"sub-{participant}/{place}/*_FLAIR.nii*"):
            name = parse_name(path.name)
            if name is None or name.extension not in (".nii", ".nii.gz"):
                continue
            if not (_why_misplaced(path, name) or _why_unusable(path, name)):
                found[format_stem(name.entities)] = name.entities
    return list(found.values())


def check_participants(dataset: DatasetConfig) -> None:
    """Make sure that a dataset has one of the participants that are asked for.

    Parameters
    ----------
    dataset : DatasetConfig
        Dataset and labels, with or without prefix.

    Raises
    ------
    MissingInputError
        The dataset is not there.
    NothingToDoError
        It has participants, but none of those; the message names the nearest.
    """
    asked = strip_labels(dataset.participant_labels, "sub")
    present = list_participants(dataset.bids_dir) if asked else []
    if not present or set(asked) & set(present):
        return
    unknown = [f"sub-{label}{_nearest(label, present)}" for label in asked]
    raise NothingToDoError(
        f"{dataset.bids_dir}: no such participant: {enumerate_some(unknown)}. Found: "
        f"{enumerate_some(f'sub-{label}' for label in present)}. Check the path and "
        "--participant-label."
    )


def _nearest(label: str, present: Sequence[str]) -> str:
    """Suggest the participant that may be meant; empty if none is like it."""
    near = difflib.get_close_matches(label, present, n=1, cutoff=0.5)
    return f" (the nearest there is: sub-{near[0]})" if near else ""


def _choose_participants(dataset: DatasetConfig, present: Sequence[str]) -> list[str]:
    """Return the wanted participants that are there and name the others in the log."""
    asked = strip_labels(dataset.participant_labels, "sub")
    known = set(present)
    for label in asked:
        if label not in known:
            hint = _nearest(label, present)
            LOGGER.warning("sub-%s: no such participant in %s%s.", label, dataset.bids_dir, hint)
    chosen = [label for label in asked if label in known] if asked else present
    return [label for label in chosen if (dataset.bids_dir / f"sub-{label}").is_dir()]


def _find_flairs(dataset: DatasetConfig, wanted: Sequence[str]) -> dict[Path, BidsName]:
    """List the usable FLAIRs of the wanted participants with their names' parts, sorted."""
    if not wanted:
        return {}
    from bids_flairseg.bids.index import find_flairs

    found = find_flairs(dataset.bids_dir, wanted, database_dir=dataset.database_dir)
    usable: dict[Path, BidsName] = {}
    stems: set[str] = set()
    # Of two endings the compressed one counts, so it comes first.
    for path in sorted(found, key=lambda item: (item.suffix != ".gz", natural_key(item.name))):
        name = parse_name(path.name)
        stem = format_stem(name.entities) if name else ""
        reason = _why_misplaced(path, name) or _why_unusable(path, name)
        if stem in stems:
            reason = "the same image is there as .nii.gz."
        if name is None or reason:
            LOGGER.warning("%s: left out: %s", path, reason)
        else:
            usable[path] = name
            stems.add(stem)
    return dict(sorted(usable.items(), key=lambda item: natural_key(item[0].name)))


def _why_misplaced(path: Path, name: BidsName | None) -> str:
    """Say what keeps a file's name from being used; empty if nothing does."""
    if name is None or "sub" not in name.entities:
        return "its name does not follow BIDS (sub-<label>[_key-<label>]_FLAIR.nii.gz)."
    folders = Scan(path, name.entities).relative_dir.parts
    if path.parts[-len(folders) - 1 : -1] != folders:
        return f"by its name it belongs into {'/'.join(folders)}."
    return ""


def _why_unusable(path: Path, name: BidsName | None) -> str:
    """Say why a well-named file is no scan; empty if it is one."""
    entities = name.entities if name else {}
    derived = [key for key in _DERIVED if key in entities]
    if derived:
        return f"{derived[0]}- marks a derived image; flairseg starts from originals."
    if entities.get("part") in _NO_MAGNITUDE:
        return f"part-{entities['part']} holds no magnitude."
    if not path.is_symlink() and not path.exists():
        return "the index lists it, but it is gone. Delete the folder of --bids-database-dir."
    return ""


def _is_kept(name: BidsName, sessions: set[str], filters: FlairFilter) -> bool:
    """Apply ``--session-label`` and the filter file to one file."""
    return (not sessions or name.entities.get("ses") in sessions) and filters.accepts(name)


def _log_without_scan(
    wanted: Sequence[str], flairs: Mapping[Path, BidsName], kept: Mapping[Path, BidsName]
) -> None:
    """Name the participants of whom no FLAIR is there, or none is left."""
    there = {name.entities["sub"] for name in flairs.values()}
    left = {name.entities["sub"] for name in kept.values()}
    lost = there - left
    without = [f"sub-{label}" for label in wanted if label not in there]
    filtered = [f"sub-{label}" for label in wanted if label in lost]
    if without:
        LOGGER.warning("no usable FLAIR (anat/*_FLAIR.nii.gz): %s", enumerate_some(without, 20))
    if filtered:
        LOGGER.warning("no FLAIR left by session or filter: %s", enumerate_some(filtered, 20))


def _nothing_left(
    dataset: DatasetConfig, present: Sequence[str], flairs: Mapping[Path, BidsName]
) -> str:
    """Say what was asked for and what was there."""
    asked = [f"sub-{label}" for label in strip_labels(dataset.participant_labels, "sub")]
    asked += [f"ses-{label}" for label in strip_labels(dataset.session_labels, "ses")]
    if dataset.filter_file:
        asked.append(f"the filter {dataset.filter_file}")
    there = f"{len(present)} participants"
    if present:
        there += f" ({enumerate_some(f'sub-{label}' for label in present)})"
    if flairs:
        there += f"; of those asked for, the FLAIRs {enumerate_some(p.name for p in flairs)}"
    elif present:
        there += "; none of those asked for has a FLAIR (anat/*_FLAIR.nii[.gz])"
    return (
        f"{dataset.bids_dir}: no FLAIR is left to work on. Asked for: "
        f"{enumerate_some(asked) or 'everything'}. Found: {there}. Check the path, the labels "
        "and the filter."
    )


def _read_scans(root: Path, flairs: Mapping[Path, BidsName]) -> list[Scan]:
    """Add to each file what its sidecars say."""
    reader = SidecarReader(root)
    scans = []
    for path, name in flairs.items():
        sidecar, warnings = reader.read(path, name.entities)
        for warning in warnings:
            LOGGER.warning("%s", warning)
        scans.append(Scan(path, name.entities, sidecar, warnings=warnings))
    return scans

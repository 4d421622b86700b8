"""What the participant level left below the output folder, read back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bids_flairseg.bids.filters import FlairFilter, read_filter
from bids_flairseg.bids.names import BidsName, format_stem, natural_key, parse_name, strip_labels
from bids_flairseg.bids.outputs import ScanPaths, find_results
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import InputError
from bids_flairseg.nodes.derivatives import read_fingerprint, read_version

# The column without which a table is no table of a scan's numbers.
_NEEDED = "lesion_volume_ml"
#: What a cross-validation puts after the name of a model, one for each fold.
FOLD = re.compile(r"-fold\d+(of\d+)$")
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
    version : str
        Of flairseg, empty where it is unknown.
    """

    paths: ScanPaths
    stats: Mapping[str, str]
    version: str = ""

    @property
    def entities(self) -> Mapping[str, str]:
        """Entities of the FLAIR."""
        return self.paths.scan.entities

    @property
    def name(self) -> str:
        """File name without suffix: ``sub-01_ses-A_run-1``."""
        return self.paths.scan.name

    @property
    def min_lesion_ml(self) -> float:
        """Volume below which the scan has no lesion, 0 where the table does not tell."""
        try:
            return float(self.stats.get("min_lesion_ml", 0))
        except ValueError:
            return 0.0


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
        Scans of whom files are missing: begun, or being written just now. Numbers that they
        may have are those of another run.
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


@dataclass(frozen=True)
class Selection:
    """Which scans a run is about.

    Attributes
    ----------
    participants, sessions : frozenset of str
        Labels without prefix; none means all.
    filters : FlairFilter
        What the filter file asks for.
    """

    participants: frozenset[str]
    sessions: frozenset[str]
    filters: FlairFilter

    @classmethod
    def of(cls, dataset: DatasetConfig) -> Selection:
        """Read labels and filter file.

        Parameters
        ----------
        dataset : DatasetConfig
            Where they stand.

        Returns
        -------
        Selection
            What they say together.

        Raises
        ------
        MissingInputError
            The filter file is not there.
        UsageError
            The filter file makes no sense.
        """
        return cls(
            frozenset(strip_labels(dataset.participant_labels, "sub")),
            frozenset(strip_labels(dataset.session_labels, "ses")),
            read_filter(dataset.filter_file),
        )

    def accepts(self, entities: Mapping[str, str]) -> bool:
        """Tell whether a scan is among them; its file may end in either way."""
        if self.participants and entities.get("sub") not in self.participants:
            return False
        if self.sessions and entities.get("ses") not in self.sessions:
            return False
        endings = (".nii", ".nii.gz")
        return any(self.filters.accepts(BidsName(entities, "FLAIR", end)) for end in endings)


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


def model_of(stats: Mapping[str, str]) -> str:
    """Name the model of a scan; the folds of a cross-validation are one model.

    Parameters
    ----------
    stats : mapping of str to str
        The scan's row of numbers.

    Returns
    -------
    str
        Its name, ``flairseg`` where none is given.

    Examples
    --------
    >>> model_of({"model": "ft-8-fold2of3"}), model_of({"model": "n/a"})
    ('ft-8', 'flairseg')
    """
    name = stats.get("model", "n/a")
    return "flairseg" if name == "n/a" else FOLD.sub("", name)


def weights_of(stats: Mapping[str, str]) -> str:
    """Tell weights apart that have one name, all folds of a cross-validation being alike.

    Parameters
    ----------
    stats : mapping of str to str
        The scan's row of numbers.

    Returns
    -------
    str
        Digest of the weights, or what stands for those of all folds.
    """
    found = FOLD.search(stats.get("model", "n/a"))
    return found[1] if found else stats.get("model_sha256", "n/a")


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

    Raises
    ------
    MissingInputError
        The filter file is not there.
    UsageError
        The filter file makes no sense.
    """
    selection = Selection.of(dataset)
    flairs, masks = _find_flairs(dataset, selection), _find_masks(dataset, selection)
    scans, unreadable, finished = [], [], set()
    for paths in find_results(dataset.output_dir, selection.participants):
        if not selection.accepts(paths.scan.entities):
            continue
        if read_fingerprint(paths) is None:
            masks.add(paths.scan.name)
            continue
        finished.add(paths.scan.name)
        try:
            scans.append(ScanResult(paths, read_stats(paths.stats), read_version(paths)))
        except InputError as error:
            unreadable.append(str(error))
    return Results(
        scans=tuple(scans),
        unreadable=tuple(unreadable),
        unfinished=_sorted(masks - finished),
        without_result=_sorted(flairs - finished - masks),
        without_flair=_sorted(finished - flairs) if flairs else (),
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


def _find_masks(dataset: DatasetConfig, selection: Selection) -> set[str]:
    """Name the wanted scans that have a lesion mask."""
    output = load_spec().outputs["mask"]
    end = "_".join(f"{key}-{label}" for key, label in output.entities.items())
    names = _names(dataset.output_dir, f"sub-*_{end}_{output.suffix}{output.extension}")
    own = (
        {key: label for key, label in name.entities.items() if key not in output.entities}
        for name in names
    )
    return {format_stem(entities) for entities in own if selection.accepts(entities)}


def _find_flairs(dataset: DatasetConfig, selection: Selection) -> set[str]:
    """Name the wanted FLAIRs of the dataset, by folder and file name alone.

    An index of thousands of participants would take most of the group level's time.
    """
    return {
        format_stem(name.entities)
        for name in _names(dataset.bids_dir, "sub-*_FLAIR.nii*")
        if name.extension in {".nii", ".nii.gz"}
        and not _DERIVED & name.entities.keys()
        and selection.accepts(name.entities)
    }


def _names(root: Path, pattern: str) -> Iterator[BidsName]:
    """Yield the names of a pattern in the folders of images."""
    for folder in ("sub-*/anat", "sub-*/ses-*/anat"):
        for path in root.glob(f"{folder}/{pattern}"):
            name = parse_name(path.name)
            if name is not None:
                yield name


def _sorted(names: set[str]) -> tuple[str, ...]:
    """Sort names as a person would."""
    return tuple(sorted(names, key=natural_key))

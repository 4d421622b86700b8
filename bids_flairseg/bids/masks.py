"""Masks that a user supplies: brain masks, and reference lesion masks of one or more raters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_flairseg.bids.metadata import read_json
from bids_flairseg.bids.names import natural_key, parse_name
from bids_flairseg.errors import MissingInputError

#: Labels that name lesions, in lower case.
LESION_LABELS = frozenset({"l", "lesion"})
#: Fields of a sidecar that name the images from which a mask was made, or whose space it has.
_ORIGINS = ("Sources", "RawSources", "SpatialReference")
_MASK_KEYS = frozenset({"space", "res", "den", "label", "desc"})


@dataclass(frozen=True)
class Mask:
    """A mask and the scan it belongs to.

    Attributes
    ----------
    path : Path
        The file.
    entities : mapping of str to str
        Entities that it shares with its scan (``sub``, ``ses``, ``acq``, ``run``, ...).
    rater : str or None
        Label of ``desc-``.
    labels : tuple of int
        Values that mean lesion; none: everything above 0.
    threshold : float or None
        For a map of probability: from which value a voxel is lesion.
    """

    path: Path
    entities: Mapping[str, str]
    rater: str | None = None
    labels: tuple[int, ...] = ()
    threshold: float | None = None

    @property
    def sidecar(self) -> Path:
        """The JSON file that may lie beside it."""
        stem = self.path.name.removesuffix(".gz").removesuffix(".nii")
        return self.path.with_name(f"{stem}.json")


def find_brain_masks(folder: Path, participants: Iterable[str]) -> list[Mask]:
    """Find ``*_desc-brain_mask.nii[.gz]`` that lie on the grid of an original image.

    Parameters
    ----------
    folder : Path
        Laid out as BIDS, with or without ``dataset_description.json``.
    participants : iterable of str
        Labels without ``sub-``; no other folder is opened.

    Returns
    -------
    list of Mask
        Sorted by name.

    Raises
    ------
    MissingInputError
        The folder is not there.
    """
    return [
        mask
        for mask, label in _find_masks(folder, participants)
        if mask.rater == "brain" and label is None
    ]


def lies_on_flair(mask: Mask) -> bool:
    """Tell whether a mask was made on a FLAIR; one that names no image is taken at its word.

    Parameters
    ----------
    mask : Mask
        Of a tool that may work on other images, as fMRIPrep does on the T1w.

    Returns
    -------
    bool
        False if its sidecar names images, and no FLAIR among them.
    """
    content = read_json(mask.sidecar)
    images = [
        name
        for value in map(content.get, _ORIGINS)
        for name in (value if isinstance(value, list) else [value])
        if isinstance(name, str) and name.endswith((".nii", ".nii.gz", ".mgz"))
    ]
    return not images or any(name.endswith(("_FLAIR.nii", "_FLAIR.nii.gz")) for name in images)


def find_references(folder: Path, participants: Iterable[str]) -> list[Mask]:
    """Find reference lesion masks ``*_label-{lesion,L}[_desc-RATER]_mask.nii[.gz]``.

    Parameters
    ----------
    folder, participants
        As for `find_brain_masks`.

    Returns
    -------
    list of Mask
        Sorted by name; `Mask.rater` tells several of one scan apart.
    """
    return [
        mask
        for mask, label in _find_masks(folder, participants)
        if label is not None and label.lower() in LESION_LABELS
    ]


def _find_masks(folder: Path, participants: Iterable[str]) -> list[tuple[Mask, str | None]]:
    """List all masks of some participants in the scan's own space, each with its ``label-``."""
    if not folder.is_dir():
        raise MissingInputError(
            f"{folder}: expected a folder with masks, but there is none. Check -d NAME=PATH."
        )
    found = []
    for participant in participants:
        for path in _mask_files(folder / f"sub-{participant}"):
            name = parse_name(path.name)
            if name is None or name.entities.get("sub") != participant:
                continue
            if name.entities.get("space", "orig") != "orig" or "res" in name.entities:
                continue
            own = {key: value for key, value in name.entities.items() if key not in _MASK_KEYS}
            mask = Mask(path, own, name.entities.get("desc"))
            found.append((mask, name.entities.get("label")))
    return found


def _mask_files(folder: Path) -> list[Path]:
    """List the masks of one participant, in ``anat`` folders and beside them."""
    sessions = [folder, *folder.glob("ses-*")]
    files = [
        path
        for session in sessions
        for place in (session, session / "anat")
        for ending in (".nii", ".nii.gz")
        for path in place.glob(f"*_mask{ending}")
    ]
    return sorted(files, key=lambda path: natural_key(path.name))


def match_masks(
    entities: Mapping[str, str], masks: Sequence[Mask], others: Sequence[Mapping[str, str]]
) -> list[Mask]:
    """Pick the masks that belong to a scan.

    A mask with exactly the scan's entities wins. One with fewer (no ``run-``, say) counts
    only if no other scan could be meant.

    Parameters
    ----------
    entities : mapping of str to str
        Entities of the scan.
    masks : sequence of Mask
        Candidates, of any scan.
    others : sequence of mapping
        Entities of all scans, this one included.

    Returns
    -------
    list of Mask
        More than one where they differ in what the scan's name does not say.

    Examples
    --------
    >>> masks = [Mask(Path("m.nii"), {"sub": "01"})]
    >>> one, two = {"sub": "01", "run": "1"}, {"sub": "01", "run": "2"}
    >>> len(match_masks(one, masks, [one])), len(match_masks(one, masks, [one, two]))
    (1, 0)
    """
    exact = [mask for mask in masks if mask.entities == entities]
    if exact:
        return exact
    return [
        mask
        for mask in masks
        if mask.entities.items() <= entities.items()
        and mask.entities.get("ses") == entities.get("ses")
        and sum(mask.entities.items() <= other.items() for other in others) == 1
    ]

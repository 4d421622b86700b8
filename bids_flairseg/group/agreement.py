"""Agreement of the scans with reference masks, each pair listed whatever became of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from bids_flairseg.bids.masks import Mask, find_references, match_masks
from bids_flairseg.bids.names import natural_key
from bids_flairseg.bids.scans import list_participants
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import InputError
from bids_flairseg.group.pairs import GridError, compare_files
from bids_flairseg.group.results import ScanResult, Selection, identity
from bids_flairseg.measure.agreement import Agreement
from bids_flairseg.measure.stats import as_text

LOGGER = logging.getLogger(__name__)

OK = "ok"
GRID_MISMATCH = "grid_mismatch"
UNREADABLE = "unreadable"
MISSING_PREDICTION = "missing_prediction"
MISSING_REFERENCE = "missing_reference"

# A derivative of this name holds brain masks for the participant level: no references are missed.
_BRAIN_MASKS = "masks"

_Item = TypeVar("_Item", Mask, ScanResult)


@dataclass(frozen=True)
class Reference:
    """Where a reference mask comes from.

    Attributes
    ----------
    name : str
        The NAME of ``-d NAME=PATH``.
    folder : Path
        The PATH.
    """

    name: str
    folder: Path


@dataclass(frozen=True)
class Comparison:
    """One scan and one reference mask, compared or not.

    Attributes
    ----------
    entities : mapping of str to str
        Entities of the scan.
    reference : Reference
        Where the mask comes from.
    mask : Mask or None
        The mask; None if the scan has none there.
    status : str
        ``ok``, or the kind of reason why there are no numbers.
    reason : str
        The same in words, empty if ``ok``.
    numbers : Agreement or None
        Given if ``ok``.
    """

    entities: Mapping[str, str]
    reference: Reference
    mask: Mask | None
    status: str = OK
    reason: str = ""
    numbers: Agreement | None = None

    def row(self) -> dict[str, str]:
        """Return the columns of ``group_agreement.tsv`` as text.

        Returns
        -------
        dict of str to str
            ``n/a`` where there is no value.
        """
        numbers, mask = self.numbers, self.mask
        return identity(self.entities) | {
            "reference": self.reference.name,
            "rater": (mask.rater if mask else None) or "n/a",
            "status": self.status,
            "dice": as_text(numbers.dice if numbers else None),
            "predicted_volume_ml": as_text(numbers.predicted_ml if numbers else None),
            "reference_volume_ml": as_text(numbers.reference_ml if numbers else None),
            "volume_difference_ml": as_text(numbers.difference_ml if numbers else None),
            "reference_file": str(mask.path.relative_to(self.reference.folder)) if mask else "n/a",
            "reason": self.reason or "n/a",
        }


#: Meaning of the columns of ``group_agreement.tsv`` that are its own.
AGREEMENT_COLUMNS: Mapping[str, Mapping[str, object]] = {
    "reference": {"Description": "NAME of -d NAME=PATH, where the reference comes from"},
    "rater": {"Description": "Who drew it: label of desc- in its name"},
    "status": {
        "Description": "Whether the pair was compared",
        "Levels": {
            OK: "Compared",
            GRID_MISMATCH: "The reference does not lie on the grid of the FLAIR",
            UNREADABLE: "One of the masks cannot be read, or is no mask",
            MISSING_PREDICTION: "A reference without a finished scan",
            MISSING_REFERENCE: "A finished scan without a reference",
        },
    },
    "dice": {
        "Description": "2 |A and B| / (|A| + |B|) of the voxels on the grid of the FLAIR; "
        "1 if both masks are empty, 0 if one is"
    },
    "predicted_volume_ml": {"Description": "Volume of the predicted mask", "Units": "mL"},
    "reference_volume_ml": {"Description": "Volume of the reference mask", "Units": "mL"},
    "volume_difference_ml": {"Description": "Predicted minus reference volume", "Units": "mL"},
    "reference_file": {"Description": "The reference mask, relative to its folder"},
    "reason": {"Description": "Why there are no numbers"},
}


def compare_all(dataset: DatasetConfig, scans: Sequence[ScanResult]) -> Iterator[Comparison]:
    """Compare the scans with the references of every ``-d NAME=PATH``.

    Parameters
    ----------
    dataset : DatasetConfig
        Its derivatives hold the references, several of a scan told apart by ``desc-``.
    scans : sequence of ScanResult
        Finished scans.

    Yields
    ------
    Comparison
        One per scan and reference mask; scans without reference and references without
        scan as well. A derivative that holds no lesion mask at all is named in the log.
    """
    selection = Selection.of(dataset)
    for name, folder in dataset.derivatives.items():
        asked = selection.participants
        there = [label for label in list_participants(folder) if not asked or label in asked]
        masks = find_references(folder, there)
        if masks:
            for item in _compare_folder(Reference(name, folder), masks, scans):
                if item.status != MISSING_PREDICTION or selection.accepts(item.entities):
                    yield item
        elif name != _BRAIN_MASKS:
            LOGGER.warning(
                "%s: no lesion mask (*_label-lesion_mask.nii.gz or *_label-L_mask.nii.gz) below "
                "it, so there is nothing to compare with -d %s.",
                folder,
                name,
            )


def _compare_folder(
    reference: Reference, masks: Sequence[Mask], scans: Sequence[ScanResult]
) -> Iterator[Comparison]:
    """Compare all scans and references of one derivative, participant by participant."""
    masks_of, scans_of = _by_participant(masks), _by_participant(scans)
    for participant in sorted(masks_of.keys() | scans_of.keys(), key=natural_key):
        candidates, own = masks_of.get(participant, []), scans_of.get(participant, [])
        entities = [scan.entities for scan in own]
        used: set[Path] = set()
        for scan in own:
            fitting = match_masks(scan.entities, candidates, entities)
            used |= {mask.path for mask in fitting}
            yield from (_compare(scan, mask, reference) for mask in fitting)
            if not fitting:
                reason = "no reference mask of that name"
                yield Comparison(scan.entities, reference, None, MISSING_REFERENCE, reason)
        for mask in candidates:
            if mask.path not in used:
                reason = "no finished scan of that name, or more than one that could be meant"
                yield Comparison(mask.entities, reference, mask, MISSING_PREDICTION, reason)


def _by_participant(items: Sequence[_Item]) -> dict[str, list[_Item]]:
    """Sort scans or masks by their participant."""
    ordered = sorted(items, key=lambda item: item.entities["sub"])
    return {sub: list(own) for sub, own in groupby(ordered, lambda item: item.entities["sub"])}


def _compare(scan: ScanResult, mask: Mask, reference: Reference) -> Comparison:
    """Compare one scan with one reference mask."""
    try:
        numbers = compare_files(scan.paths.mask, mask.path)
    except GridError as error:
        return Comparison(scan.entities, reference, mask, GRID_MISMATCH, str(error))
    except InputError as error:
        return Comparison(scan.entities, reference, mask, UNREADABLE, str(error))
    return Comparison(scan.entities, reference, mask, numbers=numbers)

"""Which lesion masks, drawn by whom, belong to which scan: what training learns from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bids_flairseg.bids.masks import Mask, find_references, match_masks
from bids_flairseg.bids.metadata import read_json
from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.bids.scans import Scan, list_flairs, list_participants
from bids_flairseg.bids.tables import read_participants
from bids_flairseg.errors import MissingInputError

LOGGER = logging.getLogger(__name__)

#: Columns of participants.tsv, and keys of sidecars, that describe a case.
COLUMNS = ("site", "diagnosis", "group")
SIDECAR_KEYS = ("Manufacturer", "MagneticFieldStrength", "MRAcquisitionType")
UNKNOWN = "n/a"
_GENERATOR = "flairseg"
_PATTERN = "*_label-lesion[_desc-RATER]_mask.nii.gz"


@dataclass(frozen=True)
class LabelledScan:
    """A scan and all that was drawn on it.

    Attributes
    ----------
    scan : Scan
        The FLAIR.
    labels : tuple of Path
        Its lesion masks, one per rater, in the order of ``-d`` and of their names.
    raters : tuple of str
        Who drew each: NAME of ``-d NAME=PATH``, with ``desc-`` where there is one.
    attributes : mapping of str to str
        ``site``, ``diagnosis``, ``group`` and what the sidecar says of the scanner;
        ``n/a`` where it is unknown.
    """

    scan: Scan
    labels: tuple[Path, ...]
    raters: tuple[str, ...]
    attributes: Mapping[str, str]


def find_labelled(
    scans: Sequence[Scan], derivatives: Mapping[str, Path], bids_dir: Path
) -> list[LabelledScan]:
    """Match lesion masks to scans by their entities; flairseg's own are nobody's labels.

    Parameters
    ----------
    scans : sequence of Scan
        Of one dataset, in the order of their names.
    derivatives : mapping of str to Path
        Where masks are looked for, by NAME.
    bids_dir : Path
        Whose participants.tsv says more about them.

    Returns
    -------
    list of LabelledScan
        All scans; those without labels have none. At least one has some.

    Raises
    ------
    MissingInputError
        No scan has a label; the message says what was there.
    """
    found: dict[str, dict[str, Path]] = {scan.name: {} for scan in scans}
    flairs = {label: list_flairs(bids_dir, label) for label in {scan.participant for scan in scans}}
    predictions: dict[str, list[Mask]] = {}
    for name, folder in derivatives.items():
        own = predictions.setdefault(name, [])
        ours = _made_by_flairseg(folder)
        for participant, group in groupby(scans, key=lambda scan: scan.participant):
            wanted, masks = list(group), list[Mask]()
            for mask in _own_masks(folder, wanted, flairs[participant]):
                (own if _is_prediction(mask, ours=ours) else masks).append(mask)
            _match(name, wanted, masks, flairs[participant], found)
    _tell_predictions(predictions, derivatives)
    _tell_strangers(derivatives, bids_dir, flairs)
    if not any(found.values()):
        raise MissingInputError(_nothing(scans, derivatives))
    participants = read_participants(bids_dir)
    for warning in participants.warnings:
        LOGGER.warning("%s", warning)
    return [
        LabelledScan(
            scan,
            tuple(found[scan.name].values()),
            tuple(found[scan.name]),
            _attributes(scan, participants.rows.get(scan.participant, {})),
        )
        for scan in scans
    ]


def select(cases: Sequence[LabelledScan], wanted: Sequence[tuple[str, str]]) -> list[LabelledScan]:
    """Keep the scans that have some attributes; numbers and capitals are compared as such.

    Parameters
    ----------
    cases : sequence of LabelledScan
        Of one dataset.
    wanted : sequence of (str, str)
        Attribute and value; of several values of one attribute any will do. None keeps all.

    Returns
    -------
    list of LabelledScan
        In their order; at least one has a label.

    Raises
    ------
    MissingInputError
        None with a label is left; the message says which values there are.
    """
    allowed: dict[str, set[str]] = {}
    for key, value in wanted:
        allowed.setdefault(key, set()).add(_comparable(value))
    kept = [
        case
        for case in cases
        if all(_comparable(case.attributes[key]) in values for key, values in allowed.items())
    ]
    if any(case.labels for case in kept):
        return kept
    asked = " ".join(f"{key}={value}" for key, value in wanted)
    there = "; ".join(
        f"{key}: " + ", ".join(sorted({case.attributes[key] for case in cases if case.labels}))
        for key in allowed
    )
    raise MissingInputError(
        f"--cases-with {asked}: expected labelled scans with these attributes, found none. Those "
        f"with labels have {there}. Correct the value, or the table or sidecars it comes from."
    )


def _comparable(value: str) -> str:
    """Return what equal values have in common: 3 and 3.0, GE and ge."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return " ".join(value.split()).casefold()


def _own_masks(
    folder: Path, scans: Sequence[Scan], flairs: Sequence[Mapping[str, str]]
) -> list[Mask]:
    """Find the masks of some scans of one participant, of all whose `flairs`."""
    entities = [scan.entities for scan in scans]
    masks = find_references(folder, [scans[0].participant])
    return [mask for mask in masks if _belongs(mask, entities, flairs)]


def _belongs(
    mask: Mask, scans: Sequence[Mapping[str, str]], flairs: Sequence[Mapping[str, str]]
) -> bool:
    """Tell whether a mask belongs to one of some scans, and to no other FLAIR."""
    return any(match_masks(entities, [mask], flairs) for entities in scans)


def _match(
    name: str,
    scans: Sequence[Scan],
    masks: Sequence[Mask],
    flairs: Sequence[Mapping[str, str]],
    found: dict[str, dict[str, Path]],
) -> None:
    """Add the masks of one derivative to their scans, all of one participant."""
    for scan in scans:
        for mask in match_masks(scan.entities, masks, flairs):
            rater = f"{name}/{mask.rater}" if mask.rater else name
            found[scan.name].setdefault(rater, mask.path)


def _made_by_flairseg(folder: Path) -> bool:
    """Tell whether a dataset says that flairseg has made it."""
    generators = read_json(folder / "dataset_description.json").get("GeneratedBy")
    return isinstance(generators, list) and any(
        isinstance(each, dict) and str(each.get("Name")).lower() == _GENERATOR
        for each in generators
    )


def _is_prediction(mask: Mask, *, ours: bool) -> bool:
    """Tell whether a network has drawn a mask, by its sidecar and, without one, its dataset."""
    sidecar = read_json(mask.sidecar)
    if sidecar.get("Manual") is True:
        return False
    model = sidecar.get("Model")
    return ours or (isinstance(model, dict) and "SHA256" in model)


def _tell_predictions(
    predictions: Mapping[str, Sequence[Mask]], derivatives: Mapping[str, Path]
) -> None:
    """Say which masks were left out."""
    for name, masks in predictions.items():
        if masks:
            LOGGER.warning("-d %s=%s: %s", name, derivatives[name], _left_out(masks))


def _tell_strangers(
    derivatives: Mapping[str, Path],
    bids_dir: Path,
    flairs: Mapping[str, Sequence[Mapping[str, str]]],
) -> None:
    """Say which masks nobody will look at: a label that was mistyped is noticed so.

    Masks of participants that are left out, those of the dataset without `flairs`, are passed
    over, and so are those of a FLAIR that is.
    """
    left_out = set(list_participants(bids_dir)) - flairs.keys()
    for name, folder in derivatives.items():
        labels = [label for label in list_participants(folder) if label not in left_out]
        strangers = []
        for mask in find_references(folder, labels):
            own = flairs.get(mask.entities["sub"], ())
            if not _belongs(mask, own, own):
                strangers.append(mask.path.name)
        if strangers:
            LOGGER.info(
                "-d %s=%s: no FLAIR of %s, or more than one, could be meant by the masks %s",
                name,
                folder,
                bids_dir,
                enumerate_some(strangers),
            )


def _left_out(masks: Sequence[Mask]) -> str:
    listed = enumerate_some(mask.path.name for mask in masks)
    return (
        f"predictions of flairseg are no labels to learn from, left out: {listed}. If somebody has "
        'corrected them, put "Manual": true into the JSON file of each, or copy the masks alone '
        "to a derivative of its own."
    )


def _attributes(scan: Scan, row: Mapping[str, str]) -> dict[str, str]:
    """Gather what is known of a scan."""
    known = {name: row.get(name, "") for name in COLUMNS}
    known |= {key: str(scan.sidecar.get(key, "")) for key in SIDECAR_KEYS}
    return {name: " ".join(value.split()) or UNKNOWN for name, value in known.items()}


def _nothing(scans: Sequence[Scan], derivatives: Mapping[str, Path]) -> str:
    """Say where labels were looked for, and what was there instead."""
    wanted = enumerate_some(scan.name for scan in scans)
    if not derivatives:
        return (
            f"no labels: training learns from lesion masks ({_PATTERN}) of the scans {wanted}. "
            "Say where they are: -d manual=PATH."
        )
    places = ", ".join(f"-d {name}={folder}" for name, folder in derivatives.items())
    masks, own = list[Mask](), list[Mask]()
    for folder in derivatives.values():
        ours = _made_by_flairseg(folder)
        for mask in find_references(folder, list_participants(folder)):
            (own if _is_prediction(mask, ours=ours) else masks).append(mask)
    if own and not masks:
        return f"{places}: {_left_out(own)}"
    names = enumerate_some(mask.path.name for mask in masks)
    there = f"the masks {names}, of other scans or of several" if masks else "none of any scan"
    return (
        f"{places}: expected lesion masks ({_PATTERN}) of the scans {wanted}, found {there}. "
        "Check the path, the participants, sessions and filters, and that the names of masks and "
        "scans agree."
    )

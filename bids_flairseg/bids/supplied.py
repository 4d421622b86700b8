"""Brain masks that the user supplied: which derivative gives which scan its own."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from bids_flairseg.bids.masks import Mask, find_brain_masks, lies_on_flair, match_masks
from bids_flairseg.bids.names import BidsName, enumerate_some, format_stem

LOGGER = logging.getLogger(__name__)


def supply_brain_masks(
    scans: Sequence[str],
    derivatives: Mapping[str, Path],
    flairs: Collection[BidsName],
    others: Iterable[str],
) -> dict[str, tuple[str, Path]]:
    """Find the brain masks of some scans by their names; the first derivative with one wins.

    Parameters
    ----------
    scans : sequence of str
        Names of the scans to work on.
    derivatives : mapping of str to Path
        Where masks are looked for, by NAME.
    flairs : collection of BidsName
        All FLAIRs of their participants: what is not worked on has its masks, too.
    others : iterable of str
        Labels, without ``sub-``, of the participants of the dataset that have no part in this.

    Returns
    -------
    dict of str to (str, Path)
        NAME and mask, by the name of the scan.

    Raises
    ------
    MissingInputError
        The folder of a derivative is not there.
    """
    left_out = list(others)
    chosen: dict[str, tuple[str, Path]] = {}
    for name, folder in derivatives.items():
        fitting = _fit(folder, flairs)
        found = {scan: fitting[scan] for scan in scans if scan in fitting}
        if found:
            LOGGER.info("%s: brain masks for %d of %d scans", folder, len(found), len(scans))
        elif fitting or any(find_brain_masks(folder, [label]) for label in left_out):
            LOGGER.info("%s: brain masks only for scans that are left out", folder)
        else:
            _log_none(name, folder)
        _log_twice(name, [scan for scan in found if scan in chosen])
        new = {scan: mask for scan, mask in found.items() if scan not in chosen}
        usable = {scan: (name, mask.path) for scan, mask in new.items() if lies_on_flair(mask)}
        _log_elsewhere(name, [mask.path for scan, mask in new.items() if scan not in usable])
        chosen |= usable
    without = [scan for scan in scans if scan not in chosen]
    if 0 < len(without) < len(scans):
        names = enumerate_some(without, 20)
        LOGGER.warning("no *_desc-brain_mask.nii.gz for %s; the network makes theirs", names)
    return chosen


def _fit(folder: Path, flairs: Iterable[BidsName]) -> dict[str, Mask]:
    """Find the brain masks that belong to some FLAIRs, by the names of those."""
    own: dict[str, list[Mapping[str, str]]] = {}
    for name in flairs:
        own.setdefault(name.entities["sub"], []).append(name.entities)
    fitting = {}
    for participant, scans in own.items():
        masks = find_brain_masks(folder, [participant])
        for entities in scans:
            found = match_masks(entities, masks, scans)
            if found:
                fitting[format_stem(entities)] = found[0]
    return fitting


def _log_none(name: str, folder: Path) -> None:
    """Say that a derivative has no brain mask for this dataset."""
    LOGGER.warning(
        "-d %s=%s: no brain mask (*_desc-brain_mask.nii.gz) of these scans below it, so it "
        "changes nothing. Check the path, and that the names of masks and scans agree.",
        name,
        folder,
    )


def _log_twice(name: str, scans: Sequence[str]) -> None:
    """Name the scans that had a brain mask before."""
    if scans:
        names = enumerate_some(scans, 20)
        LOGGER.warning("-d %s: not used for %s, an earlier derivative has theirs", name, names)


def _log_elsewhere(name: str, paths: Sequence[Path]) -> None:
    """Name the masks of one derivative that were made on other images, as on the T1w."""
    if paths:
        LOGGER.warning(
            "-d %s: not used, made on other images than the FLAIR (by their JSON files): %s. "
            "Resample them to the FLAIR into a folder of their own, and give that.",
            name,
            enumerate_some(map(str, paths)),
        )

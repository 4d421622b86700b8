"""Scans to show: of every disease the worst, the median and the best."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.config import GroupConfig
from bids_flairseg.errors import InputError
from bids_flairseg.group.agreement import Comparison
from bids_flairseg.group.compute import OK, Job
from bids_flairseg.group.observations import Observation, reference_of
from bids_flairseg.group.pairs import read_pair
from bids_flairseg.group.results import ScanResult
from bids_flairseg.measure.arrays import bounding_box
from bids_flairseg.preprocess.mask import open_mask
from bids_flairseg.reports.charts import Chart
from bids_flairseg.reports.overlays import ONLY, PLACES, Example, overlay_chart

LOGGER = logging.getLogger(__name__)

_MOST_GROUPS = 6
_BY = ("diagnosis", "group")
_BROKEN = (InputError, OSError, EOFError, ValueError, zlib.error)


def draw_examples(
    config: GroupConfig,
    scans: Sequence[ScanResult],
    own: Sequence[Observation],
    comparisons: Sequence[Comparison],
) -> list[Chart]:
    """Draw examples of one model against one reference.

    Parameters
    ----------
    config : GroupConfig
        Where the FLAIRs are.
    scans : sequence of ScanResult
        Finished scans.
    own : sequence of Observation
        One per scan.
    comparisons : sequence of Comparison
        All pairs, for the files.

    Returns
    -------
    list of Chart
        One, or none where there is nothing to show or no FLAIR can be read.
    """
    results = {scan.name: scan for scan in scans}
    jobs = {
        (item.scan, item.model, reference_of(item)): item.job
        for item in comparisons
        if item.job is not None and item.status == OK
    }
    examples = []
    for group, place, item in _choose(own):
        result, job = results.get(item.scan), jobs.get((item.scan, item.model, item.reference))
        if result is None or job is None:
            continue
        try:
            slices = _slices(_flair(config.dataset.bids_dir, result), job)
        except _BROKEN as error:
            LOGGER.warning("no picture of %s (%s)", item.scan, error)
            continue
        examples.append(Example(group, place, item.scan, item.value("dice"), *slices))
    if not examples:
        return []
    caption = (
        f"{own[0].model} (blue) and {own[0].reference} (orange) on the axial slice with most "
        "reference lesion, for the scans with the lowest, the median and the highest Dice of "
        f"each group; left (L) is left. n = {len(own)} scans. No test."
    )
    return [overlay_chart(("Examples", caption), examples)]


def _choose(own: Sequence[Observation]) -> Iterator[tuple[str, str, Observation]]:
    """Choose worst, median and best of each group, or its only scan, each scan once."""
    factor = next((f for f in _BY if any(o.groups.get(f, "n/a") != "n/a" for o in own)), "")
    groups: dict[str, list[Observation]] = {}
    for item in own:
        groups.setdefault(item.groups.get(factor, "n/a") if factor else "all", []).append(item)
    large = sorted(groups.items(), key=lambda pair: -len(pair[1]))[:_MOST_GROUPS]
    for group, members in large:
        ordered = sorted(members, key=lambda item: (item.value("dice"), item.scan))
        places = {0: PLACES[0] if len(ordered) > 1 else ONLY}
        places.setdefault(len(ordered) - 1, PLACES[2])
        places.setdefault(len(ordered) // 2, PLACES[1])
        for place, name in sorted(places.items()):
            yield group, name, ordered[place]


def _flair(bids_dir: Path, result: ScanResult) -> Path:
    """Return the FLAIR of a scan, whichever way its name ends."""
    scan = result.paths.scan
    path = bids_dir / scan.relative_dir / scan.flair.name
    plain = path.with_suffix("") if path.name.endswith(".gz") else path
    return path if path.exists() else plain


def _slices(
    flair: Path, job: Job
) -> tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.bool_], float]:
    """Read the axial slice with most lesion of three images, and its pixels' aspect."""
    grid, found, true = read_pair(job.predicted, job.references)
    drawn = [nib.Nifti1Image(mask.astype(np.uint8), grid.affine) for mask in (found, true)]
    images = [nib.as_closest_canonical(image) for image in (open_mask(flair), *drawn)]
    data, *masks = (np.asanyarray(image.dataobj).reshape(image.shape[:3]) for image in images)
    amount = masks[1].sum(axis=(0, 1)) * masks[1].size + masks[0].sum(axis=(0, 1))
    place = int(np.argmax(amount))
    # rows from front to back, columns from the patient's left: left is left
    shown = data[:, :, place] > np.percentile(data[:, :, place], 5)
    part = (*(bounding_box(shown[..., None], margin=(4, 4, 0)) or (slice(None),) * 3)[:2], place)
    cut = [np.asarray(volume[part][:, ::-1]).T for volume in (data, *masks)]
    zooms = images[0].header.get_zooms()
    return cut[0].astype(np.float32), cut[1] > 0, cut[2] > 0, float(zooms[1] / zooms[0])

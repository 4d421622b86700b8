"""Where lesions lie over the cohort: a map in standard space, one scan after the other."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.bids.atomic import write_json
from bids_flairseg.config import GroupConfig
from bids_flairseg.errors import InputError
from bids_flairseg.group.compute import stamp
from bids_flairseg.group.problems import Problem
from bids_flairseg.group.results import ScanResult
from bids_flairseg.preprocess.grid import new_image, save_like
from bids_flairseg.preprocess.mask import open_mask
from bids_flairseg.preprocess.template import SPACE, load_template, match_template, to_template
from bids_flairseg.reports.atlas import Atlas, atlas_chart
from bids_flairseg.reports.charts import Chart
from bids_flairseg.signals import obey, starting_processes
from bids_flairseg.storage import as_output_error

LOGGER = logging.getLogger(__name__)

MAP = "group_lesion_map.nii.gz"
#: What is kept of registered scans; it may be deleted at any time.
CACHE = "group_space.cache"
#: Of fewer participants than this no map is made: it would show persons and no cohort.
FEWEST = 5
#: Dice of a scan's brain and the template's below which the scan is left out.
LEAST_OVERLAP = 0.85
# Raised when the registration changes.
_VERSION = 1
_PART = 8


@dataclass(frozen=True)
class Place:
    """Where a scan lies in standard space.

    Attributes
    ----------
    affine : ndarray of float, shape (4, 4), or None
        From the scan's RAS mm to those of the template; None where there is none.
    overlap : float
        Dice of both brains.
    reason : str
        Why there is no affine.
    """

    affine: NDArray[np.float64] | None
    overlap: float = 0.0
    reason: str = ""

    @property
    def fits(self) -> bool:
        """Whether the scan counts."""
        return self.affine is not None and self.overlap >= LEAST_OVERLAP


def map_lesions(
    config: GroupConfig, scans: Sequence[ScanResult], rejected: Collection[str] = ()
) -> tuple[list[Chart], list[Problem]]:
    """Write how often lesions lie where, and draw it.

    Every participant counts once, whatever the number of its scans. Registration runs in other
    processes, as many as ``--nprocs`` says; what was registered before is not again.

    Parameters
    ----------
    config : GroupConfig
        Whether to, and where.
    scans : sequence of ScanResult
        Finished scans.
    rejected : collection of str
        Scans that a reviewer has rejected.

    Returns
    -------
    list of Chart
        One, or none: not asked for, or too few participants.
    list of Problem
        Scans that do not fit the template.

    Raises
    ------
    OutputError, StorageError
        The map or the cache cannot be written.
    """
    path = config.dataset.output_dir / MAP
    for old in (path, _sidecar(path)):
        old.unlink(missing_ok=True)  # a map of other scans would be taken for this run's
    used = [scan for scan in scans if scan.name not in rejected]
    people = len({scan.paths.scan.participant for scan in used})
    if not config.lesion_map:
        return [], []
    if people < FEWEST:
        return [], [_too_few(people)]
    places, shares = _compute(config, used)
    problems = [
        Problem("not_placed", place.reason or _no_fit(place), scan.name)
        for scan, place in zip(used, places, strict=True)
        if not place.fits
    ]
    kept = [(s, place) for s, place in zip(used, places, strict=True) if place.fits]
    people = len({scan.paths.scan.participant for scan, _ in kept})
    if shares is None:
        return [], [*problems, _too_few(people)]
    _write(path, shares, scans=len(kept), participants=people)
    rows = [
        {"scan": scan.name, "participant_id": f"sub-{scan.paths.scan.participant}"}
        | {"overlap": round(place.overlap, 4), "weight": round(weight, 4)}
        for (scan, place), weight in zip(kept, _weights(kept), strict=True)
    ]
    template = load_template()
    affine = np.asarray(template.affine, dtype=np.float64)
    atlas = Atlas(np.asarray(template.dataobj), shares, affine, rows)
    caption = _caption(atlas, people, len(problems))
    return [atlas_chart(("Where lesions lie", caption), atlas)], problems


def _too_few(people: int) -> Problem:
    text = (
        f"--lesion-map: no map is made of fewer than {FEWEST} participants that fit the "
        f"template, found {people}."
    )
    return Problem("no_map", text)


def _no_fit(place: Place) -> str:
    return (
        f"its brain overlaps the template's by a Dice of {place.overlap:.2f}, below "
        f"{LEAST_OVERLAP}; look at its brain mask and at its field of view"
    )


def _compute(
    config: GroupConfig, scans: Sequence[ScanResult]
) -> tuple[list[Place], NDArray[np.float32] | None]:
    """Register the scans and add up their masks; None where too few fit."""
    context = multiprocessing.get_context("spawn")
    workers = max(1, min(config.nprocs, len(scans)))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        try:
            places = list(_register(pool, scans, config.dataset.output_dir / CACHE))
            kept = [(s, place) for s, place in zip(scans, places, strict=True) if place.fits]
            if len({scan.paths.scan.participant for scan, _ in kept}) < FEWEST:
                return places, None
            jobs = [
                (scan.paths.mask, place.affine, weight)
                for (scan, place), weight in zip(kept, _weights(kept), strict=True)
            ]
            parts = [jobs[start : start + _PART] for start in range(0, len(jobs), _PART)]
            total = np.zeros(load_template().shape, dtype=np.float32)
            with starting_processes():
                sums = pool.map(_add, parts)
            for part in sums:
                total += part
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return places, total


def _one_thread() -> None:
    """Prepare a worker: its registrations take one thread, for the same result on every machine."""
    obey()
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"


def _weights(kept: Sequence[tuple[ScanResult, Place]]) -> list[float]:
    """Return the share of each scan in the map; those of a participant share one part."""
    counts = Counter(scan.paths.scan.participant for scan, _ in kept)
    return [1 / counts[scan.paths.scan.participant] / len(counts) for scan, _ in kept]


def _register(pool: Executor, scans: Sequence[ScanResult], cache: Path) -> Iterator[Place]:
    """Yield where each scan lies; what is found goes to the cache at once."""
    known = _read_cache(cache)
    keys = [place_key(scan.paths.preprocessed) for scan in scans]
    new = [s.paths.preprocessed for s, key in zip(scans, keys, strict=True) if key not in known]
    LOGGER.info(
        "standard space: registering %d scans, %d are known", len(new), len(scans) - len(new)
    )
    with starting_processes():
        found = pool.map(_place, new)
    try:
        with cache.open("a", encoding="utf-8") as file:
            for key in keys:
                if key not in known:
                    known[key] = next(found)
                    file.write(place_line(key, known[key]))
                    file.flush()
                yield known[key]
    except OSError as error:
        raise as_output_error(error, cache) from error


def place_key(path: Path) -> str:
    """Name a preprocessed image in the cache; another size, time or place is another image."""
    return repr((_VERSION, *stamp(path)))


def _place(path: Path) -> Place:
    """Register one scan; runs in another process."""
    try:
        match = match_template(open_mask(path))
    except InputError as error:
        return Place(None, reason=f"{path.name}: {error}")
    return Place(match.affine, match.overlap)


def _add(jobs: Sequence[tuple[Path, NDArray[np.float64], float]]) -> NDArray[np.float32]:
    """Add up some masks in standard space; runs in another process."""
    total = np.zeros(load_template().shape, dtype=np.float32)
    for path, affine, weight in jobs:
        total += np.float32(weight) * to_template(open_mask(path), affine)
    return total


def place_line(key: str, place: Place) -> str:
    """Return the line of the cache for one image."""
    affine = None if place.affine is None else place.affine.tolist()
    content = {"key": key, "affine": affine, "overlap": place.overlap, "reason": place.reason}
    return json.dumps(content) + "\n"


def _read_cache(path: Path) -> dict[str, Place]:
    """Read what is known, line by line; a damaged line costs that line."""
    known: dict[str, Place] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return known
    for line in lines:
        try:
            content: Mapping[str, Any] = json.loads(line)
            affine = content["affine"]
            matrix = None if affine is None else np.asarray(affine, float).reshape(4, 4)
            known[content["key"]] = Place(matrix, float(content["overlap"]), content["reason"])
        except (ValueError, KeyError, TypeError):
            LOGGER.debug("%s: a damaged line is passed over", path)
    return known


def _write(path: Path, shares: NDArray[np.float32], *, scans: int, participants: int) -> None:
    """Write the map with what it means."""
    grid = new_image(shares, np.asarray(load_template().affine, dtype=np.float64))
    grid.header.set_sform(grid.affine, code="mni")
    grid.header.set_qform(grid.affine, code="mni")
    save_like(shares, grid, path, "float32")
    about = {
        "Description": "Share of participants with lesion; several scans of one are averaged",
        "SpatialReference": SPACE,
        "Registration": "affine, mutual information of the brain on FLAIR (ANTs)",
        "Scans": scans,
        "Participants": participants,
    }
    write_json(_sidecar(path), about)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _caption(atlas: Atlas, people: int, left_out: int) -> str:
    """Write the caption of the map."""
    highest, where = atlas.peak
    x, y, z = (f"{value:+.0f}" for value in where)
    text = (
        f"Share of {people} participants ({len(atlas.rows)} scans) with lesion at each point, on "
        f"axial slices of the ICBM 152 template ({SPACE}, affine registration); left (L) is "
        f"left. Highest: {100 * highest:.0f}% at x = {x}, y = {y}, z = {z} mm. "
    )
    if left_out:
        text += f"Left out, as their brain does not fit the template: {left_out} scans. "
    return text + "No test."

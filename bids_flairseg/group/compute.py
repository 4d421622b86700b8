"""Many pairs of masks, compared in several processes; what was compared before is not again."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bids_flairseg.bids.masks import Mask
from bids_flairseg.errors import FlairsegError, InputError
from bids_flairseg.group.lesions import LesionColumns
from bids_flairseg.group.pairs import PairNumbers, compare_files
from bids_flairseg.preprocess.mask import GridError
from bids_flairseg.signals import obey, starting_processes
from bids_flairseg.storage import as_output_error

LOGGER = logging.getLogger(__name__)

#: What is kept of compared pairs; it may be deleted at any time.
CACHE = "group_agreement.cache"
OK, GRID_MISMATCH, UNREADABLE = "ok", "grid_mismatch", "unreadable"
# Raised when the numbers of a pair change their meaning.
_VERSION = 4
# Starting processes costs more than comparing so few pairs.
_FEW_JOBS = 6


@dataclass(frozen=True)
class Job:
    """One pair to compare.

    Attributes
    ----------
    predicted : Mask
        The prediction.
    references : tuple of Mask
        One reference, or several whose majority counts.
    regions : Path or None
        Regions of the scan's brain.
    min_lesion_ml : float
        Smaller lesions of either mask are left out where lesions are counted.
    """

    predicted: Mask
    references: tuple[Mask, ...]
    regions: Path | None = None
    min_lesion_ml: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of a pair.

    Attributes
    ----------
    status : str
        ``ok``, ``grid_mismatch`` or ``unreadable``.
    reason : str
        The same in words, empty if ``ok``.
    numbers : PairNumbers or None
        Given if ``ok``.
    """

    status: str
    reason: str = ""
    numbers: PairNumbers | None = None


def run_job(job: Job) -> Outcome:
    """Compare one pair.

    Parameters
    ----------
    job : Job
        The pair.

    Returns
    -------
    Outcome
        Numbers, or why there are none.
    """
    try:
        numbers = compare_files(
            job.predicted, job.references, min_lesion_ml=job.min_lesion_ml, regions=job.regions
        )
    except GridError as error:
        return Outcome(GRID_MISMATCH, str(error))
    except InputError as error:
        return Outcome(UNREADABLE, str(error))
    return Outcome(OK, numbers=numbers)


def run_jobs(jobs: Sequence[Job], *, cache: Path, nprocs: int) -> Iterator[Outcome]:
    """Compare all pairs, in their order.

    Each result goes to the cache as soon as it is there, so that a run that was stopped goes
    on where it was. A pair counts as known while size, time and place of its files stay.

    Parameters
    ----------
    jobs : sequence of Job
        All pairs.
    cache : Path
        File of what is known; a damaged line costs that line.
    nprocs : int
        Processes at most.

    Yields
    ------
    Outcome
        One per job.

    Raises
    ------
    OutputError, StorageError
        The cache cannot be written.
    """
    known = _read_cache(cache)
    keys = [_key(job) for job in jobs]
    new = [job for job, key in zip(jobs, keys, strict=True) if key not in known]
    LOGGER.info("comparing %d pairs of masks, %d are known", len(jobs), len(jobs) - len(new))
    outcomes = _run(new, nprocs)
    try:
        with cache.open("a", encoding="utf-8") as file:
            for key in keys:
                if key in known:
                    yield Outcome(OK, numbers=known[key])
                    continue
                outcome = next(outcomes)
                if outcome.numbers is not None:
                    file.write(_line(key, outcome.numbers))
                    file.flush()
                yield outcome
    except FlairsegError:
        raise
    except OSError as error:
        raise as_output_error(error, cache) from error


def _run(jobs: Sequence[Job], nprocs: int) -> Iterator[Outcome]:
    """Run jobs here or in other processes; results come in order as they are ready."""
    workers = min(nprocs, len(jobs))
    if workers < 2 or len(jobs) < _FEW_JOBS:
        yield from map(run_job, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=obey) as pool:
        try:
            with starting_processes():
                outcomes = pool.map(run_job, jobs, chunksize=2)
            yield from outcomes
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _key(job: Job) -> str:
    """Return a digest of all that a result depends on; files that are gone count as such."""
    parts: list[object] = [_VERSION, job.min_lesion_ml]
    for mask in (job.predicted, *job.references):
        parts += [stamp(mask.path), mask.labels, mask.threshold]
    if job.regions is not None:
        parts.append(stamp(job.regions))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def stamp(path: Path) -> tuple[str, int, int]:
    """Return path, size and time of a file, by which it counts as the same."""
    try:
        found = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns


def _line(key: str, numbers: PairNumbers) -> str:
    content = {"key": key, "values": dict(numbers.values), "lesions": numbers.lesions.plain()}
    return json.dumps(content, separators=(",", ":")) + "\n"


def _read_cache(path: Path) -> Mapping[str, PairNumbers]:
    """Read what is known, line by line."""
    known: dict[str, PairNumbers] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:  # one after the other: together they may be large
                try:
                    content = json.loads(line)
                    lesions = LesionColumns.from_plain(content["lesions"])
                    known[content["key"]] = PairNumbers(content["values"], lesions)
                except (ValueError, KeyError, TypeError):
                    LOGGER.debug("%s: a damaged line is passed over", path)
    except OSError:
        LOGGER.debug("%s: not there yet", path)
    return known

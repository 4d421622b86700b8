"""Agreement of scans, models and raters, each pair listed whatever became of it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bids_flairseg.bids.masks import Mask, match_masks
from bids_flairseg.bids.names import format_stem, natural_key
from bids_flairseg.config import GroupConfig
from bids_flairseg.group.columns import (
    MISSING_PREDICTION,
    MISSING_REFERENCE,
    MISSING_SCAN,
    VALUE_COLUMNS,
)
from bids_flairseg.group.compute import CACHE, OK, Job, Outcome, run_jobs
from bids_flairseg.group.problems import Problem
from bids_flairseg.group.results import ScanResult, Selection, identity, model_of, weights_of
from bids_flairseg.group.sources import CONSENSUS, MODEL, RATER, Source, find_sources
from bids_flairseg.measure.stats import as_text

_NOT_AVAILABLE = "n/a"
# Of these, only what the run is about is listed.
_WITHOUT_SCAN = (MISSING_PREDICTION, MISSING_SCAN)


@dataclass(frozen=True)
class Comparison:
    """One scan, one prediction and one reference, compared or not.

    Attributes
    ----------
    entities : mapping of str to str
        Entities of the scan.
    kind : str
        ``model`` for a prediction against a reference, ``rater`` for two raters.
    model : str
        Name of the prediction; of the first rater where two are compared.
    reference : str
        NAME of the derivative, ``consensus`` for the majority of all raters.
    rater : str
        Who drew it, as `_labels` tells; empty where there is one mask without ``desc-``.
    reference_file : str
        The mask, relative to its folder; empty for none or several.
    job : Job or None
        What is to be compared; None where something is missing.
    outcome : Outcome
        What became of it.
    """

    entities: Mapping[str, str]
    kind: str
    model: str
    reference: str
    rater: str = ""
    reference_file: str = ""
    job: Job | None = None
    outcome: Outcome = field(default_factory=lambda: Outcome(MISSING_REFERENCE))

    @property
    def scan(self) -> str:
        """Name of the FLAIR without suffix."""
        return format_stem(self.entities)

    @property
    def status(self) -> str:
        """Kind of outcome."""
        return self.outcome.status

    def row(self) -> dict[str, str]:
        """Return the columns of ``group_agreement.tsv`` as text.

        Returns
        -------
        dict of str to str
            ``n/a`` where there is no value.
        """
        numbers = self.outcome.numbers
        values = numbers.values if numbers else {}
        return {
            **identity(self.entities),
            "comparison": self.kind,
            "model": self.model,
            "reference": self.reference,
            "rater": self.rater or _NOT_AVAILABLE,
            "status": self.status,
            **{name: as_text(values.get(name)) for name in VALUE_COLUMNS},
            "reference_file": self.reference_file or _NOT_AVAILABLE,
            "reason": self.outcome.reason or _NOT_AVAILABLE,
        }

    def lesion_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``group_detection.tsv``."""
        first = {
            **identity(self.entities),
            "model": self.model,
            "reference": self.reference,
            "rater": self.rater or _NOT_AVAILABLE,
        }
        for lesion in self.outcome.numbers.lesions if self.outcome.numbers else ():
            yield first | dict(lesion)


def compare_all(
    config: GroupConfig, scans: Sequence[ScanResult]
) -> tuple[list[Comparison], list[Problem]]:
    """Compare the scans, and what other models made of them, with all references.

    Parameters
    ----------
    config : GroupConfig
        Its derivatives hold references and predictions.
    scans : sequence of ScanResult
        Finished scans.

    Returns
    -------
    list of Comparison
        One per scan, model and reference; then raters with each other. Scans without
        reference, and masks without scan, as well.
    list of Problem
        Derivatives without masks.
    """
    sources, problems = find_sources(config)
    raters = [source for source in sources if source.kind == RATER]
    models = [source for source in sources if source.kind == MODEL]
    if models and not raters:  # nothing is the truth: ours against each of the others
        raters, models = models, []
    planned = list(_plan(scans, raters, models)) if raters else []
    selection = Selection.of(config.dataset)
    planned = [
        item
        for item in planned
        if item.status not in _WITHOUT_SCAN or selection.accepts(item.entities)
    ]
    jobs = [item.job for item in planned if item.job is not None]
    outcomes = run_jobs(jobs, cache=config.dataset.output_dir / CACHE, nprocs=config.nprocs)
    done = [item if item.job is None else replace(item, outcome=next(outcomes)) for item in planned]
    next(outcomes, None)  # closes the cache
    return done, problems


def model_names(scans: Sequence[ScanResult], taken: Collection[str] = ()) -> dict[str, str]:
    """Name the model of every scan, with digest or version where one name stands for several.

    Parameters
    ----------
    scans : sequence of ScanResult
        Finished scans.
    taken : collection of str
        Names of the derivatives, which have to stay apart.

    Returns
    -------
    dict of str to str
        By name of the scan.
    """
    digests: dict[str, set[str]] = {}
    versions: dict[str, set[str]] = {}
    for scan in scans:
        versions.setdefault(model_of(scan.stats), set()).add(scan.version)
        digests.setdefault(model_of(scan.stats), set()).add(weights_of(scan.stats))
    names = {}
    for scan in scans:
        own = name = model_of(scan.stats)
        if len(digests[own]) > 1:
            name += f"-{weights_of(scan.stats)[:7]}"
        if len(versions[own]) > 1:
            name += f" (flairseg {scan.version or 'of unknown version'})"
        names[scan.name] = f"{name} (this folder)" if name in taken else name
    return names


def _plan(
    scans: Sequence[ScanResult], raters: Sequence[Source], models: Sequence[Source]
) -> Iterator[Comparison]:
    """List all that can be compared and all that cannot, participant by participant."""
    names = model_names(scans, {source.name for source in (*raters, *models)})
    own: dict[str, list[ScanResult]] = {}
    for scan in scans:
        own.setdefault(scan.paths.scan.participant, []).append(scan)
    everybody = itertools.chain(own, *(source.masks for source in (*raters, *models)))
    for participant in sorted(set(everybody), key=natural_key):
        here = own.get(participant, [])
        entities = [scan.entities for scan in here]
        used: set[Path] = set()
        for scan in here:
            drawn = _marks(scan, raters, entities)
            predictions = _predictions(scan, models, entities, names[scan.name])
            used |= {mask.path for _, mask, _ in drawn}
            used |= {job.predicted.path for _, job in predictions if job is not None}
            yield from _plan_scan(scan, predictions, drawn, raters)
        for source in (*raters, *models):
            for mask in source.masks.get(participant, ()):
                if mask.path not in used:
                    yield _without_scan(source, mask)


def _marks(
    scan: ScanResult, raters: Sequence[Source], others: Sequence[Mapping[str, str]]
) -> list[tuple[Source, Mask, str]]:
    """Find all references of a scan, each with the label of who drew it."""
    participant = scan.paths.scan.participant
    found = []
    for source in raters:
        masks = match_masks(scan.entities, source.masks.get(participant, ()), others)
        found += [(source, mask, label) for mask, label in zip(masks, _labels(masks), strict=True)]
    return found


def _labels(masks: Sequence[Mask]) -> list[str]:
    """Tell the masks of a scan apart: by ``desc-``, or by file where two have the same."""
    raters = [mask.rater or "" for mask in masks]
    return [
        rater if raters.count(rater) == 1 else mask.path.name
        for mask, rater in zip(masks, raters, strict=True)
    ]


def _predictions(
    scan: ScanResult,
    models: Sequence[Source],
    others: Sequence[Mapping[str, str]],
    name: str,
) -> list[tuple[str, Job | None]]:
    """Name the predictions of a scan, ours first; None where another model has none."""
    found: list[tuple[str, Job | None]] = [(name, _job(scan, Mask(scan.paths.mask, scan.entities)))]
    for source in models:
        masks = source.masks.get(scan.paths.scan.participant, ())
        fitting = match_masks(scan.entities, masks, others)
        for mask, label in zip(fitting, _labels(fitting), strict=True):
            rest = f":{label}" if len(fitting) > 1 and label else ""
            found.append((source.name + rest, _job(scan, mask)))
        if not fitting:
            found.append((source.name, None))
    return found


def _plan_scan(
    scan: ScanResult,
    predictions: Iterable[tuple[str, Job | None]],
    drawn: Sequence[tuple[Source, Mask, str]],
    raters: Sequence[Source],
) -> Iterator[Comparison]:
    """List the comparisons of one scan."""
    entities, masks = scan.entities, tuple(mask for _, mask, _ in drawn)
    for name, job in predictions:
        for source, mask, label in drawn:
            planned = Comparison(entities, MODEL, name, source.name, label, _file(source, mask))
            yield _with_job(planned, job, (mask,))
        if len(masks) > 1:
            yield _with_job(Comparison(entities, MODEL, name, CONSENSUS), job, masks)
        for source in raters:
            if all(other is not source for other, _, _ in drawn):
                outcome = Outcome(MISSING_REFERENCE, "no reference mask of that name")
                yield Comparison(entities, MODEL, name, source.name, outcome=outcome)
    for (first, one, who), (source, mask, label) in itertools.combinations(drawn, 2):
        rater = f"{first.name}:{who}" if who else first.name
        planned = Comparison(entities, RATER, rater, source.name, label, _file(source, mask))
        yield replace(planned, job=_job(scan, one, mask))


def _job(scan: ScanResult, predicted: Mask, *references: Mask) -> Job:
    return Job(predicted, references, scan.paths.regions, scan.min_lesion_ml)


def _file(source: Source, mask: Mask) -> str:
    return mask.path.relative_to(source.folder).as_posix()


def _with_job(planned: Comparison, job: Job | None, masks: tuple[Mask, ...]) -> Comparison:
    """Give a comparison its files, or say that the prediction is missing."""
    if job is None:
        reason = f"{planned.model} has no mask of that name"
        return replace(planned, outcome=Outcome(MISSING_PREDICTION, reason))
    return replace(planned, job=replace(job, references=masks))


def _without_scan(source: Source, mask: Mask) -> Comparison:
    """List a mask that belongs to no scan."""
    reason = "no finished scan of that name, or more than one that could be meant"
    if source.kind == MODEL:
        reason += f" ({_file(source, mask)})"
        outcome = Outcome(MISSING_SCAN, reason)
        return Comparison(mask.entities, MODEL, source.name, _NOT_AVAILABLE, outcome=outcome)
    planned = Comparison(mask.entities, MODEL, _NOT_AVAILABLE, source.name, mask.rater or "")
    outcome = Outcome(MISSING_PREDICTION, reason)
    return replace(planned, reference_file=_file(source, mask), outcome=outcome)


def agreement_problems(comparisons: Iterable[Comparison]) -> list[Problem]:
    """List what could not be compared.

    Parameters
    ----------
    comparisons : iterable of Comparison
        All pairs.

    Returns
    -------
    list of Problem
        One per pair.
    """
    found = []
    for item in comparisons:
        if item.status == OK:
            continue
        source = item.reference
        if item.status in _WITHOUT_SCAN and item.model != _NOT_AVAILABLE:
            source = item.model
        detail = item.outcome.reason
        if item.reference_file and item.reference_file not in detail:
            detail += f" ({item.reference_file})"
        found.append(Problem(item.status, detail, item.scan, source))
    return list(dict.fromkeys(found))

"""The bundle that comes out of a training, and the card that says where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bids_flairseg.model.bundle import Card, bundle_digest, read_card, read_config, save_bundle
from bids_flairseg.train.cursor import CaseScore, mean_dice
from bids_flairseg.train.job import FitResult, TrainingJob
from bids_flairseg.train.store import StoredCase

_OWN = "Scans like those it was trained on, of one site."
_METHOD = "Method: Rauschecker et al. 2022, doi:10.1148/ryai.2021200152"
_CASES = ("cases", "cases_held_out")


def save_result(
    job: TrainingJob, result: FitResult, path: Path, *, share_ids: bool = False, command: str = ""
) -> None:
    """Write the bundle of a training.

    Parameters
    ----------
    job : TrainingJob
        What was trained.
    result : FitResult
        What came out.
    path : Path
        Folder of the bundle.
    share_ids : bool
        Name participants in the card. By default each scan has but a digest of its image:
        who has the scan can find out whether it was used, who has not cannot.
    command : str
        That was given, for the card.

    Raises
    ------
    OutputError
        The folder cannot be written; the state of the training is still there.
    """
    save_bundle(path, result.model, result.config, make_card(job, result, share_ids=share_ids,
                                                             command=command))  # fmt: skip


def make_card(
    job: TrainingJob, result: FitResult, *, share_ids: bool = False, command: str = ""
) -> Card:
    """Write down where a bundle comes from.

    Parameters
    ----------
    job : TrainingJob
        What was trained.
    result : FitResult
        What came out.
    share_ids : bool
        Name participants.
    command : str
        That was given.

    Returns
    -------
    card : Card
        Licence and citations are those of the parent.
    """
    parent = read_card(job.parent) if job.parent else Card(attribution=(_METHOD,))
    people = len({case.participant for case in job.train})
    source = f", fine-tuned from {read_config(job.parent).name}" if job.parent else ""
    if job.synthetic:
        source = f" and {len(job.synthetic)} synthetic ones{source}"
    return Card(
        use=f"{_OWN} {parent.use.removeprefix(_OWN).strip()}".strip(),
        data=f"{len(job.train)} FLAIRs of {people} participants of a site{source}. "
        f"{parent.data}".strip(),
        licence=parent.licence,
        attribution=parent.attribution,
        training={
            "command": command,
            "recipe": asdict(job.recipe),
            "seed": job.seed,
            "layers": job.layers,
            "trained_parameters": result.trained_parameters,
            "parents": _parents(job),
            "cases": [identify(case) for case in job.train],
            "cases_held_out": [identify(case) for case in job.validation],
            **({"case_names": _names(job)} if share_ids else {}),
            "synthetic_cases": len(job.synthetic),
            "kept_epoch": result.best_epoch,
            "history": list(result.history),
            "minutes": round(result.seconds / 60, 1),
            "notes": list(result.notes),
        },
        validation={"held_out": summarise(result.before, result.after)} if result.after else {},
    )


def identify(case: StoredCase) -> str:
    """Condense a scan to digits from which nobody without the scan can tell whose it is.

    The voxels of the FLAIR alone decide: the same scan is known again under another name, in
    another dataset, and with another brain mask or normalisation.

    Parameters
    ----------
    case : StoredCase
        The scan.

    Returns
    -------
    digest : str
        16 hexadecimal digits.
    """
    voxels = str(case.facts.get("digest", "")).encode()
    return hashlib.sha256(voxels or np.ascontiguousarray(case.image).tobytes()).hexdigest()[:16]


def known_cases(bundle: Path) -> frozenset[str]:
    """List the cases that a bundle knows: a test on them would say too much good of it.

    Parameters
    ----------
    bundle : Path
        Its folder.

    Returns
    -------
    digests : frozenset of str
        See `identify`. All that the bundle, or one that it was fine-tuned from, was trained on,
        or chosen by.
    """
    training = read_card(bundle).training
    return frozenset(
        str(digest)
        for record in (training, *(training.get("parents") or []))
        for key in _CASES
        for digest in record.get(key) or []
    )


def summarise(before: Sequence[CaseScore], after: Sequence[CaseScore]) -> dict[str, Any]:
    """Sum up what held-out cases score.

    Parameters
    ----------
    before : sequence of CaseScore
        With the parent; empty from scratch.
    after : sequence of CaseScore
        With the bundle.

    Returns
    -------
    summary : dict
        Number of cases, mean and median Dice, and how many cases lost more than 0.01.
    """
    old = {score.name: score.dice for score in before}
    summary: dict[str, Any] = {
        "cases": len(after),
        "mean_dice": round(mean_dice(after) or 0.0, 4),
        "median_dice": round(median(score.dice for score in after), 4),
        "note": "these cases chose epoch and threshold: expect a little less on new ones",
    }
    if before:
        summary["mean_dice_before"] = round(mean_dice(before) or 0.0, 4)
        summary["median_dice_before"] = round(median(old.values()), 4)
        summary["cases_worse"] = sum(score.dice < old[score.name] - 0.01 for score in after)
    return summary


def _parents(job: TrainingJob) -> list[dict[str, Any]]:
    """Name the bundle that training began with, and those before it."""
    if job.parent is None:
        return []
    training = read_card(job.parent).training
    own = {"name": read_config(job.parent).name, "sha256": bundle_digest(job.parent)}
    cases = {key: training[key] for key in _CASES if key in training}
    return [own | cases, *(training.get("parents") or [])]


def _names(job: TrainingJob) -> Mapping[str, str]:
    """Return the names of all cases by their digests."""
    return {identify(case): case.name for case in (*job.train, *job.validation)}

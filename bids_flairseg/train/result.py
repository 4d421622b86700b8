"""The bundle that comes out of a training, and the card that says where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bids_flairseg.model.bundle import Card, bundle_digest, read_card, read_config, save_bundle
from bids_flairseg.train.cursor import CaseScore, mean_dice
from bids_flairseg.train.job import FitResult, TrainingJob
from bids_flairseg.train.store import StoredCase

_METHOD = "Method: Rauschecker et al. 2022, doi:10.1148/ryai.2021200152"


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
        Name participants in the card. By default each scan has a digest of name and image:
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
            "cases": [identify(case, share_ids=share_ids) for case in job.train],
            "cases_held_out": [identify(case, share_ids=share_ids) for case in job.validation],
            "synthetic_cases": len(job.synthetic),
            "kept_epoch": result.best_epoch,
            "history": list(result.history),
            "minutes": round(result.seconds / 60, 1),
            "notes": list(result.notes),
        },
        validation={"held_out": summarise(result.before, result.after)} if result.after else {},
    )


def identify(case: StoredCase, *, share_ids: bool) -> str:
    """Name a scan, or a digest from which nobody without the scan can tell its name.

    Parameters
    ----------
    case : StoredCase
        The scan.
    share_ids : bool
        Name it.

    Returns
    -------
    name : str
        The name, or 16 hexadecimal digits.
    """
    if share_ids:
        return case.name
    digest = hashlib.sha256(f"{case.participant} {case.name} ".encode())
    digest.update(np.ascontiguousarray(case.image).tobytes())
    return digest.hexdigest()[:16]


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
    own = {"name": read_config(job.parent).name, "sha256": bundle_digest(job.parent)}
    return [own, *read_card(job.parent).training.get("parents", [])]

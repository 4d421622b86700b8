"""Held-out cases: what a network scores on them, and the threshold that they choose."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.agreement import dice
from bids_flairseg.model.predict import Apply, predict
from bids_flairseg.model.settings import BundleConfig
from bids_flairseg.train.cursor import CaseScore
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.train.scores import THRESHOLDS, choose_threshold, lesion_mask
from bids_flairseg.train.state import replacing
from bids_flairseg.train.store import StoredCase

LOGGER = logging.getLogger(__name__)

#: Folders of the training that hold the probabilities of held-out cases.
BEFORE, AFTER = "before", "after"
# Probabilities are kept for the report in so many steps, rounded down: then a mask at any
# threshold of two decimals is exactly the one that was scored.
_STEPS = 200
_ML = 1000.0
# Of the memory that the process may take: weights and optimiser lie there as well.
_SHARE_OF_MEMORY = 0.7


def score_cases(
    apply: Apply,
    cases: Iterable[StoredCase],
    config: BundleConfig,
    *,
    min_lesion_ml: float = 0.01,
    keep: Path | None = None,
    memory_mb: int | None = None,
) -> list[CaseScore]:
    """Predict cases and compare them with their labels.

    Parameters
    ----------
    apply : callable
        The network.
    cases : iterable of StoredCase
        None of them was trained on.
    config : BundleConfig
        Threshold and window.
    min_lesion_ml : float
        Smaller lesions do not count as found, as in the main job.
    keep : Path, optional
        Folder that gets each case's probabilities, for the report.
    memory_mb : int or None
        What the process may take of the machine's memory; None takes what is free.

    Returns
    -------
    scores : list of CaseScore
        In the order of the cases.
    """
    scores = []
    limit = None if memory_mb is None else int(memory_mb * 10**6 * _SHARE_OF_MEMORY)
    for case in cases:
        probability = predict_case(apply, case, config, memory_bytes=limit)
        if keep:
            _keep(keep / f"{case.name}.npz", probability)
        scores.append(_score(case, probability, config, min_lesion_ml))
    return scores


def predict_case(
    apply: Apply, case: StoredCase, config: BundleConfig, *, memory_bytes: int | None = None
) -> NDArray[np.float32]:
    """Predict a case.

    Parameters
    ----------
    apply : callable
        The network.
    case : StoredCase
        Its image is as the bundle wants it.
    config : BundleConfig
        How the network is applied.
    memory_bytes : int or None
        What the prediction may take; None asks the machine.

    Returns
    -------
    probability : ndarray of float32, shape (X, Y, Z)
        Of lesion; zero outside the brain.
    """
    image = np.asarray(case.image, np.float32)
    probability = predict(apply, image, config, memory_bytes=memory_bytes)[..., 0]
    probability[image == 0] = 0
    return probability


def read_kept(folder: Path, name: str) -> NDArray[np.float32] | None:
    """Read the probabilities of a case that :func:`score_cases` kept.

    Parameters
    ----------
    folder : Path
        As given to it.
    name : str
        Of the case.

    Returns
    -------
    probability : ndarray of float32, shape (X, Y, Z), or None
        Rounded down to 0.005; None where they are not there, or damaged.
    """
    try:
        # opened here, since NumPy does not close a file in which it finds no archive
        with (
            (folder / f"{name}.npz").open("rb") as stream,
            np.load(stream, allow_pickle=False) as file,
        ):
            return np.asarray(file["probability"] / _STEPS, np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None


def pick_threshold(
    scores: Sequence[CaseScore], recipe: SiteRecipe, present: float
) -> tuple[float, str]:
    """Choose the threshold on held-out cases, or keep it where they are too few.

    Parameters
    ----------
    scores : sequence of CaseScore
        Of held-out cases.
    recipe : SiteRecipe
        Whether to choose, and from how many cases on.
    present : float
        Threshold until now.

    Returns
    -------
    threshold : float
        Probability from which a voxel counts.
    reason : str
        A sentence for the user.
    """
    useful = [score for score in scores if score.reference_ml > 0]
    if recipe.threshold == "keep":
        return present, f"The threshold stays at {present:g}, as the recipe says."
    if len(useful) < recipe.threshold_cases:
        return present, (
            f"The threshold stays at {present:g}: held-out cases with lesions: {len(useful)}; "
            f"fewer than {recipe.threshold_cases} say too little about it."
        )
    table = np.array([score.curve for score in useful])
    chosen = THRESHOLDS[choose_threshold(table.mean(0))]
    return chosen, (
        f"The threshold {chosen:g} was chosen on held-out cases with lesions: {len(useful)} "
        f"(before: {present:g})."
    )


def at_threshold(scores: Sequence[CaseScore], threshold: float) -> list[CaseScore]:
    """Return what cases score at another threshold.

    Parameters
    ----------
    scores : sequence of CaseScore
        At any.
    threshold : float
        One of :data:`bids_flairseg.train.scores.THRESHOLDS`; all else leaves them as they are.

    Returns
    -------
    scores : list of CaseScore
        At this one.
    """
    if threshold not in THRESHOLDS:
        return list(scores)
    index = THRESHOLDS.index(threshold)
    return [
        replace(score, dice=score.curve[index], predicted_ml=score.volumes[index])
        for score in scores
    ]


def _score(
    case: StoredCase, probability: NDArray[np.float32], config: BundleConfig, min_lesion_ml: float
) -> CaseScore:
    truth = np.asarray(case.target) > 0
    voxel_ml = config.preprocessing.voxel_size_mm**3 / _ML
    levels = (config.inference.threshold, *THRESHOLDS)
    settings = [
        replace(config, inference=replace(config.inference, threshold=level)) for level in levels
    ]
    masks = [lesion_mask(probability, each, min_lesion_ml=min_lesion_ml) for each in settings]
    dices = [dice(mask, truth) for mask in masks]
    volumes = [float(np.count_nonzero(mask)) * voxel_ml for mask in masks]
    return CaseScore(
        name=case.name,
        dice=dices[0],
        reference_ml=float(np.count_nonzero(truth)) * voxel_ml,
        predicted_ml=volumes[0],
        curve=tuple(dices[1:]),
        volumes=tuple(volumes[1:]),
    )


def _keep(path: Path, probability: NDArray[np.float32]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        small = np.floor(probability * np.float32(_STEPS)).astype(np.uint8)
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, probability=small)
    except OSError as error:
        LOGGER.warning("%s: not kept for the report (%s)", path, error)

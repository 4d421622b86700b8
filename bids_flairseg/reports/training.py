"""The page of a training: cases, curve, and held-out cases before and after, worst first."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.reports.page import render
from bids_flairseg.reports.panels import BRAIN_COLOUR, Slice, colour, draw
from bids_flairseg.reports.views import AXIAL, Grid, Scan, brain_box
from bids_flairseg.train.cursor import CaseScore
from bids_flairseg.train.curves import draw_curves
from bids_flairseg.train.job import FitResult, TrainingJob
from bids_flairseg.train.presets import recipe_keys
from bids_flairseg.train.result import summarise
from bids_flairseg.train.scores import lesion_mask
from bids_flairseg.train.state import write_text
from bids_flairseg.train.store import StoredCase
from bids_flairseg.train.validation import AFTER, BEFORE, read_kept

LOGGER = logging.getLogger(__name__)

REPORT_FILE = "report.html"
_MOST_DRAWN, _SLICES = 10, 3
# A Dice that changes by less is the same for the table.
_SAME = 0.005


@dataclass(frozen=True)
class HeldOut:
    """A held-out case on the page.

    Attributes
    ----------
    score : CaseScore
        With the weights that are kept.
    before : CaseScore or None
        With the bundle that training began with.
    figure : str or None
        SVG; None where it is not drawn.
    """

    score: CaseScore
    before: CaseScore | None
    figure: str | None

    @property
    def change(self) -> float | None:
        """Dice after minus Dice before."""
        return self.score.dice - self.before.dice if self.before else None

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``same``; empty from scratch."""
        if self.change is None:
            return ""
        if abs(self.change) < _SAME:
            return "same"
        return "better" if self.change > 0 else "worse"


def write_training_report(job: TrainingJob, result: FitResult, path: Path) -> bool:
    """Write the page; one that cannot be made or written, for whatever reason, costs no training.

    Parameters
    ----------
    job : TrainingJob
        What was trained.
    result : FitResult
        What came out.
    path : Path
        File to write.

    Returns
    -------
    written : bool
        Whether it was.
    """
    try:
        write_text(path, render_training(job, result))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        LOGGER.warning("%s: the report was not written (%s)", path, reason, exc_info=True)
        return False
    return True


def render_training(job: TrainingJob, result: FitResult) -> str:
    """Make the page.

    Parameters
    ----------
    job : TrainingJob
        What was trained; its folder holds the probabilities of held-out cases.
    result : FitResult
        What came out.

    Returns
    -------
    str
        Self-contained HTML.
    """
    old = {score.name: score for score in result.before}
    cases = {case.name: case for case in job.validation}
    ordered = sorted(result.after, key=lambda score: score.dice)
    held = []
    for place, score in enumerate(ordered):
        before = old.get(score.name)
        drawn = place < _MOST_DRAWN
        figure = _draw_case(job, result, cases[score.name], (before, score)) if drawn else None
        held.append(HeldOut(score, before, figure))
    roles = [
        *((case, "trained on") for case in job.train),
        *((c, "held out") for c in job.validation),
    ]
    return render(
        "training.html.j2",
        name=result.config.name,
        layers=job.trained,
        fine_tuned=job.parent is not None,
        trained=len(job.train),
        synthetic=len(job.synthetic),
        summary=summarise(result.before, result.after) if result.after else None,
        result=result,
        minutes=result.seconds / 60,
        threshold=result.config.inference.threshold,
        curve=draw_curves(result.history, best_epoch=result.best_epoch),
        held=held,
        cases=[(case, role, _attributes(case)) for case, role in roles],
        recipe=[(key, asdict(job.recipe)[key], text) for key, text in recipe_keys().items()],
        reference_colour=BRAIN_COLOUR,
        predicted_colour=colour(1),
        most_drawn=_MOST_DRAWN,
    )


def _attributes(case: StoredCase) -> str:
    """Say what is known of a case besides its lesions."""
    known = [f"{key} {value}" for key, value in case.attributes.items() if value not in ("", "n/a")]
    return ", ".join(known)


def _draw_case(
    job: TrainingJob,
    result: FitResult,
    case: StoredCase,
    scores: tuple[CaseScore | None, CaseScore],
) -> str | None:
    """Draw slices of a case before and after, or nothing where its probabilities are gone."""
    columns = []
    before, after = scores
    stages = ((BEFORE, before, job.bundle_config()), (AFTER, after, result.config))
    for folder, score, config in stages:
        probability = read_kept(job.folder / folder, case.name)
        if score is None or probability is None or probability.shape != case.image.shape:
            continue
        mask = lesion_mask(probability, config, min_lesion_ml=job.min_lesion_ml)
        columns.append((f"{folder}, Dice {score.dice:.2f}", mask))
    if not columns:
        return None
    plain = _scan(case)
    box = brain_box(plain, margin_mm=2.0)
    chosen = _choose_slices(np.asarray(case.target) > 0, [mask for _, mask in columns])
    bare = replace(plain, brain=np.zeros_like(plain.brain)).crop(box)
    slices = []
    for index in chosen:
        shown = index - box[AXIAL].start
        slices.append(Slice(bare, AXIAL, shown, caption=f"slice {index + 1}"))
        for words, mask in columns:
            scan = replace(plain, brain=np.asarray(case.target) > 0, lesions=mask.astype(np.int32))
            slices.append(Slice(scan.crop(box), AXIAL, shown, "pair", caption=words))
    return draw(
        slices,
        columns=1 + len(columns),
        description=f"{case.name}: axial slices with the outlines of label and prediction",
    )


def _scan(case: StoredCase) -> Scan:
    """Lay a case out for drawing: what is outside the brain is black."""
    image = np.asarray(case.image, np.float32)
    inside = image != 0
    low, high = np.percentile(image[inside], (0.5, 99.8)) if inside.any() else (0.0, 1.0)
    x, y, z = image.shape
    return Scan(
        grid=Grid(affine=np.asarray(case.affine, np.float64), shape=(x, y, z)),
        flair=np.where(inside, image, low),
        brain=inside,
        lesions=np.zeros(image.shape, np.int32),
        window=(float(low), float(max(high, low + 1e-3))),
    )


def _choose_slices(truth: NDArray[np.bool_], masks: list[NDArray[np.bool_]]) -> list[int]:
    """Take the slice with most lesion, and those where most is wrong, well apart."""
    area: NDArray[Any] = truth.sum((0, 1)).astype(float)
    wrong: NDArray[Any] = sum((mask != truth).sum((0, 1)) for mask in masks) + 0.01 * area
    chosen = [int(area.argmax() if area.any() else wrong.argmax())]
    apart = max(3, len(area) // 12)
    while len(chosen) < _SLICES:
        for index in chosen:
            wrong[max(index - apart, 0) : index + apart + 1] = -1
        if wrong.max() <= 0:
            break
        chosen.append(int(wrong.argmax()))
    return sorted(chosen)

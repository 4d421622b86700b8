"""The portability study: how many of one's own cases a model needs."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bids_flairseg.config import GroupConfig
from bids_flairseg.group.figures import main_reference
from bids_flairseg.group.observations import Observation
from bids_flairseg.group.raters import RATERS, against_raters, among_raters
from bids_flairseg.group.results import FOLD, ScanResult
from bids_flairseg.group.sources import MODEL
from bids_flairseg.group.statistic import Statistic, with_value
from bids_flairseg.group.statistics import TRAINING
from bids_flairseg.group.words import ALPHA, compare_in_words
from bids_flairseg.measure.curves import FARTHEST, LearningCurve, learning_curve
from bids_flairseg.reports.charts import Chart
from bids_flairseg.reports.learning import LearningPoints, learning_chart

_COUNT = re.compile(r"(\d+)$")
# Without raters, this much below the best mean that was reached is as good as reached.
_NEARLY = 0.01
# Resampling so few participants says little.
_FEW = 10


@dataclass(frozen=True)
class Study:
    """What the models with different numbers of local cases say.

    Attributes
    ----------
    sentences : tuple of str
        Question, answer, and whether the gain is real.
    charts : tuple of Chart
        Dice against number of local cases.
    statistics : tuple of Statistic
        The answer as rows of the table.
    """

    sentences: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    statistics: tuple[Statistic, ...] = ()


def count_cases(
    models: Sequence[str], own: Collection[str], named: Mapping[str, int]
) -> dict[str, int]:
    """Tell with how many local cases each model was trained.

    Parameters
    ----------
    models : sequence of str
        All models.
    own : collection of str
        Those that have seen no local case unless it is said.
    named : mapping of str to int
        What ``--local-cases`` says.

    Returns
    -------
    dict of str to int
        By model; those of which nobody knows are left out.

    Examples
    --------
    >>> count_cases(["lesion", "ft-8", "ft16", "other"], ["lesion"], {"other": 3})
    {'lesion': 0, 'ft-8': 8, 'ft16': 16, 'other': 3}
    """
    found = {}
    for model in models:
        number = _COUNT.search(model)
        if model in named:
            found[model] = named[model]
        elif model in own:
            found[model] = 0
        elif number and not TRAINING.match(model):
            found[model] = int(number[1])
    return found


def starting_models(scans: Iterable[ScanResult], models: Mapping[str, str]) -> set[str]:
    """Name the models of the output folder as they are before any local case.

    Parameters
    ----------
    scans : iterable of ScanResult
        Finished scans.
    models : mapping of str to str
        Name of the model by scan, as `model_names` gives it.

    Returns
    -------
    set of str
        Without those that a cross-validation trained, one for each fold.
    """
    return {models[scan.name] for scan in scans if not FOLD.search(scan.stats.get("model", ""))}


def run_study(
    config: GroupConfig,
    pairs: Sequence[Observation],
    statistics: Sequence[Statistic],
    own: Collection[str],
) -> Study:
    """Fit the learning curve and answer how many cases are needed.

    Parameters
    ----------
    config : GroupConfig
        Local cases of the models, seed.
    pairs : sequence of Observation
        All pairs.
    statistics : sequence of Statistic
        Among them the paired tests of the models.
    own : collection of str
        Models of the output folder that have seen no local case, see `starting_models`.

    Returns
    -------
    Study
        Empty where there are fewer than two models with different numbers of cases.
    """
    main, these = _compared(pairs)
    names = list(dict.fromkeys(item.model for item in these))
    cases = count_cases(names, own, config.local_cases)
    if len(set(cases.values())) < 2:
        return Study()
    known = _common([item for item in these if item.model in cases])
    if not known:
        text = "How many of your own cases are needed cannot be said: no scan has all models."
        return Study((text,))
    target, words = _target(known, cases, among_raters(pairs) if main == RATERS else ())
    curve = learning_curve(
        [cases[item.model] for item in known],
        [item.value("dice") for item in known],
        [item.participant for item in known],
        target=target,
        seed=config.random_seed,
    )
    people = len({item.participant for item in known})
    sentences = (*_answer(curve, cases, words), *_gain(cases, main, statistics))
    if people < _FEW:
        sentences += (f"With {people} participants tested, all of this is a hint at most.",)
    points = LearningPoints(
        cases=tuple(cases[item.model] for item in known),
        dice=tuple(item.value("dice") for item in known),
        names=tuple(f"{item.scan}, {item.model}" for item in known),
        participants=tuple(item.participant for item in known),
        target=target,
        target_words=words,
    )
    caption = f"{_caption(known, main, words, cases)} {' '.join(sentences)}"
    chart = learning_chart(("Learning curve", caption), points, curve)
    return Study(sentences, (chart,), _rows(curve, main))


def _caption(known: Sequence[Observation], main: str, words: str, cases: Mapping[str, int]) -> str:
    """Say what the figure of the learning curve shows."""
    against = f"{main} (mean over those of a scan)" if main == RATERS else main
    scans, people = ({getattr(item, of) for item in known} for of in ("scan", "participant"))
    return (
        f"Dice against {against} by number of local training cases. Dots are scans, diamonds means "
        f"with 95% bootstrap intervals, the line a fitted inverse power law with its 95% band. "
        f"Dashed: {words}. n = {len(scans)} scans of {len(people)} participants, the same for "
        f"every model. Local cases: {', '.join(f'{cases[name]} ({name})' for name in cases)}."
    )


def _compared(pairs: Sequence[Observation]) -> tuple[str, list[Observation]]:
    """Choose what the models are compared with: the raters where most scans have several.

    So the curve and the raters' line mean the same: agreement with one person.
    """
    models = [item for item in pairs if item.kind == MODEL]
    main = main_reference(models)
    these = with_value([item for item in models if item.reference == main], "dice")
    several = against_raters(pairs)
    if 2 * len({item.scan for item in several}) >= max(len({item.scan for item in these}), 1):
        return RATERS, several
    return main, these


def _common(known: Sequence[Observation]) -> list[Observation]:
    """Keep the scans that every model has, so that all are tested on the same ones."""
    scans: dict[str, set[str]] = {}
    for item in known:
        scans.setdefault(item.model, set()).add(item.scan)
    common = set.intersection(*scans.values()) if scans else set()
    return [item for item in known if item.scan in common]


def _target(
    known: Sequence[Observation], cases: Mapping[str, int], raters: Sequence[Observation]
) -> tuple[float, str]:
    """Choose the Dice to be reached on these scans, and say what it is."""
    scans = {item.scan for item in known}
    if raters:
        target = float(np.mean([item.value("dice") for item in raters if item.scan in scans]))
        return target, f"the raters' mean Dice among each other, {target:.2f}"
    target = -_NEARLY + max(
        float(np.mean([item.value("dice") for item in known if item.model == model]))
        for model in cases
    )
    return target, f"{_NEARLY} below the best mean Dice that a model reached, {target:.2f}"


def _answer(curve: LearningCurve | None, cases: Mapping[str, int], words: str) -> tuple[str, ...]:
    """Answer how many local cases are needed."""
    if curve is None:
        text = (
            "How many of your own cases are needed cannot be said: that takes models with at "
            f"least three different numbers of local cases, found {len(set(cases.values()))}."
        )
        return (text,)
    farthest = FARTHEST * max(cases.values())
    if math.isinf(curve.needed):
        text = (
            f"No number of local cases up to {farthest} is expected to reach {words} (reached in "
            f"{100 * curve.reached:.0f}% of the resamples)."
        )
        return (text,)
    text = f"About {math.ceil(curve.needed - 1e-9)} of your own cases are needed to reach {words}"
    if curve.interval:
        high = curve.interval.high
        end = f"more than {farthest}" if math.isinf(high) else f"{math.ceil(high - 1e-9)}"
        text += f" (95% interval: {math.ceil(curve.interval.low - 1e-9)} to {end})"
    return (text + ".",)


def _gain(cases: Mapping[str, int], main: str, statistics: Sequence[Statistic]) -> tuple[str, ...]:
    """Say whether the model with most local cases is better than that with fewest."""
    least, most = (pick(cases, key=lambda model: cases[model]) for pick in (min, max))
    for row in statistics:
        these = row.analysis == "paired" and row.reference == main and row.n_a
        if these and {row.group_a, row.group_b} == {least, most}:
            real = row.p_holm is not None and row.p_holm < ALPHA
            text = (
                f"The difference between {cases[least]} and {cases[most]} local cases "
                f"{'is real' if real else 'may be chance'}: {compare_in_words(row)}"
            )
            return (text,)
    return ()


def _rows(curve: LearningCurve | None, main: str) -> tuple[Statistic, ...]:
    """Return the curve and its answer as rows of the table."""
    if curve is None:
        return ()
    base = Statistic("learning curve", "dice", "", main, "local cases")
    ends = curve.interval
    needed = replace(
        base,
        effect_name="cases needed",
        effect=curve.needed,
        difference=curve.needed,
        difference_low=ends.low if ends else None,
        difference_high=ends.high if ends else None,
        conditions=f"target {curve.target:.3f}; reached in {curve.reached:.2f} of the resamples; "
        "n/a: not reached",
    )
    fitted = curve.curve
    named = {"plateau": fitted.plateau, "gain": fitted.gain, "exponent": fitted.exponent}
    rows = [replace(base, effect_name=name, effect=value) for name, value in named.items()]
    return (needed, *rows)

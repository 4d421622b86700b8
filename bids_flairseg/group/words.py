"""Numbers and tests in the words of a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bids_flairseg.group.observations import FACTOR_WORDS
from bids_flairseg.group.sources import CONSENSUS
from bids_flairseg.group.statistic import Statistic
from bids_flairseg.group.statistics import AMONG_RATERS
from bids_flairseg.group.wording import (
    coefficient_in_words,
    corrected_in_words,
    p_in_words,
    signed_in_words,
    spread_in_words,
    test_in_words,
)
from bids_flairseg.measure.comparisons import TOO_FEW

#: A test is called significant below this, as in the paper.
ALPHA = 0.05
_LIN = "Lin's concordance"
# Of more pairs of models than this, only those with the first model are spoken of.
_MOST_PAIRS = 6


def results_paragraphs(statistics: Sequence[Statistic]) -> list[str]:
    """Write the results of a paper.

    All is said of one reference, the consensus of the raters where there is one, and groups are
    compared for the first model: with several models and raters, the rest is for the table.

    Parameters
    ----------
    statistics : sequence of Statistic
        All rows.

    Returns
    -------
    list of str
        Paragraphs to paste; empty where there is nothing to say.
    """
    main, model = _choose(statistics)
    own = [row for row in statistics if row.reference in (main, "")]
    parts = [
        _volumes(statistics),
        _agreement(own) + _raters_alone(statistics),
        _detection(own),
        _models(own, model) + _trainings(own),
        _raters(statistics),
        _concordance(own),
        _factors([row for row in own if row.model == model]),
        _repeats(statistics),
        _rest(statistics, main),
    ]
    return [" ".join(sentences) for sentences in parts if sentences]


def _pick(statistics: Sequence[Statistic], **wanted: str) -> list[Statistic]:
    return [row for row in statistics if all(getattr(row, k) == v for k, v in wanted.items())]


def _many(count: int | None, word: str) -> str:
    return f"{count or 0:,} {word}" + ("" if count == 1 else "s")


def _choose(statistics: Sequence[Statistic]) -> tuple[str, str]:
    """Choose the reference and the model that are spoken of."""
    rows = _pick(statistics, analysis="summary", metric="dice", factor="")
    if not rows:
        return "", ""
    best = max(rows, key=lambda row: (row.reference == CONSENSUS, row.n_a or 0))
    return best.reference, rows[0].model


def _volumes(statistics: Sequence[Statistic]) -> list[str]:
    return [
        f"In {_many(row.n_a, 'scan')} of {_many(row.participants_a, 'participant')}, the median "
        f"total lesion volume (model {row.model}) was {spread_in_words(row)} ml."
        for row in _pick(statistics, analysis="summary", metric="lesion_volume_ml")
    ]


def _dice(row: Statistic) -> str:
    text = f"{spread_in_words(row)} in {_many(row.n_a, 'scan')}"
    if row.mean_low_a is not None and row.mean_high_a is not None:
        text += f" (mean, {row.mean_a:.2f}; 95% CI: {row.mean_low_a:.2f}, {row.mean_high_a:.2f})"
    return text


def _agreement(own: Sequence[Statistic]) -> list[str]:
    rows = _pick(own, analysis="summary", metric="dice", factor="")
    if not rows:
        return []
    several = "; ".join(f"{_dice(row)} for model {row.model}" for row in rows)
    whose = "" if len(rows) > 1 else f" of model {rows[0].model}"
    values = several if len(rows) > 1 else _dice(rows[0])
    return [f"The median Dice score{whose} against {rows[0].reference} was {values}."]


def _raters_alone(statistics: Sequence[Statistic]) -> list[str]:
    return [
        f"The median Dice score of rater {row.model} against {row.reference} was {_dice(row)}."
        for row in _pick(statistics, analysis="summary", metric="dice", factor=AMONG_RATERS)
    ]


def _detection(own: Sequence[Statistic]) -> list[str]:
    sentences = []
    for metric, what, digits, unit in (
        ("lesion_f1_any", "lesion by lesion (found: any shared voxel), the median F1 score", 2, ""),
        ("hausdorff95_mm", "the median 95% Hausdorff distance", 1, " mm"),
    ):
        said = [
            f"{spread_in_words(row, digits)}{unit} for model {row.model}"
            for row in _pick(own, analysis="summary", metric=metric, factor="")
        ]
        if said:
            sentences.append(f"{what[0].upper()}{what[1:]} was {'; '.join(said)}.")
    return sentences


def _models(own: Sequence[Statistic], first: str) -> list[str]:
    rows = [row for row in _pick(own, analysis="paired") if row.n_a]
    said = rows if len(rows) <= _MOST_PAIRS else [row for row in rows if row.group_a == first]
    sentences = [compare_in_words(row) for row in said]
    if len(said) < len(rows):
        others = _many(len(rows) - len(said), "other pair")
        sentences.append(f"Tests of {others} of models are in group_statistics.tsv.")
    return sentences


def _trainings(own: Sequence[Statistic]) -> list[str]:
    """Say whether models differ that were trained several times."""
    sentences = []
    for row in _pick(own, analysis="trainings"):
        p = row.p_holm if row.p_holm is not None else row.p
        if p is None or math.isnan(p):
            continue
        verb = "did not differ detectably from" if p >= ALPHA else "differed from"
        sentences.append(
            f"Over {_many(row.n_a, 'training')}, the median Dice score of {row.group_a} against "
            f"{row.reference} {verb} that of {row.group_b} (mean difference "
            f"{signed_in_words(row.difference, 3)}; {test_in_words(row)})."
        )
    return sentences


def compare_in_words(row: Statistic) -> str:
    """Say whether two models differ.

    Parameters
    ----------
    row : Statistic
        Of the analysis ``paired``.

    Returns
    -------
    str
        One sentence.
    """
    p = row.p_holm if row.p_holm is not None else row.p
    interval = ""
    if row.difference_low is not None and row.difference_high is not None:
        low, high = signed_in_words(row.difference_low, 3), signed_in_words(row.difference_high, 3)
        interval = f", 95% CI: {low}, {high}"
    if p is None or math.isnan(p):
        verdict = "could not be tested against"
    elif p >= ALPHA and TOO_FEW in row.conditions:
        verdict = "differed in too few scans to be told from"
    elif p >= ALPHA:
        verdict = "did not differ detectably from"
    else:
        verdict = "agreed better than" if (row.effect or 0) > 0 else "agreed less well than"
    return (
        f"Model {row.group_a} {verdict} model {row.group_b} with {row.reference} "
        f"(median Dice {row.median_a or 0:.2f} vs {row.median_b or 0:.2f} in "
        f"{_many(row.n_a, 'scan')}; mean difference {signed_in_words(row.difference, 3)}"
        f"{interval}; {test_in_words(row)})."
    )


def _raters(statistics: Sequence[Statistic]) -> list[str]:
    sentences = []
    for row in _pick(statistics, analysis="non-inferiority"):
        p = row.p if row.p_holm is None else row.p_holm
        said = "did" if p is not None and p < ALPHA / 2 else "could not be shown to do"
        sentences.append(
            f"Model {row.model} {said} no worse against the raters (median Dice "
            f"{row.median_a or 0:.2f}) than they did against each other ({row.median_b or 0:.2f}) "
            f"by a margin of {row.conditions.split(';')[0].removeprefix('margin ')} (one-sided "
            f"{p_in_words(row.p)}{corrected_in_words(row)}, significant below .025)."
        )
    return sentences


def _concordance(statistics: Sequence[Statistic]) -> list[str]:
    sentences = []
    own = _pick(statistics, analysis="volumes")
    for model, reference in dict.fromkeys((row.model, row.reference) for row in own):
        these = [row for row in own if (row.model, row.reference) == (model, reference)]
        value = {row.test or row.effect_name: row for row in these}
        limits = {row.effect_name: row.effect for row in these}
        rho, r = value["Spearman"], value["Pearson"]
        if rho.effect is None or math.isnan(rho.effect):
            continue
        few = f", {TOO_FEW}" if TOO_FEW in rho.conditions else ""
        text = (
            f"Volumes of model {model} and {reference} in {_many(rho.n_a, 'scan')} "
            f"{_correlated(rho)} Spearman r = {_coefficient(rho)} and Pearson r = "
            f"{_coefficient(r)}{few}; Lin's concordance was "
            f"{coefficient_in_words(limits[_LIN] or 0)}"
        )
        if limits.get("bias") is not None:
            text += (
                f" and the mean difference {signed_in_words(limits['bias'], 2)} ml (limits of "
                f"agreement, {signed_in_words(limits['lower limit of agreement'], 2)} to "
                f"{signed_in_words(limits['upper limit of agreement'], 2)} ml)"
            )
        sentences.append(text + ".")
    return sentences


def _correlated(rho: Statistic) -> str:
    """Say whether volumes correlate, which ranks decide: one large volume makes no correlation."""
    p = rho.p if rho.p_holm is None else rho.p_holm
    if p is not None and p < ALPHA:
        return "correlated with"
    if TOO_FEW in rho.conditions:
        return "are too few to show a correlation:"
    return "did not correlate detectably by rank:"


def _coefficient(row: Statistic) -> str:
    """Print a coefficient, its interval where there is one, and its p."""
    ends = ""
    if row.difference_low is not None and row.difference_high is not None:
        low, high = map(coefficient_in_words, (row.difference_low, row.difference_high))
        ends = f"95% CI: {low}, {high}; "
    return f"{coefficient_in_words(row.effect or 0)} ({ends}{p_in_words(row.p)})"


def _factors(own: Sequence[Statistic]) -> list[str]:
    differing, alike = [], []
    rows = [row for row in own if row.analysis in ("unpaired", "correlation")]
    for row in (row for row in rows if row.metric == "dice"):
        what = FACTOR_WORDS.get(row.factor, row.factor)
        groups = f", {row.group_a} vs {row.group_b}" if row.group_b else ""
        signed = signed_in_words(row.effect, 2)
        effect = signed.lstrip("+") if row.effect_name == "epsilon squared" else signed
        few = f"; {TOO_FEW}" if TOO_FEW in row.conditions else ""
        said = f"({test_in_words(row)}; {row.effect_name} = {effect}{few})"
        verb = "changed with" if row.analysis == "correlation" else "differed by"
        if row.p_holm is not None and row.p_holm < ALPHA:
            text = (
                f"Dice of model {row.model} against {row.reference} {verb} {what}{groups} {said}."
            )
            differing.append(text)
        else:
            alike.append(f"{what}{groups} {said}")
    if alike:
        whose = f"Dice of model {rows[0].model} against {rows[0].reference}"
        differing.append(f"{whose} did not differ detectably by {'; '.join(alike)}.")
    return differing


def _rest(statistics: Sequence[Statistic], main: str) -> list[str]:
    """Say where the other references are."""
    rows = _pick(statistics, analysis="summary", metric="dice", factor="")
    others = {row.reference for row in rows} - {main}
    names = ", ".join(sorted(others))
    return [f"The same numbers against {names} are in group_statistics.tsv."] if names else []


def _repeats(statistics: Sequence[Statistic]) -> list[str]:
    sentences = []
    own = _pick(statistics, analysis="repeatability")
    for model in dict.fromkeys(row.model for row in own):
        rows = {row.effect_name.split(" (")[0]: row for row in own if row.model == model}
        cv = rows["within-subject coefficient of variation"]
        change = rows["smallest detectable change"]
        scatter = ""
        if cv.effect is not None and not math.isnan(cv.effect):
            scatter = f"the within-subject coefficient of variation was {cv.effect:.0f}% and "
        sentences.append(
            f"Of the lesion volume of {_many(cv.participants_a, 'participant')} with repeated "
            f"scans, {scatter}the smallest detectable change was {change.effect or 0:.2f} ml, real "
            "change between the scans included."
        )
    return sentences

"""One row of the table of statistics, and how it is filled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.group.observations import Observation
from bids_flairseg.measure.comparisons import TestResult, holm
from bids_flairseg.measure.stats import as_text
from bids_flairseg.measure.summaries import per_cluster, summarise


@dataclass(frozen=True)
class Statistic:
    """One row of ``group_statistics.tsv``; see `STATISTIC_COLUMNS` for the fields."""

    analysis: str
    metric: str
    model: str = ""
    reference: str = ""
    factor: str = ""
    group_a: str = ""
    group_b: str = ""
    n_a: int | None = None
    participants_a: int | None = None
    median_a: float | None = None
    q1_a: float | None = None
    q3_a: float | None = None
    mean_a: float | None = None
    mean_low_a: float | None = None
    mean_high_a: float | None = None
    n_b: int | None = None
    median_b: float | None = None
    q1_b: float | None = None
    q3_b: float | None = None
    mean_b: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    test: str = ""
    statistic: float | None = None
    df: float | None = None
    p: float | None = None
    p_holm: float | None = None
    effect_name: str = ""
    effect: float | None = None
    conditions: str = ""

    @property
    def family(self) -> tuple[str, ...]:
        """Tests that are corrected together: one question, one metric, one reference."""
        kind = self.factor if self.analysis == "volumes" else ""
        # which of several models is as good as the raters is one question
        model = "" if self.analysis == "non-inferiority" else self.model
        return (self.analysis, kind, self.metric, model, self.reference)

    def row(self) -> dict[str, str]:
        """Return the columns as text; p values keep three significant digits."""
        row = {}
        for item in fields(self):
            value = getattr(self, item.name)
            small = item.name in {"p", "p_holm"} and value is not None and math.isfinite(value)
            row[item.name] = f"{value:.3g}" if small else as_text(value)
        return row


def by_model(
    observations: Iterable[Observation],
) -> dict[tuple[str, str], list[Observation]]:
    """Sort observations by model and reference, in the order of their first.

    Parameters
    ----------
    observations : iterable of Observation
        Any.

    Returns
    -------
    dict of (str, str) to list of Observation
        By model and reference.
    """
    found: dict[tuple[str, str], list[Observation]] = {}
    for item in observations:
        found.setdefault((item.model, item.reference), []).append(item)
    return found


def with_value(observations: Iterable[Observation], metric: str) -> list[Observation]:
    """Keep those that have a value."""
    return [item for item in observations if not math.isnan(item.value(metric))]


def participants_of(observations: Iterable[Observation]) -> list[str]:
    """Name the participant of each."""
    return [item.participant for item in observations]


def means_of(observations: Iterable[Observation], metric: str) -> NDArray[np.float64]:
    """Return one value per participant: the mean over its scans."""
    there = with_value(observations, metric)
    return per_cluster([item.value(metric) for item in there], participants_of(there))[0]


def with_first(row: Statistic, observations: Iterable[Observation], seed: int) -> Statistic:
    """Sum up the first group of a row.

    Parameters
    ----------
    row : Statistic
        Names the metric.
    observations : iterable of Observation
        The group.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Statistic
        With numbers of the first group.
    """
    there = with_value(observations, row.metric)
    if not there:
        return replace(row, n_a=0)
    values = [item.value(row.metric) for item in there]
    found = summarise(values, clusters=participants_of(there), seed=seed)
    return replace(
        row,
        n_a=found.n,
        participants_a=found.clusters,
        median_a=found.median,
        q1_a=found.low,
        q3_a=found.high,
        mean_a=found.mean,
        mean_low_a=found.interval.low if found.interval else None,
        mean_high_a=found.interval.high if found.interval else None,
    )


def with_second(row: Statistic, observations: Iterable[Observation]) -> Statistic:
    """Sum up the second group of a row."""
    values = [item.value(row.metric) for item in with_value(observations, row.metric)]
    if not values:
        return replace(row, n_b=0)
    low, middle, high = (float(value) for value in np.percentile(values, (25, 50, 75)))
    return replace(
        row, n_b=len(values), median_b=middle, q1_b=low, q3_b=high, mean_b=float(np.mean(values))
    )


def with_test(row: Statistic, result: TestResult, own: Sequence[Observation] = ()) -> Statistic:
    """Add a test to a row, and say what was done about repeated scans.

    Parameters
    ----------
    row : Statistic
        Any.
    result : TestResult
        What the test says.
    own : sequence of Observation
        What was tested.

    Returns
    -------
    Statistic
        With test, p and effect.
    """
    conditions = result.conditions
    if own and len(set(participants_of(own))) < len({item.scan for item in own}):
        conditions += "; scans of a participant averaged first"
    return replace(
        row,
        test=result.test,
        statistic=result.statistic,
        df=result.df,
        p=result.p,
        effect_name=result.effect_name,
        effect=result.effect,
        conditions=conditions,
    )


def corrected(rows: Sequence[Statistic]) -> list[Statistic]:
    """Correct the p values of every family by Holm's method."""
    families: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row.p is not None:
            families.setdefault(row.family, []).append(place)
    corrected = list(rows)
    for places in families.values():
        for place, p in zip(places, holm([rows[i].p or 0.0 for i in places]), strict=True):
            corrected[place] = replace(rows[place], p_holm=p)
    return corrected


#: Meaning of the columns of ``group_statistics.tsv``.
STATISTIC_COLUMNS: Mapping[str, Mapping[str, object]] = {
    "analysis": {
        "Description": "What kind of row",
        "Levels": {
            "summary": "A metric of a model against a reference, over all scans; where the "
            "factor is raters, of one rater against another",
            "group": "The same for one level of a factor",
            "unpaired": "Levels of a factor compared, Mann-Whitney U or Kruskal-Wallis H",
            "pairwise": "Two of more than two levels compared, Mann-Whitney U",
            "correlation": "A metric against a quantity, Spearman",
            "paired": "Two models on the same scans, Wilcoxon signed-rank",
            "trainings": "Two models trained several times, paired t of the median Dice",
            "non-inferiority": "Model to raters against raters among each other",
            "volumes": "Agreement of volumes with the reference",
            "repeatability": "Repeated scans of a participant",
            "learning curve": "Dice by number of local cases, inverse power law",
            "detection": "Lesions by size or region; n_a counts lesions",
        },
    },
    "metric": {"Description": "Column of group_agreement.tsv or group_lesions.tsv"},
    "model": {"Description": "Whose predictions"},
    "reference": {
        "Description": "Compared with what; the rater follows a colon; the raters: means over the "
        "raters of each scan"
    },
    "factor": {"Description": "Column that groups, or kind of agreement"},
    "group_a": {"Description": "First group"},
    "group_b": {"Description": "Second group"},
    "n_a": {"Description": "Scans in the first group, or in all"},
    "participants_a": {"Description": "Participants in it"},
    "median_a": {"Description": "Median of the first group"},
    "q1_a": {"Description": "Its 25th centile"},
    "q3_a": {"Description": "Its 75th centile"},
    "mean_a": {"Description": "Its mean"},
    "mean_low_a": {
        "Description": "Lower end of the 95 % interval of the mean, by a bootstrap over "
        "participants; n/a for fewer than 6 of them, as all intervals of a bootstrap"
    },
    "mean_high_a": {"Description": "Upper end of it"},
    "n_b": {"Description": "Scans in the second group"},
    "median_b": {"Description": "Its median"},
    "q1_b": {"Description": "Its 25th centile"},
    "q3_b": {"Description": "Its 75th centile"},
    "mean_b": {"Description": "Its mean"},
    "difference": {
        "Description": "Mean difference of pairs, first minus second; or the effect, where that "
        "has an interval"
    },
    "difference_low": {"Description": "Lower end of its 95 % interval"},
    "difference_high": {"Description": "Upper end of it"},
    "test": {"Description": "Name of the test"},
    "statistic": {"Description": "Value of its statistic"},
    "df": {"Description": "Degrees of freedom"},
    "p": {"Description": "Two-sided p, uncorrected; one-sided for non-inferiority"},
    "p_holm": {
        "Description": "p corrected by Holm's method within the family: all tests of the same "
        "analysis, metric, model and reference; non-inferiority: of all models together"
    },
    "effect_name": {"Description": "Which effect size or coefficient"},
    "effect": {"Description": "Its value"},
    "conditions": {"Description": "What the test rests on: numbers, ties, exact or asymptotic"},
}

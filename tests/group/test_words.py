"""The results in words: one reference, short, and true to the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.group.observations import Observation
from bids_flairseg.group.statistic import Statistic
from bids_flairseg.group.statistics import all_statistics
from bids_flairseg.group.volumes import volume_statistics
from bids_flairseg.group.words import compare_in_words, results_paragraphs

CONFIG = GroupConfig(DatasetConfig(Path("bids"), Path("out"), Path("work")))
PEOPLE = 16


def observe(model: str, reference: str, dice: np.ndarray, kind: str = "model") -> list[Observation]:
    return [
        Observation(
            scan=f"sub-{n}",
            participant=f"sub-{n}",
            model=model,
            reference=reference,
            kind=kind,
            values={
                "dice": float(value),
                "lesion_f1_any": 0.5,
                "hausdorff95_mm": 4.0,
                "predicted_volume_ml": 3.0 + n,
                "reference_volume_ml": 4.0 + n * 1.1,
            },
            groups={"site": "ab"[n % 2], "diagnosis": "xyz"[n % 3]},
        )
        for n, value in enumerate(dice)
    ]


@pytest.fixture(scope="module")
def paragraphs() -> list[str]:
    random = np.random.default_rng(2)
    base = random.uniform(0.6, 0.7, PEOPLE) + 0.12 * (np.arange(PEOPLE) % 2)  # site b is better
    pairs = observe("manual:a", "manual:b", base + 0.2, kind="rater")
    for reference in ("manual:a", "manual:b", "consensus"):
        pairs += observe("lesion", reference, base)
        pairs += observe("ft-8", reference, base + 0.1 + random.normal(0, 0.01, PEOPLE))
    return results_paragraphs(all_statistics(CONFIG, [], pairs))


def test_one_reference_is_spoken_of_and_the_others_are_named(paragraphs: list[str]) -> None:
    text = " ".join(paragraphs)
    assert "against manual:a was" not in text
    assert paragraphs[-1].startswith("The same numbers against manual:a, manual:b are in")
    assert text.count("The median Dice score against consensus was") == 1
    assert "rater manual:a against manual:b was" in text
    assert len(text) < 4000


def test_what_differs_is_said_apart_from_what_does_not(paragraphs: list[str]) -> None:
    text = " ".join(paragraphs)
    assert "Dice of model lesion against consensus differed by site, a vs b (Mann-Whitney" in text
    assert "did not differ detectably by diagnosis (Kruskal-Wallis" in text
    assert "model ft-8 against consensus differed" not in text  # groups of the first model only


def test_models_and_raters(paragraphs: list[str]) -> None:
    text = " ".join(paragraphs)
    assert "Model lesion agreed less well than model ft-8 with consensus" in text
    assert "mean difference \N{MINUS SIGN}0.1" in text
    assert "Model lesion could not be shown to do no worse against the raters" in text
    assert "in 16 scans correlated with Spearman r = 1.00" in text


def volumes(true: Sequence[float], predicted: Sequence[float]) -> str:
    """Say how the volumes of some scans correlate."""
    pairs = [
        replace(item, values={"predicted_volume_ml": a, "reference_volume_ml": b})
        for item, a, b in zip(
            observe("m", "manual", np.ones(len(true))), predicted, true, strict=True
        )
    ]
    spoken_of = Statistic("summary", "dice", "m", "manual", n_a=len(true))
    return " ".join(results_paragraphs([spoken_of, *volume_statistics(pairs)]))


def test_few_volumes_are_not_said_to_correlate() -> None:
    text = volumes([1.3, 8.2, 49.8], [1.2, 9.4, 47.6])
    assert "in 3 scans are too few to show a correlation: Spearman r = 1.00 (P = .33)" in text
    assert "), too few values for more than a hint; Lin's" in text
    assert "correlated" not in text


def test_volumes_that_do_not_correlate_are_not_said_to() -> None:
    text = volumes([1, 2, 3, 4, 5, 6, 7, 8], [5, 1, 8, 2, 7, 3, 6, 4])
    assert "in 8 scans did not correlate detectably by rank: Spearman r = " in text
    assert "too few" not in text


def test_only_a_coefficient_of_one_is_printed_as_one() -> None:
    text = volumes(list(range(1, 9)), [1.1, 2, 3, 4, 5, 6, 7, 8])
    assert "correlated with Spearman r = 1.00 (" in text
    assert "Pearson r = 0.9999 (" in text
    assert "Lin's concordance was 0.9999" in text


def test_nothing_to_say() -> None:
    assert results_paragraphs([]) == []


def test_a_test_that_was_not_possible_is_no_verdict() -> None:
    rows = all_statistics(
        CONFIG, [], [*observe("a", "m", np.full(1, 0.5)), *observe("b", "m", np.full(1, 0.5))]
    )
    (row,) = [row for row in rows if row.analysis == "paired"]
    assert "could not be tested" in compare_in_words(replace(row, p=None, p_holm=None))


@pytest.mark.parametrize(("people", "few"), [(5, True), (6, False)])
def test_few_scans_are_no_proof_that_nothing_differs(people: int, few: bool) -> None:
    dice = np.linspace(0.5, 0.7, people)
    pairs = observe("a", "m", dice) + observe("b", "m", dice - 0.02 * (-1) ** np.arange(people))
    rows = all_statistics(CONFIG, [], pairs)
    (row,) = [row for row in rows if row.analysis == "paired"]
    said = "differed in too few scans to be told from" if few else "did not differ detectably"
    assert said in compare_in_words(row)
    text = " ".join(results_paragraphs(rows))
    assert "too few values for more than a hint)" in text  # sites of 3 scans at most

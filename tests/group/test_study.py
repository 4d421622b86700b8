"""The portability study: the curve's question is answered, and nothing is made up."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from bids_flairseg.config import DatasetConfig, GroupConfig
from bids_flairseg.group.agreement import model_names
from bids_flairseg.group.observations import Observation
from bids_flairseg.group.results import read_results
from bids_flairseg.group.statistics import all_statistics
from bids_flairseg.group.study import Study, run_study, starting_models
from tests.group.conftest import Finish

CONFIG = GroupConfig(DatasetConfig(Path("bids"), Path("out"), Path("work")))


def site(cases: dict[str, int], people: int = 24, gain: float = 0.12) -> list[Observation]:
    """Models whose Dice rises from 0.66 by a power law, and two raters at 0.75."""
    random = np.random.default_rng(4)
    skill = random.normal(0, 0.04, people)
    skill -= skill.mean()
    found = []
    for model, k in cases.items():
        level = 0.66 + gain * (1 - (k + 1.0) ** -0.9)
        for p in range(people):
            dice = float(level + skill[p] + random.normal(0, 0.01))
            found.append(
                Observation(f"sub-{p}", f"sub-{p}", model, "manual", "model", {"dice": dice})
            )
    return found


def raters(dice: float, people: int = 24) -> list[Observation]:
    return [
        Observation(f"sub-{p}", f"sub-{p}", "manual:a", "manual:b", "rater", {"dice": dice})
        for p in range(people)
    ]


def study(pairs: list[Observation], config: GroupConfig = CONFIG) -> Study:
    return run_study(config, pairs, all_statistics(config, [], pairs), own={"lesion"})


MODELS = {"lesion": 0, "ft-2": 2, "ft-4": 4, "ft-8": 8, "ft-16": 16}


@cache
def plain_study() -> Study:
    return study(site(MODELS))


@cache
def rated_study() -> Study:
    return study([*site(MODELS), *raters(0.75)])


def test_the_question_is_answered() -> None:
    found = rated_study()
    answer, gain = found.sentences
    assert answer.startswith(("About 3 ", "About 4 "))  # 0.75 is reached at 3.7
    assert "95% interval" in answer
    assert "the raters' mean Dice" in answer
    assert gain.startswith("The difference between 0 and 16 local cases is real")
    assert "with the raters (median Dice" in gain
    assert found.charts[0].name == "learning_curve"
    assert found.statistics[0].effect_name == "cases needed"


def test_a_target_out_of_reach_is_said_to_be() -> None:
    found = study([*site(MODELS), *raters(0.9)])
    assert found.sentences[0].startswith("No number of local cases up to 64")


def test_no_gain_is_chance() -> None:
    found = study(site(MODELS, gain=0.0))
    assert "may be chance" in found.sentences[1]
    assert "below the best mean Dice" in found.sentences[0]


def test_two_models_make_no_curve_but_a_comparison() -> None:
    pairs = site({"lesion": 0, "site": 8})
    assert study(pairs) == Study()
    found = study(pairs, replace(CONFIG, local_cases={"site": 8}))
    assert "at least three" in found.sentences[0]
    assert len(found.charts) == 1


def test_only_scans_that_all_models_have_count() -> None:
    pairs = site(MODELS)
    missing = [item for item in pairs if (item.model, item.scan) != ("ft-8", "sub-3")]
    (chart,) = study(missing).charts
    assert "n = 23 scans of 23 participants" in chart.caption


def test_the_raters_line_is_met_by_agreement_with_one_rater() -> None:
    """A consensus agrees more with everybody: against it, no case would seem to be needed."""
    single = [*site(MODELS), *raters(0.75)]
    consensus = [
        replace(item, reference="consensus", values={"dice": item.value("dice") + 0.15})
        for item in site(MODELS)
    ]
    found = study([*single, *consensus])
    assert found.sentences[0] == rated_study().sentences[0]
    assert "Dice against the raters (mean" in found.charts[0].caption


def test_few_scans_of_several_raters_make_no_line() -> None:
    found = study([*site(MODELS), *raters(0.75)[:5]])
    assert "below the best mean Dice" in found.sentences[0]
    assert "n = 24 scans" in found.charts[0].caption


def test_the_first_model_is_not_taken_for_ours() -> None:
    other = sorted(site(MODELS), key=lambda item: item.model != "ft-2")
    assert other[0].model == "ft-2"
    assert study(other).sentences[0] == plain_study().sentences[0]


def test_models_of_folds_have_seen_local_cases(dataset: DatasetConfig, finish: Finish) -> None:
    finish("sub-1", model="ft-8-fold1of2")
    finish("sub-2", model="ft-8-fold2of2")
    scans = read_results(dataset).scans
    assert starting_models(scans, model_names(scans)) == set()
    finish("sub-3", model="lesion")
    scans = read_results(dataset).scans
    assert starting_models(scans, model_names(scans)) == {"lesion"}
    cases = plain_study().charts[0].caption.split("Local cases: ")[1]
    assert cases.startswith("0 (lesion), 2 (ft-2), 4 (ft-4), 8 (ft-8), 16 (ft-16).")


def test_no_scan_of_all_models_is_said() -> None:
    pairs = site(MODELS)
    torn = [item for item in pairs if (item.model == "ft-8") == (item.scan == "sub-1")]
    assert study(torn).sentences == (
        "How many of your own cases are needed cannot be said: no scan has all models.",
    )


def test_few_participants_are_a_hint() -> None:
    few = study([*site(MODELS, people=6), *raters(0.75, people=6)])
    assert few.sentences[-1] == "With 6 participants tested, all of this is a hint at most."
    assert "hint" not in " ".join(plain_study().sentences)

"""What each training of a command is given: its cases, its name, its folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.config import RunConfig, TrainConfig
from bids_flairseg.errors import UsageError
from bids_flairseg.model.bundle import BundleConfig
from bids_flairseg.train.folds import hold_out, take
from bids_flairseg.train.presets import MANY, SiteRecipe
from bids_flairseg.train.result import identify, known_cases
from bids_flairseg.train.store import StoredCase, read_cases
from bids_flairseg.train.synthesis.lesion import NORMALISATION, VOXEL_MM
from bids_flairseg.train.synthetic import list_pool
from bids_flairseg.workflow.cases import PreparedCase
from bids_flairseg.workflow.models import Models
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.run import make_plan
from bids_flairseg.workflow.scan import Plan, run_folder
from bids_flairseg.workflow.trained import (
    general_command,
    model_name,
    refuse_parent,
    task_digest,
)
from bids_flairseg.workflow.trainer import Task

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRun:
    """What all trainings of a command have in common.

    Attributes
    ----------
    config : RunConfig
        All settings.
    train : TrainConfig
        Those of the training.
    models : Models
        Both bundles.
    recipe, recipe_many : SiteRecipe
        How to train, and how on many participants (``MANY``).
    bundle_config : BundleConfig
        Network, grid and intensities.
    record : Record
        Where the run is recorded.
    console : Console or None
        A terminal for a live display.
    """

    config: RunConfig
    train: TrainConfig
    models: Models
    recipe: SiteRecipe
    recipe_many: SiteRecipe
    bundle_config: BundleConfig
    record: Record
    console: Console | None

    @property
    def plan(self) -> Plan:
        """The plan of the main workflow, for the grid and intensities of the training."""
        plan = make_plan(self.config, self.models)
        wanted = self.bundle_config.preprocessing
        settings = replace(
            plan.settings,
            voxel_size_mm=wanted.voxel_size_mm,
            normalisation=wanted.normalisation,
        )
        return replace(plan, settings=settings, folder=run_folder(self.config.dataset))

    @property
    def models_dir(self) -> Path:
        """Where bundles go."""
        return self.config.dataset.output_dir / "models"

    @property
    def name(self) -> str:
        """Name of the model, without what tells repeats and folds apart."""
        parent = self.models.lesion.config.name
        return model_name(self.train, parent=parent, recipe=self.recipe.name)


def open_cases(cases: Sequence[PreparedCase]) -> list[StoredCase]:
    """Map prepared cases into memory; raises StorageError where one is not as it was prepared."""
    return [
        case
        for item in cases
        for case in read_cases(item.folder, [item.row.name], {item.row.name: item.digest})
    ]


def check_parent(run: TrainingRun, own: Sequence[PreparedCase]) -> None:
    """Make sure that no case is tested on that the bundle of ``--model`` knows.

    Parameters
    ----------
    run : TrainingRun
        The command; training from scratch begins with no bundle.
    own : sequence of PreparedCase
        Cases of its dataset that can be used.

    Raises
    ------
    UsageError
        A cross-validation would test on such cases.
    """
    known = find_known(run, own)
    if not known:
        return
    listed, model = enumerate_some(sorted(known)), run.config.segment.model
    seen = "was trained on them, or chosen by them (or a bundle that it was fine-tuned from was)"
    if run.train.mode == "crossval":
        raise UsageError(
            f"--model {model}: expected a bundle that does not know the cases to be tested, but "
            f"it {seen}: {listed}. Take the bundle that came before it, --from-scratch, or other "
            "cases (--participant-label)."
        )
    LOGGER.warning(
        "--model %s knows %d of the %d cases already; it %s: %s. They are trained on, and their "
        "participants not held out.",
        model, len(known), len(own), seen, listed,
    )  # fmt: skip


def find_known(run: TrainingRun, cases: Sequence[PreparedCase]) -> set[str]:
    """Name the cases that the bundle which training begins with knows.

    Parameters
    ----------
    run : TrainingRun
        The command.
    cases : sequence of PreparedCase
        Any that can be used.

    Returns
    -------
    set of str
        Names; see `bids_flairseg.train.result.known_cases`.
    """
    known = known_cases(run.config.segment.model) if run.train.begins_with_bundle else ()
    return {case.name for case in open_cases(cases) if identify(case) in known} if known else set()


def choose(run: TrainingRun, own: Sequence[PreparedCase]) -> list[PreparedCase]:
    """Keep as many participants as ``--train-count`` or ``--train-fraction`` asks for.

    Who they are hangs on ``--random-seed`` alone: repeats train on the same cases, as the
    five trainings of M_1 in Rauschecker et al. 2022 did, and differ in all else that is drawn.

    Parameters
    ----------
    run : TrainingRun
        With one of both, or neither.
    own : sequence of PreparedCase
        Cases of the command's dataset that can be used.

    Returns
    -------
    list of PreparedCase
        All or some of them.

    Raises
    ------
    UsageError
        There are fewer.
    """
    count = run.train.count
    if run.train.fraction is not None:
        people = len({case.row.participant for case in own})
        count = max(1, round(run.train.fraction * people))
    if count is None:
        return list(own)
    chosen = set(take(open_cases(own), count=count, seed=run.config.random_seed))
    return [case for case in own if case.row.name in chosen]


def check_synthetic(run: TrainingRun) -> None:
    """Make sure that recipe, ``--synthetic`` and model agree about synthetic cases.

    Parameters
    ----------
    run : TrainingRun
        The command.

    Raises
    ------
    UsageError
        One is there without the other, or the model wants other images than the pool has.
    MissingInputError
        The pool is empty.
    """
    share = max(run.recipe.synthetic_share, run.recipe_many.synthetic_share)
    pool = run.train.synthetic
    if bool(share) != bool(pool):
        raise UsageError(
            f"expected --synthetic DIR and a synthetic_share above 0 together, found a share of "
            f"{share:g} and {pool or 'no folder'}. Add --synthetic DIR or --set "
            "synthetic_share=0.3, or leave both out."
        )
    wanted = run.bundle_config.preprocessing
    if pool and (wanted.voxel_size_mm, wanted.normalisation) != (VOXEL_MM, NORMALISATION):
        raise UsageError(
            f"--synthetic {pool}: the model wants images of {wanted.voxel_size_mm:g} mm normalised "
            f"as {wanted.normalisation!r}, synthetic ones have {VOXEL_MM:g} mm and "
            f"{NORMALISATION!r}. Leave --synthetic out, or take another --model."
        )
    if pool:
        list_pool(pool)


def make_task(
    run: TrainingRun,
    own: Sequence[PreparedCase],
    more: Sequence[PreparedCase],
    *,
    name: str,
    seed: int,
) -> tuple[Task, str]:
    """Gather what a training on some cases has to know, and condense it.

    Parameters
    ----------
    run : TrainingRun
        The command.
    own, more : sequence of PreparedCase
        Cases of its dataset, some of which may be held out, and of further ones.
    name : str
        Of the bundle.
    seed : int
        Of random weights and draws.

    Returns
    -------
    task : Task
        The training.
    digest : str
        See `task_digest`.

    Raises
    ------
    UsageError
        The bundle would overwrite the one that training begins with.
    """
    refuse_parent(run.models_dir / name, run.config.segment.model)
    recipe = _choose_recipe(run, own, name)
    held = _held_out(run, own, recipe)
    used = [case for case in own if case.row.name not in held]
    _warn_of_no_lesion(name, [*used, *more])
    task = Task(
        folder=Path(),
        train=tuple((case.folder, case.row.name) for case in (*used, *more)),
        validation=tuple((case.folder, case.row.name) for case in own if case.row.name in held),
        recipe=recipe,
        parent=run.config.segment.model if run.train.begins_with_bundle else None,
        config=run.bundle_config,
        layers=recipe.layers,
        seed=seed,
        name=name,
        bundle=run.models_dir / name,
        settings=_settings(run),
        digests={case.row.name: case.digest for case in (*own, *more)},
        share_ids=run.train.share_ids,
        command=_command(run, recipe),
        synthetic=run.train.synthetic if recipe.synthetic_share else None,
        flip=run.config.segment.flip,
        min_lesion_ml=run.config.segment.min_lesion_ml,
    )
    digest = task_digest(task, [*own, *more])
    folder = run_folder(run.config.dataset) / "training" / f"{name}-{digest[:12]}"
    return replace(task, folder=folder), digest


def _held_out(run: TrainingRun, own: Sequence[PreparedCase], recipe: SiteRecipe) -> tuple[str, ...]:
    """Choose the cases to hold out, of participants of whom the first bundle knows none."""
    known = find_known(run, own)
    participants = {case.row.participant for case in own if case.row.name in known}
    strangers = [case for case in own if case.row.participant not in participants]
    # by the seed of the command, so that repeats choose their epoch on the same cases
    return hold_out(open_cases(strangers), share=recipe.hold_out, seed=run.config.random_seed)[1]


def _command(run: TrainingRun, recipe: SiteRecipe) -> str:
    """Return the command for the card; as it was given, it names paths and participants."""
    if run.train.share_ids:
        return str(run.record.content["run"]["command"])
    return general_command(run.config, recipe.name)


def _choose_recipe(run: TrainingRun, own: Sequence[PreparedCase], name: str) -> SiteRecipe:
    """Return the recipe for as many participants as there are, and tell that of many."""
    participants = len({case.row.participant for case in own})
    if participants < MANY or run.recipe_many == run.recipe:
        return run.recipe
    recipe = run.recipe_many
    LOGGER.info(
        "%s: %d participants, enough for [finetune_many] of the recipe (%d epochs of %d steps)",
        name, participants, recipe.epochs, recipe.steps_per_epoch,
    )  # fmt: skip
    return recipe


def _settings(run: TrainingRun) -> dict[str, Any]:
    """Return what changes how fast a training goes, and not what comes out."""
    resources = run.config.resources
    return {
        "checkpoint_minutes": run.train.checkpoint_minutes,
        "nthreads": resources.omp_nthreads,
        "workers": 2,
        "device": resources.device,
        "memory_mb": resources.memory_mb,
    }


def _warn_of_no_lesion(name: str, cases: Sequence[PreparedCase]) -> None:
    if not any(case.row.facts["lesion_ml"] for case in cases):
        LOGGER.warning(
            "%s: none of the %d cases that are trained on has a lesion: the model will learn to "
            "find none. Add cases with lesions, hold out fewer (--set hold_out=0), take fewer "
            "--folds, or another --random-seed.",
            name,
            len(cases),
        )

"""The participant level with ``--mode train``, ``finetune`` and ``crossval``."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bids_flairseg.bids.atomic import write_json, write_tsv
from bids_flairseg.bids.description import prepare_output_dir
from bids_flairseg.bids.outputs import log_dir
from bids_flairseg.config import RunConfig, TrainConfig
from bids_flairseg.model.bundle import BundleConfig
from bids_flairseg.train.checks import case_table, check_number, find_problems, require_usable
from bids_flairseg.train.folds import hold_out, make_folds, take
from bids_flairseg.train.job import scratch_config
from bids_flairseg.train.presets import SiteRecipe, load_recipe
from bids_flairseg.train.store import StoredCase, read_cases
from bids_flairseg.workflow.cases import (
    PreparedCase,
    find_cases,
    list_sources,
    prepare_cases,
    show_table,
    take_participants,
)
from bids_flairseg.workflow.crossval import report_folds, segment_fold
from bids_flairseg.workflow.environment import environment, worker_variables
from bids_flairseg.workflow.execute import choose_executor
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.models import Models, read_models
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.run import dataset_info, make_plan, session
from bids_flairseg.workflow.scan import Plan, run_folder
from bids_flairseg.workflow.trained import (
    TASK_FILE,
    is_trained,
    keep_beside,
    model_name,
    refuse_parent,
    task_digest,
)
from bids_flairseg.workflow.trainer import Task, run_task

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """What all trainings of a command have in common."""

    config: RunConfig
    train: TrainConfig
    models: Models
    recipe: SiteRecipe
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


def run_training(config: RunConfig, record: Record, console: Console | None = None) -> int:
    """Check the cases, train, and for a cross-validation segment each case.

    Parameters
    ----------
    config : RunConfig
        With a training.
    record : Record
        Where the run is recorded.
    console : Console, optional
        A terminal for a live display.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    FlairsegError
        Something is wrong with the cases, the recipe or the training; all that is wrong
        with cases is named at once.
    """
    train = config.train
    if train is None:
        raise ValueError("no training is configured")
    recipe = load_recipe(train.recipe, train.overrides, fine_tuning=train.begins_with_bundle)
    models = read_models(config.segment)
    from_bundle = train.begins_with_bundle or recipe.network == "parent"
    bundle_config = models.lesion.config if from_bundle else scratch_config(recipe)
    run = _Run(config, train, models, recipe, bundle_config, record, console)
    record.save(
        models={"lesion": models.lesion.record(), "anatomy": models.anatomy.record()},
        recipe=asdict(recipe),
    )
    cases = _prepare(run)
    _check(run, cases)
    if train.dry_run:
        return 0
    if train.mode == "crossval":
        return _cross_validate(run, cases)
    names = [_train(run, cases, seed=config.random_seed + n) for n in range(train.repeats)]
    for name in names:
        LOGGER.info("the model is there: --model %s", _models_dir(run) / name)
    return 0


def _models_dir(run: _Run) -> Path:
    return run.config.dataset.output_dir / "models"


def _prepare(run: _Run) -> list[PreparedCase]:
    """Prepare the cases of all datasets."""
    found = [(source, find_cases(source)) for source in list_sources(run.config)]
    executor = choose_executor(run.config)
    prepare_output_dir(run.config.dataset.output_dir, dataset_info(run.config, run.models))
    cases: list[PreparedCase] = []
    with session(run.config, run.record, executor) as (crew, locks):
        take_participants(
            locks, (one.scan.participant for _, each in found for one in each if one.labels)
        )
        for source, labelled in found:
            plan = run.plan if not source.prefix else replace(run.plan, folder=None)
            cases += prepare_cases(
                plan, source, labelled, executor=executor, crew=crew, console=run.console
            )
    return cases


def _check(run: _Run, cases: Sequence[PreparedCase]) -> None:
    """Print the table of all cases and refuse what cannot be trained on."""
    rows = [case.row for case in cases]
    findings = find_problems(rows)
    LOGGER.info("cases:\n%s", show_table(rows, findings))
    columns, cells = case_table(rows)
    names = [column.replace(" ", "_") for column in columns]
    write_tsv(
        run.record.folder / "cases.tsv",
        names,
        [dict(zip(names, line, strict=True)) for line in cells],
    )
    require_usable(findings)
    own = [case.row for case in cases if case.own and case.row.usable]
    participants = len({row.participant for row in own})
    warning = check_number(len(own), participants, mode=run.train.mode, folds=run.train.folds)
    if warning:
        LOGGER.warning("%s", warning)


def _open(cases: Sequence[PreparedCase]) -> list[StoredCase]:
    return [case for item in cases for case in read_cases(item.folder, [item.row.name])]


def _train(run: _Run, cases: Sequence[PreparedCase], *, seed: int) -> str:
    """Train once on all, or on some, of the cases; return the name of the bundle."""
    own = _draw(run, [case for case in cases if case.own and case.row.usable], seed=seed)
    name = model_name(run.train, parent=run.models.lesion.config.name, recipe=run.recipe.name)
    if run.train.repeats > 1:
        name += f"-seed{seed}"
    more = [case for case in cases if not case.own and case.row.usable]
    _train_on(run, *_make_task(run, own, more, name=name, seed=seed))
    return name


def _draw(run: _Run, own: Sequence[PreparedCase], *, seed: int) -> list[PreparedCase]:
    """Keep as many participants as ``--train-count`` or ``--train-fraction`` asks for."""
    count = run.train.count
    if run.train.fraction is not None:
        people = len({case.row.participant for case in own})
        count = max(1, round(run.train.fraction * people))
    if count is None:
        return list(own)
    chosen = set(take(_open(own), count=count, seed=seed))
    return [case for case in own if case.row.name in chosen]


def _make_task(
    run: _Run,
    own: Sequence[PreparedCase],
    more: Sequence[PreparedCase],
    *,
    name: str,
    seed: int,
) -> tuple[Task, str]:
    """Gather what a training on some cases has to know, and condense it."""
    bundle = _models_dir(run) / name
    refuse_parent(bundle, run.config.segment.model)
    _, held = hold_out(_open(own), share=run.recipe.hold_out, seed=seed)
    used = [case for case in own if case.row.name not in held]
    task = Task(
        folder=Path(),
        train=tuple((case.folder, case.row.name) for case in (*used, *more)),
        validation=tuple((case.folder, case.row.name) for case in own if case.row.name in held),
        recipe=run.recipe,
        parent=run.config.segment.model if run.train.begins_with_bundle else None,
        config=run.bundle_config,
        layers=run.train.layers,
        seed=seed,
        name=name,
        bundle=bundle,
        settings={
            "checkpoint_minutes": run.train.checkpoint_minutes,
            "nthreads": run.config.resources.omp_nthreads,
            "workers": 2,
            "device": run.config.resources.device,
            "memory_mb": run.config.resources.memory_mb,
        },
        share_ids=run.train.share_ids,
        command=_command(run),
    )
    digest = task_digest(task, [*own, *more])
    folder = run_folder(run.config.dataset) / "training" / f"{name}-{digest[:12]}"
    return replace(task, folder=folder), digest


def _train_on(run: _Run, task: Task, digest: str) -> Path:
    """Train, or see that it was done before; return the bundle."""
    with ParticipantLocks(log_dir(run.config.dataset.output_dir)) as locks:
        take_participants(locks, [f"models/{task.name}"])  # another run may be training it
        if not run.config.overwrite and is_trained(task.bundle, digest):
            LOGGER.info("%s: done already, on the same cases with the same recipe", task.name)
        else:
            _run(run, task, digest)
    return task.bundle


def _command(run: _Run) -> str:
    """Return the command for the card; as it was given, it names paths and participants."""
    if run.train.share_ids:
        return str(run.record.content["run"]["command"])
    train, words = run.train, ["flairseg", "BIDS_DIR", "OUTPUT_DIR", "participant"]
    words += ["--mode", train.mode, "--recipe", run.recipe.name, "--layers", train.layers]
    words += ["--raters", train.raters, "--random-seed", str(run.config.random_seed)]
    if train.overrides:
        words += ["--set", *(f"{key}={value}" for key, value in train.overrides.items())]
    return shlex.join(words)


def _run(run: _Run, task: Task, digest: str) -> None:
    """Train, and leave what was found beside the bundle."""
    LOGGER.info("%s: training; log and checkpoints: %s", task.name, task.folder)
    if run.config.overwrite and (task.folder / TASK_FILE).exists():
        shutil.rmtree(task.folder)  # it came to its end; one that did not is gone on with
    cache = run.config.dataset.work_dir / "cache"
    cache.mkdir(exist_ok=True)
    with environment(worker_variables(run.config.resources, cache)):
        summary = run_task(task, run.record.folder / "training.log", run.console)
    keep_beside(task, digest)
    write_json(task.folder / TASK_FILE, summary)
    _tell(task.name, summary)


def _tell(name: str, summary: dict[str, Any]) -> None:
    """Log what came out of a training."""
    for note in summary["notes"]:
        LOGGER.info("%s: %s", name, note)
    LOGGER.info(
        "%s: %d parameters trained in %.1f min, epoch %d kept",
        name,
        summary["trained_parameters"],
        summary["seconds"] / 60,
        summary["best_epoch"],
    )
    before = {score["name"]: score["dice"] for score in summary["before"]}
    for score in summary["after"]:
        old = f"{before[score['name']]:.3f} before, " if score["name"] in before else ""
        LOGGER.info("%s: held out: %s: Dice %s%.3f", name, score["name"], old, score["dice"])


def _cross_validate(run: _Run, cases: Sequence[PreparedCase]) -> int:
    """Train without each fold and segment it; the same cases with the bundle as it is."""
    own = [case for case in cases if case.own and case.row.usable]
    more = [case for case in cases if not case.own and case.row.usable]
    folds = make_folds(_open(own), folds=run.train.folds, seed=run.config.random_seed)
    name = model_name(run.train, parent=run.models.lesion.config.name, recipe=run.recipe.name)
    root = run.config.dataset.output_dir
    targets = {"crossval-base": run.config.segment.model} if run.train.begins_with_bundle else {}
    codes, bundles = [], list[Path | None]()
    for number, names in enumerate(folds, start=1):
        tested = [case for case in own if case.row.name in names]
        rest = [case for case in own if case.row.name not in names]
        rest = _draw(run, rest, seed=run.config.random_seed)
        task, digest = _make_task(
            run, rest, more, name=f"{name}-fold{number}of{len(folds)}",
            seed=run.config.random_seed,
        )  # fmt: skip
        if run.train.fold not in (None, number):
            bundles.append(task.bundle if is_trained(task.bundle, digest) else None)
            continue
        LOGGER.info("fold %d of %d: %s", number, len(folds), ", ".join(names))
        bundle = _train_on(run, task, digest)
        bundles.append(bundle)
        for target, model in {**targets, f"crossval-{name}": bundle}.items():
            codes.append(
                segment_fold(
                    run.config,
                    run.record,
                    run.console,
                    scans=[case.labelled.scan for case in tested],
                    model=model,
                    output_dir=root / target,
                )
            )
    models = {target: [model] * len(folds) for target, model in targets.items()}
    report_folds(run.config, own, folds, {**models, f"crossval-{name}": bundles})
    return max(codes, default=0)

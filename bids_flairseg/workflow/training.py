"""The participant level with ``--mode train``, ``finetune`` and ``crossval``."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bids_flairseg.bids.atomic import write_json, write_tsv
from bids_flairseg.bids.description import prepare_output_dir
from bids_flairseg.bids.labels import select
from bids_flairseg.bids.outputs import log_dir
from bids_flairseg.config import RunConfig
from bids_flairseg.train.checks import case_table, check_number, find_problems, require_usable
from bids_flairseg.train.folds import make_folds
from bids_flairseg.train.job import check_patch, scratch_config
from bids_flairseg.train.presets import MANY, load_recipe
from bids_flairseg.workflow.cases import (
    PreparedCase,
    find_cases,
    list_sources,
    prepare_cases,
    show_table,
    take_participants,
)
from bids_flairseg.workflow.crossval import BASE, PREFIX, report_folds, segment_fold
from bids_flairseg.workflow.environment import environment, worker_variables
from bids_flairseg.workflow.execute import choose_executor
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.models import read_models
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.resume import clean_branches
from bids_flairseg.workflow.run import dataset_info, session
from bids_flairseg.workflow.tasks import (
    TrainingRun,
    check_parent,
    check_synthetic,
    choose,
    make_task,
    open_cases,
)
from bids_flairseg.workflow.trained import TASK_FILE, is_trained, keep_beside
from bids_flairseg.workflow.trainer import Task, run_task

LOGGER = logging.getLogger(__name__)


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
    overrides = {**train.overrides, **({"layers": train.layers} if train.layers else {})}
    recipe, recipe_many = (
        load_recipe(train.recipe, overrides, fine_tuning=train.begins_with_bundle,
                    participants=number)
        for number in (0, MANY)
    )  # fmt: skip
    models = read_models(config.segment)
    from_bundle = train.begins_with_bundle or recipe.network == "parent"
    bundle_config = models.lesion.config if from_bundle else scratch_config(recipe)
    run = TrainingRun(config, train, models, recipe, recipe_many, bundle_config, record, console)
    for each in (recipe, recipe_many):
        check_patch(each, bundle_config.architecture)
    record.save(
        models={"lesion": models.lesion.record(), "anatomy": models.anatomy.record()},
        recipe=asdict(recipe),
        recipe_many=asdict(recipe_many),
    )
    check_synthetic(run)
    cases = _prepare(run)
    _check(run, cases)
    code, trainings = 0, list[dict[str, Any]]()
    if train.mode == "crossval" and not train.dry_run:
        code, trainings = _cross_validate(run, cases)
    elif not train.dry_run:
        trainings = [_train(run, cases, number) for number in range(train.repeats)]
        for training in trainings:
            LOGGER.info("the model is there: --model %s", run.models_dir / training["name"])
    if config.clean_workdir and not train.dry_run and code == 0:
        _clean(run, cases)
    usable = sum(case.row.usable for case in cases)
    record.save(result={"exit_code": code, "cases": usable, "trainings": trainings})
    return code


def _prepare(run: TrainingRun) -> list[PreparedCase]:
    """Prepare the cases of all datasets."""
    found = [(source, find_cases(source)) for source in list_sources(run.config)]
    if run.train.cases_with:
        own, labelled = found[0]
        found[0] = own, select(labelled, run.train.cases_with)
    executor = choose_executor(run.config)
    prepare_output_dir(run.config.dataset.output_dir, dataset_info(run.config, run.models))
    cases: list[PreparedCase] = []
    with session(run.config, run.record, executor) as (crew, locks):
        take_participants(
            locks, (one.scan.participant for _, each in found for one in each if one.labels)
        )
        for source, labelled in found:
            if run.config.clean_workdir and run.train.fold is None:
                clean_branches(source.dataset, [case.scan for case in labelled])
            plan = run.plan if not source.prefix else replace(run.plan, folder=None)
            cases += prepare_cases(
                plan, source, labelled, executor=executor, crew=crew, console=run.console
            )
    return cases


def _check(run: TrainingRun, cases: Sequence[PreparedCase]) -> None:
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
    for finding in findings:
        if finding.loud:
            LOGGER.warning("%s: %s Is that right?", finding.case, finding.text)
    own = [case for case in cases if case.own and case.row.usable]
    participants = len({case.row.participant for case in own})
    warning = check_number(len(own), participants, mode=run.train.mode, folds=run.train.folds)
    if warning:
        LOGGER.warning("%s", warning)
    check_parent(run, own)
    _check_count(run, own)


def _check_count(run: TrainingRun, own: Sequence[PreparedCase]) -> None:
    """Refuse a ``--train-count`` above what there is, before the first training, which takes hours.

    Of a cross-validation the fold that leaves the fewest participants is asked.
    """
    rests = [own]
    if run.train.mode == "crossval" and run.train.count is not None:
        rests = [_leave_out(own, names) for names in _split(run, own)]
    choose(run, min(rests, key=lambda rest: len({case.row.participant for case in rest})))


def _split(run: TrainingRun, own: Sequence[PreparedCase]) -> tuple[tuple[str, ...], ...]:
    """Name the cases of each fold."""
    return make_folds(open_cases(own), folds=run.train.folds, seed=run.config.random_seed)


def _leave_out(own: Sequence[PreparedCase], names: Sequence[str]) -> list[PreparedCase]:
    return [case for case in own if case.row.name not in names]


def _train(run: TrainingRun, cases: Sequence[PreparedCase], number: int) -> dict[str, Any]:
    """Train once on all, or on some, of the cases; return what the record says of it."""
    own = choose(run, [case for case in cases if case.own and case.row.usable])
    more = [case for case in cases if not case.own and case.row.usable]
    seed = run.config.random_seed + number
    name = run.name if run.train.repeats == 1 else f"{run.name}-seed{seed}"
    return _train_on(run, *make_task(run, own, more, name=name, seed=seed))


def _train_on(run: TrainingRun, task: Task, digest: str) -> dict[str, Any]:
    """Train, or see that it was done before; return what the record says of it."""
    with ParticipantLocks(log_dir(run.config.dataset.output_dir)) as locks:
        take_participants(locks, [f"models/{task.name}"])  # another run may be training it
        outcome: dict[str, Any] = {"name": task.name, "state": "unchanged"}
        if not run.config.overwrite and is_trained(task.bundle, digest):
            LOGGER.info("%s: done already, on the same cases with the same recipe", task.name)
        else:
            if task.bundle.exists() and not is_trained(task.bundle, digest):
                LOGGER.warning(
                    "%s: replaces the model of another training of that name; --bundle-name keeps "
                    "both",
                    task.bundle,
                )
            outcome |= {"state": "trained", **_outcome(_run(run, task, digest))}
        if run.config.clean_workdir:
            shutil.rmtree(task.folder, ignore_errors=True)
    return outcome


def _outcome(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what the record says of a training; names of held-out cases stay out of it."""
    outcome = {key: summary[key] for key in ("trained_parameters", "best_epoch", "seconds")}
    for when in ("before", "after"):
        if scores := summary[when]:
            mean = sum(score["dice"] for score in scores) / len(scores)
            outcome[f"held_out_dice_{when}"] = round(mean, 4)
    return outcome


def _run(run: TrainingRun, task: Task, digest: str) -> dict[str, Any]:
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
    return summary


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


def _cross_validate(
    run: TrainingRun, cases: Sequence[PreparedCase]
) -> tuple[int, list[dict[str, Any]]]:
    """Train without each fold and segment it; the same cases with the bundle as it is."""
    own = [case for case in cases if case.own and case.row.usable]
    more = [case for case in cases if not case.own and case.row.usable]
    folds = _split(run, own)
    base = {BASE: run.config.segment.model} if run.train.begins_with_bundle else {}
    target = f"{PREFIX}{run.name}"
    codes, trainings, bundles = list[int](), list[dict[str, Any]](), list[Path | None]()
    tasks = [
        make_task(
            run, choose(run, _leave_out(own, names)), more,
            name=f"{run.name}-fold{number}of{len(folds)}", seed=run.config.random_seed,
        )
        for number, names in enumerate(folds, start=1)
    ]  # fmt: skip
    for number, (names, (task, digest)) in enumerate(zip(folds, tasks, strict=True), start=1):
        tested = [case for case in own if case.row.name in names]
        if run.train.fold not in (None, number):
            bundles.append(task.bundle if is_trained(task.bundle, digest) else None)
            continue
        LOGGER.info("fold %d of %d: %s", number, len(folds), ", ".join(names))
        trainings.append(_train_on(run, task, digest))
        bundles.append(task.bundle)
        codes += _segment(run, tested, {**base, target: task.bundle})
    models = {name: [model] * len(folds) for name, model in base.items()}
    report_folds(run.config, own, folds, {**models, target: bundles})
    return max(codes, default=0), trainings


def _segment(
    run: TrainingRun, tested: Sequence[PreparedCase], models: dict[str, Path]
) -> list[int]:
    """Segment the cases of a fold with each model; return the exit codes."""
    scans = [case.labelled.scan for case in tested]
    root = run.config.dataset.output_dir
    return [
        segment_fold(
            run.config, run.record, run.console, scans=scans, model=model, output_dir=root / name
        )
        for name, model in models.items()
    ]


def _clean(run: TrainingRun, cases: Sequence[PreparedCase]) -> None:
    """Remove the prepared cases at the end, unless other folds need them."""
    if run.train.fold is not None:
        LOGGER.info(
            "--clean-workdir: prepared cases stay for other folds; the call without --fold, which "
            "gathers them, removes them"
        )
        return
    for source in list_sources(run.config):
        clean_branches(source.dataset, [case.labelled.scan for case in cases])

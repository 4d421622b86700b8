"""Cross-validation: each case segmented by a model that never saw it, and what that shows."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
from rich.console import Console

from bids_flairseg.bids.atomic import remove_stale, write_tsv
from bids_flairseg.bids.description import prepare_output_dir
from bids_flairseg.bids.outputs import ScanPaths, log_dir
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.tables import Table, read_tsv
from bids_flairseg.config import RunConfig
from bids_flairseg.measure.agreement import dice
from bids_flairseg.model.bundle import bundle_digest
from bids_flairseg.preprocess.image import load_grid
from bids_flairseg.preprocess.mask import label_on_grid
from bids_flairseg.storage import as_output_error
from bids_flairseg.train.raters import combine
from bids_flairseg.workflow.cases import PreparedCase, take_participants
from bids_flairseg.workflow.execute import choose_executor
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.models import read_models
from bids_flairseg.workflow.pages import Pages, find_crash_files
from bids_flairseg.workflow.record import Record
from bids_flairseg.workflow.resume import is_done, open_rows
from bids_flairseg.workflow.run import dataset_info, make_plan, session, work
from bids_flairseg.workflow.scan import Plan, run_folder
from bids_flairseg.workflow.summary import exit_code

LOGGER = logging.getLogger(__name__)

TABLE = "crossval.tsv"
#: A row of the table is one case with one model, by the bundle that it began with; another call
#: replaces rows of the same key.
KEY = ("model", "parent", "participants", "seed", "folds", "case")
COLUMNS = (*KEY, "fold", "reference_ml", "dice")
#: Folders of the outputs: of each model, and of ``--model`` as it is.
PREFIX, BASE = "crossval-", "crossval-base"
_DIGITS = 12  # of the SHA-256 of the weights of ``--model``


def segment_fold(
    config: RunConfig,
    record: Record,
    console: Console | None,
    *,
    scans: Sequence[Scan],
    model: Path,
    output_dir: Path,
) -> int:
    """Segment the scans of a fold as ``--mode predict`` does, with the nodes of the main run.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    record : Record
        Where the run is recorded.
    console : Console or None
        A terminal for a live display.
    scans : sequence of Scan
        Those that the model never saw.
    model : Path
        Bundle.
    output_dir : Path
        Of this model, within the outputs.

    Returns
    -------
    int
        Exit code.
    """
    started = time.time()
    own = replace(
        config,
        dataset=replace(config.dataset, output_dir=output_dir),
        segment=replace(config.segment, model=model),
    )
    models, executor = read_models(own.segment), choose_executor(own)
    plan = replace(make_plan(own, models), folder=run_folder(config.dataset))
    prepare_output_dir(output_dir, dataset_info(own, models))
    with (
        # other folds prepare the same scans in the same work folder
        ParticipantLocks(log_dir(config.dataset.output_dir)) as shared,
        session(own, record, executor) as (crew, locks),
    ):
        take_participants(shared, (scan.participant for scan in scans))
        for folder in (output_dir, log_dir(output_dir)):
            remove_stale(folder, before=started)
        rows = open_rows(scans, plan, locks)
        pages = Pages(output_dir, rows, str(record.content["run"]["command"]))
        work(plan, rows, pages, executor=executor, crew=crew, console=console)
    pages.complete(find_crash_files(output_dir, scans, since=started))
    for _, row in rows:
        if row.failure is not None:
            LOGGER.error("%s: %s", row.scan, row.failure.text)
    return exit_code([row for _, row in rows])


def report_folds(
    config: RunConfig,
    cases: Sequence[PreparedCase],
    folds: Sequence[Sequence[str]],
    models: Mapping[str, Sequence[Path | None]],
) -> None:
    """Write and log the Dice of every case that has been segmented, by model.

    Rows of other models, amounts of data, seeds and numbers of folds stay in the table.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    cases : sequence of PreparedCase
        All that are tested.
    folds : sequence of sequence of str
        Names of the cases of each fold.
    models : mapping of str to sequence of (Path or None)
        The bundle of each fold by the folder of its outputs, None while it is not trained;
        what another bundle has left there does not count.
    """
    root, targets = config.dataset.output_dir, list(models)
    plans = {t: [m and _plan(config, m) for m in models[t]] for t in targets}
    fold_of = {name: number for number, names in enumerate(folds, 1) for name in names}
    dices: dict[str, dict[str, float | None]] = {}
    for case in cases:
        chosen = {target: plans[target][fold_of[case.row.name] - 1] for target in targets}
        dices[case.row.name] = {
            target: _dice(config, case, root / target, plan) if plan else None
            for target, plan in chosen.items()
        }
    rows = _rows(config, cases, fold_of, dices)
    with ParticipantLocks(log_dir(root)) as locks:
        take_participants(locks, [TABLE])  # another fold may be writing it
        _merge(root / TABLE, rows)
    for case in cases:
        found = dices[case.row.name].items()
        values = ", ".join(f"{target} {value:.3f}" for target, value in found if value is not None)
        LOGGER.info("%s (%.3f ml): Dice %s", case.row.name, case.row.facts["lesion_ml"],
                    values or "n/a")  # fmt: skip
    for target in targets:
        known = [value for row in dices.values() if (value := row[target]) is not None]
        if known:
            LOGGER.info(
                "%s: mean Dice %.3f, median %.3f of %d cases",
                target, np.mean(known), np.median(known), len(known),
            )  # fmt: skip
    missing = [name for name, row in dices.items() if None in row.values()]
    if missing:
        LOGGER.info("%d of %d cases are still to come (--fold)", len(missing), len(dices))
        return
    labels = " ".join(f"{name}={path}" for name, path in config.dataset.derivatives.items())
    others = " ".join(f"{target}={root / target}" for target in targets[1:])
    LOGGER.info(
        "all cases are there; compare with: flairseg %s %s group -d %s %s",
        config.dataset.bids_dir, root / targets[0], labels, others,
    )  # fmt: skip


def _rows(
    config: RunConfig,
    cases: Sequence[PreparedCase],
    fold_of: Mapping[str, int],
    dices: Mapping[str, Mapping[str, float | None]],
) -> list[dict[str, object]]:
    """Return the rows of this call, model by model."""
    folds = len(set(fold_of.values()))
    train = config.train
    wanted = train.count if train else None
    tuned = train is not None and train.begins_with_bundle
    parent = bundle_digest(config.segment.model)[:_DIGITS] if tuned else "n/a"
    return [
        {
            "model": target.removeprefix(PREFIX),
            "parent": parent,
            "participants": "n/a" if target == BASE else wanted or "all",
            "seed": config.random_seed,
            "folds": folds,
            "case": case.row.name,
            "fold": fold_of[case.row.name],
            "reference_ml": round(case.row.facts["lesion_ml"], 3),
            "dice": dices[case.row.name][target],
        }
        for target in dices[cases[0].row.name]
        for case in cases
    ]


def _merge(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows into the table; those of other keys that are there stay before them.

    Columns that somebody added stay as well, in rows that are replaced, too.
    """
    table = read_tsv(path)
    complete = set(KEY) <= set(table.columns)
    if path.exists() and (table.warnings or not complete):
        _set_aside(path, table)
    if not complete:
        table = Table()
    added = [column for column in table.columns if column not in COLUMNS]
    known = {_key(row): {column: row[column] for column in added} for row in table.rows}
    new = {_key(row): {**known.get(_key(row), {}), **row} for row in rows}
    old = [row for row in table.rows if _key(row) not in new]
    write_tsv(path, [*COLUMNS, *added], [*old, *new.values()])


def _key(row: Mapping[str, object]) -> tuple[str, ...]:
    """Return the key as it is written: a spreadsheet may have left n/a empty."""
    return tuple(str(row[column]) or "n/a" for column in KEY)


def _set_aside(path: Path, table: Table) -> None:
    """Keep a table that has rows which cannot be taken over under another name."""
    names = (path.with_name(f"{path.stem}.old{number}{path.suffix}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    try:
        path.rename(aside)
    except OSError as error:
        raise as_output_error(error, aside) from error
    why = " ".join(table.warnings) or (
        f"{path}: expected the columns {', '.join(KEY)}, found {', '.join(table.columns)}."
    )
    LOGGER.warning(
        "%s It is kept as %s, and a new table begun; copy into that by hand what it lacks.",
        why, aside,
    )  # fmt: skip


def _plan(config: RunConfig, model: Path) -> Plan:
    """Return what all scans that a model segments have in common."""
    own = replace(config, segment=replace(config.segment, model=model))
    return make_plan(own, read_models(own.segment))


def _dice(config: RunConfig, case: PreparedCase, output_dir: Path, plan: Plan) -> float | None:
    """Return the Dice of a case on the grid of its FLAIR, None while it is not segmented."""
    paths = ScanPaths(output_dir, case.labelled.scan, plan.settings.voxel_size_mm)
    train = config.train
    if train is None or not is_done(paths, settings=plan.settings_digest):
        return None
    grid = load_grid(case.labelled.scan.flair)
    drawn = [label_on_grid(path, grid, train.label_values)[0] for path in case.labelled.labels]
    found, _ = label_on_grid(paths.mask, grid)
    return round(dice(found, combine(drawn, train.raters)), 4)

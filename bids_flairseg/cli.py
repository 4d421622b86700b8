"""The command: arguments in, exit code out; here logging is set up."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from bids_flairseg.config_file import as_table, compare_models
from bids_flairseg.errors import FlairsegError, StorageError
from bids_flairseg.parser import build_parser, parse_arguments
from bids_flairseg.signals import Interrupted, interruptible
from bids_flairseg.streams import find_home, open_streams

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from bids_flairseg.config import DatasetConfig, GroupConfig, RunConfig, TrainConfig
    from bids_flairseg.workflow.record import Record

LOGGER = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit code, see ``flairseg --help``.
    """
    open_streams()
    find_home()
    configure_logging()
    try:
        with interruptible():
            return run(parse_arguments(argv))
    except FlairsegError as error:
        LOGGER.error("%s", error)
        return error.exit_code
    except Interrupted as stop:
        LOGGER.error(
            "%s. Finished scans stay; run the same command again for those that are left.", stop
        )
        return stop.exit_code
    except OSError as error:
        LOGGER.error("Reading or writing failed: %s.", error)
        LOGGER.debug("Where it happened:", exc_info=True)
        return StorageError.exit_code


def run(arguments: argparse.Namespace) -> int:
    """Run an analysis level.

    Parameters
    ----------
    arguments : Namespace
        What `parse_arguments` gives.

    Returns
    -------
    int
        0, or 1 when some scan failed.

    Raises
    ------
    FlairsegError
        Nothing could be done at all; it carries the exit code.
    """
    console = configure_logging(arguments.verbosity)
    if arguments.analysis_level == "group":
        return _run_group(arguments)
    from bids_flairseg.workflow.folders import work_folder
    from bids_flairseg.workflow.record import start_record

    places = arguments.work_dir, arguments.bids_dir, arguments.output_dir
    with work_folder(*places, lasting=arguments.mode != "predict") as work_dir:
        config = run_config(arguments, work_dir=work_dir)
        record = start_record(config, _asked(arguments))
        with log_to(record):
            if arguments.config:
                models = {"lesion": config.segment.model, "anatomy": config.segment.anatomy}
                compare_models(arguments.config, models)
            if config.train is not None:
                from bids_flairseg.workflow.training import run_training

                return run_training(config, record, console)
            from bids_flairseg.workflow.run import run_participants

            return run_participants(config, record, console)


def _run_group(arguments: argparse.Namespace) -> int:
    """Run the group level and record it."""
    from bids_flairseg.errors import MissingInputError
    from bids_flairseg.group.run import check_strict, run_group
    from bids_flairseg.workflow.record import start_record

    config = group_config(arguments)
    if not config.dataset.output_dir.is_dir():
        raise MissingInputError(
            f"{config.dataset.output_dir}: expected the results of the participant level, but "
            "there is no such folder. Run flairseg BIDS_DIR OUTPUT_DIR participant first."
        )
    record = start_record(config, _asked(arguments))
    with log_to(record):
        record.save()
        summary = run_group(config)
        record.save(result=summary.record())
        if config.strict:
            check_strict(summary, config.dataset.output_dir)
        return summary.exit_code


def _asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """Spell the arguments for the record of the run."""
    return as_table(arguments, build_parser())


def group_config(arguments: argparse.Namespace) -> GroupConfig:
    """Gather all settings of the group level."""
    from bids_flairseg.config import GroupConfig

    return GroupConfig(
        dataset=dataset_config(arguments, work_dir=arguments.output_dir),
        references=tuple(arguments.reference),
        mask_names=arguments.mask_names,
        group_by=tuple(arguments.group_by),
        local_cases=dict(arguments.local_cases),
        margin=arguments.margin,
        lesion_map=arguments.lesion_map,
        strict=arguments.strict,
        nprocs=arguments.nprocs,
        random_seed=arguments.random_seed,
    )


def dataset_config(arguments: argparse.Namespace, *, work_dir: Path) -> DatasetConfig:
    """Gather what the arguments say on input and output folders."""
    from bids_flairseg.config import DatasetConfig

    return DatasetConfig(
        bids_dir=arguments.bids_dir,
        output_dir=arguments.output_dir,
        work_dir=work_dir,
        participant_labels=tuple(arguments.participant_label),
        session_labels=tuple(arguments.session_label),
        filter_file=arguments.bids_filter_file,
        derivatives=dict(arguments.derivatives),
        database_dir=arguments.bids_database_dir,
        skip_validation=arguments.skip_bids_validation,
    )


def run_config(arguments: argparse.Namespace, *, work_dir: Path) -> RunConfig:
    """Gather all settings of the participant level."""
    from bids_flairseg.config import ResourceConfig, RunConfig, SegmentConfig
    from bids_flairseg.model.bundle import bundled

    return RunConfig(
        dataset=dataset_config(arguments, work_dir=work_dir),
        resources=ResourceConfig(
            nprocs=arguments.nprocs,
            omp_nthreads=arguments.omp_nthreads,
            memory_mb=arguments.mem_mb,
            device=arguments.device,
            plugin_file=arguments.nipype_plugin_file,
        ),
        segment=SegmentConfig(
            model=arguments.model or bundled("lesion"),
            anatomy=arguments.anatomy_model or bundled("anatomy"),
            threshold=arguments.threshold,
            min_lesion_ml=arguments.min_lesion_ml,
            n4=arguments.n4,
            flip=not arguments.no_flip,
            inference=arguments.inference,
        ),
        train=train_config(arguments) if arguments.mode != "predict" else None,
        random_seed=arguments.random_seed,
        overwrite=arguments.overwrite,
        clean_workdir=arguments.clean_workdir,
        stop_on_first_crash=arguments.stop_on_first_crash,
        write_graph=arguments.write_graph,
        verbosity=arguments.verbosity,
    )


def train_config(arguments: argparse.Namespace) -> TrainConfig:
    """Gather what the arguments say on a training."""
    from bids_flairseg.config import TrainConfig

    return TrainConfig(
        mode=arguments.mode,
        recipe=arguments.recipe,
        overrides=dict(arguments.set),
        layers=arguments.layers,
        from_scratch=arguments.from_scratch,
        raters=arguments.raters,
        label_values=tuple(sorted(set(arguments.label_value))),
        also=tuple(arguments.also_train_on),
        synthetic=arguments.synthetic,
        cases_with=tuple(arguments.cases_with),
        count=arguments.train_count,
        fraction=arguments.train_fraction,
        repeats=arguments.repeats,
        folds=arguments.folds,
        fold=arguments.fold,
        checkpoint_minutes=arguments.checkpoint_minutes,
        bundle_name=arguments.bundle_name,
        share_ids=arguments.share_ids,
        dry_run=arguments.dry_run,
    )


class _ConsoleFormatter(logging.Formatter):
    """Time for what happens, kind for what needs attention."""

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno < logging.WARNING:
            return super().format(record)
        return f"flairseg: {record.levelname.lower()}: {record.getMessage()}"


class _ConsoleFilter(logging.Filter):
    """Keep Nipype's tracebacks off the terminal; the log file and crash files have them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.name.startswith("nipype")


def configure_logging(verbosity: int | None = None) -> Console | None:
    """Send the log to the terminal.

    Parameters
    ----------
    verbosity : int, optional
        How often ``-v`` was given. None for what comes before the arguments are known:
        errors only, and nothing is imported for them.

    Returns
    -------
    Console or None
        The terminal for a live display, None where there is no terminal.
    """
    console = _terminal() if verbosity is not None else None
    handler = _handler(console)
    if (verbosity or 0) < 2:
        handler.addFilter(_ConsoleFilter())
    handler.set_name("console")
    root = logging.getLogger()
    root.handlers = [old for old in root.handlers if old.get_name() != "console"]
    root.addHandler(handler)
    root.setLevel(logging.INFO if verbosity else logging.WARNING)
    level = logging.DEBUG if (verbosity or 0) > 0 else logging.INFO
    logging.getLogger("bids_flairseg").setLevel(level)
    logging.captureWarnings(capture=True)
    return console


class _LogFile(logging.FileHandler):
    """A log file that a full disk cannot turn into tracebacks on the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        return


@contextmanager
def log_to(record: Record) -> Iterator[None]:
    """Send the log to the record's folder as well, Nipype's part and the error that ends it too."""
    handler = _LogFile(record.folder / "flairseg.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except (FlairsegError, Interrupted, OSError) as error:
        # to the file alone: the terminal hears it from `main`
        told = (LOGGER.name, logging.ERROR, __file__, 0, "%s", (error,), None)
        handler.handle(LOGGER.makeRecord(*told))
        code = getattr(error, "exit_code", StorageError.exit_code)
        so_far = record.content.get("result", {})  # as of a group level that --strict fails
        with suppress(FlairsegError, OSError):
            record.save(result={**so_far, "exit_code": code, "error": str(error)})
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def _terminal() -> Console | None:
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    return Console(stderr=True)


def _handler(console: Console | None) -> logging.Handler:
    if console is None:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(_ConsoleFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
        return handler
    from rich.logging import RichHandler

    return RichHandler(console=console, show_path=False, markup=False, log_time_format="%X")

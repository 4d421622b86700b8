"""A training in a process of its own: Keras never loads in the parent."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from bids_flairseg.errors import FlairsegError, OutputError
from bids_flairseg.model.settings import BundleConfig
from bids_flairseg.signals import starting_processes
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.workflow.crew import start_worker

LOGGER = logging.getLogger(__name__)

_PATIENCE_S = 600.0
Place = tuple[Path, str]


@dataclass(frozen=True)
class Task:
    """All that the process of a training has to know.

    Attributes
    ----------
    folder : Path
        Where the state of the training is kept.
    train, validation : tuple of (Path, str)
        Folder and name of each stored case.
    recipe : SiteRecipe
        How to train.
    parent : Path or None
        Bundle to begin with.
    config : BundleConfig
        Network, grid and intensities of a training from scratch.
    layers : str
        What is trained.
    seed : int
        Decides on all that is drawn.
    name : str
        Of the bundle.
    bundle : Path
        Where it goes.
    settings : mapping
        Further arguments of the job: threads, device, minutes between checkpoints.
    digests : mapping of str to str
        Of the stored cases when they were prepared, by name; with others there is no training.
    share_ids : bool
        The card names participants.
    command : str
        For the card.
    synthetic : Path or None
        Folder of synthetic examples to mix in.
    flip : bool
        Held-out cases are predicted as the mean of the image and its mirror image.
    min_lesion_ml : float
        Smaller lesions do not count as found in held-out cases.
    """

    folder: Path
    train: tuple[Place, ...]
    validation: tuple[Place, ...]
    recipe: SiteRecipe
    parent: Path | None
    config: BundleConfig
    layers: str
    seed: int
    name: str
    bundle: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    share_ids: bool = False
    command: str = ""
    synthetic: Path | None = None
    flip: bool = True
    min_lesion_ml: float = 0.01


class TrainingError(FlairsegError):
    """What went wrong in the process of a training.

    Parameters
    ----------
    text : str
        For the user.
    exit_code : int
        Of the error that it was there.
    """

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def run_task(task: Task, log_file: Path, console: Console | None = None) -> dict[str, Any]:
    """Train in a new process and wait for it.

    A signal is passed on, so that the state is written before this process ends.

    Parameters
    ----------
    task : Task
        What to train.
    log_file : Path
        Gets all that the process prints.
    console : Console or None
        A terminal for a live display.

    Returns
    -------
    dict
        Summary: ``trained_parameters``, ``best_epoch``, ``before``, ``after``, ``notes``,
        ``seconds``.

    Raises
    ------
    TrainingError
        It failed; the text says why.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(task, str(log_file), theirs), name="training")
    with _Display(task.name, console) as display:
        try:
            with starting_processes():
                process.start()
            theirs.close()
            return _listen(ours, display)
        except EOFError:
            process.join(5)
            raise TrainingError(_say_death(process.exitcode, task.folder, log_file)) from None
        except TrainingError:
            raise  # the process has said its last word
        except BaseException:
            _end(process)
            raise
        finally:
            if process.pid is not None:
                process.join(5)
                if process.is_alive():
                    process.kill()


def _listen(connection: Connection, display: _Display) -> dict[str, Any]:
    """Show what the process says until it is done; raises EOFError where it falls silent."""
    while True:
        try:
            kind, content = connection.recv()
        except OSError as error:
            raise EOFError from error  # it died in the middle of a message
        if kind == "progress":
            display.show(content)
        elif kind == "error":
            raise TrainingError(*content)
        else:
            summary: dict[str, Any] = content
            return summary


def _say_death(code: int | None, folder: Path, log_file: Path) -> str:
    """Say what became of a process that sent no last word, by its exit code, and what to do."""
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = f"signal {-code}, {signal.strsignal(-code)}"
    return (
        f"the process of the training died without a word ({how}), as happens when the system runs "
        f"out of memory; see {log_file}. {_say_where(folder)} If it happens again, end other "
        "programs that need memory, or lower micro_batch or patch (--set), with which another "
        "training begins."
    )


def _say_os_error(error: OSError, folder: Path) -> str:
    """Say which file could not be read or written, why, and what to do."""
    return (
        f"{error.filename or folder}: expected to read and write it during the training, found: "
        f"{error.strerror or error}. Make sure that its disk is connected and has room, and that "
        f"this user may read and write there. {_say_where(folder)}"
    )


def _say_where(folder: Path) -> str:
    if not (folder / "state.npz").exists():
        return "There is no checkpoint yet: the same command begins anew."
    return f"The same command goes on from the last checkpoint in {folder}."


def _end(process: Any) -> None:
    """Ask the process to write its state and to end, and wait for it."""
    if not process.is_alive():
        return
    LOGGER.info("writing the state of the training")
    process.terminate()
    process.join(_PATIENCE_S)


class _Display:
    """Shows progress: a line in place on a terminal, log lines elsewhere."""

    def __init__(self, name: str, console: Console | None) -> None:
        self._name = name
        self._bar = None
        if console is not None:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30))
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task(f"{name}: starting", total=None)

    def __enter__(self) -> _Display:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, content: Mapping[str, Any]) -> None:
        """Show where the training is."""
        if self._bar is None:
            LOGGER.info("%s: %s", self._name, content["text"])
            return
        self._bar.update(
            self._task,
            description=f"{self._name}: {content['text']}",
            total=content["total"],
            completed=content["done"],
        )


def _train(task: Task, log_file: str, connection: Connection) -> None:
    """Train; the main function of the process."""
    # Ctrl-C reaches the parent alone, which passes it on once, as SIGTERM; until training has
    # begun there is nothing to lose
    start_worker(log_file, logging.INFO, ignored=(signal.SIGINT,))
    os.setsid()
    try:
        connection.send(("done", _fit(task, _reporter(connection))))
    except FlairsegError as error:
        connection.send(("error", (str(error), error.exit_code)))
    except MemoryError:
        text = "not enough memory for the training. Lower micro_batch or patch (--set)."
        connection.send(("error", (text, 1)))
    except OSError as error:
        LOGGER.exception("the training failed")
        connection.send(("error", (_say_os_error(error, task.folder), 74)))
    except Exception as error:
        LOGGER.exception("the training failed")
        text = f"an error in flairseg itself ({type(error).__name__}: {error}); see {log_file}."
        connection.send(("error", (text, 1)))
    finally:
        connection.close()


def _reporter(connection: Connection) -> Callable[[Any], None]:
    """Return what the training calls with its progress."""
    from bids_flairseg.train.journal import describe

    def report(now: Any) -> None:
        steps = max(now.steps, 1)
        content = {
            "text": describe(now),
            "total": now.epochs * steps,
            "done": max(now.epoch - 1, 0) * steps + now.step,
        }
        connection.send(("progress", content))

    return report


def _fit(task: Task, report: Callable[[Any], None]) -> dict[str, Any]:
    """Do the training and write its bundle."""
    from bids_flairseg.reports.training import REPORT_FILE, write_training_report
    from bids_flairseg.train.engine import fit
    from bids_flairseg.train.job import TrainingJob
    from bids_flairseg.train.result import save_result
    from bids_flairseg.train.store import StoredCase, read_cases
    from bids_flairseg.train.synthetic import read_pool

    def open_cases(places: tuple[Place, ...]) -> tuple[StoredCase, ...]:
        return tuple(
            case for folder, name in places for case in read_cases(folder, [name], task.digests)
        )

    job = TrainingJob(
        folder=task.folder,
        train=open_cases(task.train),
        validation=open_cases(task.validation),
        recipe=task.recipe,
        parent=task.parent,
        config=task.config,
        layers=task.layers,
        seed=task.seed,
        name=task.name,
        synthetic=read_pool(task.synthetic) if task.synthetic else (),
        flip=task.flip,
        min_lesion_ml=task.min_lesion_ml,
        **task.settings,
    )
    # The first signal is noted by the training; all others are to leave it alone.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    started = time.monotonic()
    result = fit(job, report=report)
    try:
        save_result(job, result, task.bundle, share_ids=task.share_ids, command=task.command)
    except OutputError as error:
        text = f"{error} Nothing is lost: the same command goes on from {task.folder}."
        raise OutputError(text) from error
    write_training_report(job, result, task.folder / REPORT_FILE)
    LOGGER.info("this process trained for %.0f s", time.monotonic() - started)
    return {
        "trained_parameters": result.trained_parameters,
        "best_epoch": result.best_epoch,
        "before": [asdict(score) for score in result.before],
        "after": [asdict(score) for score in result.after],
        "notes": list(result.notes),
        "seconds": result.seconds,
    }

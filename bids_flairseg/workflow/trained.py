"""Bundles that trainings leave: their names, whether one is there already, what lies beside it."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bids_flairseg import __version__
from bids_flairseg.bids.atomic import write_json
from bids_flairseg.config import RunConfig, TrainConfig
from bids_flairseg.errors import FlairsegError, StorageError, UsageError
from bids_flairseg.model.bundle import bundle_digest, check_bundle
from bids_flairseg.train.synthetic import list_pool
from bids_flairseg.workflow.cases import PreparedCase
from bids_flairseg.workflow.trainer import Task

#: Says in a bundle from which training it came, and in a work folder that the training ended.
TASK_FILE = "training.json"
#: What comes along with a bundle; none of it names a participant.
_BESIDE = ("history.tsv", "curve.svg", "training.log", "events.out.*")
_REPORT = "report.html"
_LONGEST, _LONGEST_RECIPE = 48, 16
_SHORTEST = 10  # of the name of a bundle, within that of one that began with it
_DIGITS = 6  # of a SHA-256


def model_name(train: TrainConfig, *, parent: str, recipe: str) -> str:
    """Make the name of a model unless the user gave one.

    It says what was added to the plain training, so that trainings on other data or with other
    values of the recipe lie beside each other in one output folder.

    Parameters
    ----------
    train : TrainConfig
        What is asked for.
    parent, recipe : str
        Names of the bundle of ``--model`` and of the recipe.

    Returns
    -------
    str
        Letters, digits and ``._+-``, at most 48; ends with the number of ``--train-count``. What
        does not fit becomes a digest.

    Examples
    --------
    >>> further = TrainConfig("train", also=((Path("/data/BRATS"), None),), count=102)
    >>> model_name(further, parent="lesion", recipe="duong2019")
    'trained-duong2019+BRATS-102'
    """
    if train.bundle_name:
        return train.bundle_name
    count = "" if train.count is None else f"-{train.count}"
    longest, added = _LONGEST - len(count), _name_added(train)
    recipe = _plain(recipe)
    if not train.begins_with_bundle:
        return _shorten(f"trained-{recipe}{added}", longest) + count
    layers = f"{train.layers}-".replace("+", "-") if train.layers else ""
    ending = f"-finetuned-{layers}{_shorten(recipe, _LONGEST_RECIPE)}"
    parent = _shorten(parent, max(longest - len(ending), _SHORTEST))
    return _shorten(f"{parent}{ending}{added}", longest) + count


def _name_added(train: TrainConfig) -> str:
    """Name further data, and what else a training does not share with the plain one."""
    folders = [root for root, _ in train.also] + ([train.synthetic] if train.synthetic else [])
    words = [f"+{folder.name}" for folder in folders]
    words += [f"-{key}_{value}" for key, value in sorted(train.cases_with)]
    words += [] if train.fraction is None else [f"-share_{train.fraction:g}"]
    words += [f"-{key}_{value}" for key, value in sorted(train.overrides.items())]
    return _plain("".join(words))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "-", text)


def _shorten(text: str, longest: int) -> str:
    """Put a digest in the place of what is too long, so that names that differ still do."""
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    return f"{text[: longest - _DIGITS - 1]}-{digest}"


def refuse_parent(bundle: Path, parent: Path) -> None:
    """Make sure that a training does not overwrite the bundle it begins with.

    Parameters
    ----------
    bundle, parent : Path
        Where the result goes, and ``--model``.

    Raises
    ------
    UsageError
        They are the same.
    """
    if bundle.resolve() == parent.resolve():
        raise UsageError(
            f"{bundle}: expected another place for the result than the bundle of --model. "
            "Name the result by --bundle-name."
        )


def general_command(config: RunConfig, recipe: str) -> str:
    """Return the command of a training without what names files and participants.

    Parameters
    ----------
    config : RunConfig
        With a training.
    recipe : str
        Name of the recipe.

    Returns
    -------
    str
        Has all options that decide about the model; a word stands for each path.

    Raises
    ------
    ValueError
        There is no training.
    """
    train = config.train
    if train is None:
        raise ValueError("no training is configured")
    words = ["flairseg", "BIDS_DIR", "OUTPUT_DIR", "participant", "-d", "NAME=LABELS"]
    words += ["--mode", train.mode, "--recipe", recipe]
    words += ["--layers", train.layers] if train.layers else []
    words += ["--raters", train.raters, "--random-seed", str(config.random_seed)]
    words += ["--min-lesion-ml", f"{config.segment.min_lesion_ml:g}"]
    options: dict[str, Sequence[object]] = {
        "--folds": [train.folds] if train.mode == "crossval" else [],
        "--train-count": [] if train.count is None else [train.count],
        "--train-fraction": [] if train.fraction is None else [train.fraction],
        "--label-value": train.label_values,
        "--cases-with": [f"{key}={value}" for key, value in train.cases_with],
        "--also-train-on": [
            f"BIDS_DIR{number}" + (f"=LABELS{number}" if labels else "")
            for number, (_, labels) in enumerate(train.also, start=2)
        ],
        "--synthetic": ["POOL"] if train.synthetic else [],
        "--set": [f"{key}={value}" for key, value in train.overrides.items()],
    }
    for option, values in options.items():
        words += [option, *map(str, values)] if values else []
    switches = {
        "--from-scratch": train.from_scratch,
        "--n4": config.segment.n4,
        "--no-flip": not config.segment.flip,
    }
    words += [option for option, given in switches.items() if given]
    return shlex.join(words)


def task_digest(task: Task, cases: Sequence[PreparedCase]) -> str:
    """Condense all that decides about the result of a training.

    Parameters
    ----------
    task : Task
        The training.
    cases : sequence of PreparedCase
        All that it trains on or holds out.

    Returns
    -------
    str
        SHA-256 in hexadecimal, the version of flairseg included.
    """
    content = {
        "version": __version__,
        "recipe": asdict(task.recipe),
        "parent": bundle_digest(task.parent) if task.parent else None,
        "config": task.config.to_dict(),
        "layers": task.layers,
        "flip": task.flip,
        "min_lesion_ml": task.min_lesion_ml,
        "seed": task.seed,
        "train": sorted(name for _, name in task.train),
        "synthetic": _list_synthetic(task.synthetic),
        "validation": sorted(name for _, name in task.validation),
        "cases": sorted(case.digest for case in cases),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _list_synthetic(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    return [f"{path.name} {path.stat().st_size}" for path in list_pool(folder)]


def is_trained(bundle: Path, digest: str) -> bool:
    """Tell whether a bundle is there, and whether it came from a training.

    Parameters
    ----------
    bundle : Path
        Its folder.
    digest : str
        What `task_digest` gives.

    Returns
    -------
    bool
        Whether there is nothing to do.
    """
    try:
        known = json.loads((bundle / "training" / TASK_FILE).read_text(encoding="utf-8"))
        check_bundle(bundle)
        return bool(known == _mark(bundle, digest))
    except (OSError, ValueError, FlairsegError):
        return False


def keep_beside(task: Task, digest: str) -> None:
    """Copy what a training tells of itself into its bundle, and its report next to that.

    The report shows participants and their images, which whoever gets the bundle need not see.

    Parameters
    ----------
    task : Task
        The training, at its end.
    digest : str
        What `task_digest` gives.

    Raises
    ------
    StorageError
        The disk is full, say; the bundle itself is complete.
    """
    beside = task.bundle / "training"
    try:
        beside.mkdir(exist_ok=True)
        for path in (path for name in _BESIDE for path in task.folder.glob(name)):
            shutil.copyfile(path, beside / path.name)
        if (task.folder / _REPORT).exists():
            shutil.copyfile(task.folder / _REPORT, task.bundle.parent / f"{task.name}-{_REPORT}")
        write_json(beside / TASK_FILE, _mark(task.bundle, digest))
    except (OSError, FlairsegError) as error:
        raise StorageError(
            f"{task.bundle}: the model is complete, but history and report could not be put beside "
            f"it ({error}). Make room, and run the same command again: it goes on from "
            f"{task.folder}, at its end."
        ) from error


def _mark(bundle: Path, digest: str) -> dict[str, str]:
    """Return what says that these weights came from this training."""
    return {"digest": digest, "weights_sha256": bundle_digest(bundle)}

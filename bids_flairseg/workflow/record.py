"""The record of a run: what was asked for, with which versions and models, and the outcome."""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli_w

from bids_flairseg import __version__
from bids_flairseg.bids.atomic import write_text
from bids_flairseg.config import GroupConfig, RunConfig
from bids_flairseg.storage import as_output_error

PACKAGES = ("antspyx", "keras", "nibabel", "nipype", "numpy", "pybids", "scipy", "tensorflow")


@dataclass(frozen=True)
class Record:
    """Folder of a run's record, ``OUT/logs/<run id>``.

    Attributes
    ----------
    folder : Path
        It exists.
    started : datetime
        When the run began, in local time with its zone.
    content : dict
        All tables so far: from the start on arguments and versions.
    """

    folder: Path
    started: datetime
    content: dict[str, Any]

    @property
    def run_id(self) -> str:
        """Date, time and a random part: unique, and in order of time."""
        return self.folder.name

    def save(self, **more: Mapping[str, Any]) -> None:
        """Write ``flairseg.toml``.

        Parameters
        ----------
        **more : mapping
            Tables to add.

        Raises
        ------
        OutputError, StorageError
            It cannot be written.
        """
        self.content.update(more)
        text = tomli_w.dumps(_without_none(self.content))
        write_text(self.folder / "flairseg.toml", text)


def start_record(config: RunConfig | GroupConfig, arguments: Mapping[str, Any]) -> Record:
    """Make the folder of a run's record.

    Parameters
    ----------
    config : RunConfig or GroupConfig
        The run.
    arguments : mapping of str to value
        All options by name, as TOML knows them; enough to do the run again.

    Returns
    -------
    Record
        Not yet saved.

    Raises
    ------
    OutputError
        The output folder cannot be made or written.
    """
    started = datetime.now().astimezone()
    name = f"{started:%Y%m%d-%H%M%S}_{secrets.token_hex(4)}"
    folder = config.dataset.output_dir / "logs" / name
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise as_output_error(error, folder) from error
    run = {
        "id": name,
        "started": started.isoformat(timespec="seconds"),
        "command": shlex.join(["flairseg", *sys.argv[1:]]),
        "host": platform.node(),
        "process": os.getpid(),
    }
    content = {"run": run, "arguments": dict(arguments), "versions": _versions()}
    return Record(folder, started, content)


def _versions() -> dict[str, str]:
    versions = {
        "flairseg": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _without_none(value: Any) -> Any:
    """Leave out what is None, which TOML does not know."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value

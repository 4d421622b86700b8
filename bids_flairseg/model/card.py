"""The files of a model bundle, and its card: what a user should know about a model."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from bids_flairseg import __version__
from bids_flairseg.errors import InputError, MissingInputError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
CARD_FILE = "model.json"

# No honest configuration or card comes near it.
_LARGEST_JSON_BYTES = 10_000_000


@dataclass(frozen=True)
class Card:
    """Content of a bundle's ``model.json``.

    Parameters
    ----------
    use : str
        What it is meant for, what it is not, and where it is known to fail.
    data : str
        What the network was trained on.
    licence : str
        Under which licence the weights may be used (SPDX identifier or words).
    attribution : tuple of str
        Whom a user has to cite or name.
    training : mapping
        Command, steps, duration and the like, as JSON has it.
    validation : mapping
        Numbers on data it was not trained on, as JSON has it.
    versions : mapping of str to str
        Of the software that wrote it; filled in by :func:`save_bundle`.
    sha256 : str
        Of the weights; filled in by :func:`save_bundle`.
    """

    use: str = ""
    data: str = ""
    licence: str = ""
    attribution: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""


def read_card(path: Path) -> Card:
    """Read the card of a bundle; what this version does not know is left out.

    Parameters
    ----------
    path : Path
        Folder of the bundle.

    Returns
    -------
    card : Card
        The card.

    Raises
    ------
    MissingInputError
        The folder or the file is not there.
    InputError
        The file is no JSON, or an entry has the wrong type.
    """
    file = path / CARD_FILE
    values = read_json(file)
    default = asdict(Card())
    known = {name: values.get(name, value) for name, value in default.items()}
    for name, value in known.items():
        kind = list | tuple if name == "attribution" else type(default[name])
        if not isinstance(value, kind):
            raise InputError(
                f"{file}: expected {name} as {type(default[name]).__name__}, found "
                f"{value!r:.60}. Correct the value."
            )
    return Card(**known | {"attribution": tuple(map(str, known["attribution"]))})


def read_json(file: Path) -> Mapping[str, Any]:
    """Read a JSON file of a bundle.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    values : mapping
        Its content.

    Raises
    ------
    MissingInputError
        The folder or the file is not there.
    InputError
        It holds no JSON object.
    """
    check_there(file)
    try:
        if file.stat().st_size > _LARGEST_JSON_BYTES:
            raise ValueError("the file is far too large")
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: expected JSON, but reading it failed ({error}). Copy the bundle again."
        ) from error
    if not isinstance(values, dict):
        raise InputError(
            f"{file}: expected a JSON object, found {type(values).__name__}. Copy the bundle again."
        )
    return values


def check_there(file: Path) -> None:
    """Raise `MissingInputError` if a file of a bundle is not there."""
    needed = f"A bundle is a folder with {CONFIG_FILE}, {WEIGHTS_FILE} and {CARD_FILE}"
    if not file.parent.is_dir():
        raise MissingInputError(f"{file.parent}: no such folder. {needed}; name one.")
    if not file.is_file():
        raise MissingInputError(
            f"{file}: no such file. {needed}: copy what is missing, or name another folder."
        )


def writer_versions() -> dict[str, str]:
    """Return the versions of the software that writes a bundle."""
    versions = {"flairseg": __version__, "python": platform.python_version()}
    for package in ("keras", "tensorflow", "jax"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions

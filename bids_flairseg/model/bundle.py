"""Model bundles: a folder with a configuration, weights and a card.

``config.json`` says how the network is built and applied, ``model.weights.h5`` holds its
weights, ``model.json`` (the card) says what it was trained on, under which licence it may be
used, how well it did, and the SHA-256 of the weights. Loading a bundle runs no code from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_flairseg.errors import FlairsegError, InputError, OutputError
from bids_flairseg.model.card import (
    CARD_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    Card,
    check_there,
    read_card,
    read_json,
    writer_versions,
)  # fmt: skip
from bids_flairseg.model.settings import FORMAT, BundleConfig, Inference, Preprocessing

if TYPE_CHECKING:
    import keras

__all__ = [
    "FORMAT", "Bundle", "BundleConfig", "Card", "Inference", "Preprocessing", "bundle_digest",
    "bundle_fingerprint", "bundled", "check_bundle", "load_bundle", "precision_policy", "read_card",
    "read_config", "save_bundle",
]  # fmt: skip

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes
    ----------
    config : BundleConfig
        How the network is built and applied.
    model : keras.Model
        The network with its weights.
    """

    config: BundleConfig
    model: keras.Model


def bundled(name: str) -> Path:
    """Return the folder of a bundle that the package ships: ``anatomy`` or ``lesion``."""
    return Path(__file__).parent / "bundles" / name


def read_config(path: Path) -> BundleConfig:
    """Read and check the configuration of a bundle; loads no numeric library.

    Parameters
    ----------
    path : Path
        Folder of the bundle.

    Returns
    -------
    config : BundleConfig
        The configuration.

    Raises
    ------
    MissingInputError
        The folder or the file is not there.
    InputError
        The file is no JSON, of a newer format, or contradicts itself.
    """
    file = path / CONFIG_FILE
    values = read_json(file)
    try:
        return BundleConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def bundle_digest(path: Path) -> str:
    """Return the SHA-256 of a bundle's weights in hexadecimal.

    Parameters
    ----------
    path : Path
        As for `read_config`.

    Returns
    -------
    digest : str
        64 characters; computed, not copied from the card.

    Raises
    ------
    MissingInputError
        The folder or the file is not there.
    """
    return _digest(path / WEIGHTS_FILE)


def bundle_fingerprint(path: Path) -> str:
    """Return one SHA-256 for all of a bundle that decides about its results.

    Parameters
    ----------
    path : Path
        As for `read_config`.

    Returns
    -------
    fingerprint : str
        64 characters; changes with the weights and with the configuration, for
        instance the threshold, but not with the card.

    Raises
    ------
    MissingInputError
        See `bundle_digest`.
    """
    both = _digest(path / CONFIG_FILE) + _digest(path / WEIGHTS_FILE)
    return hashlib.sha256(both.encode()).hexdigest()


def check_bundle(path: Path) -> BundleConfig:
    """Check all of a bundle that can be checked without a numeric library.

    Parameters
    ----------
    path : Path
        As for `read_config`.

    Returns
    -------
    config : BundleConfig
        The configuration.

    Raises
    ------
    MissingInputError
        The folder or a file is not there.
    InputError
        A file is broken, or the weights are not those that the card names.
    """
    config = read_config(path)
    expected, found = read_card(path).sha256, bundle_digest(path)
    if expected != found:
        raise InputError(
            f"{path / WEIGHTS_FILE}: expected SHA-256 {expected[:16] or 'in ' + CARD_FILE}..., "
            f"found {found[:16]}... The weights are incomplete or were changed: copy the bundle "
            "again."
        )
    return config


def load_bundle(path: Path, *, precision: str = "float32") -> Bundle:
    """Build the network of a bundle and read its weights.

    Parameters
    ----------
    path : Path
        Folder of the bundle.
    precision : str
        ``float32``, or ``bfloat16`` for activations in bfloat16.

    Returns
    -------
    bundle : Bundle
        Configuration and model.

    Raises
    ------
    MissingInputError
        The folder or a file is not there.
    InputError
        A file is broken, or the weights do not fit the configuration.
    """
    from bids_flairseg.model.unet import build_unet
    from bids_flairseg.model.weights import read_weights

    config = check_bundle(path)
    with precision_policy(precision):
        model = build_unet(config.architecture)
    read_weights(path / WEIGHTS_FILE, model)
    return Bundle(config, model)


def save_bundle(path: Path, model: keras.Model, config: BundleConfig, card: Card) -> None:
    """Write a bundle.

    Each file is written under a temporary name and renamed; whoever reads
    between two renames finds that weights and card do not belong together.

    Parameters
    ----------
    path : Path
        Folder of the bundle; made if it is missing. An older bundle in it is
        replaced.
    model : keras.Model
        Network that ``build_unet(config.architecture)`` made.
    config : BundleConfig
        How it is built and applied.
    card : Card
        What is to be known about it; its digest and versions are filled in.

    Raises
    ------
    InputError
        A weight is not finite.
    OutputError
        The folder cannot be written.
    """
    from bids_flairseg.model.weights import write_weights

    try:
        path.mkdir(parents=True, exist_ok=True)
        with _replacing(path / WEIGHTS_FILE) as file:
            write_weights(file, model)
        full = asdict(card) | {"sha256": bundle_digest(path), "versions": writer_versions()}
        for name, values in ((CONFIG_FILE, config.to_dict()), (CARD_FILE, full)):
            with _replacing(path / name) as file:
                text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
                file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}: the bundle cannot be written ({error}). Choose a folder with room that "
            "this user may write to."
        ) from error


def _digest(file: Path) -> str:
    check_there(file)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder and rename it at the end."""
    temporary = file.with_name(f".{file.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Set Keras's precision for layers that are built meanwhile.

    Parameters
    ----------
    precision : str
        ``float32``, or ``bfloat16`` for activations in bfloat16.

    Yields
    ------
    None
        The policy before is put back at the end.

    Raises
    ------
    FlairsegError
        The precision is none of the two.
    """
    import keras

    if precision not in _POLICIES:
        raise FlairsegError(f"precision: expected one of {sorted(_POLICIES)}, found {precision}.")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

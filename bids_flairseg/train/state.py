"""The state of a training in one file, written completely or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import InputError

Arrays: TypeAlias = dict[str, NDArray[Any]]

# Name of the entry that holds the words and numbers beside the arrays, as JSON.
_META = "meta"


def capture(model: keras.Model) -> Arrays:
    """Copy all variables of a model and its optimiser, averages of weights included.

    Parameters
    ----------
    model : keras.Model
        Compiled model.

    Returns
    -------
    arrays : dict of str to ndarray
        ``model0``, ``model1``, ... and ``optimizer0``, ...
    """
    if hasattr(model, "jax_state_sync"):  # on JAX the state lives elsewhere during an epoch
        model.jax_state_sync()
    arrays = {f"model{i}": np.array(v) for i, v in enumerate(model.get_weights())}
    for index, variable in enumerate(model.optimizer.variables):
        value = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable))
        arrays[f"optimizer{index}"] = np.array(value)
    return arrays


def restore(arrays: Mapping[str, NDArray[Any]], model: keras.Model) -> None:
    """Put back what :func:`capture` copied.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The copy, of a model of the same shape with the same trained layers.
    model : keras.Model
        Compiled model.
    """
    model.optimizer.build(model.trainable_variables)
    model.set_weights([arrays[f"model{i}"] for i in range(len(model.get_weights()))])
    for index, variable in enumerate(model.optimizer.variables):
        variable.assign(arrays[f"optimizer{index}"])


def is_finite(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether no number in the arrays is NaN or infinite."""
    return all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], meta: Any = None) -> None:
    """Write arrays, and what JSON can hold, to an ``npz`` file.

    Parameters
    ----------
    path : Path
        File to write; the older one stays until the new one is complete.
    arrays : mapping of str to ndarray
        None is called ``meta``.
    meta : object
        Anything that JSON can hold.

    Raises
    ------
    OSError
        The disk is full, or the folder cannot be written.
    """
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **{_META: text}, **arrays)  # type: ignore[arg-type]
        stream.flush()
        os.fsync(stream.fileno())


def read_arrays(path: Path) -> tuple[Arrays, Any]:
    """Read what :func:`write_arrays` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    arrays : dict of str to ndarray
        Without the entry ``meta``.
    meta : object
        None for a file without.

    Raises
    ------
    InputError
        The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(
            f"{path}: expected the state of a training, but reading it failed ({error}). Remove "
            "the folder to begin anew."
        ) from error
    text = arrays.pop(_META, None)
    return arrays, None if text is None else json.loads(text.tobytes())


def save_state(path: Path, model: keras.Model, meta: Any = None) -> None:
    """Write all variables of model and optimiser.

    Parameters
    ----------
    path : Path
        File to write.
    model : keras.Model
        Compiled model.
    meta : object
        Anything that JSON can hold.
    """
    write_arrays(path, capture(model), meta)


def load_state(path: Path, model: keras.Model) -> Any:
    """Read what :func:`save_state` wrote into a model of the same shape.

    Parameters
    ----------
    path : Path
        File to read.
    model : keras.Model
        Compiled model.

    Returns
    -------
    meta : object
        What was written with it.
    """
    arrays, meta = read_arrays(path)
    restore(arrays, model)
    return meta


def write_text(path: Path, text: str) -> None:
    """Write a small file completely or not at all; raises OSError."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside a file and put it in its place at the end.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    temporary : Path
        Removed if anything goes wrong.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)

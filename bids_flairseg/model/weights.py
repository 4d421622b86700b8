"""Weights of a network in a plain HDF5 file: one dataset for each variable, nothing else.

The file holds the dataset ``<layer>/<variable>`` for every variable of the model. Kernels are
float16, which is exact enough (see the benchmark of the network); the few vectors (biases,
batch normalisation, whose variances may leave the range of float16) are float32. The layout
is our own, not that of Keras, so that it depends on no version and no backend, and reading it
cannot reach anything but arrays of numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import InputError

if TYPE_CHECKING:
    import h5py
    import keras

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def write_weights(path: Path, model: keras.Model) -> None:
    """Write all variables of a model; the same values give the same bytes.

    Parameters
    ----------
    path : Path
        File to write; an older one is replaced.
    model : keras.Model
        Any model whose layers have names of their own.

    Raises
    ------
    InputError
        A weight is not finite.
    """
    import h5py

    arrays = {v.path: np.asarray(v.value, np.float32) for v in model.weights}
    for name, array in arrays.items():
        _check_finite(path, name, array)
    with h5py.File(path, "w") as file:
        for name, array in sorted(arrays.items()):
            file.create_dataset(name, data=_compact(array))


def read_weights(path: Path, model: keras.Model) -> None:
    """Read what :func:`write_weights` wrote into a model of the same shape.

    Every variable is looked up by its own name and checked before it is read;
    links that leave the file, filters and types other than floats are refused.
    Nothing of the model is changed unless all of it fits.

    Parameters
    ----------
    path : Path
        File to read.
    model : keras.Model
        Receives the weights.

    Raises
    ------
    InputError
        The file is no HDF5 file, or does not fit the model.
    """
    import h5py

    wanted = {variable.path: variable for variable in model.weights}
    try:
        with h5py.File(path, "r") as file:
            _check_names(path, _dataset_names(file), set(wanted))
            arrays = {name: _read(path, file, name, v.shape) for name, v in wanted.items()}
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # what h5py raises
        raise InputError(
            f"{path}: expected an HDF5 file with weights, but reading it failed ({error}). "
            "The file is damaged or incomplete: copy the bundle again."
        ) from error
    for name, variable in wanted.items():
        variable.assign(arrays[name])


def _compact(array: NDArray[np.float32]) -> NDArray[Any]:
    small = array.ndim > 1 and bool(np.abs(array).max(initial=0.0) <= _LARGEST_FLOAT16)
    return array.astype(np.float16) if small else array


def _dataset_names(file: h5py.File) -> set[str]:
    """Name all datasets of layers; links that are not plain are left out."""
    import h5py

    names = set()
    for layer in file:
        if isinstance(file.get(layer, getlink=True), h5py.HardLink):
            group = file[layer]
            if isinstance(group, h5py.Group):
                names |= {f"{layer}/{variable}" for variable in group}
    return names


def _check_names(path: Path, found: set[str], wanted: set[str]) -> None:
    missing, foreign = sorted(wanted - found), sorted(found - wanted)
    if missing or foreign:
        parts = [f"no {missing[0]}" if missing else "", f"{foreign[0]} as well" if foreign else ""]
        raise InputError(
            f"{path}: expected the {len(wanted)} variables of the architecture in config.json, "
            f"found {' and '.join(filter(None, parts))} ({len(missing)} missing, {len(foreign)} "
            "foreign). The weights belong to another architecture: take both from one bundle."
        )


def _read(path: Path, file: h5py.File, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Read one dataset after its type, layout and shape were found good."""
    import h5py

    item = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(item, h5py.Dataset) or not _is_plain(item):
        raise InputError(
            f"{path}: expected {name} as a plain array of floats, found something else. "
            "The file was not written by flairseg: export the bundle with flairseg."
        )
    if item.shape != tuple(shape):
        raise InputError(
            f"{path}: expected {name} with shape {tuple(shape)}, found {item.shape}. "
            "The weights belong to another architecture: take both from one bundle."
        )
    array = np.asarray(item[()], np.float32)
    _check_finite(path, name, array)
    return array


def _is_plain(dataset: h5py.Dataset) -> bool:
    """Tell whether the numbers lie in this file, unfiltered."""
    layout = dataset.id.get_create_plist()
    outside = dataset.is_virtual or layout.get_external_count() > 0
    return dataset.dtype.kind == "f" and not outside and layout.get_nfilters() == 0


def _check_finite(path: Path, name: str, array: NDArray[np.float32]) -> None:
    if not np.isfinite(array).all():
        raise InputError(
            f"{path}: expected finite weights, found NaN or infinity in {name}. "
            "The training diverged or the file is damaged: take an earlier state."
        )

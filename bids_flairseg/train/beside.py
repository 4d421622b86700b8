"""One of two networks trained beside the other, which stays as it is.

What stays answers each example of a pool once, as a whole brain as in use, and its answers are
kept: ``python -m bids_flairseg.train.beside BUNDLE POOL``. From crops, the other one then learns
what is missing to the mean of both.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import load_bundle
from bids_flairseg.model.unet import END, PREFIXES
from bids_flairseg.train.pool import list_examples, read_example
from bids_flairseg.train.scores import probabilities

LOGGER = logging.getLogger(__name__)

_STAYS, _LEARNS = PREFIXES
# Logits beyond it are as sure as probabilities in float32 can be.
_MOST = 30.0


def learner(model: keras.Model) -> keras.Model:
    """Return what is trained of two networks side by side.

    Parameters
    ----------
    model : keras.Model
        Two networks, as :func:`bids_flairseg.model.unet.build_unet` makes them.

    Returns
    -------
    learner : keras.Model
        Of the image and of the first network's logits, both (N, X, Y, Z, 1), to the probability
        of both; it shares the layers of the second network.
    """
    answer = keras.Input((None, None, None, 1), name="answer")
    logit = model.get_layer("mean")([answer, model.get_layer(_LEARNS + END).output])
    return keras.Model([model.input, answer], model.get_layer("probability")(logit))


def copy_layers(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of all layers that both models have, by name."""
    known = {layer.name for layer in target.layers}
    for layer in source.layers:
        if layer.weights and layer.name in known:
            target.get_layer(layer.name).set_weights(layer.get_weights())


def answer_path(example: Path) -> Path:
    """Return where the answer to an example is kept: beside it."""
    return example.with_name(example.name.replace("example", "answer"))


def answer_pool(model: keras.Model, folder: Path) -> None:
    """Keep the logits of the first of two networks for all examples that have none yet.

    Parameters
    ----------
    model : keras.Model
        Two networks side by side.
    folder : Path
        The pool.
    """
    first = keras.Model(model.input, model.get_layer(_STAYS + END).output)
    paths = list_examples(folder)
    for count, path in enumerate(paths):
        if answer_path(path).exists():
            continue
        logit = probabilities(first, read_example(path)[0])[..., 0]  # its end is no sigmoid
        temporary = answer_path(path).with_suffix(".tmp")
        with temporary.open("wb") as stream:
            np.save(stream, np.clip(logit, -_MOST, _MOST).astype(np.float16))
        temporary.replace(answer_path(path))
        LOGGER.info("%d of %d", count + 1, len(paths))


def read_answer(example: Path) -> NDArray[np.float16]:
    """Read what :func:`answer_pool` kept for an example: logits of shape (X, Y, Z)."""
    logit: NDArray[np.float16] = np.load(answer_path(example), mmap_mode="r")
    return logit


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer a pool from the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        Command line without the program's name; None takes the process's own.

    Raises
    ------
    InputError
        The bundle has one network only.
    """
    parser = argparse.ArgumentParser(prog="python -m bids_flairseg.train.beside")
    parser.add_argument("bundle", type=Path, help="of two networks")
    parser.add_argument("pool", type=Path)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    bundle = load_bundle(chosen.bundle)
    if not bundle.config.architecture.beside:
        raise InputError(
            f"{chosen.bundle}: expected a bundle of two networks, found one. Put another network "
            "beside it with `python -m bids_flairseg.train.export --beside`."
        )
    answer_pool(bundle.model, chosen.pool)


if __name__ == "__main__":
    main()

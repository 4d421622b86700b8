"""Train a bundle's network on a pool of synthetic examples.

``python -m bids_flairseg.train.pretrain RECIPE --pool DIR --run DIR --steps N`` trains and
resumes; ``bids_flairseg.train.export`` makes a bundle of the run.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bids_flairseg.errors import InputError
from bids_flairseg.model.unet import build_unet
from bids_flairseg.train.crops import PoolDataset
from bids_flairseg.train.layers import freeze
from bids_flairseg.train.losses import class_loss, lesion_loss
from bids_flairseg.train.members import part
from bids_flairseg.train.recipes import RECIPES, Recipe
from bids_flairseg.train.state import load_state, read_arrays, save_state, write_arrays, write_text

LOGGER = logging.getLogger(__name__)

START, STATE, HISTORY = "start.npz", "state.npz", "history.jsonl"


class Keep(keras.callbacks.Callback):
    """Write weights and optimiser state every few minutes, and a history line per epoch.

    Parameters
    ----------
    run : Path
        Folder of the run.
    data : PoolDataset
        What is trained on. ``cutting`` in the history is the share of an epoch's time in which a
        thread cut crops: below 1 for each thread, the training does not wait for them.
    spent : float
        Minutes of earlier calls.
    limit : float or None
        Minutes after which this call ends, to be resumed by another.
    minutes : float
        Time between two checkpoints.
    """

    def __init__(
        self,
        run: Path,
        data: PoolDataset,
        *,
        spent: float = 0.0,
        limit: float | None = None,
        minutes: float = 4.0,
    ) -> None:
        super().__init__()
        self.run, self.data, self.spent, self.limit = run, data, spent, limit
        self.seconds = minutes * 60
        self.last = self.start = time.monotonic()
        self.before = (self.start, 0.0)

    @property
    def minutes(self) -> float:
        """Of this call, until now."""
        return (time.monotonic() - self.start) / 60

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log the epoch, and keep the state when it is due."""
        now = (time.monotonic(), self.data.seconds)
        passed, cutting = (b - a for a, b in zip(self.before, now, strict=True))
        self.before = now
        row = {name: round(float(value), 5) for name, value in (logs or {}).items()}
        row |= {"epoch": epoch, "minutes": round(self.spent + self.minutes, 2)}
        note(self.run, row | {"cutting": round(cutting / passed, 4)})
        # not at the end of the training: Keras has put the averaged weights in place by then
        last = epoch + 1 == self.params["epochs"]
        if self.limit is not None and self.minutes >= self.limit:
            last = self.model.stop_training = True
        if last or time.monotonic() - self.last > self.seconds:
            self.write()

    def write(self) -> None:
        """Write the state."""
        save_state(self.run / STATE, self.model, {"minutes": self.spent + self.minutes})
        self.last = time.monotonic()


def compiled(
    recipe: Recipe,
    steps: int,
    *,
    second_stage: bool = False,
    schedule: keras.optimizers.schedules.LearningRateSchedule | None = None,
) -> keras.Model:
    """Build and compile the network of a recipe.

    Parameters
    ----------
    recipe : Recipe
        What is trained.
    steps : int
        Steps over which the learning rate falls to zero.
    second_stage : bool
        Normalise by the averages of the first stage, as in use, instead of by the
        example at hand: with few examples a step both differ.
    schedule : LearningRateSchedule or None
        Of the learning rate; None takes a warm-up and a half cosine.

    Returns
    -------
    model : keras.Model
        Ready for ``fit``.
    """
    keras.mixed_precision.set_global_policy(recipe.precision)
    model = build_unet(recipe.network)
    freeze(model, "all", norm=second_stage)
    warm = recipe.warm_up_steps
    schedule = schedule or keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20, steps - warm, alpha=0.005,
        warmup_target=recipe.learning_rate, warmup_steps=warm,
    )  # fmt: skip
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=recipe.weight_decay, clipnorm=1.0, use_ema=True,
        ema_momentum=recipe.ema,
    )  # fmt: skip
    loss = lesion_loss if recipe.network.classes == 1 else class_loss
    model.compile(optimizer=optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
    return model


def averaged(recipe: Recipe, run: Path, *, parent_share: float = 0.0) -> keras.Model:
    """Return the network of a run with the running averages of its weights.

    Parameters
    ----------
    recipe : Recipe
        What was trained.
    run : Path
        Folder of the run, or a bundle that was made of one, alone or beside another.
    parent_share : float
        Of the weights that the run began with, in the average with those that it came to, 0 to 1.

    Returns
    -------
    model : keras.Model
        float32.

    Raises
    ------
    InputError
        The run began with random weights, and these are to have a share.
    """
    if parent_share and not (run / START).exists():
        raise InputError(
            f"{run}: expected a run that was continued from another one (--start), found none. "
            "Leave its parent's share at 0."
        )
    if not (run / STATE).exists():
        return part(run, recipe.network)
    trained = compiled(recipe, recipe.warm_up_steps + 1, second_stage=(run / START).exists())
    load_state(run / STATE, trained)
    trained.optimizer.finalize_variable_values(trained.trainable_variables)
    keras.mixed_precision.set_global_policy("float32")
    model = build_unet(recipe.network)
    model.set_weights(trained.get_weights())
    if parent_share:
        came_to = model.get_weights()
        _start(run, model)
        mixed = [
            np.float32(parent_share) * before + np.float32(1 - parent_share) * after
            for before, after in zip(model.get_weights(), came_to, strict=True)
        ]
        model.set_weights(mixed)
    return model


def _start(run: Path, model: keras.Model) -> None:
    """Put the weights that a run began with into a network."""
    first, _ = read_arrays(run / START)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([first[weight.path] for weight in layer.weights])


def begin(
    recipe: Recipe,
    run: Path,
    steps: int,
    *,
    start: Path | None = None,
    schedule: keras.optimizers.schedules.LearningRateSchedule | None = None,
) -> tuple[keras.Model, float]:
    """Return the model as the run left it, or as it begins.

    Parameters
    ----------
    recipe : Recipe
        What is trained.
    run : Path
        Folder of checkpoints and history; made if it is missing.
    steps : int
        See :func:`compiled`.
    start : Path or None
        Run of a first stage, or bundle, whose averaged weights are the first ones of this run.
    schedule : LearningRateSchedule or None
        See :func:`compiled`.

    Returns
    -------
    model : keras.Model
        Compiled, with its optimiser built.
    minutes : float
        That the run has taken until its last state; what the history says of later is forgotten.

    """
    run.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    if start and not (run / START).exists():
        weights = averaged(recipe, start).weights
        arrays = {weight.path: keras.ops.convert_to_numpy(weight.value) for weight in weights}
        write_arrays(run / START, arrays)
    second_stage = (run / START).exists()
    model = compiled(recipe, steps, second_stage=second_stage, schedule=schedule)
    model.optimizer.build(model.trainable_variables)
    if second_stage:
        _start(run, model)
    minutes = 0.0
    if (run / STATE).exists():
        minutes = load_state(run / STATE, model)["minutes"]
        LOGGER.info("resuming after step %d", int(model.optimizer.iterations))
    epochs = int(model.optimizer.iterations) // recipe.steps_per_epoch
    rows = [row for row in read_history(run) if row["epoch"] < epochs]
    write_text(run / HISTORY, "".join(json.dumps(row) + "\n" for row in rows))
    return model, minutes


def read_history(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's history, of which there are none before its first epoch ends."""
    path = run / HISTORY
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def note(run: Path, row: dict[str, Any]) -> None:
    """Add a row to a run's history."""
    with (run / HISTORY).open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    LOGGER.info("%s", row)


def train(
    recipe: Recipe,
    pool: Path,
    run: Path,
    *,
    steps: int,
    start: Path | None = None,
    limit: float | None = None,
) -> keras.Model:
    """Train, or go on where the run stopped.

    Parameters
    ----------
    recipe : Recipe
        What is trained.
    pool : Path
        Folder of examples.
    run : Path
        Folder of checkpoints and history.
    steps : int
        Steps in all; a smaller number on resuming ends sooner.
    start : Path or None
        Run of a first stage, or bundle, whose averaged weights are the first ones of this run.
    limit : float or None
        Minutes after which this call ends, to be resumed by another.

    Returns
    -------
    model : keras.Model
        With the running averages of its weights in place.

    Raises
    ------
    InputError
        The pool is empty.
    """
    model, minutes = begin(recipe, run, steps, start=start)
    done = int(model.optimizer.iterations) // recipe.steps_per_epoch
    data = PoolDataset(pool, recipe, seed=recipe.seed, epoch=done)
    if not data.paths:
        raise InputError(
            f"{pool}: expected examples, found none. Make them with "
            "`python -m bids_flairseg.train.pool`."
        )
    epochs = math.ceil(steps / recipe.steps_per_epoch)
    keep = [Keep(run, data, spent=minutes, limit=limit)]
    # not shuffled: the draws are random already, and a resumed run has to see the same order
    model.fit(data, initial_epoch=done, epochs=epochs, shuffle=False, callbacks=keep, verbose=0)
    return model


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a bundled network from the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        Command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m bids_flairseg.train.pretrain")
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="run of a first stage, or bundle, to begin from")
    parser.add_argument("--learning-rate", type=float, help="peak rate, instead of the recipe's")
    parser.add_argument("--crop", type=int, nargs=3, help="voxels, instead of the recipe's")
    parser.add_argument("--batch", type=int, help="examples a step, instead of the recipe's")
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16"), help="instead of the recipe's"
    )
    parser.add_argument("--minutes", type=float, help="end this call after so long")
    parser.add_argument("--workers", type=int, default=1, help="threads that cut crops")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = RECIPES[chosen.recipe]
    recipe = replace(
        recipe, seed=chosen.seed, workers=chosen.workers,
        learning_rate=chosen.learning_rate or recipe.learning_rate,
        crop=tuple(chosen.crop or recipe.crop), batch=chosen.batch or recipe.batch,
        precision=chosen.precision or recipe.precision,
    )  # fmt: skip
    train(
        recipe, chosen.pool, chosen.run, steps=chosen.steps, start=chosen.start,
        limit=chosen.minutes,
    )  # fmt: skip


if __name__ == "__main__":
    main()

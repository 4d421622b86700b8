"""Train a bundle's network on a pool of synthetic examples.

``python -m bids_flairseg.train.pretrain RECIPE --pool DIR --run DIR`` trains and
resumes; with ``--export BUNDLE`` it writes the averaged weights as a bundle.
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

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.model.unet import build_unet
from bids_flairseg.train.losses import binary_loss, class_loss
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.recipes import RECIPES, Recipe

LOGGER = logging.getLogger(__name__)


class PoolDataset(keras.utils.PyDataset):
    """Random crops of the examples in a folder.

    Parameters
    ----------
    folder : Path
        The pool; files that appear later are used as well.
    recipe : Recipe
        Crop, batch and augmentation.
    seed : int
        With epoch and index it decides every draw.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, seed: int, epoch: int = 0) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=3)
        self.folder, self.recipe, self.seed, self.epoch = folder, recipe, seed, epoch
        self.paths = sorted(folder.glob("example-*.npy"))

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def on_epoch_end(self) -> None:
        """Count the epoch and look for new examples."""
        self.epoch += 1
        self.paths = sorted(self.folder.glob("example-*.npy"))

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        pairs = [
            self.recipe.augment(rng, *read_example(self.paths[int(rng.integers(len(self.paths)))]))
            for _ in range(self.recipe.batch)
        ]
        images, targets = zip(*pairs, strict=True)
        return np.stack(images)[..., None], np.stack(targets)[..., None]


class Keep(keras.callbacks.Callback):
    """Write weights and optimiser state every few minutes, and a history line per epoch.

    Parameters
    ----------
    run : Path
        Folder of the run.
    minutes : float
        Time between two checkpoints.
    """

    def __init__(self, run: Path, *, minutes: float = 4.0) -> None:
        super().__init__()
        self.run, self.seconds = run, minutes * 60
        self.last = self.start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log the epoch, and keep the state when it is due."""
        row = {name: round(float(value), 5) for name, value in (logs or {}).items()}
        row |= {"epoch": epoch, "minutes": round((time.monotonic() - self.start) / 60, 2)}
        with (self.run / "history.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        LOGGER.info("%s", row)
        # not at the end of the training: Keras has put the averaged weights in place by then
        last = epoch + 1 == self.params["epochs"]
        if last or time.monotonic() - self.last > self.seconds:
            self.write()

    def write(self) -> None:
        """Write the state under a temporary name, then rename it."""
        path = self.run / "state.npz"
        temporary = self.run / "state.tmp.npz"
        save_state(temporary, self.model)
        temporary.replace(path)
        self.last = time.monotonic()


def save_state(path: Path, model: keras.Model) -> None:
    """Write all variables of model and optimiser.

    Parameters
    ----------
    path : Path
        File to write.
    model : keras.Model
        Compiled model.
    """
    arrays = {f"model{i}": np.asarray(v) for i, v in enumerate(model.get_weights())}
    variables = model.optimizer.variables
    arrays |= {
        f"optimizer{i}": keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(v))
        for i, v in enumerate(variables)
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load_state(path: Path, model: keras.Model) -> None:
    """Read what :func:`save_state` wrote into a model of the same shape.

    Parameters
    ----------
    path : Path
        File to read.
    model : keras.Model
        Compiled model.
    """
    model.optimizer.build(model.trainable_variables)
    with np.load(path) as arrays:
        model.set_weights([arrays[f"model{i}"] for i in range(len(model.get_weights()))])
        for index, variable in enumerate(model.optimizer.variables):
            variable.assign(arrays[f"optimizer{index}"])


def compiled(recipe: Recipe, steps: int) -> keras.Model:
    """Build and compile the network of a recipe.

    Parameters
    ----------
    recipe : Recipe
        What is trained.
    steps : int
        Steps over which the learning rate falls to zero.

    Returns
    -------
    model : keras.Model
        Ready for ``fit``.
    """
    keras.mixed_precision.set_global_policy(recipe.precision)
    model = build_unet(recipe.network)
    warm = recipe.warm_up_steps
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20, steps - warm, alpha=0.005,
        warmup_target=recipe.learning_rate, warmup_steps=warm,
    )  # fmt: skip
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=recipe.weight_decay, clipnorm=1.0, use_ema=True,
        ema_momentum=recipe.ema,
    )  # fmt: skip
    loss = binary_loss if recipe.network.classes == 1 else class_loss
    model.compile(optimizer=optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
    return model


def train(
    recipe: Recipe,
    pool: Path,
    run: Path,
    *,
    steps: int,
    seed: int = 0,
    stop_after: int | None = None,
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
    seed : int
        Seed of the initial weights and of all crops.
    stop_after : int or None
        Steps after which this call ends, to be resumed by another.

    Returns
    -------
    model : keras.Model
        With the running averages of its weights in place.
    """
    run.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    model = compiled(recipe, steps)
    done = 0
    if (run / "state.npz").exists():
        load_state(run / "state.npz", model)
        done = int(model.optimizer.iterations) // recipe.steps_per_epoch
        LOGGER.info("resuming after epoch %d", done)
    data = PoolDataset(pool, recipe, seed=seed, epoch=done)
    epochs = math.ceil((stop_after or steps) / recipe.steps_per_epoch)
    keep = [Keep(run)]
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
    parser.add_argument("--learning-rate", type=float, help="peak rate, instead of the recipe's")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = RECIPES[chosen.recipe]
    if chosen.learning_rate:
        recipe = replace(recipe, learning_rate=chosen.learning_rate)
    train(recipe, chosen.pool, chosen.run, steps=chosen.steps, seed=chosen.seed)


if __name__ == "__main__":
    main()

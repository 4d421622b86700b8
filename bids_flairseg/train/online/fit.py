"""Train a bundle's network on examples that are drawn on the device, each of them once.

``KERAS_BACKEND=jax python -m bids_flairseg.train.online.fit RECIPE --heads LABELMAPS ... --run RUN
--minutes M --settle RUN2 --settle-minutes M2``; ``bids_flairseg.train.export`` makes a bundle of
RUN2. The rate follows the clock, so that a lent device is used to the end; compiling comes on top.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import keras
from jax import Array

from bids_flairseg.train.losses import class_loss, lesion_loss
from bids_flairseg.train.online.supply import AnatomySupply, LesionSupply
from bids_flairseg.train.pretrain import STATE, begin, note
from bids_flairseg.train.recipes import RECIPES, Recipe
from bids_flairseg.train.state import save_state

_KEEP_SECONDS = 150.0
_EMA = 0.998
State = tuple[list[Array], list[Array], list[Array]]


class Supply(Protocol):
    """Where examples come from."""

    def draw(self, seed: int, step: int, batch: int) -> tuple[Array, Array]:
        """Return images (N, X, Y, Z, 1), float32, and targets, uint8, of a step."""

    def expect(self, batch: int) -> tuple[Any, Any]:
        """Return shapes and types of what will be drawn, without drawing it."""

    def stop(self) -> None:
        """End what runs beside it."""


def train(
    recipe: Recipe, supply: Supply, run: Path, *, minutes: float, start: Path | None = None
) -> None:
    """Train, or go on where the run stopped.

    Parameters
    ----------
    recipe : Recipe
        What is trained; its epochs are lines of the history.
    supply : Supply
        Examples.
    run : Path
        Folder of checkpoints and history.
    minutes : float
        After which the rate has fallen to nearly zero.
    start : Path or None
        Run of a first stage, or bundle, whose averaged weights are the first ones; the
        normalisation is then fixed.
    """
    rate = _Given()
    model, spent = begin(recipe, run, 1, start=start, schedule=rate)
    _Run(recipe, supply, run, model, rate).go(minutes, spent)


class _Given(keras.optimizers.schedules.LearningRateSchedule):
    """The rate that the step was given."""

    rate: Any = 1e-3

    def __call__(self, step: Any) -> Any:  # noqa: ARG002 as Keras calls it
        return self.rate

    def get_config(self) -> dict[str, Any]:
        """Nothing that would last."""
        return {}


class _Run:
    """One call of :func:`train`."""

    def __init__(
        self, recipe: Recipe, supply: Supply, run: Path, model: keras.Model, rate: _Given
    ) -> None:
        self.recipe, self.supply, self.run, self.model = recipe, supply, run, model
        self.spent = 0.0
        self.step = _make_step(model, recipe, rate)
        self.state: State = (
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
            [v.value for v in model.optimizer.variables],
        )

    def go(self, minutes: float, spent: float) -> None:
        """Train until the time is over."""
        recipe, model = self.recipe, self.model
        done = int(model.optimizer.iterations)
        expected = self.supply.expect(recipe.batch)
        with ThreadPoolExecutor(1) as beside:  # to compile takes a minute for each of the two
            drawn = beside.submit(self.supply.draw, recipe.seed, done, recipe.batch)
            step = self.step.lower(self.state, *expected, jnp.float32(0)).compile()
            drawn.result()
        begun = kept = time.monotonic()
        losses: list[Array] = []
        while True:
            now = self.spent = spent + (time.monotonic() - begun) / 60
            if now >= minutes and not losses:
                break
            rate = recipe.learning_rate * _pace(now / minutes, done, recipe.warm_up_steps)
            images, targets = self.supply.draw(recipe.seed, done, recipe.batch)
            self.state, loss = step(self.state, images, targets, jnp.float32(rate))
            losses.append(loss)
            done += 1
            if done % recipe.steps_per_epoch == 0:
                mean = float(jnp.stack(losses).mean())
                losses = []
                if not math.isfinite(mean):
                    raise FloatingPointError(f"{self.run}: the loss became {mean}.")
                self._note(done, mean, rate, now)
                if time.monotonic() - kept > _KEEP_SECONDS:
                    self.keep()
                    kept = time.monotonic()
        self.keep()

    def _note(self, done: int, loss: float, rate: float, minutes: float) -> None:
        row = {"epoch": done // self.recipe.steps_per_epoch - 1, "loss": round(loss, 5),
               "rate": rate, "minutes": round(minutes, 3),
               "maps": getattr(self.supply, "count", 0)}  # fmt: skip
        note(self.run, row)

    def keep(self) -> None:
        """Write the state."""
        model = self.model
        groups = (model.trainable_variables, model.non_trainable_variables,
                  model.optimizer.variables)  # fmt: skip
        for variables, values in zip(groups, self.state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(jnp.copy(value))  # the step gives its own away
        save_state(self.run / STATE, model, {"minutes": self.spent})


def _pace(share: float, step: int, warm_up: int) -> float:
    """Share of the peak rate: a warm-up by steps, a half cosine by time."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return max(cosine, 0.003) * min(1.0, (step + 1) / max(warm_up, 1))


def _make_step(model: keras.Model, recipe: Recipe, given: _Given) -> Any:
    """Return the function that makes one step, to be compiled."""
    loss_of = lesion_loss if recipe.network.classes == 1 else class_loss
    optimizer = model.optimizer

    def lose(trained: list[Array], fixed: list[Array], images: Array, targets: Array) -> Any:
        answer, fixed = model.stateless_call(trained, fixed, images, training=True)
        return loss_of(targets, answer), fixed

    def step(state: State, images: Array, targets: Array, rate: Array) -> tuple[State, Array]:
        trained, fixed, inner = state
        (loss, fixed), slopes = jax.value_and_grad(lose, has_aux=True)(
            trained, fixed, images, targets
        )
        given.rate = rate
        trained, inner = optimizer.stateless_apply(inner, slopes, trained)
        return (trained, fixed, inner), loss

    return jax.jit(step, donate_argnums=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        Command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m bids_flairseg.train.online.fit")
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--heads", type=Path, nargs="+", required=True)
    parser.add_argument("--shapes", type=Path)
    parser.add_argument(
        "--leave-out", nargs="+", default=(), help="patients of SHAPES that test the network"
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--settle", type=Path, help="run that goes on, normalisation fixed")
    parser.add_argument("--settle-minutes", type=float, default=1.0)
    parser.add_argument("--start", type=Path, help="run or bundle to settle, without --run's stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--workers", type=int, default=12, help="processes that draw lesions")
    parser.add_argument("--room", type=int, default=1500, help="lesion maps on the device")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = RECIPES[chosen.recipe]
    recipe = replace(recipe, seed=chosen.seed, batch=chosen.batch, ema=_EMA,
                     learning_rate=chosen.learning_rate or recipe.learning_rate)  # fmt: skip
    supply: Supply = (
        AnatomySupply(chosen.heads) if chosen.recipe == "anatomy"
        else LesionSupply(chosen.heads, chosen.shapes, seed=chosen.seed,
                          workers=chosen.workers, room=chosen.room, leave_out=chosen.leave_out)
    )  # fmt: skip
    try:
        train(recipe, supply, chosen.run, minutes=chosen.minutes, start=chosen.start)
        if chosen.settle:
            settled = replace(recipe, seed=recipe.seed + 1, learning_rate=recipe.learning_rate / 3)
            train(settled, supply, chosen.settle, minutes=chosen.settle_minutes, start=chosen.run)
    finally:
        supply.stop()


if __name__ == "__main__":
    main()

"""The network of a training: built, compiled, and as it would be published now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import UsageError
from bids_flairseg.model.bundle import BundleConfig, load_bundle, precision_policy
from bids_flairseg.model.runtime import choose_precision
from bids_flairseg.model.unet import build_unet
from bids_flairseg.train.job import TrainingJob
from bids_flairseg.train.layers import freeze, trained_members
from bids_flairseg.train.losses import binary_entropy, binary_loss, careful_loss, soft_dice
from bids_flairseg.train.parallel import count_replicas
from bids_flairseg.train.presets import SiteRecipe

LOGGER = logging.getLogger(__name__)

LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross-entropy": binary_entropy,
    "dice": soft_dice,
    "both": binary_loss,
    "careful": careful_loss,
}
# From this generation on, NVIDIA's GPUs compute in bfloat16.
_BFLOAT16_CAPABILITY = 8.0


def build(job: TrainingJob, precision: str) -> keras.Model:
    """Build the network that training begins with, frozen where it shall stay.

    Parameters
    ----------
    job : TrainingJob
        What is trained.
    precision : str
        ``float32`` or ``bfloat16``, of the activations.

    Returns
    -------
    model : keras.Model
        With the weights of the parent, or random ones.

    Raises
    ------
    UsageError
        It does not tell lesion from background only.
    """
    config = job.bundle_config()
    if config.architecture.classes != 1:
        raise UsageError(
            f"--model {job.parent}: expected a bundle with one class, lesion, found "
            f"{', '.join(config.classes)}. Take the bundle of a lesion model."
        )
    if job.parent:
        model = load_bundle(job.parent, precision=precision).model
    else:
        keras.utils.set_random_seed(job.seed)
        with precision_policy(precision):
            model = build_unet(config.architecture)
    members = trained_members(config.architecture, job.recipe.networks)
    freeze(model, job.layers, norm=job.recipe.norm == "keep", members=members)
    return model


def training_precision(recipe: SiteRecipe, config: BundleConfig, device: str) -> str:
    """Choose the precision of the activations.

    Parameters
    ----------
    recipe : SiteRecipe
        May name it.
    config : BundleConfig
        Of the network, which may forbid bfloat16.
    device : str
        ``cpu`` or ``gpu``.

    Returns
    -------
    precision : str
        ``float32`` or ``bfloat16``.
    """
    if recipe.precision != "auto":
        return recipe.precision
    if device == "gpu":
        return "bfloat16" if _capability() >= _BFLOAT16_CAPABILITY else "float32"
    # XLA turns bfloat16 back into float32 on the CPU, and takes longer for it.
    if keras.backend.backend() != "tensorflow":
        return "float32"
    return choose_precision(config)


def compile_model(
    model: keras.Model, recipe: SiteRecipe, *, rounds: int, steps: int, factor: float = 1.0
) -> None:
    """Give a network a fresh optimiser and its loss.

    Parameters
    ----------
    model : keras.Model
        The network, frozen as it shall be.
    recipe : SiteRecipe
        Loss, optimiser, schedule.
    rounds : int
        Rounds (micro-batches) whose gradients are added up for one step.
    steps : int
        Optimiser steps of the whole training.
    factor : float
        By which the rate of the recipe is multiplied.
    """
    kind = keras.optimizers.AdamW if recipe.optimiser == "adamw" else keras.optimizers.Adam
    options: dict[str, Any] = {}
    if recipe.optimiser == "adamw":
        options["weight_decay"] = recipe.weight_decay
    if recipe.ema:
        # Keras averages in every round, so this many of them weigh as much as one step
        options |= {"use_ema": True, "ema_momentum": recipe.ema ** (1 / rounds)}
    optimizer = _patient(kind)(
        _rate(recipe, rounds=rounds, steps=steps, factor=factor),
        # each replica clips its part of the gradient, and the parts are added up
        clipnorm=recipe.clip_norm / count_replicas(model) or None,
        gradient_accumulation_steps=rounds if rounds > 1 else None,
        **options,
    )
    jit = keras.backend.backend() == "jax"  # XLA made TensorFlow 13 times slower on the CPU
    model.compile(optimizer=optimizer, loss=_as_array(LOSSES[recipe.loss]), jit_compile=jit)
    optimizer.build(model.trainable_variables)
    # To build the loss by itself, Keras on JAX draws a batch, and then gives those that were made
    # ahead of time meanwhile out of their order.
    nothing = np.zeros((1, 2, 2, 2, 1), np.float32)
    model.compute_loss(y=nothing, y_pred=nothing)


@contextmanager
def published(
    model: keras.Model, parent: Sequence[NDArray[Any]] | None, share: float
) -> Iterator[None]:
    """Put the weights in place that would be kept now, and take them back at the end.

    Parameters
    ----------
    model : keras.Model
        Compiled by :func:`compile_model`.
    parent : sequence of ndarray or None
        Weights of the bundle that training began with.
    share : float
        Of the parent in the average; what was not trained is left as it is, to the bit.

    Yields
    ------
    None
        The model has the running averages of its weights, mixed with the parent's.
    """
    raw = [np.array(value) for value in model.get_weights()]
    if int(keras.ops.convert_to_numpy(model.optimizer.variables[0])):  # rounds so far
        model.optimizer.average(model.trainable_variables)
        # on JAX both now hold one array, which prediction would give away with the weights
        model.set_weights([np.array(value) for value in model.get_weights()])
    if parent is not None and share:
        for variable, own in zip(model.weights, parent, strict=True):
            value = np.asarray(keras.ops.convert_to_numpy(variable.value))
            if not np.array_equal(value, own):
                variable.assign((1 - share) * value + share * own)
    try:
        yield
    finally:
        model.set_weights(raw)


def _as_array(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a loss as an array of one number, of which Keras takes the mean over replicas.

    It leaves a scalar as it is, and then adds up those of all replicas.
    """

    def of_batch(truth: Any, probability: Any) -> Any:
        return keras.ops.reshape(loss(truth, probability), (1,))

    return of_batch


def _rate(recipe: SiteRecipe, *, rounds: int, steps: int, factor: float) -> Any:
    """Return the schedule of the rate; Keras counts rounds, not steps."""
    peak, warm = recipe.learning_rate * factor, recipe.warm_up_steps * rounds
    decay = max(1, steps * rounds - warm)
    # a schedule even where the rate is constant: as a number it would be part of the state
    alpha = 1.0 if recipe.schedule == "constant" else 0.005
    if not warm:
        return keras.optimizers.schedules.CosineDecay(peak, decay, alpha=alpha)
    return keras.optimizers.schedules.CosineDecay(
        peak / 20, decay, alpha=alpha, warmup_target=peak, warmup_steps=warm
    )


def _patient(kind: Any) -> Any:
    """Return an optimiser that puts averaged weights in place only when it is asked to.

    Keras does so at the end of every ``fit``, which here is the end of every epoch.
    """

    class Patient(kind):
        def finalize_variable_values(self, var_list: Any) -> None:
            """Leave the weights as they are."""

        def average(self, variables: Any) -> None:
            """Put the averages in place."""
            kind.finalize_variable_values(self, variables)

    return Patient


def _capability() -> float:
    """Return the generation of the first GPU, 0 where it is not known."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        major, minor = details.get("compute_capability", (0, 0))
        return float(major) + float(minor) / 10
    if keras.backend.backend() == "jax":
        import jax

        return float(getattr(jax.devices()[0], "compute_capability", 0.0))
    return 0.0

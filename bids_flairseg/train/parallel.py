"""Several GPUs of one machine: each takes its share of a batch.

Keras has two means for it: ``keras.distribution.DataParallel`` on JAX, and TensorFlow's
``MirroredStrategy``. JAX computes as one GPU does. On TensorFlow each GPU takes loss and
clipped gradient of its own share, and the mean of all is applied; so a loss that is no mean
over voxels, that of overlap, is as if the share were the micro-batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from functools import cache
from typing import Any

import keras

from bids_flairseg.train.presets import SiteRecipe

LOGGER = logging.getLogger(__name__)


def count_devices(batch: int, device: str) -> int:
    """Count the devices that can share a batch.

    Parameters
    ----------
    batch : int
        Patches that go through the network at once at most.
    device : str
        ``cpu`` or ``gpu``: what is used.

    Returns
    -------
    count : int
        The most that share the batch equally.
    """
    there = len(keras.distribution.list_devices(device))
    return max((n for n in range(1, there + 1) if batch % n == 0), default=1)


def gpu_bytes(devices: int) -> int | None:
    """Return what this process may take of each GPU, by the backend's own account.

    Parameters
    ----------
    devices : int
        How many are used; the one with the least memory counts.

    Returns
    -------
    size : int or None
        Bytes; None where the backend does not say.
    """
    if keras.backend.backend() == "jax":
        import jax

        stats = [gpu.memory_stats() or {} for gpu in jax.devices()[:devices]]
        limits = [int(each.get("bytes_limit", 0)) for each in stats]
    else:
        limits = _tensorflow_limits()[:devices]
    return min(limits, default=0) or None


def _tensorflow_limits() -> list[int]:
    """Ask TensorFlow for the limits of its allocators, which only a session of its first kind says.

    The session gets the devices and allocators that the process has (``BaseGPUDeviceFactory``).
    """
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
    try:
        with closing(tf.compat.v1.Session(config=config)) as session:
            found = session.list_devices()
    except tf.errors.OpError as error:
        LOGGER.debug("TensorFlow does not say how much memory a GPU has (%s)", error)
        return []
    return [device.memory_limit_bytes for device in found if device.device_type == "GPU"]


def share_out(
    recipe: SiteRecipe, micro_batch: int, device: str, choose: Callable[..., int]
) -> tuple[int, int]:
    """Choose how many patches go through the network at once, and how many devices share them.

    Under TensorFlow's strategy Keras can not add up gradients over several rounds
    (https://github.com/keras-team/keras/issues/20582): the step would be a synchronisation
    within a condition. Where the batch needs them, the first GPU trains alone.

    Parameters
    ----------
    recipe : SiteRecipe
        Batch, and maybe micro-batch.
    micro_batch : int
        Patches at once that an earlier process chose; 0 without one.
    device : str
        ``cpu`` or ``gpu``: what is used.
    choose : callable
        Gets the number of `devices`, and returns the patches that they hold at once.

    Returns
    -------
    devices, micro_batch : int
        The second is a multiple of the first.
    """
    devices = count_devices(micro_batch or recipe.micro_batch or recipe.batch, device)
    at_once = micro_batch or choose(devices=devices)
    there = len(keras.distribution.list_devices(device))
    if there > 1 and at_once < recipe.batch and keras.backend.backend() == "tensorflow":
        LOGGER.info(
            "%d GPUs are there, the first trains alone: TensorFlow's can not share a batch "
            "(%d patches) that is added up from rounds of %d; micro_batch=0 or a smaller batch "
            "may do, or KERAS_BACKEND=jax", there, recipe.batch, at_once,
        )  # fmt: skip
        devices, at_once = 1, micro_batch or choose(devices=1)
    return devices, at_once


def spread(count: int, device: str) -> AbstractContextManager[Any]:
    """Let the networks that are built and compiled within it split their batches over devices.

    Parameters
    ----------
    count : int
        How many; 1 changes nothing.
    device : str
        ``cpu`` or ``gpu``.

    Returns
    -------
    scope : context manager
        To build and to compile in. On JAX the split lasts for the rest of the process.
    """
    if count < 2:
        return nullcontext()
    devices = tuple(keras.distribution.list_devices(device)[:count])
    if keras.backend.backend() == "tensorflow":
        scope: AbstractContextManager[Any] = _strategy(devices).scope()
        return scope
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=list(devices)))
    return nullcontext()


def count_replicas(model: keras.Model) -> int:
    """Count the copies of a network that TensorFlow keeps; on JAX there is one, spread out."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def synchronise(model: keras.Model) -> None:
    """Let batch normalisation take mean and variance over the shares of all replicas.

    Parameters
    ----------
    model : keras.Model
        Network; nothing is changed where there is one replica.
    """
    if count_replicas(model) > 1:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def share_batches(data: keras.utils.PyDataset, count: int) -> Any:
    """Return batches in a form that several devices are fed with in the right order.

    Under a strategy Keras draws a batch before each epoch, to build the loss. The queue of a
    ``PyDataset`` then gives those that were made ahead of time meanwhile a second time, and
    others not at all; TensorFlow's own begins anew.

    Parameters
    ----------
    data : keras.utils.PyDataset
        Gives images (N, P, P, P, 1) of float32 and targets of uint8; may be asked for the same
        batch again, and by several threads.
    count : int
        Devices.

    Returns
    -------
    data : keras.utils.PyDataset or tf.data.Dataset
        What to ``fit``.
    """
    if count < 2 or keras.backend.backend() != "tensorflow":
        return data
    import tensorflow as tf

    def get(index: Any) -> tuple[Any, Any]:
        # with a state, a deterministic TensorFlow would make them one after the other
        images, targets = tf.numpy_function(
            data.__getitem__, [index], (tf.float32, tf.uint8), stateful=False
        )
        shape = (None, None, None, None, 1)
        return tf.ensure_shape(images, shape), tf.ensure_shape(targets, shape)

    options = tf.data.Options()
    options.threading.private_threadpool_size = data.workers
    batches = tf.data.Dataset.range(len(data)).map(get, num_parallel_calls=data.max_queue_size)
    return batches.with_options(options)


@cache
def _strategy(devices: tuple[str, ...]) -> Any:
    """Return the one strategy of the process: a second would mix up its messages with the first."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))

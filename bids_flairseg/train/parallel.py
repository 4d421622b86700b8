"""Several GPUs of one machine: each takes its share of a batch."""

from __future__ import annotations

import logging

import keras

LOGGER = logging.getLogger(__name__)


def spread(batch: int, device: str, *, kind: str = "gpu") -> int:
    """Let the networks that are built from now on split their batches over all GPUs.

    Keras does this on JAX. Its TensorFlow backend can not add up gradients over
    several rounds at the same time, and uses the first GPU.

    Parameters
    ----------
    batch : int
        Patches that go through the network at once at most.
    device : str
        ``cpu`` or ``gpu``: what is used.
    kind : str
        Kind of device to spread over.

    Returns
    -------
    count : int
        Devices in use: the most that share the batch equally.
    """
    devices = keras.distribution.list_devices(kind) if device == kind else []
    if len(devices) < 2:
        return 1
    if keras.backend.backend() != "jax":
        LOGGER.info(
            "%d GPUs are there, TensorFlow trains on the first; KERAS_BACKEND=jax takes all",
            len(devices),
        )
        return 1
    count = max(n for n in range(1, len(devices) + 1) if batch % n == 0)
    if count > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices[:count])
        )
    return count

"""Keras within its limits: threads, device, precision, and networks kept between scans."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import UsageError
from bids_flairseg.model.bundle import bundle_digest, bundle_fingerprint, load_bundle, read_config
from bids_flairseg.model.predict import Apply
from bids_flairseg.model.settings import BundleConfig

if TYPE_CHECKING:
    import keras

LOGGER = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "gpu")
# Intel's processors have no more units for the bfloat16 of AVX-512 than for float32, and convert on
# top: without AMX a step of training took them 1.6 times as long. AMD's take a third of the time.
_INTEL = "GenuineIntel"
# Keras tries to import them and does without; they are a quarter of its start.
_NOT_NEEDED_BY_KERAS = ("matplotlib", "sklearn")


@dataclass(frozen=True)
class Network:
    """A network that is ready to be applied.

    Attributes
    ----------
    config : BundleConfig
        Of its bundle.
    digest : str
        SHA-256 of its weights.
    precision : str
        ``float32`` or ``bfloat16``: that of the activations.
    apply : callable
        From float32 (N, X, Y, Z, 1) to float32 (N, X, Y, Z, C); raises
        MemoryError when the device has too little memory.
    """

    config: BundleConfig
    digest: str
    precision: str
    apply: Apply


@cache
def set_up(nthreads: int, device: str = "auto") -> str:
    """Load Keras and its backend, quietly and within limits.

    To be called in a worker before anything else of the process loads
    TensorFlow, whose threads cannot be changed once they run. A second call
    does nothing. On the JAX backend the threads are those of the environment.

    Parameters
    ----------
    nthreads : int
        Threads for the kernels.
    device : str
        ``cpu``, ``gpu``, or ``auto``: a GPU if there is one.

    Returns
    -------
    device : str
        ``cpu`` or ``gpu``: what is used.

    Raises
    ------
    UsageError
        The device is none that is known, or there is no GPU that can be used.
    """
    if device not in DEVICES:
        raise UsageError(f"--device: expected one of {', '.join(DEVICES)}, found {device}.")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _quiet_start(), _hidden(_NOT_NEEDED_BY_KERAS):
        import keras

        keras.config.set_image_data_format("channels_last")
        backend = keras.backend.backend()
        gpus = _start_tensorflow(nthreads) if backend == "tensorflow" else _count_gpus()
    if device == "gpu" and not gpus:
        raise UsageError(
            f"--device gpu: expected a GPU, but {backend} sees none. Install the extra "
            "bids-flairseg[gpu], let the container see the GPU (--gpus all, --nv), or take "
            "--device cpu."
        )
    used = "gpu" if gpus and device != "cpu" else "cpu"
    LOGGER.info("networks run on the %s (%s, %d threads)", used, backend, nthreads)
    return used


def choose_precision(
    config: BundleConfig, *, device: str = "cpu", cpuinfo: Path = Path("/proc/cpuinfo")
) -> str:
    """Choose the precision of a network's activations.

    Parameters
    ----------
    config : BundleConfig
        Of the network's bundle, which may forbid bfloat16.
    device : str
        ``cpu`` or ``gpu``.
    cpuinfo : Path
        What Linux says about the processor.

    Returns
    -------
    precision : str
        ``bfloat16`` where the processor is faster in it (AMX, or AVX-512 BF16 of any maker
        but Intel), ``float32`` anywhere else, a GPU included.
    """
    if config.inference.precision == "float32" or device != "cpu":
        return "float32"
    try:
        first = cpuinfo.read_text().partition("\n\n")[0]  # of the first processor
    except OSError:  # no Linux
        return "float32"
    words = set(first.split())
    wide = "avx512_bf16" in words and _INTEL not in words
    return "bfloat16" if wide or "amx_bf16" in words else "float32"


def get_model(path: Path, precision: str = "auto") -> Network:
    """Return the network of a bundle; the process keeps it for the next scan.

    Parameters
    ----------
    path : Path
        Folder of the bundle.
    precision : str
        ``float32``, ``bfloat16``, or ``auto``: see :func:`choose_precision`.

    Returns
    -------
    network : Network
        The same one while the files of the bundle stay the same.

    Raises
    ------
    MissingInputError, InputError
        See :func:`bids_flairseg.model.bundle.load_bundle`.
    """
    if precision == "auto":
        precision = choose_precision(read_config(path), device=_device())
    return _load(path, precision, bundle_fingerprint(path))


@lru_cache(maxsize=4)
def _load(path: Path, precision: str, _fingerprint: str) -> Network:
    bundle = load_bundle(path, precision=precision)
    LOGGER.info("loaded %s (%s)", bundle.config.name, precision)
    return Network(bundle.config, bundle_digest(path), precision, applied(bundle.model))


def applied(model: keras.Model) -> Apply:
    """Wrap a model so that one trace serves all shapes, and want of memory has one name.

    Parameters
    ----------
    model : keras.Model
        The network; later changes of its weights count.

    Returns
    -------
    apply : callable
        As in :class:`Network`.
    """
    import keras

    on_tensorflow = keras.backend.backend() == "tensorflow"
    run = _traced(model) if on_tensorflow else model.predict_on_batch

    def apply(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return np.asarray(run(batch), np.float32)
        except Exception as error:
            text = f"{type(error).__name__} {error}"
            if "ResourceExhausted" in text or "RESOURCE_EXHAUSTED" in text:
                raise MemoryError(f"{batch.shape} does not fit on the device") from error
            raise

    return apply


def _traced(model: keras.Model) -> Apply:
    """Compile for any shape at once: Keras itself would trace the first two shapes."""
    import tensorflow as tf

    shape = tf.TensorSpec((None, None, None, None, 1), tf.float32)

    @tf.function(input_signature=[shape], autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def forward(batch: tf.Tensor) -> tf.Tensor:
        return model(batch, training=False)

    return lambda batch: forward(batch).numpy()


def _start_tensorflow(nthreads: int) -> int:
    """Set threads, memory and determinism, start, and count the GPUs."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(nthreads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    except RuntimeError:
        LOGGER.warning("TensorFlow runs already; it keeps the threads that it has")
    tf.config.experimental.enable_op_determinism()
    tf.constant(0.0)  # starts the runtime, whose greetings are kept quiet here
    return len(gpus)


def _count_gpus() -> int:
    import keras

    return sum(not name.startswith("cpu") for name in keras.distribution.list_devices())


def _device() -> str:
    """Return where the backend computes, without loading it anew."""
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        return "gpu" if tf.config.get_visible_devices("GPU") else "cpu"
    return "gpu" if "jax" in sys.modules and _count_gpus() else "cpu"


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Let packages seem not installed, unless they are loaded already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep what libraries write to the standard error at their start for the debug log."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        console = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(console, 2)
            os.close(console)
            kept.seek(0)
            for line in kept.read().decode(errors="replace").splitlines():
                LOGGER.debug("%s", line)

"""Environment variables that workers inherit: threads, caches, silence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bids_flairseg.config import ResourceConfig

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def worker_variables(resources: ResourceConfig, cache: Path) -> Mapping[str, str]:
    """Name the variables that keep workers within their limits.

    Parameters
    ----------
    resources : ResourceConfig
        Threads of one step, and the device.
    cache : Path
        Folder for what libraries would put into the home folder, which may be read-only.

    Returns
    -------
    mapping of str to str
        Values by name.
    """
    variables = dict.fromkeys(_THREADS, str(resources.omp_nthreads))
    variables |= {
        # N4 adds up in another order with another number: the last bits would differ
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "NIPYPE_NO_ET": "1",  # no question to a server for newer versions
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "KERAS_HOME": str(cache / "keras"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "MPLBACKEND": "Agg",
        "TMPDIR": str(cache),  # /tmp and the current folder may be read-only
    }
    # Nipype's plugins for clusters ask for it; batch jobs and containers may have none.
    variables["LOGNAME"] = os.environ.get("LOGNAME") or os.environ.get("USER") or str(os.getuid())
    if resources.device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = "-1"
    return variables


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while, and put back what was there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

"""What the machine lacks, said before a library ends the process without a word."""

from __future__ import annotations

import logging
import platform
import re
from importlib import metadata
from pathlib import Path

from bids_flairseg.errors import UsageError

LOGGER = logging.getLogger(__name__)

ROOT = Path("/")
#: TensorFlow's own packages are compiled for processors with it.
_NEEDED = "avx"
#: First driver for CUDA 12 (NVIDIA, CUDA Compatibility, minor version compatibility).
_OLDEST_DRIVER = (525, 60, 13)
_CUDA = "nvidia-cuda-runtime-cu12"


def check_processor(root: Path = ROOT, machine: str | None = None) -> None:
    """Refuse a processor on which TensorFlow would end with an illegal instruction.

    Parameters
    ----------
    root : Path
        Root of the file system that holds ``proc``.
    machine : str, optional
        Architecture; by default that of this machine.

    Raises
    ------
    UsageError
        The processor has no AVX.
    """
    if (machine or platform.machine()) not in {"x86_64", "AMD64"}:
        return
    path = root / "proc/cpuinfo"
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:  # no Linux
        return
    flags = next((line.partition(":")[2].split() for line in lines if line[:5] == "flags"), None)
    if flags is not None and _NEEDED not in flags:
        raise UsageError(
            f"{path}: expected a processor with AVX, which TensorFlow needs, found one without. "
            "Take another machine, or let the virtual machine show the host's processor (QEMU: "
            "-cpu host)."
        )


def tell_of_driver(device: str, root: Path = ROOT) -> None:
    """Say it if a GPU is there but its driver is too old for the libraries.

    Parameters
    ----------
    device : str
        What ``--device`` says; nothing is said where that is ``cpu``.
    root : Path
        Root of the file system that holds ``proc``.
    """
    version = _driver(root)
    if device == "cpu" or version is None or _numbers(version) >= _OLDEST_DRIVER:
        return
    try:
        metadata.version(_CUDA)
    except metadata.PackageNotFoundError:  # made for processors only
        return
    LOGGER.warning(
        "there is a GPU, but its driver %s is older than the %s that CUDA 12 needs; %s",
        version,
        ".".join(map(str, _OLDEST_DRIVER)),
        "update the driver" if device == "gpu" else "the networks run on the processor",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _driver(root: Path) -> str | None:
    """Return the version of NVIDIA's kernel module, None without one."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"NVRM version:.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else None

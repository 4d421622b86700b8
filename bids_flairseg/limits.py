"""What control groups of Linux (versions 1 and 2; a container, a batch job) leave a process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def memory_limit(root: Path = ROOT) -> float:
    """Return the most memory that the control groups of this process may take together.

    Parameters
    ----------
    root : Path
        Root of the file system that holds ``proc`` and ``sys``.

    Returns
    -------
    float
        Bytes; infinite without a limit.
    """
    names = {1: "memory.limit_in_bytes", 2: "memory.max"}
    groups = control_groups("memory", root)
    return min((read_number(folder / names[kind]) for kind, folder in groups), default=math.inf)


def processor_quota(root: Path = ROOT) -> float:
    """Return how many processors the control groups of this process may keep busy.

    Parameters
    ----------
    root : Path
        As for `memory_limit`.

    Returns
    -------
    float
        Processors, fractions included; infinite without a quota.
    """
    return min((_quota(kind, folder) for kind, folder in control_groups("cpu", root)),
               default=math.inf)  # fmt: skip


def _quota(kind: int, folder: Path) -> float:
    if kind == 1:
        quota, period = (read_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    else:
        try:
            quota, period = map(float, (folder / "cpu.max").read_text().split())
        except (OSError, ValueError):  # no such group, or "max 100000"
            return math.inf
    return quota / period if quota > 0 and 0 < period < math.inf else math.inf


def control_groups(controller: str, root: Path = ROOT) -> Iterator[tuple[int, Path]]:
    """List the control groups that this process is in, from the outermost one on.

    Parameters
    ----------
    controller : str
        ``cpu`` or ``memory``.
    root : Path
        As for `memory_limit`.

    Yields
    ------
    int
        Version of the group's files, 1 or 2.
    Path
        Folder of the group; it may not exist.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controller if controllers else mount
        # inside a container the name may be that of the host: then only the base is there
        for folder in (base, *_folders(base, name)):
            yield (1 if controllers else 2), folder


def _folders(base: Path, name: str) -> Iterator[Path]:
    folder = base
    for part in Path(name.lstrip("/")).parts:
        if part == "..":
            return
        folder = folder / part
        yield folder


def read_number(path: Path, *, missing: float = math.inf) -> float:
    """Read a number from a file, or return what stands for one that is not there."""
    try:
        return float(int(path.read_text()))
    except (OSError, ValueError):  # no such group, or "max"
        return missing

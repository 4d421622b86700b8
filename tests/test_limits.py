"""Limits of containers and batch jobs, in both versions of control groups."""

from __future__ import annotations

import math
from pathlib import Path

import psutil
import pytest

from bids_flairseg.config import ResourceConfig
from bids_flairseg.limits import memory_limit, processor_quota
from bids_flairseg.workflow import settings

V1 = "5:cpu,cpuacct:/slurm/job_7\n4:hugetlb,memory:/slurm/job_7\n0::/\n"
V2 = "0::/slurm/job_7\n"
GROUP = "sys/fs/cgroup"


def fake_root(root: Path, groups: str, **files: str) -> Path:
    """Write what Linux shows of control groups; names of files from the mount on."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (V1, {"memory/slurm/job_7/memory.limit_in_bytes": "1000"}, 1000),
        (V1, {"memory/slurm/memory.limit_in_bytes": "1000"}, 1000),  # of the parent
        (V1, {"memory/memory.limit_in_bytes": "1000"}, 1000),  # in a container, at the mount
        (V1, {"memory.max": "1000", "memory/memory.limit_in_bytes": "2000"}, 1000),  # hybrid
        (V2, {"slurm/job_7/memory.max": "1000", "slurm/memory.max": "3000"}, 1000),
        (V2, {"slurm/job_7/memory.max": "max", "slurm/memory.max": "3000"}, 3000),
        (V2, {"memory.max": "1000"}, 1000),
        (V2, {"slurm/job_7/memory.max": "max"}, math.inf),
        ("0::/../..\n", {"memory.max": "1000"}, 1000),
        (V1, {}, math.inf),
    ],
)
def test_memory(tmp_path: Path, groups: str, files: dict[str, str], expected: float) -> None:
    root = fake_root(tmp_path, groups, **{f"{GROUP}/{name}": text for name, text in files.items()})
    assert memory_limit(root) == expected


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (V1, {"quota": "150000", "period": "100000"}, 1.5),
        (V1, {"quota": "-1", "period": "100000"}, math.inf),
        (V1, {"quota": "150000"}, math.inf),
        (V2, {"max": "250000 100000\n"}, 2.5),
        (V2, {"max": "max 100000\n"}, math.inf),
        (V2, {}, math.inf),
    ],
)
def test_processors(tmp_path: Path, groups: str, files: dict[str, str], expected: float) -> None:
    names = {
        "quota": "cpu/slurm/cpu.cfs_quota_us",
        "period": "cpu/slurm/cpu.cfs_period_us",
        "max": "slurm/job_7/cpu.max",
    }
    content = {f"{GROUP}/{names[key]}": text for key, text in files.items()}
    assert processor_quota(fake_root(tmp_path, groups, **content)) == expected


def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == processor_quota(tmp_path) == math.inf


@pytest.mark.parametrize("limit", [10e9, math.inf])
def test_default_memory_is_most_of_what_may_be_taken(
    monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    monkeypatch.setattr(settings, "memory_limit", lambda: limit)
    expected = 0.9 * min(limit, psutil.virtual_memory().total) / 1e9
    assert settings.memory_gb(ResourceConfig()) == pytest.approx(expected)
    assert settings.memory_gb(ResourceConfig(memory_mb=500)) == 0.5

"""Estimates grow with the volume, and control groups are obeyed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import psutil
import pytest

from bids_flairseg.model.memory import available_bytes, prediction_bytes
from bids_flairseg.model.unet import DUONG2019, Stage

MIB = 1 << 20


def test_paper_network_at_one_window_is_as_measured() -> None:
    measured = 330 * MIB  # resident memory that TensorFlow 2.21 took for 96^3 in float32
    assert measured <= prediction_bytes(DUONG2019, (96, 96, 96)) <= 1.5 * measured


def test_estimate_is_proportional_to_the_volume() -> None:
    small = prediction_bytes(DUONG2019, (96, 96, 96))
    assert prediction_bytes(DUONG2019, (192, 96, 96)) == pytest.approx(2 * small)


def test_half_precision_takes_about_half() -> None:
    full = prediction_bytes(DUONG2019, (96, 96, 96))
    half = prediction_bytes(DUONG2019, (96, 96, 96), itemsize=2)
    assert half == pytest.approx(full / 2, rel=0.05)


def test_first_strided_convolution_saves_memory() -> None:
    lean = dataclasses.replace(DUONG2019, patch=2)
    shape = (96, 96, 96)
    assert prediction_bytes(lean, shape) < prediction_bytes(DUONG2019, shape)


def test_shortcuts_cost_memory_where_blocks_decide() -> None:
    wide = dataclasses.replace(
        DUONG2019, encoder=(Stage(1, 1, 500),), decoder=(Stage(500, 500, 1),)
    )
    plain = dataclasses.replace(wide, residual=False)
    shape = (96, 96, 96)
    assert prediction_bytes(plain, shape) < prediction_bytes(wide, shape)


def fake_root(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Write what Linux shows of control groups."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_version_2_limit_counts_less_what_is_used(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/job/memory.max": f"{100 * MIB}\n",
        "sys/fs/cgroup/job/memory.current": f"{70 * MIB}\n",
        "sys/fs/cgroup/job/memory.stat": f"anon 1\ninactive_file {10 * MIB}\n",
    }
    assert available_bytes(fake_root(tmp_path, "0::/job\n", files)) == 40 * MIB


def test_version_2_parent_limit_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/job/memory.max": f"{50 * MIB}\n",
        "sys/fs/cgroup/job/step/memory.max": "max\n",
    }
    assert available_bytes(fake_root(tmp_path, "0::/job/step\n", files)) == 50 * MIB


def test_version_1_limit_at_the_mount_counts_in_a_container(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{30 * MIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{20 * MIB}\n",
    }
    groups = "5:cpu:/docker/abc\n4:hugetlb,memory:/docker/abc\n0::/\n"
    assert available_bytes(fake_root(tmp_path, groups, files)) == 10 * MIB


def test_used_up_group_leaves_nothing(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": f"{10 * MIB}\n",
        "sys/fs/cgroup/memory.current": f"{20 * MIB}\n",
    }
    assert available_bytes(fake_root(tmp_path, "0::/\n", files)) == 0


@pytest.mark.parametrize("groups", ["0::/\n", "4:memory:/\n", "0::/../..\n"])
def test_without_limit_the_machine_decides(tmp_path: Path, groups: str) -> None:
    free = available_bytes(fake_root(tmp_path, groups, {"sys/fs/cgroup/memory.max": "max\n"}))
    assert 0 < free <= psutil.virtual_memory().total


def test_system_without_control_groups(tmp_path: Path) -> None:
    assert 0 < available_bytes(tmp_path) <= psutil.virtual_memory().total

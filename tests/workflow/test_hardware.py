"""Processors and drivers that are too old."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path

import pytest

from bids_flairseg.errors import UsageError
from bids_flairseg.workflow import hardware

CPU = "processor\t: 0\nmodel name\t: {name}\nflags\t\t: fpu sse4_2 {flags}\n"
MODULE = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Tue Sep  1 10:00:00 UTC 2026\n"
    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
)


def machine(root: Path, *, flags: str = "", driver: str = "") -> Path:
    (root / "proc/driver/nvidia").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(CPU.format(name="avx in the name only", flags=flags))
    if driver:
        (root / "proc/driver/nvidia/version").write_text(MODULE.format(version=driver))
    return root


@pytest.mark.parametrize("flags", ["avx", "avx avx2 avx512f"])
def test_processors_with_avx_do(flags: str, tmp_path: Path) -> None:
    hardware.check_processor(machine(tmp_path, flags=flags), "x86_64")


def test_a_processor_without_avx_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a processor with AVX"):
        hardware.check_processor(machine(tmp_path, flags="popcnt"), "x86_64")


def test_other_architectures_and_systems_are_let_through(tmp_path: Path) -> None:
    hardware.check_processor(machine(tmp_path / "arm", flags="asimd"), "aarch64")
    hardware.check_processor(tmp_path / "nowhere", "x86_64")


@pytest.mark.parametrize(
    ("driver", "device", "cuda", "told"),
    [
        ("470.82.01", "auto", True, True),
        ("525.60.12", "auto", True, True),
        ("525.60.13", "auto", True, False),
        ("570.133", "auto", True, False),
        ("470.82.01", "gpu", True, True),
        ("470.82.01", "cpu", True, False),
        ("470.82.01", "auto", False, False),
        ("", "auto", True, False),
    ],
)
def test_an_old_driver_is_told_where_it_matters(  # noqa: PLR0917
    driver: str,
    device: str,
    cuda: bool,
    told: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if not cuda:
            raise metadata.PackageNotFoundError(name)
        return "12.9"

    monkeypatch.setattr(metadata, "version", version)
    with caplog.at_level(logging.WARNING):
        hardware.tell_of_driver(device, machine(tmp_path, driver=driver))
    assert (f"its driver {driver} is older" in caplog.text) is told
    assert ("the networks run on the processor" in caplog.text) is (told and device == "auto")
    assert ("update the driver" in caplog.text) is (told and device == "gpu")

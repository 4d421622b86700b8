"""Models, folders and disks that are no good: said in words, with an exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.end_to_end.heads import Command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("damage", "code"), [("model.weights.h5", 65), ("config.json", 66)], ids=["changed", "missing"]
)
def test_broken_model_stops_before_anything_starts(
    command: Command, three_heads: Path, tmp_path: Path, damage: str, code: int
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(command.bundles / "lesion", broken)
    if code == 65:
        with (broken / damage).open("ab") as stream:
            stream.write(b"more")
    else:
        (broken / damage).unlink()
    result, text = command.run(three_heads, tmp_path / "out", "--model", str(broken))
    assert result == code, text
    assert str(broken / damage) in text
    assert "checking the image" not in text
    assert not (tmp_path / "out" / "sub-01").exists()


def test_output_that_cannot_be_made(command: Command, three_heads: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, text = command.run(three_heads, tmp_path / "file" / "out")
    assert code == 73, text
    assert "Traceback" not in text


def test_full_disk_is_told_as_such(command: Command, three_heads: Path, tmp_path: Path) -> None:
    words = command.arguments(three_heads, tmp_path / "out", "--skip-bids-validation")
    # a limit on the size of files fails in the same place as a full disk
    result = subprocess.run(
        ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode == 74, text
    assert "Traceback" not in text
    assert "the disk is full" in text
    assert not list((tmp_path / "out").glob("sub-*/**/*.nii.gz"))

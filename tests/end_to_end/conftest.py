"""Networks and runs that several files of these tests share."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.end_to_end.heads import HEADS, Command, Finished, draw_head, write_dataset


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    subprocess.run(
        [sys.executable, "-m", "tests.tiny", str(folder)],
        check=True,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    return folder


@pytest.fixture
def command(bundles: Path, tmp_path: Path) -> Command:
    return Command(bundles, tmp_path)


@pytest.fixture(scope="session")
def finished(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run the command on four good heads and a file that is none."""
    folder = tmp_path_factory.mktemp("run")
    command = Command(bundles, folder)
    heads = {
        label: draw_head(axes, tilt, lesion=lesion) for label, (axes, tilt, lesion) in HEADS.items()
    }
    bids = write_dataset(folder / "bids", heads)
    bad = bids / "sub-bad" / "anat" / "sub-bad_FLAIR.nii.gz"
    bad.parent.mkdir(parents=True)
    bad.write_text("this is no image, although its name says so\n" * 20)
    code, text = command.run(bids, folder / "out")
    assert code == 1, text
    return command, bids, folder / "out", text


@pytest.fixture
def three_heads(tmp_path: Path) -> Path:
    heads = {label: draw_head("RAS", 0.0, lesion=True) for label in ("01", "02", "03")}
    return write_dataset(tmp_path / "bids", heads)


@pytest.fixture
def running(command: Command, three_heads: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = command.start(three_heads, tmp_path / "out", "--skip-bids-validation")
    # whoever waits for a line that never comes gets an end of file instead
    alarm = threading.Timer(300, process.kill)
    alarm.start()
    yield process
    alarm.cancel()
    process.kill()
    process.communicate()

"""Runs that are stopped, killed, or work side by side."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from bids_flairseg.bids.validate import find_errors
from bids_flairseg.workflow.locks import ParticipantLocks
from tests.end_to_end.heads import Command, children, finish, outputs, still_alive, wait_for

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_all_processes_and_leave_no_half_files(
    running: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    wait_for("01: writing results", running)
    started = children(running)
    running.send_signal(number)
    assert running.stdout is not None
    text = running.stdout.read()
    assert running.wait(timeout=30) == code
    assert "run the same command again" in text
    assert "Traceback" not in text
    assert still_alive(started) == []
    left = [p.name for p in (tmp_path / "out").rglob(".*") if p.is_file()]
    assert set(left) <= {".bidsignore", ".participants.lock"}


def test_a_signal_at_the_start_ends_validator_and_workers(
    command: Command, three_heads: Path, tmp_path: Path
) -> None:
    process = command.start(three_heads, tmp_path / "out")
    while not (started := children(process)):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    code, text = finish(process)
    assert code == 143, text
    assert "Traceback" not in text
    assert still_alive(started) == []
    assert not list((tmp_path / "out").glob("sub-*"))
    assert not list((tmp_path / "work").glob("validate-*"))


def test_killed_run_is_taken_up_again(
    running: subprocess.Popen[str], command: Command, three_heads: Path, tmp_path: Path
) -> None:
    wait_for("01: writing results", running)
    started = children(running)
    running.kill()
    assert still_alive(started) == []
    code, text = command.run(three_heads, tmp_path / "out")
    assert code == 0, text
    assert find_errors(tmp_path / "out") == []


def test_a_participant_of_another_run_is_left_to_it(
    command: Command, three_heads: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "logs").mkdir(parents=True)
    with ParticipantLocks(out / "logs") as locks:
        assert locks.take("01")
        code, text = command.run(three_heads, out)
    assert code == 1, text
    assert "in another run" in text
    assert not (out / "sub-01").exists()
    assert outputs(out, "02", "space-orig_label-L_mask.nii.gz").exists()
    assert find_errors(out) == []


def test_two_runs_at_once_into_one_output_are_safe(
    running: subprocess.Popen[str], command: Command, three_heads: Path, tmp_path: Path
) -> None:
    wait_for("checking the image", running)
    second, text = command.run(three_heads, tmp_path / "out", "-w", str(tmp_path / "other"))
    assert second in (0, 1), text  # 0 if the first was done before the second looked
    running.communicate(timeout=300)
    assert running.returncode == 0
    assert find_errors(tmp_path / "out") == []

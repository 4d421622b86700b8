"""Array jobs of SLURM, with programs that only write down how they were called."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = ROOT / "platforms" / "slurm"
FAKES = {
    "sbatch": 'printf "%s\\n" "$*" >>"$CALLS"; wc -l <"$CALLS"',
    "squeue": 'cat "$QUEUE" 2>/dev/null || true',
    "scontrol": 'printf "scontrol %s\\n" "$*" >>"$CALLS"',
    "sleep": "exit 0",
    # fails for participants in $BAD; with $WAIT it runs until it is told to stop
    "flairseg": """printf "%q " "$@" >>"$CALLS"; echo >>"$CALLS"
        if [ -n "${WAIT:-}" ]; then trap 'exit 143' TERM; while :; do /bin/sleep 0.05; done; fi
        for bad in ${BAD:-}; do case " $* " in *" $bad "*) exit 1 ;; esac; done""",
}


class Cluster:
    """Programs on the PATH, and the environment in which scripts find them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.log = folder, folder / "calls", folder / "log"
        programs = folder / "programs"
        programs.mkdir()
        for name, text in FAKES.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self.environment = {"PATH": path, "CALLS": str(self.calls), "QUEUE": str(folder / "queue")}

    def submit(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        self.calls.unlink(missing_ok=True)
        return subprocess.run(
            [SCRIPTS / "flairseg-slurm", *words],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def submitted(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.calls.read_text().splitlines()]

    def task(self, submission: Path, *words: str, **more: str) -> subprocess.Popen[bytes]:
        self.calls.unlink(missing_ok=True)
        with self.log.open("w") as log:
            return subprocess.Popen(
                [SCRIPTS / "task", submission, *words],
                env={**self.environment, "SLURM_JOB_ID": "7", **more},
                stdout=log,
                stderr=log,
            )

    def done(self, submission: Path) -> list[str]:
        return sorted(path.stem for path in (submission / "tasks").glob("*.ok"))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    for label in range(1, 6):
        (tmp_path / "bids of us" / f"sub-{label:02d}").mkdir(parents=True)
    return Cluster(tmp_path)


@pytest.fixture
def submission(cluster: Cluster) -> Path:
    more = ["--chunk", "2", "bids of us", "out", "--", "--model", "my model"]
    run = cluster.submit(*more)
    assert run.returncode == 0, run.stderr
    (folder,) = (cluster.folder / "out" / "logs").iterdir()
    return folder


def test_one_command_submits_all_participants_and_the_group_level(
    cluster: Cluster, submission: Path
) -> None:
    array, gather = cluster.submitted()
    assert "--array=1-3" in array  # five participants, two a task
    assert "--requeue" in array
    assert array[-2:] == [str(SCRIPTS / "task"), str(submission)]
    assert "--dependency=afterany:1" in gather
    assert gather[-1] == "gather"


def test_tasks_divide_the_participants_among_them(cluster: Cluster, submission: Path) -> None:
    seen: list[str] = []
    for number in "123":
        task = cluster.task(submission, SLURM_ARRAY_TASK_ID=number)
        assert task.wait(30) == 0
        (words,) = cluster.submitted()
        assert words[0] == str(cluster.folder / "bids of us")
        assert words[words.index("--model") + 1] == "my model"
        seen += words[words.index("--participant-label") + 1 :]
    assert seen == [f"sub-{label:02d}" for label in range(1, 6)]
    assert cluster.done(submission) == ["1", "2", "3"]


def test_only_what_failed_is_submitted_again(cluster: Cluster, submission: Path) -> None:
    codes = [
        cluster.task(submission, SLURM_ARRAY_TASK_ID=number, BAD="sub-03").wait(30)
        for number in "123"
    ]
    assert codes == [0, 1, 0]
    run = cluster.submit("--retry", cluster.folder / "out")
    assert run.returncode == 0, run.stderr
    assert "--array=2" in cluster.submitted()[0]
    assert cluster.task(submission, SLURM_ARRAY_TASK_ID="2").wait(30) == 0
    assert "all 3 tasks are done" in cluster.submit("--retry", cluster.folder / "out").stdout


def test_nothing_is_submitted_twice_while_jobs_run(cluster: Cluster, submission: Path) -> None:
    (cluster.folder / "queue").write_text("1_2 running\n")
    run = cluster.submit("--retry", cluster.folder / "out")
    assert run.returncode == 64
    assert "still waiting or running" in run.stderr
    assert not cluster.calls.exists()


def wait_for_call(cluster: Cluster) -> None:
    deadline = time.monotonic() + 30
    while not cluster.calls.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_task_that_is_killed_is_not_done(cluster: Cluster, submission: Path) -> None:
    task = cluster.task(submission, SLURM_ARRAY_TASK_ID="1", WAIT="1")
    wait_for_call(cluster)
    task.send_signal(signal.SIGTERM)
    assert task.wait(30) == 143
    assert cluster.done(submission) == []
    assert len(cluster.submitted()) == 1  # and nobody asked for it to be run again


def test_a_task_whose_time_is_up_comes_back(cluster: Cluster, submission: Path) -> None:
    task = cluster.task(submission, SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_JOB_ID="5", WAIT="1")
    wait_for_call(cluster)
    task.send_signal(signal.SIGUSR1)
    assert task.wait(30) != 0
    assert cluster.submitted()[-1] == ["scontrol", "requeue", "5_1"]
    assert cluster.done(submission) == []


def test_the_gathering_job_names_what_is_missing(cluster: Cluster, submission: Path) -> None:
    for number in "13":
        assert cluster.task(submission, SLURM_ARRAY_TASK_ID=number).wait(30) == 0
    assert cluster.task(submission, "gather").wait(30) == 1
    assert "task 2 is not done" in cluster.log.read_text()
    assert cluster.submitted()[0][2:] == ["group"]


def test_folds_follow_after_the_cases_are_prepared(cluster: Cluster) -> None:
    options = ["--mode", "crossval", "-d", "manual=/labels"]
    assert cluster.submit("--folds", "3", "bids of us", "out", "--", *options).returncode == 0
    cases, folds, gather = cluster.submitted()
    assert cases[-1] == "cases"
    assert {"--dependency=afterok:1", "--array=1-3"} <= set(folds)
    assert "--dependency=afterany:2" in gather
    (submission,) = (cluster.folder / "out" / "logs").iterdir()
    assert cluster.task(submission, "cases").wait(30) == 0
    assert "--dry-run" in cluster.submitted()[0]
    assert cluster.task(submission, SLURM_ARRAY_TASK_ID="2").wait(30) == 0
    words = cluster.submitted()[0]
    assert words[words.index("--folds") :] == ["--folds", "3", "--fold", "2"]


def test_a_folder_without_participants_is_refused(cluster: Cluster) -> None:
    run = cluster.submit(cluster.folder / "programs", "out")
    assert run.returncode == 64
    assert "expected folders sub-*" in run.stderr

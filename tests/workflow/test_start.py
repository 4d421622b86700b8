"""What a run needs before its first step: folders, locks, record, plugin, models."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from bids_flairseg.bids import validate
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.config import DatasetConfig, ResourceConfig, RunConfig, SegmentConfig
from bids_flairseg.errors import InvalidBidsError, NothingToDoError, OutputError, UsageError
from bids_flairseg.signals import Interrupted, interruptible
from bids_flairseg.workflow import folders, start
from bids_flairseg.workflow.environment import environment, worker_variables
from bids_flairseg.workflow.execute import choose_executor
from bids_flairseg.workflow.locks import ParticipantLocks
from bids_flairseg.workflow.record import start_record
from bids_flairseg.workflow.settings import memory_gb
from tests.conftest import ROOT


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(
        dataset=DatasetConfig(tmp_path / "bids", tmp_path / "out", tmp_path / "work"),
        resources=ResourceConfig(nprocs=3, omp_nthreads=2, memory_mb=4000),
        segment=SegmentConfig(model=tmp_path, anatomy=tmp_path),
        random_seed=7,
    )


def test_named_work_folder_is_made_and_kept(tmp_path: Path) -> None:
    named = tmp_path / "deep" / "work"
    with folders.work_folder(named, tmp_path / "bids", tmp_path / "out") as folder:
        assert folder == named
    assert named.is_dir()


def test_work_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError),
        folders.work_folder(tmp_path / "file" / "work", tmp_path, tmp_path),
    ):
        pass


def test_default_work_folder_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with folders.work_folder(None, tmp_path / "bids", tmp_path / "out") as folder:
        assert folder == tmp_path / "work"


def test_work_folder_stays_out_of_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with folders.work_folder(None, tmp_path, tmp_path / "out") as folder:
        assert not folder.is_relative_to(tmp_path / "work")
        assert folder.is_dir()
    assert not folder.exists()


def test_what_a_training_needs_to_go_on_outlives_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bids, out = tmp_path, tmp_path / "out"  # so ./work lies within the dataset
    for _ in range(2):
        with folders.work_folder(None, bids, out, lasting=True) as folder:
            assert folder == out / folders.KEPT
            (folder / "state").touch()
    assert (out / folders.KEPT / "state").exists()
    assert folders.KEPT in load_spec().bidsignore
    (tmp_path / "file").touch()
    with pytest.raises(OutputError), folders.work_folder(None, bids, tmp_path / "file" / "x",
                                                         lasting=True):  # fmt: skip
        pass


def test_a_training_in_a_container_does_not_keep_its_state_in_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders, "goes_with_container", lambda folder: folder == tmp_path)
    places = None, tmp_path / "bids", tmp_path / "out"
    with folders.work_folder(*places, lasting=True) as folder:
        assert folder == tmp_path / "out" / folders.KEPT
    with folders.work_folder(tmp_path / "named", *places[1:], lasting=True) as folder:
        assert folder == tmp_path / "named"
    with folders.work_folder(*places) as folder:
        assert folder == tmp_path / "work"


def test_a_mounted_folder_outlives_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLAIRSEG_CONTAINER_TAG", raising=False)
    assert not folders.goes_with_container(tmp_path, tmp_path)
    with monkeypatch.context() as image:
        image.setenv("FLAIRSEG_CONTAINER_TAG", "flairseg")
        assert folders.goes_with_container(tmp_path, tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert folders.goes_with_container(tmp_path, tmp_path)
    assert not folders.goes_with_container(Path("/proc"), tmp_path)


def test_error_within_the_work_folder_passes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(OutputError, match="mine"),
        folders.work_folder(None, tmp_path / "bids", tmp_path / "out"),
    ):
        raise OutputError("mine")


def test_another_process_cannot_take_a_participant_that_is_taken(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom bids_flairseg.workflow.locks import ParticipantLocks\n"
        f"with ParticipantLocks(pathlib.Path({str(tmp_path)!r})) as locks:\n"
        "    print(locks.take('01'), locks.take('02'))\n"
    )
    command = [sys.executable, "-c", code]
    with ParticipantLocks(tmp_path) as locks:
        assert locks.take("01")
        assert locks.taken == {"01"}
        assert subprocess.check_output(command, text=True, cwd=ROOT).split() == ["False", "True"]
    assert subprocess.check_output(command, text=True, cwd=ROOT).split() == ["True", "True"]


def test_record_holds_what_was_asked_for_and_grows(config: RunConfig) -> None:
    asked = {"random_seed": 7, "derivatives": ["masks=/data/masks"]}
    record = start_record(config, asked)
    record.save(models={"lesion": {"sha256": "abc"}})
    record.save(result={"exit_code": 0})
    content = tomllib.loads((record.folder / "flairseg.toml").read_text())
    assert content["arguments"] == asked
    assert content["models"]["lesion"]["sha256"] == "abc"
    assert content["result"]["exit_code"] == 0
    assert content["run"]["id"] == record.run_id == record.folder.name
    assert start_record(config, asked).folder != record.folder


def test_worker_threads_and_caches(config: RunConfig, tmp_path: Path) -> None:
    variables = worker_variables(config.resources, tmp_path / "cache")
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["MPLCONFIGDIR"].startswith(str(tmp_path))
    assert "CUDA_VISIBLE_DEVICES" not in variables
    cpu = dataclasses.replace(config.resources, device="cpu")
    assert worker_variables(cpu, tmp_path)["CUDA_VISIBLE_DEVICES"] == "-1"


def test_plugins_for_clusters_find_the_name_that_they_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    assert worker_variables(ResourceConfig(), tmp_path)["LOGNAME"] == str(os.getuid())
    monkeypatch.setenv("USER", "ada")
    assert worker_variables(ResourceConfig(), tmp_path)["LOGNAME"] == "ada"


def test_environment_is_put_back() -> None:
    before = dict(os.environ)
    with environment({"FLAIRSEG_A": "1", "PATH": "x"}):
        assert os.environ["FLAIRSEG_A"] == "1"
    assert dict(os.environ) == before


def test_multiproc_within_the_limits_is_the_default(config: RunConfig) -> None:
    executor = choose_executor(config)
    assert executor.is_crew
    assert executor.processes == executor.arguments["n_procs"] == 3
    assert executor.arguments["memory_gb"] == memory_gb(config.resources) == 4.0


@pytest.mark.parametrize(
    "text",
    ["plugin: Linear\nplugin_args: {}\n", json.dumps({"plugin": "Linear"})],
    ids=["yaml", "json"],
)
def test_plugin_file(config: RunConfig, tmp_path: Path, text: str) -> None:
    file = tmp_path / "plugin"
    file.write_text(text)
    resources = dataclasses.replace(config.resources, plugin_file=file)
    executor = choose_executor(dataclasses.replace(config, resources=resources))
    assert (executor.plugin, executor.is_crew) == ("Linear", False)


def test_plugin_file_may_change_one_limit(config: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "plugin.yml"
    file.write_text("plugin: MultiProc\nplugin_args: {n_procs: 1}\n")
    resources = dataclasses.replace(config.resources, plugin_file=file)
    executor = choose_executor(dataclasses.replace(config, resources=resources))
    assert executor.processes == 1
    assert executor.arguments["memory_gb"] == 4.0


@pytest.mark.parametrize(
    "text", ["[1, 2]", "plugin: [", "plugin: Imaginary", "plugin: Linear\nplugin_args: 3"]
)
def test_plugin_file_without_sense(config: RunConfig, tmp_path: Path, text: str) -> None:
    file = tmp_path / "plugin.yml"
    file.write_text(text)
    resources = dataclasses.replace(config.resources, plugin_file=file)
    with pytest.raises(UsageError, match=r"plugin\.yml"):
        choose_executor(dataclasses.replace(config, resources=resources))


def test_invalid_dataset_comes_before_a_lack_of_scans(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(dataset: DatasetConfig) -> None:
        raise NothingToDoError("none")

    def invalid(*_: object) -> None:
        raise InvalidBidsError("bad")

    monkeypatch.setattr(start, "find_scans", nothing)
    monkeypatch.setattr(start, "validate_dataset", lambda *_: None)
    with pytest.raises(NothingToDoError):
        start.find_valid_scans(config.dataset)
    monkeypatch.setattr(start, "validate_dataset", invalid)
    with pytest.raises(InvalidBidsError):
        start.find_valid_scans(config.dataset)


def test_nobody_waits_for_the_validator_when_no_participant_is_there(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("01", "02"):
        (config.dataset.bids_dir / f"sub-{label}").mkdir(parents=True)
    asked: list[DatasetConfig] = []
    monkeypatch.setattr(start, "validate_dataset", lambda dataset, _: asked.append(dataset))
    monkeypatch.setattr(start, "find_scans", lambda _: [])
    wrong = dataclasses.replace(config.dataset, participant_labels=("012", "x"))
    message = r"sub-012 \(the nearest.*sub-0[12]\), sub-x\. Found"
    with pytest.raises(NothingToDoError, match=message):
        start.find_valid_scans(wrong)
    assert not asked
    half = dataclasses.replace(wrong, participant_labels=("sub-02", "x"))
    start.find_valid_scans(half)
    assert asked == [half]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("search_s", [0.0, 60.0], ids=["validating", "searching"])
def test_a_signal_does_not_wait_for_the_validator(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, search_s: float
) -> None:
    (config.dataset.bids_dir / "sub-01").mkdir(parents=True)
    pid_file = config.dataset.bids_dir.parent / "pid"
    program = config.dataset.bids_dir.parent / "validator"
    program.write_text(f"#!/bin/sh\necho $$ > {pid_file}.part\nmv {pid_file}.part {pid_file}\n"
                       "exec sleep 60\n")  # fmt: skip
    program.chmod(0o755)
    monkeypatch.setattr(validate, "_find_program", lambda: str(program))
    monkeypatch.setattr(start, "find_scans", lambda _: time.sleep(search_s))
    sent = []

    def interrupt() -> None:
        while not pid_file.exists():
            time.sleep(0.01)
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted), interruptible():
        start.find_valid_scans(config.dataset)
    assert time.monotonic() - sent[0] < 1.0
    assert not psutil.pid_exists(int(pid_file.read_text()))
    assert not list(config.dataset.work_dir.glob("validate-*"))

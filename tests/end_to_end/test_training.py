"""The command with --mode finetune and crossval on tiny heads: results, resume, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.config import DatasetConfig
from bids_flairseg.model.bundle import bundle_digest
from bids_flairseg.workflow.scan import run_folder
from tests.conftest import ROOT
from tests.end_to_end.heads import draw_head, write_dataset

pytestmark = pytest.mark.slow

QUICK = (
    "--recipe", "quick", "--set", "patch=16", "epochs=2", "steps_per_epoch=3", "batch=2",
    "warm_up_steps=1",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """The command with the tiny networks on one dataset."""

    bundles: Path
    folder: Path

    def words(self, mode: str, *more: str, out: str = "out") -> list[str]:
        models = ["--model", self.bundles / "lesion", "--anatomy-model", self.bundles / "anatomy"]
        own = ["-w", self.folder / "work", "--nprocs", "2", "--device", "cpu", "--mode", mode]
        words = [sys.executable, "-m", "bids_flairseg", self.folder / "bids", self.folder / out]
        return [str(word) for word in [*words, "participant", *models, *own]] + list(more)

    def start(self, mode: str, *more: str, out: str = "out") -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(mode, *more, out=out),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def run(self, mode: str, *more: str, out: str = "out") -> tuple[int, str]:
        process = self.start(mode, *more, out=out)
        text, _ = process.communicate(timeout=600)
        return process.returncode, text

    @property
    def labels(self) -> tuple[str, str]:
        return "-d", f"manual={self.folder / 'manual'}"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("training")
    subprocess.run(
        [sys.executable, "-m", "tests.tiny", str(folder / "bundles")],
        check=True,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    heads = {str(number): _head(number) for number in (1, 2, 3)}
    write_dataset(folder / "bids", heads)
    for label, head in heads.items():
        mask = np.asarray(head.dataobj) > 150
        path = folder / "manual" / f"sub-{label}" / "anat" / f"sub-{label}_label-L_mask.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), head.affine), path)
    return Command(folder / "bundles", folder)


def _head(number: int) -> nib.Nifti1Image:
    head = draw_head(("RAS", "LPS", "PSR")[number - 1], 0.0, lesion=True)
    noise = np.random.default_rng(number).normal(0, 1, head.shape).astype(np.float32)
    data = np.clip(np.asarray(head.dataobj) + noise, 0, None)
    return nib.Nifti1Image(data, head.affine, head.header)


def test_a_dry_run_prints_the_table_and_trains_nothing(command: Command) -> None:
    code, text = command.run("finetune", *command.labels, "--dry-run", out="dry")
    assert code == 0, text
    assert "3 cases of 3 participants, 3 with lesions" in text
    assert not (command.folder / "dry" / "models").exists()
    (table,) = (command.folder / "dry" / "logs").glob("*/cases.tsv")
    assert len(table.read_text().splitlines()) == 4


def test_fine_tuning_gives_a_bundle_and_a_second_call_has_nothing_to_do(command: Command) -> None:
    arguments = (*command.labels, *QUICK, "--bundle-name", "mine")
    code, text = command.run("finetune", *arguments, out="tuned")
    assert code == 0, text
    bundle = command.folder / "tuned" / "models" / "mine"
    assert {"config.json", "model.json", "model.weights.h5"} <= {p.name for p in bundle.iterdir()}
    assert "parameters trained" in text
    assert (bundle / "training" / "history.tsv").is_file()
    code, text = command.run("finetune", *arguments, out="tuned")
    assert code == 0, text
    assert "done already" in text
    records = sorted((command.folder / "tuned" / "logs").glob("*/flairseg.toml"))
    results = [tomllib.loads(path.read_text())["result"] for path in records]
    assert [result["exit_code"] for result in results] == [0, 0]
    states = [(each["name"], each["state"]) for result in results for each in result["trainings"]]
    assert states == [("mine", "trained"), ("mine", "unchanged")]
    assert results[0]["trainings"][0]["trained_parameters"] > 0


def test_cross_validation_segments_each_case_once_and_folds_are_gathered(command: Command) -> None:
    arguments = (*command.labels, *QUICK, "--layers", "last")
    code, text = command.run("crossval", *arguments, "--fold", "2", "--clean-workdir", out="cv")
    assert code == 0, text
    assert "2 of 3 cases are still to come" in text
    assert "prepared cases stay for other folds" in text
    folder = command.folder
    dataset = DatasetConfig(folder / "bids", folder / "cv", folder / "work")
    assert list(run_folder(dataset).rglob("*.npy"))
    code, text = command.run("crossval", *arguments, "--clean-workdir", out="cv")
    assert code == 0, text
    assert "fold2of3: done already" in text
    assert "all cases are there; compare with: flairseg" in text
    out = command.folder / "cv"
    rows = read_tsv(out / "crossval.tsv").rows
    (name,) = {row["model"] for row in rows} - {"base"}
    assert name.startswith("tiny-lesion-finetuned-last-quick-batch_2-")
    for row in rows:
        target, model = "crossval-base", command.bundles / "lesion"
        if row["model"] == name:
            target, model = f"crossval-{name}", out / "models" / f"{name}-fold{row['fold']}of3"
        (mask,) = (out / target / row["case"] / "anat").glob("*_label-L_mask.json")
        assert json.loads(mask.read_text())["Model"]["SHA256"] == bundle_digest(model)
    models = sorted((row["model"], row["fold"]) for row in rows)
    assert models == [(each, str(fold)) for each in ("base", name) for fold in (1, 2, 3)]
    assert all(0.5 < float(row["dice"]) <= 1 for row in rows)
    assert not list(run_folder(dataset).rglob("*.np[yz]"))


def test_a_signal_writes_the_state_and_the_same_command_goes_on(command: Command) -> None:
    arguments = (*command.labels, *QUICK, "epochs=4000", "--bundle-name", "long")
    process = command.start("finetune", *arguments)
    state = _wait_for(command.folder / "work", "long-*/state.npz")
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 143, text
    assert state.stat().st_size > 0
    process = command.start("finetune", *arguments)
    try:
        log = state.parent / "training.log"
        deadline = time.monotonic() + 120
        while "going on after epoch" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        process.kill()
        process.communicate()


def _wait_for(folder: Path, pattern: str) -> Path:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for path in folder.rglob(pattern):
            return path
        time.sleep(0.5)
    raise AssertionError(f"{pattern} never came")


def test_everything_fatal_is_named_at_once(command: Command, tmp_path: Path) -> None:
    masks = tmp_path / "bad"
    for label, value in (("1", 1), ("2", 2)):
        path = masks / f"sub-{label}" / "anat" / f"sub-{label}_label-L_mask.nii.gz"
        path.parent.mkdir(parents=True)
        data = np.zeros((5, 5, 5), np.uint8)
        data[1] = value
        data[2] = 3 - value
        nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    code, text = command.run("finetune", "-d", f"bad={masks}", *QUICK, out="bad")
    assert code == 65, text
    assert "reasons: 2" in text
    assert text.count("--label-value") == 2


@pytest.mark.parametrize(
    ("mode", "more", "code", "message"),
    [
        ("finetune", (), 66, "-d manual=PATH"),
        ("crossval", ("--participant-label", "1"), 65, "at least two participants"),
        ("crossval", ("--folds", "9"), 65, "Take --folds 3"),
        ("finetune", ("--layers", "some"), 64, "invalid choice"),
        ("finetune", ("--label-value", "7"), 65, "no lesion of value 7"),
        ("finetune", ("--set", "synthetic_share=0.5"), 64, "Add --synthetic DIR"),
        ("finetune", ("--set", "epoch=3"), 64, "The nearest is epochs"),
        ("finetune", ("--set", "epochs=many"), 64, "a whole number"),
        ("train", ("--layers", "last"), 64, "all layers have to be trained"),
    ],
)
def test_refusals(
    command: Command, mode: str, more: tuple[str, ...], code: int, message: str
) -> None:
    labels = () if message == "-d manual=PATH" else command.labels
    found, text = command.run(mode, *labels, *more, out="refused")
    assert found == code, text
    assert message in " ".join(text.split())


def test_a_bundle_for_another_purpose_is_refused(command: Command) -> None:
    more = ("--model", str(command.bundles / "anatomy"))
    code, text = command.run("finetune", *command.labels, *more, out="refused")
    assert code == 65, text
    assert "mixed up" in text

"""The command itself on tiny heads with tiny networks: results, failures, resume, signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from bids_flairseg.bids.validate import find_errors
from bids_flairseg.measure.agreement import dice
from bids_flairseg.model.bundle import bundled
from bids_flairseg.workflow.locks import ParticipantLocks
from tests.conftest import ROOT, rotation, write_json

pytestmark = pytest.mark.slow

ZOOM_MM = 4.0
LESION_MM, LESION_RADIUS_MM = (28.0, 22.0, 18.0), 12.0
#: Heads by participant: order and direction of the axes, tilt in degrees, with a lesion or not.
HEADS = {
    "ras": ("RAS", 0.0, True),
    "lps": ("LPS", 0.0, True),
    "psr": ("PSR", 12.0, True),
    "none": ("RAS", 0.0, False),
}


def draw_head(axes: str, tilt: float, *, lesion: bool) -> nib.Nifti1Image:
    """Draw a brain in faint noise; its lesion lies to the right, in front and above."""
    shape = (40, 46, 36)
    affine = np.eye(4)
    affine[:3, :3] = rotation(tilt, 0) * ZOOM_MM
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]
    rng = np.random.default_rng(0)
    data = rng.uniform(0, 6, shape).astype(np.float32)
    brain = ((world / (56.0, 68.0, 54.0)) ** 2).sum(axis=-1) < 1
    data[brain] = 100 + rng.normal(0, 3, int(brain.sum()))
    if lesion:
        data[((world - LESION_MM) ** 2).sum(axis=-1) < LESION_RADIUS_MM**2] = 170
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    image: nib.Nifti1Image = nib.Nifti1Image(data, affine).as_reoriented(turn)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(image.affine, code=2)
    image.set_qform(image.affine, code=1)
    return image


def write_dataset(root: Path, heads: Mapping[str, nib.Nifti1Image]) -> Path:
    """Write a valid BIDS dataset of one FLAIR per participant."""
    write_json(
        root / "dataset_description.json",
        {"Name": "Tiny", "BIDSVersion": "1.10.0", "DatasetType": "raw"},
    )
    (root / "README").write_text("Heads drawn for a test. They show nobody.\n")
    for label, image in heads.items():
        stem = root / f"sub-{label}" / "anat" / f"sub-{label}_FLAIR"
        write_json(stem.with_suffix(".json"), {"MagneticFieldStrength": 3})
        nib.save(image, stem.with_suffix(".nii.gz"))
    return root


@dataclass(frozen=True)
class Command:
    """The command with the tiny networks, in a process of its own."""

    bundles: Path
    folder: Path

    def arguments(self, bids: Path, out: Path, *more: str) -> list[str]:
        models = ["--model", self.bundles / "lesion", "--anatomy-model", self.bundles / "anatomy"]
        work = ["-w", self.folder / "work", "--nprocs", "2", "--device", "cpu"]
        words = [sys.executable, "-m", "bids_flairseg", bids, out, "participant", *models, *work]
        return [str(word) for word in words] + list(more)

    def start(self, bids: Path, out: Path, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.arguments(bids, out, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def run(self, bids: Path, out: Path, *more: str) -> tuple[int, str]:
        process = self.start(bids, out, *more)
        text, _ = process.communicate(timeout=600)
        return process.returncode, text


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
def finished(
    bundles: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Command, Path, Path, str]:
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


def load(path: Path) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(path)


def outputs(out: Path, label: str, ending: str) -> Path:
    return out / f"sub-{label}" / "anat" / f"sub-{label}_{ending}"


Finished = tuple[Command, Path, Path, str]


def test_outputs_are_valid_bids(finished: Finished) -> None:
    assert find_errors(finished[2]) == []


@pytest.mark.parametrize("label", HEADS)
def test_images_lie_where_their_flair_does(finished: Finished, label: str) -> None:
    _, bids, out, _ = finished
    flair = load(bids / f"sub-{label}" / "anat" / f"sub-{label}_FLAIR.nii.gz")
    for kind in ("label-L_mask", "label-L_probseg", "seg-lesions_dseg", "desc-brain_mask"):
        image = load(outputs(out, label, f"space-orig_{kind}.nii.gz"))
        assert image.shape == flair.shape
        for field in ("qform_code", "sform_code", "xyzt_units", "pixdim", "quatern_b", "srow_x"):
            assert np.array_equal(image.header[field], flair.header[field]), field


@pytest.mark.parametrize("label", [label for label, head in HEADS.items() if head[2]])
def test_the_lesion_is_found_where_it_was_drawn(finished: Finished, label: str) -> None:
    mask = load(outputs(finished[2], label, "space-orig_label-L_mask.nii.gz"))
    voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
    centre = nib.affines.apply_affine(mask.affine, voxels.mean(axis=0))
    assert np.allclose(centre, LESION_MM, atol=1.0)
    truth = 4 / 3 * np.pi * LESION_RADIUS_MM**3
    assert len(voxels) * ZOOM_MM**3 == pytest.approx(truth, rel=0.1)


def test_tables_agree_with_the_mask(finished: Finished) -> None:
    out = finished[2]
    mask = np.asarray(load(outputs(out, "psr", "space-orig_label-L_mask.nii.gz")).dataobj)
    header, row = outputs(out, "psr", "label-L_stats.tsv").read_text().splitlines()
    stats = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    volume = int(mask.sum()) * ZOOM_MM**3 / 1000
    assert float(stats["lesion_volume_ml"]) == pytest.approx(volume, abs=1e-3)
    table = outputs(out, "psr", "space-orig_seg-lesions_dseg.tsv").read_text().splitlines()
    assert len(table) == 1 + int(stats["lesion_count"]) == 2


def test_a_scan_without_lesions_is_a_result(finished: Finished) -> None:
    out = finished[2]
    mask = load(outputs(out, "none", "space-orig_label-L_mask.nii.gz"))
    assert not np.asarray(mask.dataobj).any()
    assert "sub-none" in (out / "sub-none.html").read_text()


def test_a_bad_file_fails_alone_and_says_why(finished: Finished) -> None:
    _, _, out, text = finished
    assert "sub-bad_FLAIR.nii.gz: expected a NIfTI image, found text" in text
    assert "Traceback" not in text
    assert not (out / "sub-bad").exists()
    assert "expected a NIfTI image, found text" in (out / "sub-bad.html").read_text()
    (crash,) = (out / "logs").glob("crash-*.txt")
    assert crash.name in (out / "sub-bad.html").read_text()
    assert "Traceback" in crash.read_text()


def test_nothing_unfinished_stays(finished: Finished) -> None:
    left = [path.name for path in finished[2].rglob(".*") if path.is_file()]
    assert sorted(left) == [".bidsignore", ".participants.lock"]


def test_the_run_is_recorded(finished: Finished) -> None:
    command, _, out, _ = finished
    record = next((out / "logs").glob("*/flairseg.toml"))
    content = tomllib.loads(record.read_text())
    digest = json.loads((command.bundles / "lesion" / "model.json").read_text())["sha256"]
    assert content["models"]["lesion"]["sha256"] == digest
    assert content["result"] == {"exit_code": 1, "done": 4, "failed": 1}
    assert content["arguments"]["random_seed"] == 0
    assert {"flairseg", "tensorflow", "nipype"} <= content["versions"].keys()


def test_second_run_does_only_what_is_missing(finished: Finished) -> None:
    command, bids, out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "sub-ras" / "anat").iterdir()}
    outputs(out, "lps", "space-orig_desc-brain_mask.nii.gz").unlink()
    code, text = command.run(bids, out, "--participant-label", "ras", "lps", "none")
    assert code == 0, text
    assert "2 are done already" in text
    assert outputs(out, "lps", "space-orig_desc-brain_mask.nii.gz").exists()
    assert before == {p: p.stat().st_mtime_ns for p in (out / "sub-ras" / "anat").iterdir()}


def test_another_threshold_does_the_scan_again(finished: Finished) -> None:
    command, bids, out, _ = finished
    path = outputs(out, "lps", "label-L_stats.tsv")
    code, text = command.run(bids, out, "--participant-label", "lps", "--threshold", "0.9")
    assert code == 0, text
    assert "\t0.9\t" in path.read_text()


def wait_for(text: str, process: subprocess.Popen[str]) -> str:
    """Read a process's output up to some words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{seen}")


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def still_alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that do not end within 20 s; one that only waits to be reaped has ended."""
    deadline = time.monotonic() + 20
    alive = processes
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    return alive


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


@pytest.mark.parametrize("plugin", ["MultiProc", "Linear"])
def test_parent_loads_no_tensorflow_unless_told_to_work_itself(
    command: Command, three_heads: Path, tmp_path: Path, plugin: str
) -> None:
    file = tmp_path / "plugin.yml"
    file.write_text(f"plugin: {plugin}\nplugin_args: {{}}\n")
    arguments = command.arguments(
        three_heads, tmp_path / "out", "--participant-label", "01", "--nipype-plugin-file",
        str(file), "--write-graph", "--nprocs", "1",
    )[3:]  # fmt: skip
    code = (
        "import sys\nfrom bids_flairseg.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"assert ('tensorflow' in sys.modules) == {plugin == 'Linear'}\n"
    )
    script = tmp_path / "script.py"
    script.write_text(f"if __name__ == '__main__':\n    {code.replace(chr(10), chr(10) + '    ')}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "work").rglob("graph.dot"))


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


@pytest.fixture(scope="session")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run the command as a user would, shipped models and all, on two real scans."""
    for name in ("lesion", "anatomy"):
        assert (bundled(name) / "model.weights.h5").is_file(), f"no bundle {name}"
    folder = tmp_path_factory.mktemp("real")
    bids = shared_data / "openms-bids"
    words = [
        sys.executable, "-m", "bids_flairseg", bids, folder / "out", "participant", "-w",
        folder / "work", "--participant-label", "cs19", "long01", "--bids-filter-file",
        folder / "filter.json",
    ]  # fmt: skip
    write_json(folder / "filter.json", {"flair": {"session": [None, "1"]}})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [str(word) for word in words]
    subprocess.run(arguments, check=True, cwd=folder, env=environment, timeout=1200)
    return bids / "derivatives" / "manual", folder / "out"


def overlap(found: Path, reference: Path) -> float:
    """Return the Dice of two masks on the same grid."""
    images = load(found), load(reference)
    assert np.allclose(images[0].affine, images[1].affine, atol=1e-3)
    first, second = (np.asarray(image.dataobj) > 0 for image in images)
    return dice(first, second)


def test_lesions_of_a_stripped_scan(real: tuple[Path, Path]) -> None:
    references, out = real
    found = outputs(out, "cs19", "space-orig_label-L_mask.nii.gz")
    reference = references / "sub-cs19" / "anat" / "sub-cs19_label-lesion_mask.nii.gz"
    assert overlap(found, reference) >= 0.5  # the shipped model reaches 0.57; aim 0.65
    sidecar = json.loads(outputs(out, "cs19", "space-orig_desc-brain_mask.json").read_text())
    assert "skull-stripped" in sidecar["Method"]


def test_brain_of_a_whole_head(real: tuple[Path, Path]) -> None:
    references, out = real
    folder = Path("sub-long01", "ses-1", "anat")
    found = out / folder / "sub-long01_ses-1_space-orig_desc-brain_mask.nii.gz"
    reference = references / folder / "sub-long01_ses-1_desc-brain_mask.nii.gz"
    assert overlap(found, reference) >= 0.94


def test_real_outputs_are_valid_bids(real: tuple[Path, Path]) -> None:
    assert find_errors(real[1]) == []

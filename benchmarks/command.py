"""The whole command: first scan, further scans, memory, and where the time goes.

Every run starts with an empty output and work folder. Memory is the sum over the command and
all its children, shared pages counted once (PSS), sampled ten times a second.

    python benchmarks/command.py BIDS [--participants 01 02 ...] [--repeats 3] [--cube]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from nibabel.processing import resample_from_to

_LINE = re.compile(r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)\S*\s+(?:\w+\s+)?(?P<text>.*)")


@dataclass(frozen=True)
class Run:
    """What one call of the command took.

    Parameters
    ----------
    seconds : float
        From start to exit.
    peak_mb : float
        Largest sum of memory.
    steps : dict of str to float
        Seconds by what the log says was going on.
    """

    seconds: float
    peak_mb: float
    steps: dict[str, float]


def run(bids: Path, participants: Sequence[str]) -> Run:
    """Run the participant level on some participants.

    Parameters
    ----------
    bids : Path
        Dataset.
    participants : sequence of str
        Labels.

    Returns
    -------
    run : Run
        Time, memory, steps.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        words = [sys.executable, "-m", "bids_flairseg", str(bids), str(output), "participant"]
        words += ["-w", f"{folder}/work", "--participant-label", *participants]
        start, peak = time.perf_counter(), 0.0
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as call:
            while call.poll() is None:
                peak = max(peak, memory_mb(call.pid))
                time.sleep(0.1)
        seconds = time.perf_counter() - start
        if call.returncode:
            raise SystemExit(f"the command ended with {call.returncode}")
        [log] = output.glob("logs/*/flairseg.log")
        return Run(seconds, peak, read_steps(log))


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its children in MB, shared pages once."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total / 1e6


def read_steps(log: Path) -> dict[str, float]:
    """Return the seconds between the lines of a run's log, by the earlier line's text."""
    moments = []
    for line in log.read_text(encoding="utf-8").splitlines():
        if found := _LINE.search(line):
            hours, minutes, seconds = (int(found[part]) for part in ("h", "m", "s"))
            moments.append((3600 * hours + 60 * minutes + seconds, found["text"][:60]))
    steps: dict[str, float] = {}
    for (start, text), (stop, _) in itertools.pairwise(moments):
        steps[text] = steps.get(text, 0) + (stop - start) % 86400
    return steps


def make_cube(bids: Path, participant: str, root: Path) -> Path:
    """Write a dataset with one scan of a participant on 256 x 256 x 256 voxels of 1 mm."""
    source = min(bids.glob(f"sub-{participant}/**/*_FLAIR.nii.gz"))
    image = nib.load(source)
    affine = np.eye(4)
    centre = image.affine @ [*((np.array(image.shape) - 1) / 2), 1]
    affine[:3, 3] = centre[:3] - 127.5
    cube = resample_from_to(image, ((256, 256, 256), affine), order=1)
    anat = root / "sub-cube" / "anat"
    anat.mkdir(parents=True)
    nib.save(
        nib.Nifti1Image(np.asarray(cube.dataobj, np.int16), affine), anat / "sub-cube_FLAIR.nii.gz"
    )
    (anat / "sub-cube_FLAIR.json").write_text("{}")
    description = {"Name": "cube", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("One scan resampled to a cube, to measure memory.\n")
    return root


def time_help() -> float:
    """Return the seconds that ``--help`` takes."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bids_flairseg", "--help"], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def tell(what: str, values: Sequence[float], unit: str) -> None:
    """Print minimum, median and maximum."""
    low, high = min(values), max(values)
    print(f"{what:<44}{low:9.2f}{statistics.median(values):9.2f}{high:9.2f} {unit}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("--participants", nargs="+", default=[], help="default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cube", action="store_true", help="also 256^3 voxels of the first one")
    chosen = parser.parse_args()
    names = chosen.participants or sorted(p.name[4:] for p in chosen.bids.glob("sub-*"))
    scans = [len(list(chosen.bids.glob(f"sub-{name}/**/*_FLAIR.nii.gz"))) for name in names]
    print(f"{os.cpu_count()} processors, {psutil.virtual_memory().total / 1e9:.0f} GB memory")
    print(f"{'':<44}{'min':>9}{'median':>9}{'max':>9}")
    tell("--help", [time_help() for _ in range(chosen.repeats)], "s")
    first = [run(chosen.bids, names[:1]) for _ in range(chosen.repeats)]
    tell(f"{scans[0]} scan(s) of sub-{names[0]}", [one.seconds for one in first], "s")
    tell("  memory", [one.peak_mb for one in first], "MB")
    if len(names) > 1:
        everything = [run(chosen.bids, names) for _ in range(chosen.repeats)]
        more = sum(scans) - scans[0]
        each = [(b.seconds - a.seconds) / more for a, b in zip(first, everything, strict=True)]
        tell(f"each of {more} further scans", each, "s")
        tell("  memory", [one.peak_mb for one in everything], "MB")
    if chosen.cube:
        with tempfile.TemporaryDirectory() as folder:
            cube = make_cube(chosen.bids, names[0], Path(folder) / "bids")
            big = [run(cube, ["cube"]) for _ in range(chosen.repeats)]
        tell("256^3 voxels of 1 mm", [one.seconds for one in big], "s")
        tell("  memory", [one.peak_mb for one in big], "MB")
    print("\nwhere the time of the first goes (whole seconds of the log)")
    for text, seconds in first[-1].steps.items():
        print(f"{seconds:6.0f} s  {text}")


if __name__ == "__main__":
    main()

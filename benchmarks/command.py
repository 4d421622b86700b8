"""The whole command: first scan, further scans, nothing to do, memory, and where the time goes.

The calls take turns, so that what else the machine does meets all of them, and ratios are made
within a turn. All but the second call start with an empty output and work folder. Memory is the
sum over the command and its children, shared pages counted once (PSS), sampled up to five times
a second; the sampling takes at most a tenth of a processor.

    python benchmarks/command.py BIDS [--participants 01 02 ...] [--repeats 3] [--cubes 2]

On two free processors the defaults take about six minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from nibabel.processing import resample_from_to
from nipype.pipeline.engine.utils import load_resultfile

from bids_flairseg.workflow.progress import describe_step

START, LOAD = "start: options, index, validator, workers", "waiting for the networks"
BETWEEN, END = "between the steps", "end: record, summary"
SEGMENT = describe_step("segment")
EDGE = 256
#: What is aimed at on two processors of a common machine, in s and MB; and what is accepted.
AIMS: Mapping[str, float] = {"--help": 1, "first": 40, "further": 15, "cube memory": 6000}
LIMITS: Mapping[str, float] = {**AIMS, "first": 90, "further": math.inf}


@dataclass(frozen=True)
class Run:
    """What one call of the command took.

    Parameters
    ----------
    seconds : float
        From start to exit.
    peak_mb : float
        Largest sum of memory.
    steps : list of dict of str to float
        What `read_steps` gives; empty if the work folder was there before.
    """

    seconds: float
    peak_mb: float
    steps: list[dict[str, float]]


def run(bids: Path, participants: Sequence[str], folder: Path) -> Run:
    """Run the participant level on some participants.

    Parameters
    ----------
    bids : Path
        Dataset.
    participants : sequence of str
        Labels.
    folder : Path
        For output and work folder; what is there is used.

    Returns
    -------
    run : Run
        Time, memory, steps.
    """
    output, console = folder / "out", folder / "console.txt"
    words = [sys.executable, "-m", "bids_flairseg", str(bids), str(output), "participant"]
    words += ["-w", str(folder / "work"), "--participant-label", *participants]
    is_first = not (folder / "work").exists()
    began, start, peak = time.time(), time.perf_counter(), 0.0
    with (
        console.open("w") as stream,
        subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT) as call,
    ):
        while call.poll() is None:
            looked = time.perf_counter()
            peak = max(peak, memory_mb(call.pid))
            pause = max(0.2, 10 * (time.perf_counter() - looked))
            try:
                call.wait(pause)
            except subprocess.TimeoutExpired:
                continue
    seconds = time.perf_counter() - start
    if call.returncode:
        raise SystemExit(f"{console.read_text()}\nthe command ended with {call.returncode}")
    steps = read_steps(folder / "work", began, began + seconds) if is_first else []
    return Run(seconds, peak, steps)


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


def read_steps(work: Path, began: float, ended: float) -> list[dict[str, float]]:
    """Return the seconds of each step of each scan, as Nipype has kept them with the results.

    Parameters
    ----------
    work : Path
        Work folder of one run.
    began, ended : float
        Clock times of the command's start and exit in s since the epoch.

    Returns
    -------
    list of dict of str to float
        For each scan, in the order of their beginnings, the seconds by step. That of the first
        one has in addition what lies before, between and after its steps.
    """
    scans: dict[str, list[tuple[float, float, str]]] = {}
    for path in work.glob("*/*/sub-*/*/result_*.pklz"):
        runtime = load_resultfile(path, resolve=False).runtime
        start, stop = (
            datetime.fromisoformat(moment).timestamp()
            for moment in (runtime.startTime, runtime.endTime)
        )
        scans.setdefault(path.parts[-3], []).append((start, stop, path.parts[-2]))
    ordered = sorted(sorted(steps) for steps in scans.values())
    seconds = [
        {describe_step(step): stop - start for start, stop, step in scan} for scan in ordered
    ]
    if not ordered:
        return []
    first = ordered[0]
    gaps = {step: after - before for (_, before, _), (after, _, step) in itertools.pairwise(first)}
    load = gaps.pop("find_brain")
    around = {BETWEEN: sum(gaps.values()), END: ended - first[-1][1]}
    seconds[0] = {START: first[0][0] - began, LOAD: load, **seconds[0], **around}
    return seconds


def choose_participants(bids: Path, count: int) -> list[str]:
    """Choose participants, those with one scan of thick slices first."""

    def rank(folder: Path) -> tuple[bool, int, str]:
        scans = sorted(folder.glob("**/*_FLAIR.nii*"))
        zooms = nib.load(scans[0]).header.get_zooms() if scans else (1.0,)
        return max(zooms) < 2 * min(zooms), len(scans) or 99, folder.name

    return [folder.name[4:] for folder in sorted(bids.glob("sub-*"), key=rank)][:count]


def make_cube(bids: Path, participant: str, root: Path) -> Path:
    """Write a dataset with one scan of a participant on 256 x 256 x 256 voxels of 1 mm."""
    source = min(bids.glob(f"sub-{participant}/**/*_FLAIR.nii.gz"))
    image = nib.load(source)
    affine = np.eye(4)
    centre = image.affine @ [*((np.array(image.shape) - 1) / 2), 1]
    affine[:3, 3] = centre[:3] - (EDGE - 1) / 2
    cube = resample_from_to(image, ((EDGE,) * 3, affine), order=1)
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


@dataclass(frozen=True)
class Turn:
    """One call of each kind; those that were left out are None."""

    help_s: float
    first: Run
    again: Run
    more: Run | None
    cube: Run | None


def take_turn(bids: Path, names: Sequence[str], cube: Path | None) -> Turn:
    """Make one call of each kind."""
    folders = [tempfile.TemporaryDirectory(prefix="flairseg-") for _ in range(3)]
    try:
        first, more, whole = (Path(folder.name) for folder in folders)
        return Turn(
            time_help(),
            run(bids, names[:1], first),
            run(bids, names[:1], first),
            run(bids, names, more) if len(names) > 1 else None,
            run(cube, ["cube"], whole) if cube else None,
        )
    finally:
        for folder in folders:
            folder.cleanup()


def show(what: str, values: Sequence[float], unit: str, target: str = "") -> bool:
    """Print minimum, median and maximum; return whether the median is accepted."""
    middle, note = statistics.median(values), ""
    limit = LIMITS.get(target, math.inf)
    if target:
        note = f" (aim {AIMS[target]:g}"
        note += f", accepted {limit:g})" if AIMS[target] < limit < math.inf else ")"
    print(f"{what:<44}{min(values):9.2f}{middle:9.2f}{max(values):9.2f} {unit}{note}", flush=True)
    return middle <= limit


def show_turns(turns: Sequence[Turn], scans: int) -> bool:
    """Print times, memory and ratios; return whether all medians are accepted."""
    first = [turn.first for turn in turns]
    kept = [
        show("--help", [turn.help_s for turn in turns], "s", "--help"),
        show("one scan", [one.seconds for one in first], "s", "first"),
    ]
    show("  memory", [one.peak_mb for one in first], "MB")
    show("the same again", [turn.again.seconds for turn in turns], "s")
    ratios = {"the same again / one scan": [t.again.seconds / t.first.seconds for t in turns]}
    mores = [(turn.first, turn.more) for turn in turns if turn.more]
    if mores:
        each = [(more.seconds - one.seconds) / (scans - 1) for one, more in mores]
        kept.append(show(f"each of {scans - 1} further scans", each, "s", "further"))
        show("  memory", [more.peak_mb for _, more in mores], "MB")
        segment = [steps[SEGMENT] for _, more in mores for steps in more.steps[1:]]
        show("  network for a brain, read and written", segment, "s")
        ratios["a further scan / one scan"] = [
            seconds / one.seconds for seconds, (one, _) in zip(each, mores, strict=True)
        ]
    cubes = [(turn.first, turn.cube) for turn in turns if turn.cube]
    if cubes:
        show("256^3 voxels of 1 mm", [cube.seconds for _, cube in cubes], "s")
        peaks = [cube.peak_mb for _, cube in cubes]
        kept.append(show("  memory", peaks, "MB", "cube memory"))
        ratios["256^3 / one scan, time"] = [cube.seconds / one.seconds for one, cube in cubes]
        ratios["256^3 / one scan, memory"] = [cube.peak_mb / one.peak_mb for one, cube in cubes]
    for what, values in ratios.items():
        show(what, values, "")
    return all(kept)


def show_steps(turns: Sequence[Turn]) -> None:
    """Print where the time goes, for the first scan and for those after it."""
    first = [turn.first.steps[0] for turn in turns]
    later = [steps for turn in turns if turn.more for steps in turn.more.steps[1:]]
    whole = statistics.median(turn.first.seconds for turn in turns)
    print(f"\n{'where the time goes, seconds':<44}{'min':>9}{'median':>9}{'max':>9}{'share':>8}"
          f"{'further scans':>16}")  # fmt: skip
    for step in first[0]:
        values = [steps[step] for steps in first]
        middle = statistics.median(values)
        more = [steps[step] for steps in later if step in steps]
        after = f"{statistics.median(more):16.2f}" if more else f"{'-':>16}"
        print(f"{step:<44}{min(values):9.2f}{middle:9.2f}{max(values):9.2f}{middle / whole:8.0%}"
              f"{after}")  # fmt: skip
    print("The networks are loaded while scans are looked for and the first one is checked.")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if the median of something is not accepted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bids", type=Path)
    parser.add_argument(
        "--participants", nargs="+", help="labels; the first one with one scan "
        "(default: three, those with one scan of thick slices first)",
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cubes", type=int, default=2, help="turns with 256^3 voxels as well")
    chosen = parser.parse_args(argv)
    names = chosen.participants or choose_participants(chosen.bids, 3)
    counts = [len(list(chosen.bids.glob(f"sub-{name}/**/*_FLAIR.nii*"))) for name in names]
    if not counts or counts[0] != 1:
        parser.error(f"expected one FLAIR of sub-{names[0] if names else ''}, found {counts[:1]}")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cube = make_cube(chosen.bids, names[0], Path(folder) / "bids") if chosen.cubes else None
        turns = [
            take_turn(chosen.bids, names, cube if number < chosen.cubes else None)
            for number in range(chosen.repeats)
        ]
    print(f"{os.cpu_count()} processors, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory;"
          f" sub-{', sub-'.join(names)}; {chosen.repeats} turns")  # fmt: skip
    print(f"{'':<44}{'min':>9}{'median':>9}{'max':>9}")
    kept = show_turns(turns, sum(counts))
    show_steps(turns)
    print(f"\nall of this took {time.perf_counter() - started:.0f} s")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

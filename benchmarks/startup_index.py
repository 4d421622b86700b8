"""Start-up for one participant: a dataset of many against a dataset of one.

Empty files are enough, since only names are looked at. Both datasets are measured in turns,
each time in a fresh process: validation of the input, then the search for its scans.

    python benchmarks/startup_index.py [--participants 10000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

LIMIT_S = 2.0
# An empty image is an error of content, which the run is to report later; not of interest here.
PROGRAM = """
import json, logging, sys, time
from pathlib import Path
logging.disable(logging.CRITICAL)
start = time.perf_counter()
from bids_flairseg.bids.scans import find_scans
from bids_flairseg.bids.validate import validate_dataset
from bids_flairseg.config import DatasetConfig
root, work = map(Path, sys.argv[1:3])
dataset = DatasetConfig(root, work, work, participant_labels=("00000",))
validate_dataset(dataset)
validated = time.perf_counter()
assert len(find_scans(dataset)) == 1
print(json.dumps([validated - start, time.perf_counter() - validated]))
"""


def make_dataset(root: Path, participants: int) -> Path:
    """Write a dataset of empty images, two per participant."""
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    labels = [f"sub-{number:05d}" for number in range(participants)]
    rows = "".join(f"{label}\n" for label in labels)
    (root / "participants.tsv").write_text(f"participant_id\n{rows}")
    for label in labels:
        anat = root / label / "anat"
        anat.mkdir(parents=True)
        for suffix in ("FLAIR", "T1w"):
            (anat / f"{label}_{suffix}.nii.gz").touch()
            (anat / f"{label}_{suffix}.json").write_text("{}")
    return root


def measure(root: Path) -> tuple[float, float, float]:
    """Return seconds for the whole process, for validation and for the search."""
    with tempfile.TemporaryDirectory() as work:
        start = time.perf_counter()
        command = [sys.executable, "-c", PROGRAM, str(root), work]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        validation, search = json.loads(done.stdout)
        return time.perf_counter() - start, validation, search


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the comparison and return 1 if the difference is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--participants", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        many = make_dataset(Path(folder) / "many", arguments.participants)
        one = make_dataset(Path(folder) / "one", 1)
        runs = [(measure(one), measure(many)) for _ in range(arguments.repeats)]
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} processors, {memory:.0f} GiB of memory")
    print(f"one of {arguments.participants} participants against one of one; seconds")
    print("step        dataset    min  median    max")
    medians = []
    for step, name in enumerate(("start-up", "validation", "search")):
        for which, label in enumerate(("one", "many")):
            times = [run[which][step] for run in runs]
            middle = statistics.median(times)
            medians.append(middle)
            print(f"{name:<11} {label:<7} {min(times):6.2f} {middle:7.2f} {max(times):6.2f}")
    extra = medians[1] - medians[0]
    print(f"ratio {medians[1] / medians[0]:.2f}, difference {extra:.2f} s (limit {LIMIT_S} s)")
    return int(extra > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())

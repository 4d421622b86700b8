"""Time and memory of the group level with 100, 1,000 and 10,000 simulated scans.

Run it as ``python benchmarks/group.py FOLDER [SCANS ...]``; FOLDER is made, and holds what was
simulated. Each count is run three times, every time in a process of its own: from the numbers
of the scans alone, with small reference masks, and the same again, when all pairs are known.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_flairseg.bids.names import parse_name
from bids_flairseg.bids.outputs import ScanPaths, sidecar_path
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.measure.regions import REGIONS
from bids_flairseg.nodes.derivatives import FINGERPRINT

SHAPE = (24, 24, 12)
SITES = ("Basel", "Graz", "Ljubljana", "San Francisco")
MAKERS = ("GE", "Philips", "Siemens")
DISEASES = ("MS", "small vessel disease", "stroke", "glioma")


def simulate(root: Path, scans: int) -> None:
    """Write a dataset, results and references; every fourth participant has two sessions."""
    random = np.random.default_rng(0)
    (root / "bids").mkdir(parents=True)
    description = {"Name": f"Simulation of {scans}", "BIDSVersion": "1.10.0"}
    (root / "bids/dataset_description.json").write_text(json.dumps(description))
    lines, written, number = ["participant_id\tage\tdiagnosis\tsite"], 0, 0
    while written < scans:
        number += 1
        site, disease = random.choice(SITES), random.choice(DISEASES)
        lines.append(f"sub-{number:05d}\t{random.integers(20, 85)}\t{disease}\t{site}")
        for session in ("A", "B") if number % 4 == 0 else ("A",):
            if written < scans:
                write_scan(root, f"sub-{number:05d}_ses-{session}", random)
                written += 1
    (root / "bids/participants.tsv").write_text("\n".join(lines) + "\n")


def write_scan(root: Path, stem: str, random: np.random.Generator) -> None:
    """Write what the participant level leaves of one scan, images as small as can be."""
    name = parse_name(f"{stem}_FLAIR.nii.gz")
    if name is None:
        raise ValueError(stem)
    scan = Scan(Path(f"{stem}_FLAIR.nii.gz"), name.entities)
    raw = root / "bids" / scan.relative_dir
    raw.mkdir(parents=True)
    (raw / scan.flair).touch()
    made = {"Manufacturer": str(random.choice(MAKERS)), "MagneticFieldStrength": 3}
    (raw / f"{stem}_FLAIR.json").write_text(json.dumps(made))
    paths = ScanPaths(root / "out", scan)
    paths.folder.mkdir(parents=True)
    for path in paths.files():
        path.touch()
    paths.report.touch()
    save(paths.regions, random.integers(0, len(REGIONS), SHAPE))
    mask = random.random(SHAPE) > 0.9
    save(paths.mask, mask)
    reference = root / "manual" / scan.relative_dir / f"{stem}_label-lesion_mask.nii"
    reference.parent.mkdir(parents=True)
    save(reference, mask ^ (random.random(SHAPE) > 0.98))
    volume = float(random.lognormal(1.5, 1.2))
    values = {
        "lesion_volume_ml": round(volume, 3),
        "lesion_count": int(random.integers(1, 60)),
        "brain_volume_ml": round(float(random.normal(1300, 120)), 1),
        "lesion_load_percent": round(volume / 13, 3),
        "model": "lesion",
        "model_sha256": "ab" * 32,
    }
    columns = list(load_spec().outputs["stats"].columns or {})
    cells = [str(values.get(column, "n/a")) for column in columns]
    paths.stats.write_text("\t".join(columns) + "\n" + "\t".join(cells) + "\n")
    rows = ["index\tvolume_mm3\tconfidence", f"1\t100\t{random.uniform(0.6, 1):.3f}"]
    paths.lesion_table.write_text("\n".join(rows) + "\n")
    sidecar_path(paths.stats).write_text(json.dumps({FINGERPRINT: "ab" * 32}))


def save(path: Path, mask: np.ndarray) -> None:
    """Write a small image of 1 x 1 x 3 mm."""
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), np.diag([1.0, 1.0, 3.0, 1.0])), path)


def run(root: Path, *more: str) -> str:
    """Run the command and say how long it took, how much of that it computed, and its memory."""
    before, used = time.perf_counter(), computed()
    command = [sys.executable, "-c", _CALL, str(root / "bids"), str(root / "out"), "group", *more]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    memory = int(done.stdout.split()[-1]) / 1e6
    wall, cpu = time.perf_counter() - before, computed() - used
    return f"{wall:.1f} s ({cpu:.1f} s CPU), {memory:.2f} GB"


def computed() -> float:
    """Return the CPU seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


_CALL = (
    "import resource, sys\nfrom bids_flairseg.cli import main\ncode = main(sys.argv[1:])\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\nsys.exit(code)"
)


def main() -> None:
    """Print one row per count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("scans", type=int, nargs="*", default=[100, 1000, 10000])
    chosen = parser.parse_args()
    print("| scans | numbers alone | with references | again | page |")
    print("|---|---|---|---|---|")
    for scans in chosen.scans:
        folder = chosen.folder.absolute() / str(scans)
        shutil.rmtree(folder, ignore_errors=True)
        simulate(folder, scans)
        manual = ["-d", f"manual={folder / 'manual'}"]
        cells = [run(folder), run(folder, *manual), run(folder, *manual)]
        page = (folder / "out/group.html").stat().st_size / 1e6
        print(f"| {scans:,} | {' | '.join(cells)} | {page:.1f} MB |", flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()

"""The portability study on two simulated sites: ``python benchmarks/two_sites.py FOLDER``.

Draws ``FOLDER/a`` and ``FOLDER/b``, BIDS datasets of made-up heads with masks of two made-up raters
(derivatives/manual), and runs docs/portability.md on them: the model as it is on both, then a
cross-validation on site b with some numbers of local cases, then the group level. Site a has 1 mm
3D scans; site b 2D scans of 4 mm slices with other contrast, more noise and a stronger bias field.
Each command is printed before it runs, with its time after; a second call goes on where the first
one was.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.demo.dataset import REFERENCE, HeadPlan, make_dataset
from bids_flairseg.demo.lesions import LesionPlan

PLACES = ("periventricular", "deep", "juxtacortical")
RATERS = ("anna", "ben")
MANUAL = Path("derivatives", "manual")


def commands(counts: Sequence[int], *, more: Sequence[str] = ()) -> Iterator[list[str]]:
    """List the commands of the study, for the folder that holds both sites.

    Parameters
    ----------
    counts : sequence of int
        Numbers of local cases.
    more : sequence of str
        Arguments for the participant level.
    """
    for site in "ab":
        masks = ["-d", f"manual={site}/{MANUAL}"]
        if site == "a":
            yield ["flairseg", site, f"out/{site}", "participant", *more]
            yield ["flairseg", site, f"out/{site}", "group", *masks]
            continue
        work = ["flairseg", site, f"out/{site}", "participant", "--mode", "crossval", *masks]
        for count in counts:
            name = ["--train-count", str(count), "--bundle-name", f"ft-{count}"]
            yield [*work, *name, "--recipe", "quick", *more]
        others = [f"ft-{count}=out/{site}/crossval-ft-{count}" for count in counts]
        yield ["flairseg", site, f"out/{site}/crossval-base", "group", *masks, *others]


def plan(number: int, *, thick: bool, random: np.random.Generator) -> HeadPlan:
    """Plan one head with lesions of its own."""
    lesions = tuple(
        LesionPlan(place, int(random.integers(1, 10)), float(random.uniform(3, 6)))
        for place in PLACES
    )
    return HeadPlan(
        name=f"sub-{number:02d}",
        zooms=(0.9, 0.9, 4.0) if thick else (1.0, 1.0, 1.0),
        shape=(208, 256, 44) if thick else (184, 230, 186),
        axes="LPS" if thick else "RAS",
        tilt=float(random.uniform(-8, 12)),
        size=float(random.uniform(0.88, 0.96)),
        lesions=lesions,
    )


def shift(data: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Change contrast, noise and bias of an image (X, Y, Z), zero staying zero."""
    top = float(np.percentile(data, 99.5))
    share = np.clip(data / top, 0, None)
    nodes = random.uniform(0.75, 1.25, (3, 3, 3))
    steps = np.meshgrid(*(np.linspace(0, 2, n) for n in data.shape), indexing="ij")
    bias = ndimage.map_coordinates(nodes, steps, order=1)
    changed = share**1.6 * bias * top
    real, imaginary = (random.normal(0, 0.04 * top, data.shape) for _ in range(2))
    noisy = np.hypot(changed + real, imaginary)  # Rician
    return np.asarray(np.where(data > 0, noisy, 0), dtype=np.float32)


def rate(
    truth: NDArray[np.bool_], random: np.random.Generator, *, zooms: Sequence[float]
) -> NDArray[np.uint8]:
    """Draw a mask as a person would: borders here a mm further in, there further out."""
    depth, height = (
        ndimage.distance_transform_edt(mask, sampling=zooms) for mask in (truth, ~truth)
    )
    noise = random.normal(0, 1, truth.shape)
    field = ndimage.gaussian_filter(noise, [3 / zoom for zoom in zooms], mode="nearest")
    return np.asarray(depth - height + field / field.std() > 0, dtype=np.uint8)


def make_site(root: Path, site: str, *, participants: int, seed: int) -> None:
    """Write the dataset of one site with its raters' masks."""
    random = np.random.default_rng((seed, ord(site)))
    numbers = range(1, participants + 1)
    plans = tuple(plan(number, thick=site == "b", random=random) for number in numbers)
    make_dataset(root, seed=seed + ord(site), plans=plans)
    rows = "".join(f"{item.name}\tmade-up\t{site}\n" for item in plans)
    (root / "participants.tsv").write_text("participant_id\tdiagnosis\tsite\n" + rows)
    columns = {"diagnosis": {"Description": "None"}, "site": {"Description": "Site"}}
    (root / "participants.json").write_text(json.dumps(columns, indent=2) + "\n")
    for path in root.glob("sub-*/anat/*_FLAIR.nii.gz") if site == "b" else ():
        image = nib.Nifti1Image.from_filename(path)
        data = shift(np.asarray(image.dataobj, dtype=np.float32), random)
        nib.save(nib.Nifti1Image(np.rint(data).astype(np.int16), image.affine, image.header), path)
    for path in sorted((root / REFERENCE).glob("sub-*/anat/*_mask.nii.gz")):
        image = nib.Nifti1Image.from_filename(path)
        for rater in RATERS:
            zooms = image.header.get_zooms()[:3]
            mask = rate(np.asarray(image.dataobj) > 0, random, zooms=zooms)
            subject = path.name.split("_")[0]
            drawn = root / MANUAL / subject / "anat" / f"{subject}_label-L_desc-{rater}_mask.nii.gz"
            drawn.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(mask, image.affine), drawn)
    about = {
        "Name": "Made-up raters",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "two_sites.py"}],
    }
    (root / MANUAL / "dataset_description.json").write_text(json.dumps(about, indent=2) + "\n")


def run(folder: Path, words: Sequence[str]) -> float:
    """Run one command in the folder of the study and return how long it took, in s."""
    print("$", shlex.join(words), flush=True)
    started = time.perf_counter()
    package = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "bids_flairseg", *words[1:]]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    return time.perf_counter() - started


def main() -> None:
    """Draw both sites, run the study, and print what took how long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--participants", type=int, default=14, help="of each site")
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--more", default="", help="arguments for the participant level, quoted")
    arguments = parser.parse_args()
    times: list[tuple[str, float]] = []
    for site in "ab":
        if not (arguments.folder / site / MANUAL / "dataset_description.json").exists():
            started = time.perf_counter()
            root = arguments.folder / site
            make_site(root, site, participants=arguments.participants, seed=arguments.seed)
            times.append((f"drawing site {site}", time.perf_counter() - started))
    study = commands(arguments.counts, more=shlex.split(arguments.more))
    times += [(shlex.join(words), run(arguments.folder, words)) for words in study]
    for what, seconds in [*times, ("all", sum(seconds for _, seconds in times))]:
        print(f"| {what} | {seconds / 60:.1f} min |")


if __name__ == "__main__":
    main()

"""A network: windows against one pass, bfloat16 against float32; time and Dice.

Every FLAIR of a dataset that has a reference mask (of its lesions for a lesion bundle, of its
brain for an anatomy bundle) is prepared once. Lesions need a brain: the mask in the dataset's
derivatives, or the image's own if it is skull-stripped. The variants then take turns, so that
what else the machine does meets all of them. Only the network is timed; its first call, which
compiles, is not. An anatomy network is applied twice to a head.

    python benchmarks/network.py --bids PATH [--model BUNDLE] [--threads 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from bids_flairseg.measure.agreement import dice
from bids_flairseg.measure.arrays import voxel_volume_ml
from bids_flairseg.measure.outline import cut
from bids_flairseg.model.bundle import BundleConfig, bundled, check_bundle
from bids_flairseg.model.predict import predict
from bids_flairseg.model.runtime import Network, get_model, set_up
from bids_flairseg.preprocess.brain import (
    brain_mask_from_classes,
    find_anatomy,
    is_skull_stripped,
    stripped_mask,
)
from bids_flairseg.preprocess.grid import conform, new_image, resample, restore, voxels
from bids_flairseg.preprocess.image import load_flair
from bids_flairseg.preprocess.noise import normalise_noisy


@dataclass(frozen=True)
class Variant:
    """One way to apply the network."""

    name: str
    precision: str = "float32"
    inference: str = "brain"
    flip: bool = False


BASE = Variant("one pass float32")
VARIANTS = (
    BASE,
    Variant("windows float32", inference="windows"),
    Variant("one pass bfloat16", precision="bfloat16"),
    Variant("windows bfloat16", precision="bfloat16", inference="windows"),
    Variant("one pass float32, flip", flip=True),
    Variant("windows float32, flip", inference="windows", flip=True),
)


@dataclass(frozen=True)
class Case:
    """A prepared scan and what a rater drew on it, on the grid of the FLAIR."""

    name: str
    image: Nifti1Image
    inside: NDArray[np.bool_]
    reference: Nifti1Image

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Voxels of the reference."""
        return voxels(self.reference) > 0.5


@dataclass(frozen=True)
class Result:
    """Mask of one prediction, its seconds on the clock and of all processors together."""

    mask: NDArray[np.bool_]
    seconds: float
    worked: float


def find_cases(bids: Path, config: BundleConfig, participant: str) -> Iterator[Case]:
    """Prepare the scans that have a reference mask."""
    for path in sorted(bids.glob(f"{participant}/**/anat/*_FLAIR.nii*")):
        stem = path.name.split("_FLAIR")[0]
        masks = sorted((bids / "derivatives").rglob(f"{stem}_*mask.nii*"))
        lesions = [mask for mask in masks if re.search("_label-(lesion|L)_", mask.name)]
        brains = [mask for mask in masks if "_desc-brain_" in mask.name]
        flair = conform(load_flair(path).image)
        brain = conform(load_flair(brains[0]).image) if brains else None
        if brain is None and is_skull_stripped(flair):
            brain = stripped_mask(flair)
        if not config.preprocessing.brain_only and brains and brain is not None:
            yield Case(stem, flair, np.ones(brain.shape, bool), brain)
        elif config.preprocessing.brain_only and lesions and brain is not None:
            reference = conform(load_flair(lesions[0]).image)
            inside = voxels(restore(brain, reference, order=0)) > 0
            yield Case(stem, prepare(flair, brain, config), inside, reference)


def prepare(flair: Nifti1Image, brain: Nifti1Image, config: BundleConfig) -> Nifti1Image:
    """Do for a lesion network what the workflow does."""
    image = resample(flair, config.preprocessing.voxel_size_mm)
    inside = voxels(restore(brain, image)) > 0.5
    data, _ = normalise_noisy(voxels(image), inside, kind=config.preprocessing.normalisation)
    return new_image(data, np.asarray(image.affine))


class Clock:
    """A prediction that adds up its seconds, and those of all processors together."""

    def __init__(self, network: Network, variant: Variant) -> None:
        self.network, self.variant = network, variant
        self.seconds = self.worked = 0.0

    def __call__(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a volume."""
        start, worked = time.perf_counter(), time.process_time()
        how = {"inference": self.variant.inference, "flip": self.variant.flip}
        found = predict(self.network.apply, volume, self.network.config, **how)  # type: ignore[arg-type]
        self.seconds += time.perf_counter() - start
        self.worked += time.process_time() - worked
        return found


def apply(network: Network, case: Case, variant: Variant) -> Result:
    """Predict one scan and bring the mask to the grid of its FLAIR."""
    clock, config = Clock(network, variant), network.config
    if config.preprocessing.brain_only:
        found = clock(voxels(case.image))[..., 0]
        probability = restore(new_image(found, np.asarray(case.image.affine)), case.reference)
        inference = config.inference
        mask = case.inside & cut(
            voxels(probability), inference.threshold,
            voxel_ml=voxel_volume_ml(np.asarray(case.reference.affine)),
            large_ml=inference.large_ml, large_threshold=inference.large_threshold,
        )  # fmt: skip
    else:
        anatomy = find_anatomy(case.image, clock, multiple=config.architecture.multiple)
        brain = brain_mask_from_classes(anatomy.probabilities, anatomy.affine, case.reference)
        mask = voxels(brain) > 0
    return Result(mask, clock.seconds, clock.worked)


def measure(
    networks: Mapping[str, Network],
    cases: Sequence[Case],
    variants: Sequence[Variant],
    repeats: int,
) -> dict[tuple[str, str], list[Result]]:
    """Apply all variants in turns; results by variant and case."""
    results: dict[tuple[str, str], list[Result]] = {}
    for _ in range(repeats):
        for case in cases:
            for variant in variants:
                result = apply(networks[variant.precision], case, variant)
                results.setdefault((variant.name, case.name), []).append(result)
    return results


def spread(values: Sequence[float]) -> str:
    """Print minimum, median and maximum."""
    return f"{min(values):7.2f} {statistics.median(values):7.2f} {max(values):7.2f}"


def report(
    results: Mapping[tuple[str, str], Sequence[Result]],
    cases: Sequence[Case],
    variants: Sequence[Variant],
) -> None:
    """Print times with their ratios to the first, then the agreement of every case."""
    columns = ("seconds", "ratio", "processor seconds", "ratio")
    print(f"\n{'min, median, max of':<24}{''.join(f'{column:<26}' for column in columns)}")
    base = [run for case in cases for run in results[BASE.name, case.name]]
    for variant in variants:
        runs = [run for case in cases for run in results[variant.name, case.name]]
        cells = []
        for times, first in (
            ([run.seconds for run in runs], [run.seconds for run in base]),
            ([run.worked for run in runs], [run.worked for run in base]),
        ):
            cells += [times, [one / other for one, other in zip(times, first, strict=True)]]
        print(f"{variant.name:<24}{'   '.join(map(spread, cells))}")
    print_agreement(results, cases, variants)


def print_agreement(
    results: Mapping[tuple[str, str], Sequence[Result]],
    cases: Sequence[Case],
    variants: Sequence[Variant],
) -> None:
    """Print volume and Dice of every case, and their means."""
    print(f"\n{'scan':<20} {'variant':<24}{'volume ml':>10}{'drawn ml':>10}{'Dice':>8}"
          f"{'Dice with the first':>21}")  # fmt: skip
    means: dict[str, list[tuple[float, float, float, float]]] = {}
    for case in cases:
        voxel_ml = abs(float(np.linalg.det(case.reference.affine[:3, :3]))) / 1000
        first, truth = results[BASE.name, case.name][0].mask, case.truth
        for variant in variants:
            mask = results[variant.name, case.name][0].mask
            volumes = mask.sum() * voxel_ml, truth.sum() * voxel_ml
            row = (*volumes, dice(mask, truth), dice(mask, first))
            means.setdefault(variant.name, []).append(row)
            print(agreement(case.name, variant.name, row))
    if len(cases) > 1:
        for name, rows in means.items():
            print(agreement("mean", name, np.mean(rows, axis=0)))


def agreement(scan: str, variant: str, row: Iterable[float]) -> str:
    """Print one line of the second table."""
    found, drawn, overlap, same = row
    return f"{scan:<20} {variant:<24}{found:10.2f}{drawn:10.2f}{overlap:8.3f}{same:21.4f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bids", type=Path, required=True, help="dataset with derivatives/")
    parser.add_argument("--model", type=Path, default=bundled("lesion"), help="bundle")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--participant", default="sub-*", help="only this one, say sub-cs07")
    named = ", ".join(f"{number} {variant.name}" for number, variant in enumerate(VARIANTS, 1))
    parser.add_argument("--only", type=int, nargs="+", help=f"beside the first; {named}")
    chosen = parser.parse_args(argv)
    config = check_bundle(chosen.model)
    cases = list(find_cases(chosen.bids, config, chosen.participant))
    if not cases:
        print(f"{chosen.bids}: no FLAIR with the reference mask that this bundle needs")
        return 1
    numbers = {1, *(chosen.only or range(len(VARIANTS) + 1))}
    variants = [variant for number, variant in enumerate(VARIANTS, 1) if number in numbers]
    start = time.perf_counter()
    device = set_up(chosen.threads, chosen.device)
    started = time.perf_counter()
    networks = {name: get_model(chosen.model, name) for name in {v.precision for v in variants}}
    loaded = time.perf_counter()
    for network in networks.values():
        edge = config.inference.window
        network.apply(np.zeros((1, edge, edge, edge, 1), np.float32))
    compiled = time.perf_counter()
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} processors, {chosen.threads} threads, {memory:.0f} GiB, {device}")
    print(f"{config.name}: start of Keras {started - start:.1f} s, {len(networks)} networks: "
          f"load {loaded - started:.1f} s, first windows {compiled - loaded:.1f} s")  # fmt: skip
    report(measure(networks, cases, variants, chosen.repeats), cases, variants)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory of the process {peak:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the outline's settings do to held-out heads: threshold, large lesions, size, mirror image.

Each head is predicted once, as the main job does it, and outlined with each setting in turn; the
first row of each table is the bundle as it is. Columns: mean Dice of heads with lesions, and of
those with 10 ml and more; heads that gain and lose against the bundle; share of lesions under
0.1 ml that were touched; outlined lesions a head that touch none; ml in heads without lesion.

    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --lesions tumour --count 20
    python benchmarks/outline.py POOL [POOL ...] [--model BUNDLE]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.agreement import dice
from bids_flairseg.measure.lesions import label_lesions
from bids_flairseg.model.bundle import bundled, load_bundle
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.settings import BundleConfig
from bids_flairseg.train.scores import ask, lesion_mask

SHARES, LARGE_ML = (1.0, 0.75, 0.5, 0.375), (5.0, 20.0)
THRESHOLDS = (0.2, 0.25, 0.3, 0.4, 0.5)
LEAST_ML = (0.0, 0.003, 0.03, 0.1)
MIN_ML, SMALL_ML, MANY_ML = 0.01, 0.1, 10.0
COLUMNS = ("outline", "Dice", "large", "better", "worse", "small found", "false a head",
           "median false ml", "95th centile")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One head with one setting; volumes in ml."""

    truth_ml: float
    dice: float
    small: int
    small_found: int
    false: int
    found_ml: float


def settings(config: BundleConfig) -> Iterator[tuple[str, BundleConfig, float]]:
    """Name what is compared: outlining, and the smallest lesion in ml."""
    own = config.inference
    around = own.large_threshold or own.threshold
    yield f"as it is: {own.threshold:g}, {around:g} from {own.large_ml:g} ml on", config, MIN_ML
    for threshold in THRESHOLDS:
        changed = replace(own, threshold=threshold)
        yield f"threshold {threshold:g}", replace(config, inference=changed), MIN_ML
    for share in SHARES:
        changed = replace(own, large_share=share)
        words = f"{changed.large_threshold or own.threshold:g} around large lesions"
        yield words, replace(config, inference=changed), MIN_ML
    for volume in LARGE_ML:
        changed = replace(own, large_ml=volume)
        yield f"large from {volume:g} ml on", replace(config, inference=changed), MIN_ML
    for least in LEAST_ML:
        yield f"lesions from {least:g} ml on", config, least


def outcome(
    probability: NDArray[np.float32],
    truth: NDArray[np.bool_],
    config: BundleConfig,
    min_lesion_ml: float,
) -> Outcome:
    """Outline a head with one setting, and compare it with the truth."""
    voxel_ml = config.preprocessing.voxel_size_mm**3 / 1000
    mask = lesion_mask(probability, config, min_lesion_ml=min_lesion_ml)
    true = label_lesions(truth, voxel_ml=voxel_ml, min_ml=MIN_ML)
    found = label_lesions(mask, voxel_ml=voxel_ml, min_ml=0.0)
    small = np.flatnonzero(np.bincount(true.ravel())[1:] * voxel_ml < SMALL_ML) + 1
    return Outcome(
        truth_ml=np.count_nonzero(truth) * voxel_ml,
        dice=dice(mask, truth),
        small=len(small),
        small_found=len(np.intersect1d(true[mask], small)),
        false=int(found.max()) - len(np.setdiff1d(found[truth], [0])),
        found_ml=np.count_nonzero(mask) * voxel_ml,
    )


def table(rows: NDArray[np.float64], words: Sequence[str]) -> str:
    """Write what came of all heads, (heads, settings, values of an `Outcome`), in Markdown."""
    truth, overlap, small, touched, false, found = np.moveaxis(rows, -1, 0)
    has, many = truth[:, 0] > 0, truth[:, 0] >= MANY_ML
    gain = overlap[has] - overlap[has, :1]
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for number, name in enumerate(words):
        lines.append((
            name, _mean(overlap[has, number]), _mean(overlap[many, number]),
            str(np.sum(gain[:, number] > 0)), str(np.sum(gain[:, number] < 0)),
            f"{touched[:, number].sum() / max(small[:, number].sum(), 1):.2f}",
            f"{false[:, number].mean():.1f}",
            *(_centile(found[~has, number], share) for share in (50, 95)),
        ))  # fmt: skip
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f}" if len(values) else "n/a"


def _centile(values: NDArray[np.float64], share: float) -> str:
    return f"{np.percentile(values, share):.2f}" if len(values) else "n/a"


def main() -> None:
    """Print one table for each pool, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, default=bundled("lesion"))
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    bundle = load_bundle(chosen.model)
    words, configs, least = zip(*settings(bundle.config), strict=True)
    words = (*words, "without the mirror image")
    every: list[list[tuple[float, ...]]] = []
    for pool in chosen.pools:
        rows = []
        for path in sorted(pool.glob("example-*.npy")):
            (answer,) = ask(bundle.model, [path])
            given = [(answer.probability, *each) for each in zip(configs, least, strict=True)]
            given.append((answer.passes[0], bundle.config, MIN_ML))
            outcomes = (outcome(one, answer.truth, *rest) for one, *rest in given)
            rows.append([astuple(each) for each in outcomes])
        print(f"{pool.name}, {len(rows)} heads\n{table(np.array(rows), words)}", flush=True)
        every += rows
    print(f"all, {len(every)} heads\n{table(np.array(every), words)}")


if __name__ == "__main__":
    main()

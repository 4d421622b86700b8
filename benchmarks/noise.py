"""What noise costs the lesion network, and what smoothing brings back, on synthetic heads.

    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --count 20
    python benchmarks/noise.py POOL [POOL ...] [--heads 10]

A line for each head has its noise as the rule measures it, and the Dice of each treatment.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.agreement import dice
from bids_flairseg.model.bundle import bundled, load_bundle
from bids_flairseg.model.predict import mirrored, predict
from bids_flairseg.model.runtime import applied, set_up
from bids_flairseg.preprocess.noise import noise_sd, normalise_noisy, smooth_within
from bids_flairseg.preprocess.normalise import normalise_array
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.scores import lesion_mask
from bids_flairseg.train.store import NOT_ZERO

SHARES = (0.0, 0.03, 0.05, 0.08, 0.12)
LEAST_VOXELS = 2000
TREATMENTS = ("as it is", "by the rule", "always smoothed")


def noisy(
    image: NDArray[np.float32], inside: NDArray[np.bool_], share: float, seed: int
) -> NDArray[np.float32]:
    """Undo the normalisation, which CSF sets the zero of, and add Rician noise."""
    signal = np.where(inside, image - np.percentile(image[inside], 0.5) + 0.5, 0).clip(0)
    sd = share * np.percentile(signal[inside], 99)
    real, imaginary = np.random.default_rng(seed).normal(0, sd, (2, *image.shape))
    return np.where(inside, np.hypot(signal + real, imaginary), 0).astype(np.float32)


def treat(
    data: NDArray[np.float32], inside: NDArray[np.bool_], treatment: str
) -> NDArray[np.float32]:
    """Normalise an image in one of the ways that are compared."""
    if treatment == "by the rule":
        normalised, _ = normalise_noisy(data, inside, kind="robust")
    else:
        smooth = treatment == "always smoothed"
        chosen = smooth_within(data, inside) if smooth else data
        normalised = normalise_array(chosen, inside, kind="robust")
    seen = np.where(np.abs(normalised) < NOT_ZERO, NOT_ZERO, normalised)
    return np.where(inside, seen, 0).astype(np.float32)


def main() -> None:
    """Print a line for each head, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", type=Path, nargs="+")
    parser.add_argument("--heads", type=int, default=10, help="with 2 ml of lesion and more")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    bundle = load_bundle(bundled("lesion"))
    segment = partial(predict, mirrored(applied(bundle.model)), config=bundle.config)
    paths = [path for pool in chosen.pools for path in sorted(pool.glob("example-*.npy"))]
    rows: list[NDArray[np.float64]] = []
    for path in paths:
        image, target = (np.asarray(array) for array in read_example(path))
        if np.count_nonzero(target) < LEAST_VOXELS:
            continue
        inside, row, noise = image != 0, [], []
        for share in SHARES:
            data = noisy(np.asarray(image, np.float32), inside, share, len(rows))
            images = [treat(data, inside, treatment) for treatment in TREATMENTS]
            noise.append(noise_sd(images[0], inside))
            first = [next(n for n, other in enumerate(images) if np.array_equal(each, other))
                     for each in images]  # fmt: skip
            masks = {n: lesion_mask(segment(images[n])[..., 0], bundle.config) for n in {*first}}
            row.append([dice(masks[n], target > 0) for n in first])
        rows.append(np.array(row))
        print(path.stem, "noise", np.round(noise, 2), *np.round(row, 2).T.tolist(), flush=True)
        if len(rows) == chosen.heads:
            break
    for number, treatment in enumerate(TREATMENTS):
        means = np.mean(rows, axis=0)[:, number]
        print(
            treatment,
            *(f"{share:.0%}: {mean:.3f}" for share, mean in zip(SHARES, means, strict=True)),
        )


if __name__ == "__main__":
    main()

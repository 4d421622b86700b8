"""What a lower threshold around large lesions does to the Dice of synthetic heads.

For each kind of lesion, the mean Dice with one threshold and with a share of it around lesions
from some volume on, for all heads of a pool and for those with lesions of that volume.

    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --lesions tumour --count 20
    python benchmarks/large_lesions.py POOL [POOL ...] [--model BUNDLE]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from bids_flairseg.measure.agreement import dice
from bids_flairseg.model.bundle import bundled, load_bundle
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.settings import BundleConfig
from bids_flairseg.train.scores import ask
from bids_flairseg.train.validation import lesion_mask

SHARES = (1.0, 0.75, 0.625, 0.5, 0.375)
FROM_ML = (5.0, 10.0, 20.0)


def settings(config: BundleConfig) -> dict[str, BundleConfig]:
    """Name what is compared."""
    chosen = {
        "one threshold": replace(config, inference=replace(config.inference, large_share=1.0))
    }
    for share in SHARES[1:]:
        for volume in FROM_ML:
            inference = replace(config.inference, large_share=share, large_ml=volume)
            words = f"{inference.large_threshold:g} from {volume:g} ml on"
            chosen[words] = replace(config, inference=inference)
    return chosen


def main() -> None:
    """Print one table for each pool, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, default=bundled("lesion"))
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    bundle = load_bundle(chosen.model)
    compared = settings(bundle.config)
    every: list[list[float]] = []
    for pool in chosen.pools:
        rows = []
        for path in sorted(pool.glob("example-*.npy")):
            (answer,) = ask(bundle.model, [path])
            if answer.truth.any():
                masks = (lesion_mask(answer.probability, config) for config in compared.values())
                rows.append([answer.truth.sum() / 1000, *(dice(m, answer.truth) for m in masks)])
        show(pool.name, compared, rows)
        every += rows
    show("all", compared, every)


def show(title: str, compared: dict[str, BundleConfig], rows: list[list[float]]) -> None:
    """Print mean Dice of all heads and of those with large lesions, and how many gained."""
    table = np.array(rows).reshape(-1, 1 + len(compared))
    large = table[table[:, 0] >= FROM_ML[1]]
    print(f"{title}: {len(table)} heads with lesions, {len(large)} of {FROM_ML[1]:g} ml and more")
    for number, words in enumerate(compared, 1):
        gain = table[:, number] - table[:, 1]
        print(f"  {words:22} {table[:, number].mean():.3f}  large {large[:, number].mean():.3f}  "
              f"better {np.sum(gain > 0)}, worse {np.sum(gain < 0)}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

"""What two networks score on held-out synthetic heads, averaged in several shares.

Each network of a bundle predicts every head alone, with its mirror image. For each share their
logits are averaged, calibrated and scored as `bids_flairseg.train.export --share` does it.

    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --shapes OUTLINES --count 60
    python benchmarks/mixture.py POOL --model BUNDLE [--shares 0 0.3 0.5 0.7 1]

Logits are those that the bundle has after its own share: 0.5 is the bundle as it is, 1 the first
network alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import numpy as np
from heads import brief
from scipy.special import expit, logit

from bids_flairseg.model.bundle import read_config
from bids_flairseg.model.runtime import set_up
from bids_flairseg.train.calibration import fit_scaling
from bids_flairseg.train.export import doubtful
from bids_flairseg.train.members import members
from bids_flairseg.train.pool import list_examples
from bids_flairseg.train.scores import Answer, ask, score_lesions

_SAFE = 1e-7  # nearer to 0 and 1, float32 does not tell probabilities apart


def mixed(answers: Sequence[Answer], weights: Sequence[float]) -> Answer:
    """Average the logits of several networks' answers to the same example."""
    inside = answers[0].passes[0] > 0
    passes = []
    for each in zip(*(answer.passes for answer in answers), strict=True):
        logits = [logit(np.clip(one[inside], _SAFE, 1 - _SAFE)) for one in each]
        passes.append(np.zeros_like(each[0]))
        passes[-1][inside] = expit(np.average(logits, axis=0, weights=weights))
    return Answer(tuple(passes), answers[0].truth)


def main() -> None:
    """Score each share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="bundle of two networks")
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.3, 0.5, 0.7, 1])
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    paths = list_examples(chosen.pool)
    print(f"{len(paths)} heads of {chosen.pool.name}", flush=True)
    config = read_config(chosen.model)
    first, second = (ask(model, paths) for model, _ in members(chosen.model))
    pairs = list(zip(first, second, strict=True))
    for share in chosen.shares:
        weights = (share, 1 - share)
        # mixed twice: kept, they would take as much memory as the answers of a network
        slope, offset = fit_scaling(doubtful(*mixed(pair, weights).of_brain) for pair in pairs)
        answers = [mixed(pair, weights).scaled(slope, offset) for pair in pairs]
        scores = score_lesions(answers, config)
        print(f"{share}: {brief(scores)}", flush=True)
        print(scores["mean_dice_by_threshold"], scores["reliability"], flush=True)


if __name__ == "__main__":
    main()

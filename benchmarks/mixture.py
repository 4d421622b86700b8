"""What two networks score on held-out synthetic heads, averaged in several shares.

Each network of a bundle predicts every head alone, with its mirror image. For each share their
logits are averaged, calibrated and scored as `bids_flairseg.train.export --share` does it.

    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --shapes OUTLINES --count 60
    python benchmarks/mixture.py POOL --model BUNDLE [--shares 0 0.3 0.5 0.7 1]

A share of 1 is the first network alone.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import numpy as np
from heads import brief
from numpy.typing import NDArray

from bids_flairseg.model.bundle import read_config
from bids_flairseg.model.runtime import set_up
from bids_flairseg.train.calibration import fit_scaling
from bids_flairseg.train.export import doubtful
from bids_flairseg.train.members import members
from bids_flairseg.train.pool import list_examples
from bids_flairseg.train.scores import Answer, ask, score_lesions


def mixed(answers: Sequence[Answer], weights: Sequence[float]) -> Answer:
    """Average the logits of several networks' answers to the same example."""
    inside = answers[0].passes[0] > 0
    passes = []
    for each in zip(*(answer.passes for answer in answers), strict=True):
        logits = [logit(probability[inside]) for probability in each]
        mean = np.average(logits, axis=0, weights=weights)
        passes.append(np.zeros_like(each[0]))
        passes[-1][inside] = 1 / (1 + np.exp(-mean))
    return Answer(tuple(passes), answers[0].truth)


def logit(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logit of probabilities, as far as float32 tells them from 0 and 1."""
    safe = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.log(safe / (1 - safe))


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
    for share in chosen.shares:
        answers = [mixed(pair, (share, 1 - share)) for pair in zip(first, second, strict=True)]
        slope, offset = fit_scaling(doubtful(*answer.of_brain) for answer in answers)
        scores = score_lesions([answer.scaled(slope, offset) for answer in answers], config)
        print(f"{share}: {brief(scores)}", flush=True)
        print(scores["mean_dice_by_threshold"], scores["reliability"], flush=True)
        del answers
        gc.collect()


if __name__ == "__main__":
    main()

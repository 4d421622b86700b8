"""What bundles score on held-out synthetic heads, side by side, and how long a head takes.

Each bundle predicts every head as the main job does, the mean of the image and its mirror image,
and is scored as in its card. Several lesion bundles on the same heads say which one to ship.

    python -m bids_flairseg.train.pool KIND POOL --heads LABELMAPS --shapes OUTLINES --count 24
    python benchmarks/heads.py POOL --model BUNDLE [BUNDLE ...] [--write]

The card chooses the threshold anew; what a lesion bundle scores with its own is told beside it, and
by how much the last bundle is better than the first, head by head. ``--write`` puts the scores into
the card of each bundle.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.model.bundle import Bundle, load_bundle
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.settings import BundleConfig
from bids_flairseg.train.class_scores import score_classes
from bids_flairseg.train.intervals import estimate
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.scores import (
    Answer,
    ask,
    lesion_mask,
    overlap,
    probabilities,
    score_lesions,
)

CARD = "model.json"


Dices = NDArray[np.float64]


def score(bundle: Bundle, paths: list[Path]) -> tuple[dict[str, Any], float, Dices]:
    """Return the scores of a card, median seconds of a head with its mirror image, all Dices."""
    model, seconds = bundle.model, list[float]()
    for path in paths[:3]:
        image, _ = read_example(path)
        begun = time.monotonic()
        for each in (image, image[::-1]):
            probabilities(model, each)
        seconds.append(time.monotonic() - begun)
    if model.output_shape[-1] > 1:
        return score_classes(model, paths), statistics.median(seconds), np.zeros(0)
    answers = ask(model, paths)
    dices = as_it_ships(answers, bundle.config)
    return score_lesions(answers, bundle.config), statistics.median(seconds), dices


def as_it_ships(answers: list[Answer], config: BundleConfig) -> Dices:
    """Print what a bundle scores with its own thresholds; return the Dice of each ill head."""
    masks = [lesion_mask(answer.probability, config) for answer in answers]
    ill = [
        (mask, each.truth) for mask, each in zip(masks, answers, strict=True) if each.truth.any()
    ]
    dices = np.array([overlap(*pair) for pair in ill])
    ml = np.array([truth.sum() / 1000 for _, truth in ill])
    false = [m.sum() / 1000 for m, each in zip(masks, answers, strict=True) if not each.truth.any()]
    print(f"at its own threshold, {config.inference.threshold}: Dice {dices.mean():.3f}")
    for low, high in ((0, 2), (2, 10), (10, np.inf)):
        chosen = (ml >= low) & (ml < high)
        if chosen.any():
            print(f"  {chosen.sum()} heads of {low} to {high} ml: {dices[chosen].mean():.3f}")
    if false:
        middle, high, most = np.percentile(false, [50, 95, 100])
        print(f"  {len(false)} healthy heads: {middle:.2f} ml, 95 % {high:.1f}, at most {most:.1f}")
    return dices


def brief(scores: Mapping[str, Any]) -> str:
    """Name the numbers by which bundles are compared."""
    if "regions" in scores:
        brain = {key: scores[key]["brain"] for key in ("mean_dice", "mean_dice_95")}
        regions = told(scores["regions"], "accuracy")
        return f"brain {told(brain, 'mean_dice')}, lesions with the right region {regions}"
    text = (
        f"Dice {told(scores, 'mean_dice')}, median {told(scores, 'median_dice')}, "
        f"at {scores['threshold']}"
    )
    if false := scores["false_ml"]:
        text += (
            f"; false ml without lesion: median {told(false, 'median')}, "
            f"95th centile {told(false, 'centile_95')}, at most {false['largest']}"
        )
    return text


def told(scores: Mapping[str, Any], name: str) -> str:
    """Tell a number of a card with its interval, where it has one."""
    interval = scores[f"{name}_95"]
    return f"{scores[name]}" + (f" ({interval[0]} to {interval[1]})" if interval else "")


def main() -> None:
    """Score, print, and maybe write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--write", action="store_true", help="put the scores into the cards")
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    paths = sorted(chosen.pool.glob("example-*.npy"))
    print(f"{len(paths)} heads of {chosen.pool.name}", flush=True)
    found: list[Dices] = []
    for path in chosen.model:
        bundle = load_bundle(path, precision=chosen.precision)
        scores, seconds, dices = score(bundle, paths)
        found.append(dices)
        print(f"{path.name}: {brief(scores)}; {seconds:.1f} s a head", flush=True)
        print(json.dumps(scores))
        if chosen.write:
            card = json.loads((path / CARD).read_text())
            card["validation"]["synthetic_heads_held_out"] = scores
            (path / CARD).write_text(json.dumps(card, indent=2) + "\n")
    if len(found) > 1 and found[0].size:
        gain = found[-1] - found[0]
        mean = told(estimate("gain", gain.tolist(), np.mean), "gain")
        print(f"last - first, each at its own threshold: {mean}, "
              f"better in {(gain > 0).sum()} of {gain.size}")  # fmt: skip


if __name__ == "__main__":
    main()

"""What bundles score on held-out synthetic heads, side by side, and how long a head takes.

Each bundle predicts every head as the main job does, the mean of the image and its mirror image,
and is scored as in its card. Several lesion bundles on the same heads say which one to ship.

    python -m bids_flairseg.train.pool KIND POOL --heads LABELMAPS --shapes OUTLINES --count 24
    python benchmarks/heads.py POOL --model BUNDLE [BUNDLE ...] [--write]

``--write`` puts the scores into the card of each bundle.
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

from bids_flairseg.model.bundle import Bundle, load_bundle
from bids_flairseg.model.runtime import set_up
from bids_flairseg.train.class_scores import score_classes
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.scores import ask, probabilities, score_lesions

CARD = "model.json"


def score(bundle: Bundle, paths: list[Path]) -> tuple[dict[str, Any], float]:
    """Return the scores of a card, and the median seconds of a head with its mirror image."""
    model, seconds = bundle.model, list[float]()
    for path in paths[:3]:
        image, _ = read_example(path)
        begun = time.monotonic()
        for each in (image, image[::-1]):
            probabilities(model, each)
        seconds.append(time.monotonic() - begun)
    if model.output_shape[-1] > 1:
        return score_classes(model, paths), statistics.median(seconds)
    return score_lesions(ask(model, paths), bundle.config), statistics.median(seconds)


def brief(scores: Mapping[str, Any]) -> str:
    """Name the numbers by which bundles are compared."""
    if "regions" in scores:
        brain, regions = scores["mean_dice"]["brain"], scores["regions"]["accuracy"]
        return f"brain {brain}, lesions with the right region {regions}"
    false = scores["false_ml"] or {}
    return (
        f"Dice {scores['mean_dice']} ({scores['mean_dice_95']}), median {scores['median_dice']}, "
        f"at {scores['threshold']}; false ml without lesion {false}"
    )


def main() -> None:
    """Score, print, and maybe write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the scores into the cards")
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    paths = sorted(chosen.pool.glob("example-*.npy"))
    print(f"{len(paths)} heads of {chosen.pool.name}", flush=True)
    for path in chosen.model:
        scores, seconds = score(load_bundle(path), paths)
        print(f"{path.name}: {brief(scores)}; {seconds:.1f} s a head", flush=True)
        print(json.dumps(scores))
        if chosen.write:
            card = json.loads((path / CARD).read_text())
            card["validation"]["synthetic_heads_held_out"] = scores
            (path / CARD).write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()

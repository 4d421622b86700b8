"""What orders true from false lesions, on held-out synthetic heads.

Compares the confidence of the lesion table with what else could go into it: the agreement of the
image and its mirror image, the mean probability, the size. Prints the area under the ROC curve of
each over all lesions that are found, and its 95 % interval by a bootstrap over heads.

    python benchmarks/confidence.py POOL --model BUNDLE
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import numpy as np
from heads import told
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.confidence import confidence
from bids_flairseg.measure.lesions import label_lesions
from bids_flairseg.model.bundle import load_bundle
from bids_flairseg.model.runtime import set_up
from bids_flairseg.model.settings import BundleConfig
from bids_flairseg.train.intervals import estimate
from bids_flairseg.train.pool import list_examples
from bids_flairseg.train.scores import Answer, area_over_heads, ask, lesion_mask


def describe(answer: Answer, config: BundleConfig) -> dict[str, NDArray[np.float64]]:
    """Return numbers for each lesion that is found, and whether it touches a true one."""
    probability = answer.probability
    labels = label_lesions(lesion_mask(probability, config), voxel_ml=1e-3, min_ml=0)
    numbers = np.arange(1, int(labels.max()) + 1)
    one, other = answer.passes
    own = confidence(labels, probability)
    apart = np.asarray(ndimage.mean(np.abs(one - other), labels, numbers))
    mean = np.asarray(ndimage.mean(probability, labels, numbers))
    cut = config.inference.threshold
    both = np.asarray(ndimage.mean((one > cut) & (other > cut), labels, numbers))
    return {
        "confidence": own,
        "mean probability": mean,
        "size": np.bincount(labels.ravel(), minlength=len(numbers) + 1)[1:].astype(float),
        "agreement of image and mirror image": 1 - apart,
        "share found in both": both,
        "confidence and agreement, 2 to 1": 2 * own + 1 - apart,
        "confidence and share found in both, 2 to 1": 2 * own + both,
        "true": np.asarray(ndimage.maximum(answer.truth, labels, numbers), float),
    }


def main() -> None:
    """Print one line for each number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    bundle = load_bundle(chosen.model)
    found: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for path in list_examples(chosen.pool):
        [answer] = ask(bundle.model, [path])
        for name, values in describe(answer, bundle.config).items():
            found[name].append(values)
    true = [touched > 0 for touched in found.pop("true")]
    count = sum(map(np.count_nonzero, true))
    print(f"{count} true and {sum(map(len, true)) - count} false lesions")
    for name, values in found.items():
        area = estimate("area", list(zip(values, true, strict=True)), area_over_heads)
        print(f"{name}: {told(area, 'area')}")


if __name__ == "__main__":
    main()

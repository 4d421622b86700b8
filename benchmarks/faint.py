"""How bright a small lesion must be to be found, on held-out heads.

The contrast of a lesion is its median less that of the tissue up to 4 mm around it, in units of
the normalised image; 90 % of healthy tissue lies below 0.9 to 1.4 of them.

    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --shapes OUTLINES --count 60
    python benchmarks/faint.py POOL [--model BUNDLE]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.model.bundle import bundled, load_bundle
from bids_flairseg.model.runtime import set_up
from bids_flairseg.train.pool import list_examples, read_example
from bids_flairseg.train.scores import ask, lesion_mask
from bids_flairseg.train.synthesis.outline import AROUND, tissue_around

SIZES_MM3, CONTRASTS = (30, 100, 1000), (-np.inf, 1.0, 1.5, 2.0, 3.0, np.inf)
LEAST = 20  # voxels of tissue around a lesion


def lesions(
    image: NDArray[np.float32], truth: NDArray[np.bool_], found: NDArray[np.bool_]
) -> Iterator[tuple[int, float, bool]]:
    """Yield volume in mm^3, contrast, and whether any of it was found, of each lesion."""
    parts = cc3d.connected_components(truth, connectivity=26)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        wide = tuple(slice(max(0, s.start - AROUND), s.stop + AROUND) for s in box)
        part, values = parts[wide] == number, image[wide]
        around = tissue_around(values, part, truth[wide])
        if around.size >= LEAST:
            contrast = float(np.median(values[part]) - np.median(around))
            yield np.count_nonzero(part), contrast, bool(found[wide][part].any())


def main() -> None:
    """Print how many lesions of each size and contrast there are, and the share found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--model", type=Path, default=bundled("lesion"))
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    set_up(chosen.threads, "cpu")
    bundle = load_bundle(chosen.model)
    rows: list[tuple[int, float, bool]] = []
    for path in list_examples(chosen.pool):
        image, _ = read_example(path)
        (answer,) = ask(bundle.model, [path])
        mask = lesion_mask(answer.probability, bundle.config)
        rows += lesions(np.asarray(image, np.float32), answer.truth, mask)
    volume, contrast, found = np.array(rows).reshape(-1, 3).T
    print("| mm3 | contrast | lesions | found |\n|---|---|---|---|")
    for low, high in pairwise(SIZES_MM3):
        for least, most in pairwise(CONTRASTS):
            here = (volume >= low) & (volume < high) & (contrast >= least) & (contrast < most)
            share = f"{found[here].mean():.2f}" if here.any() else "n/a"
            print(f"| {low} to {high} | {least:g} to {most:g} | {here.sum()} | {share} |")


if __name__ == "__main__":
    main()

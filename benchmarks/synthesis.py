"""Synthetic beside real FLAIRs: a contact sheet, and the contrast of their lesions.

``python benchmarks/synthesis.py BIDS MANUAL POOL SHEET.png`` with skull-stripped FLAIRs in
BIDS, their lesion masks in MANUAL, and examples made by ``python -m
bids_flairseg.train.pool lesion`` in POOL. Intensities are those that the network sees.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.normalise import normalise_array
from bids_flairseg.train.pool import read_example

mpl.use("Agg")

import matplotlib.pyplot as plt

Pair = tuple[str, NDArray[np.float32], NDArray[np.bool_]]
COLUMNS = 6
CENTILES = (5, 10, 25, 50, 75, 90)


def real(bids: Path, manual: Path) -> Iterator[Pair]:
    """Yield name, normalised image and lesions of each skull-stripped FLAIR with a mask."""
    for path in sorted(manual.glob("sub-*/anat/*_label-lesion_mask.nii.gz")):
        name = path.name.replace("_label-lesion_mask", "_FLAIR")
        image = nib.as_closest_canonical(nib.load(bids / path.parent.relative_to(manual) / name))
        data = image.get_fdata(dtype=np.float32)
        mask = np.asanyarray(nib.as_closest_canonical(nib.load(path)).dataobj) > 0
        yield name.split("_")[0], normalise_array(data, data != 0, kind="robust"), mask


def synthetic(pool: Path) -> Iterator[Pair]:
    """Yield name, image and lesions of each example."""
    for path in sorted(pool.glob("example-*.npy")):
        image, target = read_example(path)
        yield path.stem, np.asarray(image, np.float32), np.asarray(target) > 0


def describe(pair: Pair) -> dict[str, float | str]:
    """Return centiles of the lesions and of healthy tissue, and the grain of both."""
    name, image, lesion = pair
    brain = image != 0
    healthy = brain & ~ndimage.binary_dilation(lesion, iterations=3)
    row: dict[str, float | str] = {"name": name, "lesion_ml": np.count_nonzero(lesion) / 1000}
    if lesion.any():
        values = np.percentile(image[lesion], CENTILES)
        row |= {f"lesion_{c}": v for c, v in zip(CENTILES, values, strict=True)}
        near = ndimage.binary_dilation(lesion, iterations=2) & ~lesion & brain
        row["around_50"] = float(np.median(image[near]))
    row |= {f"healthy_{c}": float(np.percentile(image[healthy], c)) for c in (1, 50, 90, 99)}
    fine = image - ndimage.gaussian_filter(image, 1.5)
    tissue = healthy & (np.abs(image) < 1)
    row["grain"] = float(np.subtract(*np.percentile(fine[tissue], [75, 25])) / 1.349)
    return row


def draw(pairs: list[Pair], sheet: Path) -> None:
    """Draw, for each image, its slice with most lesion, plain and outlined."""
    rows = -(-len(pairs) * 2 // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(2.4 * COLUMNS, 2.8 * rows), squeeze=False)
    cells = axes.ravel()
    for index, (name, image, lesion) in enumerate(pairs):
        depth = int(lesion.sum((0, 1)).argmax()) if lesion.any() else image.shape[2] // 2
        for axis in cells[2 * index : 2 * index + 2]:
            axis.imshow(image[:, :, depth].T, origin="lower", cmap="gray", vmin=-5, vmax=4.5)
        cells[2 * index].set_title(name, fontsize=8)
        if lesion[:, :, depth].any():
            cells[2 * index + 1].contour(lesion[:, :, depth].T, [0.5], colors="r", linewidths=0.6)
    for axis in cells:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(sheet, dpi=100)


def main() -> None:
    """Draw the sheet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bids", "manual", "pool", "sheet"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--count", type=int, default=15, help="synthetic examples")
    chosen = parser.parse_args()
    made = [pair for pair, _ in zip(synthetic(chosen.pool), range(chosen.count), strict=False)]
    pairs = [*real(chosen.bids, chosen.manual), *made]
    draw(pairs, chosen.sheet)
    table = pd.DataFrame([describe(pair) for pair in pairs]).set_index("name")
    sys.stdout.write(table.round(2).to_string() + "\n")


if __name__ == "__main__":
    main()

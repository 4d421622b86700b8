"""Draw the picture of the documentation from the demo.

    make demo
    .venv/bin/python .ci/picture.py demo-data/made/bids demo-data/made/results docs/images/demo.png

One slice of sub-01: the image; the probability of lesion; what was found and what was put in.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
from matplotlib import pyplot as plt

NAME = "sub-01"
FOUND, PUT_IN = "#ff3020", "#1e90ff"
WIDTH_INCHES, DOTS_PER_INCH = 9.0, 110


def read(path: Path) -> NDArray[np.float32]:
    """Read an image with its axes to the right, front and up."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj, np.float32)


def find(folder: Path, pattern: str) -> Path:
    """Find the one file of a pattern."""
    (path,) = folder.rglob(pattern)
    return path


def main(bids: Path, results: Path, target: Path) -> None:
    """Draw the picture."""
    flair = read(find(bids / NAME, f"{NAME}*_FLAIR.nii.gz"))
    probability = read(find(results / NAME, "*_label-L_probseg.nii.gz"))
    found = read(find(results / NAME, "*_label-L_mask.nii.gz"))
    put_in = read(find(bids / "derivatives" / "reference" / NAME, "*_mask.nii.gz"))
    level = int(np.argmax((found * put_in).sum(axis=(0, 1))))
    # As radiologists look at it: the participant's left is on the right.
    slices = [volume[::-1, :, level].T for volume in (flair, probability, found, put_in)]
    grey = {"cmap": "gray", "vmin": 0, "vmax": float(np.percentile(flair, 99.8)), "origin": "lower"}
    head = np.argwhere(slices[0] > float(np.percentile(flair, 99)) / 5)
    low, high = head.min(axis=0), head.max(axis=0) + 1
    slices = [plane[low[0] : high[0], low[1] : high[1]] for plane in slices]
    rows, columns = slices[0].shape
    height = WIDTH_INCHES / 3 * rows / columns
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH_INCHES, height), facecolor="black")
    for axis in axes:
        axis.imshow(slices[0], **grey)
        axis.set_axis_off()
    axes[1].imshow(
        np.ma.masked_less(slices[1], 0.1), cmap="inferno", vmin=0, vmax=1, origin="lower"
    )
    axes[2].contour(slices[3], levels=[0.5], colors=PUT_IN, linewidths=1.6)
    axes[2].contour(slices[2], levels=[0.5], colors=FOUND, linewidths=1.6)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=DOTS_PER_INCH, metadata={"Software": None})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

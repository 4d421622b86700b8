"""Draw where the bundled model fails, on made-up heads.

    make demo
    BIDS=demo-data/made/bids
    .venv/bin/python benchmarks/robustness.py $BIDS demo-data/changed --participants 01
    .venv/bin/python .ci/failures.py demo-data/changed $BIDS docs/images/failures.jpg

sub-01 as it was made, with noise of 8 %, in slices of 5 mm, and under an uneven coil. Above the
slice with most lesion missed, below the one with most that is false. Blue: what was put in; red:
what was found.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from numpy.typing import NDArray

mpl.use("Agg")
from matplotlib import pyplot as plt

NAME = "sub-01"
FOUND, PUT_IN = "#ff3020", "#1e90ff"
VERSIONS = {
    "clean": "as it was made",
    "noise8": "noise of 8 %",
    "slices5": "slices of 5 mm",
    "bias": "uneven coil",
}
WIDTH_INCHES, DOTS_PER_INCH = 9.0, 110


def find(folder: Path, pattern: str) -> Path:
    """Find the one file of a pattern."""
    (path,) = folder.rglob(pattern)
    return path


def upright(image: nib.Nifti1Image) -> NDArray[np.float32]:
    """Return the voxels with their axes to the right, front and up."""
    return np.asarray(nib.as_closest_canonical(image).dataobj, np.float32)


def read(changed: Path, version: str, reference: Path) -> tuple[NDArray[np.float32], ...]:
    """Read a version of the scan, what was found in it, and what was put in, on one grid."""
    flair = nib.load(find(changed / "bids" / NAME, f"*{version}_FLAIR.nii.gz"))
    found = nib.load(find(changed / "out" / NAME, f"*{version}_*label-L_mask.nii.gz"))
    put_in = resample_from_to(nib.load(reference), flair, order=1)
    return upright(flair), upright(found) > 0.5, upright(put_in) > 0.5


def draw(axis: plt.Axes, volumes: tuple[NDArray[np.float32], ...], level: int) -> None:
    """Draw a slice as radiologists look at it: the participant's left is on the right."""
    flair, found, put_in = (volume[::-1, :, level].T for volume in volumes)
    bright = float(np.percentile(volumes[0], 99.8))
    highest = volumes[0].max(axis=2)[::-1].T
    head = np.argwhere(highest > bright / 5)
    box = tuple(slice(low, high + 1) for low, high in zip(head.min(0), head.max(0), strict=True))
    axis.imshow(flair[box], cmap="gray", vmin=0, vmax=bright, origin="lower")
    for mask, colour in ((put_in, PUT_IN), (found, FOUND)):
        if mask[box].any():
            axis.contour(mask[box], levels=[0.5], colors=colour, linewidths=1.2)
    axis.set_axis_off()


def main(changed: Path, bids: Path, target: Path) -> None:
    """Draw the picture."""
    reference = find(bids / "derivatives" / "reference" / NAME, "*_mask.nii.gz")
    figure, axes = plt.subplots(2, len(VERSIONS), figsize=(WIDTH_INCHES, 5.8), facecolor="black")
    for column, (version, title) in zip(axes.T, VERSIONS.items(), strict=True):
        volumes = read(changed, version, reference)
        _, found, put_in = volumes
        missed, false = (put_in > found).sum(axis=(0, 1)), (found > put_in).sum(axis=(0, 1))
        column[0].set_title(title, color="white", fontsize=10)
        for axis, wrong in zip(column, (missed, false), strict=True):
            draw(axis, volumes, int(np.argmax(wrong)))
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.94, wspace=0, hspace=0)
    figure.savefig(target, dpi=DOTS_PER_INCH, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

"""Synthetic beside real FLAIRs: a contact sheet, and the contrast of their lesions.

    flairseg BIDS OUT participant
    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --count 15
    python benchmarks/synthesis.py OUT POOL SHEET.png [--manual MANUAL] [--blind]

The images are those that the network sees: of OUT the preprocessed ones. Outlined is what
the main job found, or what a rater drew, where MANUAL has it. With ``--blind`` the sheet has
numbers only, and SHEET.txt says which is which.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.arrays import bounding_box
from bids_flairseg.preprocess.grid import restore, voxels
from bids_flairseg.train.pool import list_examples, read_example
from bids_flairseg.train.store import NOT_ZERO

mpl.use("Agg")

import matplotlib.pyplot as plt

Pair = tuple[str, NDArray[np.float32], NDArray[np.bool_]]
SEED = 0
COLUMNS = 6
CENTILES = (5, 10, 25, 50, 75, 90)
BLACK, WHITE = -5.0, 4.5
# White matter: mean, brightest and darkest of what lies up to 2 voxels away, at most and at least.
_MEAN, _BRIGHTEST, _DARKEST = 0.1, 0.9, -2.2
# Voxels from lesions.
_FROM_LESIONS = 6
# What is compared in fineness: clipped to this, and only what is brighter than CSF.
_TISSUE, _NO_CSF = (-2.5, 4.0), -1.5
#: Axes that are cut across, in turn: mostly axial, the odd coronal and sagittal slice.
ACROSS = (2, 2, 1, 2, 2, 0)
PREPARED = "_space-orig_res-1mm_desc-preproc_FLAIR.nii.gz"


def real(out: Path, manual: Path | None) -> Iterator[Pair]:
    """Yield name, image and lesions of each scan, as the main job has prepared it."""
    for path in sorted(out.rglob(f"*{PREPARED}")):
        name = path.name.removesuffix(PREPARED)
        drawn = list(manual.rglob(f"{name}_label-lesion_mask.nii.gz")) if manual else []
        found = path.with_name(f"{name}_space-orig_label-L_mask.nii.gz")
        image = nib.load(path)
        lesion = voxels(restore(nib.load(drawn[0] if drawn else found), image)) > 0.5
        yield name, mark_inside(voxels(image)), lesion


def synthetic(pool: Path) -> Iterator[Pair]:
    """Yield name, image and lesions of each example."""
    for path in list_examples(pool):
        image, target = read_example(path)
        yield path.stem, mark_inside(np.asarray(image, np.float32)), np.asarray(target) > 0


def mark_inside(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep zero for what is outside the brain; images of few grey levels have it inside too."""
    inside = ndimage.binary_fill_holes(image != 0)
    return np.where(inside & (image == 0), np.float32(NOT_ZERO), image)


def describe(pair: Pair) -> dict[str, float | str]:
    """Return centiles of the lesions and of healthy tissue, its grain and how fine it is."""
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
    row["finest"] = finest(image, healthy)
    row["uneven"] = uneven(image, lesion)
    *in_plane, row["next_slice"] = sorted(alike(fine, tissue, axis) for axis in range(3))
    row["next_in_plane"] = float(np.mean(in_plane))
    return row


def finest(image: NDArray[np.float32], healthy: NDArray[np.bool_]) -> float:
    """Return the standard deviation of what a Gaussian of 0.6 mm takes away.

    From 4 mm below the surface of the brain on, CSF aside: noise, and how sharply cortex is drawn.
    """
    depth = ndimage.distance_transform_edt(image != 0)
    clipped = np.clip(image, *_TISSUE)
    sharp = clipped - ndimage.gaussian_filter(clipped, 0.6)
    return float(np.std(sharp[healthy & (depth >= 4) & (image > _NO_CSF)]))


def white_matter(image: NDArray[np.float32], lesion: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return voxels with nothing but evenly dark tissue 2 mm around them."""
    smooth = ndimage.gaussian_filter(image, 0.7)
    plain = ndimage.uniform_filter(image, 5) < _MEAN
    plain &= ndimage.maximum_filter(smooth, 5) < _BRIGHTEST
    plain &= ndimage.minimum_filter(smooth, 5) > _DARKEST
    return np.asarray(plain & ~ndimage.binary_dilation(lesion, iterations=_FROM_LESIONS))


def uneven(image: NDArray[np.float32], lesion: NDArray[np.bool_]) -> float:
    """Return the standard deviation within cubes of 5 mm of what looks like white matter.

    Noise of every fineness, where ``finest`` has that from voxel to voxel alone.
    """
    inside = ndimage.binary_erosion(image != 0, iterations=4)
    plain = white_matter(image, lesion) & inside
    mean, square = (ndimage.uniform_filter(each, 5) for each in (image, image**2))
    return float(np.sqrt(np.mean((square - mean**2)[plain]))) if plain.any() else float("nan")


def alike(fine: NDArray[np.float32], tissue: NDArray[np.bool_], axis: int) -> float:
    """Correlate the grain of neighbouring voxels: most where slices were interpolated."""
    fine, tissue = np.moveaxis(fine, axis, 0), np.moveaxis(tissue, axis, 0)
    both = tissue[:-1] & tissue[1:]
    return float(np.corrcoef(fine[:-1][both], fine[1:][both])[0, 1])


def cut(pair: Pair, axis: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the slice with most lesion across an axis, upright, and its lesions."""
    _, image, lesion = pair
    box = bounding_box(image != 0, margin=(4, 4, 4))
    image, lesion = np.moveaxis(image[box], axis, 0), np.moveaxis(lesion[box], axis, 0)
    depth = int(lesion.sum((1, 2)).argmax()) if lesion.any() else len(image) // 2
    return np.where(image[depth] == 0, BLACK, image[depth]).T, lesion[depth].T


def draw(pairs: list[Pair], sheet: Path, *, blind: bool) -> None:
    """Draw a slice of each brain, plain and outlined, or numbered and plain."""
    each = 1 if blind else 2
    rows = -(-len(pairs) * each // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(2.4 * COLUMNS, 2.8 * rows), squeeze=False)
    cells = axes.ravel()
    for index, pair in enumerate(pairs):
        image, lesion = cut(pair, ACROSS[index % len(ACROSS)])
        mine = cells[each * index : each * (index + 1)]
        for axis in mine:
            axis.imshow(image, origin="lower", cmap="gray", vmin=BLACK, vmax=WHITE)
        mine[0].set_title(index + 1 if blind else pair[0], fontsize=8)
        if not blind and lesion.any():
            mine[1].contour(lesion, [0.5], colors="r", linewidths=0.6)
    for axis in cells:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(sheet, dpi=150)


def main() -> None:
    """Draw the sheet and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("out", "pool", "sheet"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--manual", type=Path, help="lesion masks of raters")
    parser.add_argument("--count", type=int, default=15, help="synthetic examples")
    parser.add_argument("--blind", action="store_true", help="tell nothing; SHEET.txt is the key")
    chosen = parser.parse_args()
    pairs = [*real(chosen.out, chosen.manual), *islice(synthetic(chosen.pool), chosen.count)]
    mixed = [pairs[index] for index in np.random.default_rng(SEED).permutation(len(pairs))]
    draw(mixed, chosen.sheet, blind=chosen.blind)
    if chosen.blind:
        key = "".join(f"{number} {name}\n" for number, (name, *_) in enumerate(mixed, 1))
        chosen.sheet.with_suffix(".txt").write_text(key)
    table = pd.DataFrame([describe(pair) for pair in pairs]).set_index("name")
    sys.stdout.write(table.round(2).to_string() + "\n")


if __name__ == "__main__":
    main()

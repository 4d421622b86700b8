"""What an anatomy network scores on synthetic heads that its training never saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.measure.regions import lesion_regions, region_map
from bids_flairseg.train.intervals import bootstrap_interval, estimate
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.scores import overlap, probabilities
from bids_flairseg.train.synthesis.labels import CLASSES

_VOXEL_MM = 2.0
_TISSUE = (1, 2, 5, 6)  # cortex, white matter and deep grey, cerebellum, brainstem
_WHITE = 2


def score_classes(model: keras.Model, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the mean Dice of each class and of the brain, and how often regions are right.

    Parameters
    ----------
    model : keras.Model
        The anatomy network.
    paths : sequence of Path
        Examples.

    Returns
    -------
    scores : dict
        Dice by class name; of lesions that are put into the images, the share that the
        classes of the network give the region that the true ones give. ``NAME_95`` is the
        interval of NAME, by a bootstrap over heads.
    """
    rows, right = [], list[list[bool]]()
    for number, path in enumerate(paths):
        image, target = read_example(path)
        found = _classes(model, image)
        bright, balls = add_balls(image, np.asarray(target), seed=number)
        right.append(agreeing_regions(np.asarray(target), _classes(model, bright), balls))
        pairs = [(found == index, target == index) for index in range(1, len(CLASSES))]
        rows.append([overlap(found > 0, target > 0), *(overlap(a, b) for a, b in pairs)])
    names = ("brain", *CLASSES[1:])
    columns = zip(names, zip(*rows, strict=True), strict=True)
    dices = {name: [dice for dice in column if np.isfinite(dice)] for name, column in columns}
    return {
        "examples": len(rows),
        "mean_dice": {name: round(float(np.mean(each)), 3) for name, each in dices.items()},
        "mean_dice_95": {name: bootstrap_interval(each, np.mean) for name, each in dices.items()},
        "regions": {
            "lesions": sum(map(len, right)),
            **estimate("accuracy", right, lambda heads: np.mean(np.concatenate(heads))),
        },
    }


def _classes(model: keras.Model, image: NDArray[np.floating]) -> NDArray[np.int64]:
    """Classify as the main job does, by the mean of the image and its mirror image."""
    both = probabilities(model, image) + probabilities(model, image[::-1])[::-1]
    classes: NDArray[np.int64] = both.argmax(-1)
    return classes


def add_balls(
    image: NDArray[np.float16], truth: NDArray[np.uint8], *, seed: int, count: int = 20
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Put bright balls into a head, apart from each other, two of three of them into white matter.

    Parameters
    ----------
    image : ndarray of float16, shape (X, Y, Z)
        At 2 mm; the 99th centile of the brain is about 1.
    truth : ndarray of uint8, shape (X, Y, Z)
        Anatomy classes.
    seed : int
        Of centres, sizes (a radius of 2 to 6 mm) and brightness.
    count : int
        Balls; fewer where there is no room.

    Returns
    -------
    image : ndarray of float32, shape (X, Y, Z)
        Nowhere darker than before.
    labels : ndarray of int32, shape (X, Y, Z)
        Voxels of brain tissue in each ball, numbered from 1.
    """
    rng = np.random.default_rng(seed)
    tissue = np.isin(truth, _TISSUE)
    anywhere, white = np.argwhere(tissue), np.argwhere(truth == _WHITE)
    labels = np.zeros(truth.shape, np.int32)
    grid = np.ogrid[tuple(slice(0, edge) for edge in truth.shape)]
    for place in range(4 * count):
        centres = anywhere if place % 3 == 0 or not len(white) else white
        if not len(centres) or labels.max() == count:
            break
        centre = centres[int(rng.integers(len(centres)))]
        radius = rng.uniform(2, 6) / _VOXEL_MM
        squared = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        if not labels[squared <= (radius + 2) ** 2].any():
            labels[(squared <= radius**2) & tissue] = labels.max() + 1
    soft = ndimage.gaussian_filter((labels > 0).astype(np.float32), 0.5)
    plain = np.asarray(image, np.float32)
    return plain + soft * np.clip(rng.uniform(1.1, 1.5) - plain, 0, None), labels


def agreeing_regions(
    truth: NDArray[np.uint8], found: NDArray[np.int64], labels: NDArray[np.int32]
) -> list[bool]:
    """Compare the regions that two sets of classes give lesions.

    Parameters
    ----------
    truth, found : ndarray of int, shape (X, Y, Z)
        Anatomy classes at 2 mm.
    labels : ndarray of int32, shape (X, Y, Z)
        Lesions, numbered from 1.

    Returns
    -------
    same : list of bool
        One per lesion.
    """
    spacing = (_VOXEL_MM,) * 3
    one, other = (
        lesion_regions(labels, region_map(classes, spacing, lesions))
        for classes, lesions in ((truth, None), (found, labels > 0))
    )
    return [bool(same) for same in one == other]

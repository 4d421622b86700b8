"""How many bright spots a network finds that were put into real and into synthetic brains.

What it finds in the one and not in the other tells what the synthesis lacks, without a rater.

    flairseg BIDS OUT participant
    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --count 15
    python benchmarks/implants.py OUT POOL [--model BUNDLE ...] [--cubic-mm 60] [--contrast 3]

Spots are ellipsoids with the border of one voxel, added to what looks like white matter, away
from the lesions that the main job found, or that were drawn; where a network marks the place
anyway it is left out. Intensities are those of the normalised image.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from zlib import crc32

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from synthesis import Pair, real, synthetic, white_matter

from bids_flairseg.measure.arrays import bounding_box
from bids_flairseg.model.bundle import Bundle, bundled, load_bundle
from bids_flairseg.model.predict import mirrored, predict
from bids_flairseg.model.runtime import applied, set_up

#: Depths below the surface of the brain between which spots are counted, and how many of them.
DEPTHS_MM, SPOTS = (4, 11, 18, 28), 12
#: Largest spot that its box holds.
MOST_CUBIC_MM = 300
# Voxels: half a spot's box, and how far spots lie apart.
_REACH, _APART = 8, 12
# Where it must be found: its middle.
_MIDDLE = (slice(_REACH - 1, _REACH + 2),) * 3


def spot(rng: np.random.Generator, cubic_mm: float) -> NDArray[np.float32]:
    """Return the share of an ellipsoid in each voxel around its middle."""
    axes = np.exp(0.25 * rng.standard_normal(3))
    axes *= (cubic_mm * 3 / 4 / np.pi / axes.prod()) ** (1 / 3)
    grid = np.indices((2 * _REACH + 1,) * 3) - _REACH
    distance = np.sqrt(sum((along / axis) ** 2 for along, axis in zip(grid, axes, strict=True)))
    inside = np.clip((1 - distance) * float(np.cbrt(axes.prod())) + 0.5, 0, 1)
    return np.asarray(ndimage.gaussian_filter(inside, 0.5), np.float32)


def implant(
    pair: Pair, cubic_mm: float, contrast: float
) -> tuple[NDArray[np.float32], list[tuple[int, tuple[slice, ...]]]]:
    """Put spots into a brain: the image with them, and the depth and the box of each."""
    name, image, lesion = pair
    rng = np.random.default_rng(crc32(name.encode()))
    depth = ndimage.distance_transform_edt(image != 0)
    free = white_matter(image, lesion)
    changed, spots = image.astype(np.float32), []
    for layer, (least, most) in enumerate(pairwise(DEPTHS_MM)):
        places = np.argwhere(free & (depth >= least) & (depth < most))
        count = 0
        for place in places[rng.permutation(len(places))]:
            if count == SPOTS:
                break
            low, high = place - _REACH, place + _REACH + 1
            if free[tuple(place)] and (low >= 0).all() and (high <= image.shape).all():
                box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
                changed[box] += contrast * spot(rng, cubic_mm) * (image[box] != 0)
                spots.append((layer, box))
                free[tuple(slice(max(0, p - _APART), p + _APART + 1) for p in place)] = False
                count += 1
    return changed, spots


def brains(source: Path) -> Iterator[Pair]:
    """Yield the brains of a pool, or of what the main job wrote."""
    for name, image, lesion in (
        real(source, None) if any(source.glob("sub-*")) else synthetic(source)
    ):
        box = bounding_box(image != 0, margin=(_REACH,) * 3)
        yield name, image[box], lesion[box]


def found(bundle: Bundle, pair: Pair, cubic_mm: float, contrast: float) -> list[tuple[int, bool]]:
    """Return the layer of each spot, and whether the network finds it; see :func:`implant`."""
    image, spots = implant(pair, cubic_mm, contrast)
    apply, threshold = mirrored(applied(bundle.model)), bundle.config.inference.threshold
    before, after = (predict(apply, each, bundle.config)[..., 0] for each in (pair[1], image))
    return [
        (layer, bool(after[box][_MIDDLE].max() > threshold))
        for layer, box in spots
        if before[box][_MIDDLE].max() <= threshold
    ]


def main() -> None:
    """Print the share of the spots that each network finds in each kind of brain."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="+", metavar="OUT or POOL")
    parser.add_argument("--model", type=Path, nargs="+", default=[bundled("lesion")])
    parser.add_argument("--cubic-mm", type=float, default=60)
    parser.add_argument("--contrast", type=float, default=3)
    parser.add_argument("--each", action="store_true", help="a row for each brain")
    chosen = parser.parse_args()
    if not 0 < chosen.cubic_mm <= MOST_CUBIC_MM:
        parser.error(f"--cubic-mm: expected up to {MOST_CUBIC_MM}, found {chosen.cubic_mm:g}")
    set_up(2, "cpu")
    print(f"Found of spots of {chosen.cubic_mm:g} mm3, {chosen.contrast:g} brighter:\n")
    layers = [f"{a} to {b} mm deep" for a, b in pairwise(DEPTHS_MM)]
    print("| network | brains | " + " | ".join(layers) + " |\n|---|---|" + "---|" * len(layers))
    for path in chosen.model:
        bundle = load_bundle(path)
        for source in chosen.sources:
            rows: dict[str, list[tuple[int, bool]]] = {}
            for pair in brains(source):
                hits = found(bundle, pair, chosen.cubic_mm, chosen.contrast)
                rows.setdefault(pair[0] if chosen.each else str(source), []).extend(hits)
            if not rows:
                parser.error(f"{source}: expected a run of flairseg or a pool, found no image")
            for name, hits in rows.items():
                those = [[hit for depth, hit in hits if depth == n] for n in range(len(layers))]
                cells = [f"{sum(hit)} of {len(hit)}" for hit in those]
                print(f"| {path} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

"""What choices of network, loss, input and crop are worth, each trained from scratch for as long.

    python -m bids_flairseg.train.pool lesion POOL --heads LABELMAPS --shapes OUTLINES --count 200
    python -m bids_flairseg.train.pool lesion HELDOUT --heads OTHERS --shapes OUTLINES --count 24
    python benchmarks/explore.py POOL HELDOUT TABLE.tsv [--million 250] [--only NAME ...]

Every variant sees as many million voxels as the others, in crops of the same examples, drawn with
the same seed, and differs from ``base`` in what its name says. Each is then asked about the whole
held-out heads, normalised by the statistics of the head at hand, as in training: a short training
has no averages yet that stand for all. The best Dice over thresholds leaves calibration out; false
volume is told at that threshold. A row is written when its variant is done; those in TABLE are not
run again. Runs are short, so that a difference within the interval says nothing, and what needs
long training to pay off is not seen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# first: it asks TensorFlow for oneDNN's convolutions, before it is loaded
import bids_flairseg  # noqa: F401  # isort: skip
import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.model.unet import DUONG2019, Stage, UNetConfig
from bids_flairseg.train.intervals import bootstrap_interval
from bids_flairseg.train.losses import binary_loss, careful_loss, lesion_loss, soft_dice
from bids_flairseg.train.pool import list_examples, read_example
from bids_flairseg.train.pretrain import compiled
from bids_flairseg.train.recipes import RECIPES, Recipe
from bids_flairseg.train.scores import overlap

THRESHOLDS = np.arange(0.05, 1, 0.05)
BASE = replace(RECIPES["lesion-blocks"], crop=(96, 96, 96), warm_up_steps=20)
MODE_BINS = 200


def focal_loss(truth: Any, probability: Any) -> Any:
    """Return the focal loss (Lin et al. 2017, gamma 2), ten times, plus soft Dice."""
    focal = keras.losses.BinaryFocalCrossentropy(gamma=2.0)
    return 10.0 * focal(truth, probability) + soft_dice(truth, probability)


def from_mode(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the mode of the brain, which is white matter in most FLAIRs, at zero."""
    brain = image != 0
    counts, edges = np.histogram(image[brain], MODE_BINS, (-2, 2))
    smooth = np.convolve(counts, np.hanning(15), "same")
    mode = edges[int(smooth.argmax())] + 2 / MODE_BINS
    return np.where(brain, image - mode, 0).astype(np.float32)


def _scaled(network: UNetConfig, factor: float) -> UNetConfig:
    def stage(one: Stage) -> Stage:
        return replace(
            one, **{n: int(getattr(one, n) * factor) for n in ("first", "second", "change")}
        )

    return replace(
        network, encoder=tuple(map(stage, network.encoder)),
        decoder=tuple(map(stage, network.decoder)),
    )  # fmt: skip


def _shallower(network: UNetConfig) -> UNetConfig:
    return replace(network, encoder=network.encoder[:-1], decoder=network.decoder[1:])


@dataclass(frozen=True)
class Variant:
    """What differs from the base; voxels are in mm."""

    recipe: Recipe = BASE
    loss: Callable[[Any, Any], Any] = careful_loss
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    small_twice: bool = False
    voxel: tuple[float, float, float] = (1.0, 1.0, 1.0)


def _network(network: UNetConfig) -> Variant:
    return Variant(replace(BASE, network=network))


VARIANTS = {
    "base": Variant(),
    "residual": _network(replace(BASE.network, residual=True)),
    "half as wide": _network(_scaled(BASE.network, 0.5)),
    "one level less": _network(_shallower(BASE.network)),
    "entropy once, Tversky 1.4": Variant(loss=binary_loss),
    "entropy of a voxel the same in all heads": Variant(loss=lesion_loss),
    "focal and Dice": Variant(loss=focal_loss),
    "white matter's mode at zero": Variant(change=from_mode),
    "heads under 5 ml twice as often": Variant(small_twice=True),
    "crops of 64^3": Variant(replace(BASE, crop=(64, 64, 64))),
    "whole brains": Variant(replace(BASE, crop=(160, 192, 160))),
    "voxels of 1.5 mm": Variant(voxel=(1.5, 1.5, 1.5)),
    "slices of 4 mm": Variant(replace(BASE, crop=(128, 160, 32)), voxel=(1.0, 1.0, 4.0)),
    "half as wide, no blocks": _network(replace(_scaled(BASE.network, 0.5), patch=1)),
    "duong2019": _network(DUONG2019),
}


def sampled(image: NDArray[Any], size: NDArray[np.floating]) -> NDArray[np.float32]:
    """Bring an image to other voxels, linearly; what is smaller than a voxel is averaged first."""
    if tuple(size) == image.shape:
        return np.asarray(image, np.float32)
    factors = size / image.shape
    smooth = ndimage.uniform_filter(
        np.asarray(image, np.float32), np.maximum(1, np.rint(1 / factors)).astype(int)
    )
    return np.asarray(
        ndimage.zoom(smooth, factors, order=1, mode="nearest", grid_mode=True), np.float32
    )


def batches(variant: Variant, paths: list[Path]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield crops without end, the same ones for the same crop size."""
    rng = np.random.default_rng(0)
    weights = np.ones(len(paths))
    if variant.small_twice:
        ml = np.array([np.count_nonzero(read_example(path)[1]) / 1000 for path in paths])
        weights[(ml > 0) & (ml < 5)] = 2
    while True:
        image, target = read_example(paths[int(rng.choice(len(paths), p=weights / weights.sum()))])
        size = np.rint(np.array(image.shape) / variant.voxel)
        image, target = sampled(image, size), (sampled(target, size) >= 0.5).astype(np.uint8)
        image, target = variant.recipe.augment(rng, image.astype(np.float16), target)
        image = variant.change(image) if variant.change else image
        yield image[None, ..., None], target[None, ..., None]


def train(variant: Variant, paths: list[Path], voxels: float) -> tuple[keras.Model, float]:
    """Return the network after as many voxels, and the seconds of a million of them."""
    recipe = variant.recipe
    steps = max(recipe.warm_up_steps + 1, round(voxels / np.prod(recipe.crop)))
    keras.utils.set_random_seed(0)
    model = compiled(recipe, steps)
    model.compile(optimizer=model.optimizer, loss=variant.loss)
    begun = time.monotonic()
    for _, (image, target) in zip(range(steps), batches(variant, paths), strict=False):
        model.train_on_batch(image, target)
    return model, (time.monotonic() - begun) / (steps * np.prod(recipe.crop) / 1e6)


def score(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]], heads: list[Path]
) -> dict[str, Any]:
    """Return the best Dice over thresholds, its interval, and the false volume there."""
    ill, healthy = [], []
    for path in heads:
        image, target = (np.asarray(each) for each in read_example(path))
        answer, truth = predict(image.astype(np.float32)), target > 0
        masks = [answer >= threshold for threshold in THRESHOLDS]
        if truth.any():
            ill.append([overlap(mask, truth) for mask in masks])
        else:
            healthy.append([np.count_nonzero(mask) / 1000 for mask in masks])
    best = int(np.mean(ill, 0).argmax())
    low, high = bootstrap_interval(np.array(ill)[:, best], np.mean) or (np.nan, np.nan)
    row = {"dice": np.mean(ill, 0)[best], "low": low, "high": high, "at": THRESHOLDS[best]}
    if healthy:
        row["false_ml"] = np.median(np.array(healthy)[:, best])
    return row


def rows(name: str, pool: Path, heldout: Path, voxels: float) -> Iterator[dict[str, Any]]:
    """Train a variant and yield its rows: as it is, and for the base what else its run tells."""
    variant = VARIANTS[name]
    model, seconds = train(variant, list_examples(pool), voxels)
    heads, about = list_examples(heldout), {"s_per_million": seconds}

    def ask(image: NDArray[np.float32], *, own: bool = True) -> NDArray[np.float32]:
        changed = variant.change(image) if variant.change else image
        changed = sampled(changed, np.rint(np.array(image.shape) / variant.voxel))
        margin = [(0, -edge % variant.recipe.network.multiple) for edge in changed.shape]
        answer = model(np.pad(changed, margin)[None, ..., None], training=own)
        inner = tuple(slice(0, edge) for edge in changed.shape)
        values = keras.ops.convert_to_numpy(answer)[0, ..., 0][inner]
        return np.asarray(sampled(values, np.array(image.shape, float)) * (image != 0))

    last = model.get_weights()
    if name == "base":
        yield {"variant": "base, last weights instead of their average"} | score(ask, heads) | about
        model.set_weights(last)  # to ask with a head's own statistics changes the averages
    model.optimizer.finalize_variable_values(model.trainable_variables)
    if name == "base":
        fixed = score(lambda image: ask(image, own=False), heads)
        yield {"variant": "base, normalised by the averages of training"} | fixed | about
    yield {"variant": name} | score(ask, heads) | about


def main() -> None:
    """Train and score what TABLE lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pool", "heldout", "table"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--million", type=float, default=250, help="voxels of each variant")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    chosen = parser.parse_args()
    done = pd.read_csv(chosen.table, sep="\t") if chosen.table.exists() else pd.DataFrame()
    for name in chosen.only:
        if len(done) and name in set(done["variant"]):
            continue
        keras.backend.clear_session()
        found = pd.DataFrame(rows(name, chosen.pool, chosen.heldout, chosen.million * 1e6))
        done = pd.concat([done, found], ignore_index=True)
        done.round(4).to_csv(chosen.table, sep="\t", index=False)
        print(found.round(3).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()

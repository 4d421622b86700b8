"""Turn a training run into a bundle, with what it scores on synthetic heads.

``python -m bids_flairseg.train.export RECIPE --run DIR --validation POOL BUNDLE``
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.model.bundle import BundleConfig, Card, Inference, Preprocessing, save_bundle
from bids_flairseg.model.unet import build_unet
from bids_flairseg.train.pool import read_example
from bids_flairseg.train.pretrain import compiled, load_state
from bids_flairseg.train.recipes import RECIPES, Recipe
from bids_flairseg.train.synthesis.labels import CLASSES

LOGGER = logging.getLogger(__name__)

THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))
_ATTRIBUTION = (
    "Label maps: SynthSeg, Billot et al. 2023, doi:10.1016/j.media.2023.102789 (Apache-2.0)",
    "Lesion shapes: Open MS data, Lesjak et al. 2017, doi:10.1007/s12021-017-9348-7 (CC-BY-4.0)",
    "Method: Rauschecker et al. 2022, doi:10.1148/ryai.2021200152",
)


def averaged(recipe: Recipe, run: Path) -> keras.Model:
    """Return the network of a run with the running averages of its weights.

    Parameters
    ----------
    recipe : Recipe
        What was trained.
    run : Path
        Folder of the run.

    Returns
    -------
    model : keras.Model
        float32.
    """
    trained = compiled(recipe, recipe.warm_up_steps + 1)
    load_state(run / "state.npz", trained)
    trained.optimizer.finalize_variable_values(trained.trainable_variables)
    keras.mixed_precision.set_global_policy("float32")
    model = build_unet(recipe.network)
    model.set_weights(trained.get_weights())
    return model


def probabilities(model: keras.Model, image: NDArray[np.float16]) -> NDArray[np.float32]:
    """Predict one example, padded to what the network takes.

    Parameters
    ----------
    model : keras.Model
        The network.
    image : ndarray of float16, shape (X, Y, Z)
        Example of a pool.

    Returns
    -------
    probability : ndarray of float32, shape (X, Y, Z, C)
        Of each output channel.
    """
    margin = [(0, -edge % 32) for edge in image.shape]
    padded = np.pad(np.asarray(image, np.float32), margin)[None, ..., None]
    answer = keras.ops.convert_to_numpy(model(padded, training=False))[0]
    return np.asarray(answer[tuple(slice(0, edge) for edge in image.shape)], np.float32)


def score_classes(model: keras.Model, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the mean Dice of each class, and of the brain as a whole.

    Parameters
    ----------
    model : keras.Model
        The anatomy network.
    paths : sequence of Path
        Examples.

    Returns
    -------
    scores : dict
        Dice by class name.
    """
    rows = []
    for path in paths:
        image, target = read_example(path)
        found = probabilities(model, image).argmax(-1)
        pairs = [(found == index, target == index) for index in range(1, len(CLASSES))]
        rows.append([_dice(found > 0, target > 0), *(_dice(a, b) for a, b in pairs)])
    names = ("brain", *CLASSES[1:])
    means: list[float] = np.nanmean(rows, axis=0).round(3).tolist()
    return {
        "examples": len(rows),
        "mean_dice": dict(zip(names, means, strict=True)),
    }


def score_lesions(model: keras.Model, paths: Sequence[Path]) -> dict[str, Any]:
    """Return Dice and false volume for each threshold, and the best threshold.

    Parameters
    ----------
    model : keras.Model
        The lesion network.
    paths : sequence of Path
        Examples.

    Returns
    -------
    scores : dict
        The threshold, see :func:`choose_threshold`; its mean and median Dice over
        examples with lesion; the median false volume in ml without lesion.
    """
    dices, false = [], []
    for path in paths:
        image, target = read_example(path)
        found = probabilities(model, image)[..., 0]
        found[np.asarray(image) == 0] = 0
        truth = np.asarray(target) > 0
        if truth.any():
            dices.append([_dice(found > level, truth) for level in THRESHOLDS])
        else:
            false.append([np.count_nonzero(found > level) / 1000 for level in THRESHOLDS])
        LOGGER.info("%s: %s", path.name, np.round((dices if truth.any() else false)[-1], 3))
    table = np.array(dices)
    best = choose_threshold(table.mean(0))
    return {
        "examples_with_lesion": len(dices),
        "examples_without_lesion": len(false),
        "threshold": THRESHOLDS[best],
        "mean_dice": round(float(table[:, best].mean()), 3),
        "median_dice": round(float(np.median(table[:, best])), 3),
        "median_false_ml": round(float(np.median(np.array(false)[:, best])), 3) if false else None,
        "mean_dice_by_threshold": dict(
            zip(map(str, THRESHOLDS), table.mean(0).round(3).tolist(), strict=True)
        ),
    }


def choose_threshold(means: NDArray[np.float64]) -> int:
    """Choose a threshold by its mean Dice.

    The curve is flat over most of its range, where its highest point is chance; so of
    all that come within 0.01 of it, the one nearest to 0.5 is taken.

    Parameters
    ----------
    means : ndarray of float, shape (T,)
        Mean Dice at each of :data:`THRESHOLDS`.

    Returns
    -------
    index : int
        Into :data:`THRESHOLDS`.
    """
    close = np.flatnonzero(means >= means.max() - 0.01)
    return int(min(close, key=lambda index: abs(THRESHOLDS[index] - 0.5)))


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else float("nan")


def bundle_config(name: str, recipe: Recipe, threshold: float) -> BundleConfig:
    """Return the configuration of a bundle.

    Parameters
    ----------
    name : str
        ``anatomy`` or ``lesion``.
    recipe : Recipe
        What was trained.
    threshold : float
        Probability from which a voxel counts.

    Returns
    -------
    config : BundleConfig
        Ready to be saved.
    """
    anatomy = name == "anatomy"
    return BundleConfig(
        name=name,
        architecture=recipe.network,
        classes=CLASSES if anatomy else ("lesion",),
        preprocessing=Preprocessing(
            voxel_size_mm=recipe.voxel_mm,
            normalisation="brain99" if anatomy else "robust",
            brain_only=not anatomy,
        ),
        inference=Inference(threshold=threshold),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Export a run from the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        Command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m bids_flairseg.train.export")
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True, help="pool of held-out heads")
    parser.add_argument("--note", default="", help="machine and commands, for the card")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = RECIPES[chosen.recipe]
    model = averaged(recipe, chosen.run)
    paths = sorted(chosen.validation.glob("example-*.npy"))
    anatomy = chosen.recipe == "anatomy"
    scores = (score_classes if anatomy else score_lesions)(model, paths)
    LOGGER.info("%s", scores)
    lines = (chosen.run / "history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    training = {
        "steps": (history[-1]["epoch"] + 1) * recipe.steps_per_epoch,
        "last_loss": history[-1]["loss"],
        "loss_by_epoch": [row["loss"] for row in history],
        "note": chosen.note,
    }
    card = Card(
        data="FLAIRs synthesised from label maps of 18 heads"
        + ("" if anatomy else " with 27 patients' lesion shapes and generated lesions"),
        licence="Apache-2.0",
        attribution=_ATTRIBUTION if not anatomy else (_ATTRIBUTION[0], _ATTRIBUTION[2]),
        training=training,
        validation={"synthetic_heads_held_out": scores},
    )
    threshold = 0.5 if anatomy else float(scores["threshold"])
    save_bundle(chosen.bundle, model, bundle_config(chosen.recipe, recipe, threshold), card)


if __name__ == "__main__":
    main()

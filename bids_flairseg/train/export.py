"""Turn a training run into a bundle, with what it scores on synthetic heads.

``python -m bids_flairseg.train.export RECIPE BUNDLE --run DIR --validation POOL``; without a
pool the bundle has no scores and no calibration, and may be the run of another call. With
``--beside OTHER`` the network of another bundle goes in as well, and the mean of both comes out.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import (
    BundleConfig,
    Card,
    Inference,
    Preprocessing,
    save_bundle,
)
from bids_flairseg.train.calibration import fit_scaling, fold
from bids_flairseg.train.class_scores import score_classes
from bids_flairseg.train.members import join
from bids_flairseg.train.pretrain import averaged, read_history
from bids_flairseg.train.recipes import RECIPES, Recipe
from bids_flairseg.train.scores import ask, score_lesions
from bids_flairseg.train.synthesis.labels import CLASSES

LOGGER = logging.getLogger(__name__)

# Probability from which voxels take part in the calibration: with all of them the expected
# calibration error of the networks of November 2026 was 0.054, so 0.010.
_DOUBTFUL_FROM = 0.02
_USES = {
    "anatomy": "Brain mask and regions for the lesion network, in FLAIRs of adults. Not for "
    "diagnosis, and not for volumes of single tissues. Known to fail: takes lesions for cortex, "
    "fat of the orbit and tissue of the nasal cavity for brain in places.",
    "lesion": "Research on groups of adults with lesions that are bright on FLAIR (demyelination, "
    "small-vessel disease, tumour, stroke); every outline to be looked at. Not for diagnosis, "
    "treatment or single patients. Known to fail: misses small and faint lesions; outlines bright "
    "caps of the ventricles, sinuses and the fornix in places; does not tell causes apart.",
}
_ATTRIBUTION = (
    "Label maps: SynthSeg, Billot et al. 2023, doi:10.1016/j.media.2023.102789 (Apache-2.0)",
    "Lesion shapes: Open MS data, Lesjak et al. 2017, doi:10.1007/s12021-017-9348-7 (CC-BY-4.0)",
    "Method: Rauschecker et al. 2022, doi:10.1148/ryai.2021200152",
)


def bundle_config(name: str, recipe: Recipe) -> BundleConfig:
    """Return the configuration of a bundle.

    Parameters
    ----------
    name : str
        ``anatomy`` or ``lesion``.
    recipe : Recipe
        What was trained.

    Returns
    -------
    config : BundleConfig
        With the threshold at 0.5.
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
        inference=Inference(),
    )


def _calibrate(model: keras.Model, paths: Sequence[Path], config: BundleConfig) -> dict[str, Any]:
    """Fold the calibration that examples ask for into the network, and score it on them."""
    answers = ask(model, paths)
    slope, offset = fit_scaling(doubtful(*answer.of_brain) for answer in answers)
    fold(model, slope, offset)
    LOGGER.info("logits scaled by %.3f and shifted by %.3f", slope, offset)
    return score_lesions([answer.scaled(slope, offset) for answer in answers], config)


def doubtful(
    probability: NDArray[np.float32], truth: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Leave out the voxels that are no lesion anyway, which are so many that they alone decide.

    Parameters
    ----------
    probability : ndarray of float32, shape (V,)
        Of the voxels of a brain.
    truth : ndarray of bool, shape (V,)
        Lesion.

    Returns
    -------
    probability, truth : ndarray
        Of the voxels that take part in the calibration.
    """
    chosen = probability >= _DOUBTFUL_FROM
    return probability[chosen], truth[chosen]


def _history(run: Path, recipe: Recipe) -> dict[str, Any]:
    """Return what the card says of a run's length and loss."""
    rows = read_history(run)
    if not rows:
        raise InputError(
            f"{run}: expected a run with an epoch at least, found none in its history. Let it "
            "train for longer."
        )
    return {
        "steps": (rows[-1]["epoch"] + 1) * recipe.steps_per_epoch,
        "last_loss": rows[-1]["loss"],
        "loss_by_epoch": [row["loss"] for row in rows],
    }


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
    parser.add_argument(
        "--parent-share", type=float, default=0.0, help="of the weights that RUN began with"
    )
    parser.add_argument("--beside", type=Path, help="bundle whose network goes in as well")
    parser.add_argument("--share", type=float, default=0.5, help="of RUN in the mean with it")
    parser.add_argument("--validation", type=Path, help="pool of held-out heads")
    parser.add_argument("--note", default="", help="machine and commands, for the card")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = RECIPES[chosen.recipe]
    anatomy = chosen.recipe == "anatomy"
    model = averaged(recipe, chosen.run, parent_share=chosen.parent_share)
    if chosen.beside:
        model, network = join(model, recipe.network, chosen.beside, share=chosen.share)
        recipe = replace(recipe, network=network)
    name = "anatomy" if anatomy else "lesion"
    config = bundle_config(name, recipe)
    scores: dict[str, Any] = {}
    if chosen.validation:
        paths = sorted(chosen.validation.glob("example-*.npy"))
        scores = score_classes(model, paths) if anatomy else _calibrate(model, paths, config)
        LOGGER.info("%s", scores)
    card = Card(
        use=_USES[name],
        data="FLAIRs synthesised from label maps of 18 heads with 27 patients' lesion shapes and "
        "generated lesions",
        licence="Apache-2.0",
        attribution=_ATTRIBUTION,
        training=_history(chosen.run, recipe) | {"note": chosen.note},
        validation={"synthetic_heads_held_out": scores},
    )
    if "threshold" in scores:
        used = replace(config.inference, threshold=float(scores["threshold"]))
        config = replace(config, inference=used)
    save_bundle(chosen.bundle, model, config, card)


if __name__ == "__main__":
    main()

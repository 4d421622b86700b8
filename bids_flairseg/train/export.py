"""Turn a training run into a bundle, with what it scores on synthetic heads.

``python -m bids_flairseg.train.export RECIPE --run DIR --validation POOL BUNDLE``
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from bids_flairseg.model.bundle import BundleConfig, Card, Inference, Preprocessing, save_bundle
from bids_flairseg.train.calibration import fit_scaling, fold
from bids_flairseg.train.pretrain import averaged
from bids_flairseg.train.recipes import RECIPES, Recipe
from bids_flairseg.train.scores import ask, score_classes, score_lesions
from bids_flairseg.train.synthesis.labels import CLASSES

LOGGER = logging.getLogger(__name__)

_ATTRIBUTION = (
    "Label maps: SynthSeg, Billot et al. 2023, doi:10.1016/j.media.2023.102789 (Apache-2.0)",
    "Lesion shapes: Open MS data, Lesjak et al. 2017, doi:10.1007/s12021-017-9348-7 (CC-BY-4.0)",
    "Method: Rauschecker et al. 2022, doi:10.1148/ryai.2021200152",
)


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
    if anatomy:
        scores = score_classes(model, paths)
    else:
        answers = ask(model, paths)
        slope, offset = fit_scaling(answer.of_brain for answer in answers)
        fold(model, slope, offset)
        LOGGER.info("logits scaled by %.3f and shifted by %.3f", slope, offset)
        scores = score_lesions([answer.scaled(slope, offset) for answer in answers])
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

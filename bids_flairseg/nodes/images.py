"""Nodes from image to image: check, correct the bias, prepare, restore."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from bids_flairseg.nodes.files import load, load_array, save, save_array
from bids_flairseg.nodes.fingerprint import fingerprint
from bids_flairseg.nodes.step import Step, StepInput


class _CheckInput(StepInput):
    flair = File(mandatory=True, desc="the FLAIR as it is in the dataset")
    brain_mask = File(desc="brain mask that the user supplied")
    settings = traits.Str(mandatory=True, desc="digest of all that changes the numbers")
    about = traits.Str("", usedefault=True, desc="what else of the dataset shows in the results")


class _CheckOutput(TraitedSpec):
    image = File(desc="float32, axes as close to right, front and up as they come")
    fingerprint = traits.Str(desc="digest of settings and files")
    warnings = traits.List(traits.Str, desc="what is unusual about the file")


class Check(Step):
    """Read the FLAIR, refuse what is none, and turn its axes."""

    input_spec, output_spec = _CheckInput, _CheckOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.preprocess.background import settle_background
        from bids_flairseg.preprocess.grid import conform
        from bids_flairseg.preprocess.image import load_flair

        flair = Path(self.inputs.flair)
        mask = Path(self.inputs.brain_mask) if self.inputs.brain_mask else None
        checked = load_flair(flair)
        image, unusual = settle_background(conform(checked.image))
        return {
            "image": save(image, folder / "image.nii"),
            "fingerprint": fingerprint(self.inputs.settings, flair, mask, about=self.inputs.about),
            "warnings": [*checked.warnings, *unusual],
        }


class _CorrectBiasInput(StepInput):
    image = File(mandatory=True)
    brain = File(mandatory=True, desc="brain mask on the same grid")


class _ImageOutput(TraitedSpec):
    image = File()


class CorrectBias(Step):
    """Correct the bias field with N4."""

    input_spec, output_spec = _CorrectBiasInput, _ImageOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.preprocess.bias import correct_bias

        brain = load_array(self.inputs.brain) > 0
        corrected = correct_bias(load(self.inputs.image), brain)
        return {"image": save(corrected, folder / "image.nii")}


class _PrepareInput(StepInput):
    image = File(mandatory=True)
    brain = File(mandatory=True, desc="brain mask on the same grid")
    voxel_size_mm = traits.Float(mandatory=True, desc="what the network wants")
    normalisation = traits.Str(mandatory=True, desc="what the network wants")


class _PrepareOutput(_ImageOutput):
    smoothed = traits.Float(desc="share of the smoothed image that was mixed in, 0 to 1")


class Prepare(Step):
    """Resample to the network's voxels, smooth what is noisy, make intensities comparable."""

    input_spec, output_spec = _PrepareInput, _PrepareOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.preprocess.grid import new_image, resample, restore, voxels
        from bids_flairseg.preprocess.noise import normalise_noisy

        image = resample(load(self.inputs.image), self.inputs.voxel_size_mm)
        brain = restore(load(self.inputs.brain), image)  # linear: the surface stays smooth
        data, smoothed = normalise_noisy(
            voxels(image), voxels(brain) > 0.5, kind=self.inputs.normalisation
        )
        normalised = new_image(data, np.asarray(image.affine))
        return {"image": save(normalised, folder / "image.nii"), "smoothed": smoothed}


class _RestoreInput(StepInput):
    flair = File(mandatory=True, desc="gives the grid")
    probability = File(mandatory=True)
    brain = File(mandatory=True)
    classes = File(mandatory=True)


class _RestoreOutput(TraitedSpec):
    probability = File(desc="float32, zero outside the brain")
    brain = File(desc="uint8")
    classes = File(desc="uint8")


class Restore(Step):
    """Bring what was found back to the voxels of the FLAIR."""

    input_spec, output_spec = _RestoreInput, _RestoreOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.preprocess.grid import restore, voxels
        from bids_flairseg.preprocess.image import load_grid

        grid = load_grid(Path(self.inputs.flair))
        brain = voxels(restore(load(self.inputs.brain), grid, order=0)) > 0
        classes = voxels(restore(load(self.inputs.classes), grid, order=0))
        probability = voxels(restore(load(self.inputs.probability), grid)) * brain
        # Digits without meaning would make the file several times larger.
        probability = probability.round(4)
        return {
            "probability": save_array(probability, grid, folder / "probability.nii", "float32"),
            "brain": save_array(brain, grid, folder / "brain.nii", "uint8"),
            "classes": save_array(classes, grid, folder / "classes.nii", "uint8"),
        }

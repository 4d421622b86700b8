"""Nodes with a network: find the brain, segment. A worker keeps its networks between scans."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits
from numpy.typing import NDArray

from bids_flairseg.config import ResourceConfig, SegmentConfig
from bids_flairseg.nodes.files import load, load_array, save, save_array
from bids_flairseg.nodes.step import Step, StepInput

if TYPE_CHECKING:
    from bids_flairseg.model.runtime import Network


def warm_up(resources: ResourceConfig, segment: SegmentConfig) -> None:
    """Load what a worker needs for its first scan, while that is still being looked for.

    Parameters
    ----------
    resources : ResourceConfig
        Threads and device.
    segment : SegmentConfig
        The two bundles.
    """
    from bids_flairseg.model.runtime import get_model, set_up

    set_up(resources.omp_nthreads, resources.device)
    for path in (segment.anatomy, segment.model):
        get_model(path)


class _NetworkInput(StepInput):
    image = File(mandatory=True, desc="what the network is applied to")
    bundle = traits.Str(mandatory=True, nohash=True, desc="folder of the bundle")
    fingerprint = traits.Str(mandatory=True, desc="digest of what the bundle holds")
    nthreads = traits.Int(1, usedefault=True, nohash=True)
    device = traits.Str("auto", usedefault=True, nohash=True)
    flip = traits.Bool(False, usedefault=True, desc="average with the mirrored image")
    memory_mb = traits.Int(nohash=True, desc="what a prediction may take; all by default")


class _NetworkStep(Step):
    """Base of the nodes with a network."""

    needs_network = True

    def network(self) -> tuple[Network, str]:
        """Return the network, ready to be applied, and the device it runs on."""
        from bids_flairseg.model.runtime import get_model, set_up

        device = set_up(self.inputs.nthreads, self.inputs.device)
        return get_model(Path(self.inputs.bundle)), device

    @property
    def memory_bytes(self) -> int | None:
        """What a prediction may take; None for what the machine has."""
        return self.inputs.memory_mb * 10**6 if self.inputs.memory_mb else None


class _FindBrainInput(_NetworkInput):
    supplied = File(desc="brain mask of the user")


class _FindBrainOutput(TraitedSpec):
    brain = File(desc="uint8 mask on the grid of the image")
    classes = File(desc="uint8 anatomy classes on the grid of the image")
    source = traits.Str(desc="network, supplied, resampled or stripped")
    warnings = traits.List(traits.Str, desc="what is unusual about image and brain")


class FindBrain(_NetworkStep):
    """Find the brain and its parts."""

    input_spec, output_spec = _FindBrainInput, _FindBrainOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.model.predict import predict
        from bids_flairseg.preprocess.mask import load_brain_mask
        from bids_flairseg.preprocess.quality import quality_hints
        from bids_flairseg.preprocess.skull import find_brain

        network, _ = self.network()

        def classify(volume: NDArray[np.float32]) -> NDArray[np.float32]:
            return predict(
                network.apply, volume, network.config, flip=self.inputs.flip,
                memory_bytes=self.memory_bytes,
            )  # fmt: skip

        image = load(self.inputs.image)
        given = load_brain_mask(Path(self.inputs.supplied)) if self.inputs.supplied else None
        supplied, notes = (given.image, given.warnings) if given else (None, ())
        multiple = network.config.architecture.multiple
        brain = find_brain(image, classify, supplied=supplied, multiple=multiple)
        return {
            "brain": save(brain.mask, folder / "brain.nii"),
            "classes": save(brain.classes, folder / "classes.nii"),
            "source": brain.source,
            "warnings": [
                *(f"Supplied brain mask: {note}" for note in notes),
                *brain.warnings,
                *quality_hints(image, np.asarray(brain.mask.dataobj) > 0),
            ],
        }


class _SegmentInput(_NetworkInput):
    inference = traits.Str("auto", usedefault=True)


class _SegmentOutput(TraitedSpec):
    probability = File(desc="float32 lesion probability on the grid of the image")
    inference = traits.Str(desc="brain or windows")
    device = traits.Str(desc="cpu or gpu")
    precision = traits.Str(desc="float32 or bfloat16")


class Segment(_NetworkStep):
    """Give every voxel the probability that it is lesion."""

    input_spec, output_spec = _SegmentInput, _SegmentOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.model.predict import predict

        network, device = self.network()
        passes = 0

        def apply(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal passes
            passes += 1
            return network.apply(batch)

        probability = predict(
            apply,
            load_array(self.inputs.image),
            network.config,
            inference=self.inputs.inference,
            flip=self.inputs.flip,
            memory_bytes=self.memory_bytes,
        )[..., 0]
        image = load(self.inputs.image)
        return {
            "probability": save_array(probability, image, folder / "probability.nii", "float32"),
            "inference": "windows" if passes > 1 + self.inputs.flip else "brain",
            "device": device,
            "precision": network.precision,
        }

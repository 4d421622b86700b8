"""Nodes at the end of a scan: measure, draw, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits
from numpy.typing import NDArray

from bids_flairseg.nodes.files import load, load_array, save_array
from bids_flairseg.nodes.step import Step, StepInput

if TYPE_CHECKING:
    from bids_flairseg.measure.stats import Provenance
    from bids_flairseg.reports.records import Settings


class _MeasureInput(StepInput):
    probability = File(mandatory=True, desc="on the grid of the FLAIR")
    brain = File(mandatory=True)
    classes = File(mandatory=True)
    settings = traits.Any(mandatory=True, desc="Settings of the report")
    scan_warnings = traits.List(traits.Str, [], usedefault=True, desc="files around the scan")
    file_warnings = traits.List(traits.Str, [], usedefault=True, desc="its file")
    brain_warnings = traits.List(traits.Str, [], usedefault=True, desc="image and brain")


class _MeasureOutput(TraitedSpec):
    lesions = File(desc="numbered lesions, 1 is the largest")
    regions = File(desc="region that a lesion would lie in, at every voxel")
    measures = File(desc="JSON: stats, table, warnings")


class Measure(Step):
    """Cut the probability at the model's thresholds and measure the lesions."""

    input_spec, output_spec = _MeasureInput, _MeasureOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        image = load(self.inputs.probability)
        inputs = self.inputs
        warnings = [*inputs.scan_warnings, *inputs.file_warnings, *inputs.brain_warnings]
        lesions, regions, content = _measure(
            load_array(self.inputs.probability),
            load_array(self.inputs.brain) > 0,
            load_array(self.inputs.classes),
            affine=np.asarray(image.affine),
            provenance=_provenance(self.inputs.settings, warnings),
        )
        measures = folder / "measures.json"
        measures.write_text(json.dumps(content), encoding="utf-8")
        dtype = "uint16" if lesions.max(initial=0) < 2**16 else "int32"
        return {
            "lesions": save_array(lesions, image, folder / "lesions.nii", dtype),
            "regions": save_array(regions, image, folder / "regions.nii", "uint8"),
            "measures": str(measures),
        }


def _provenance(settings: Settings, warnings: Sequence[str]) -> Provenance:
    from bids_flairseg.measure.stats import Provenance

    return Provenance(
        model=settings.model,
        model_sha256=settings.model_sha256,
        threshold=settings.threshold,
        large_ml=settings.large_ml,
        large_threshold=settings.large_threshold,
        min_lesion_ml=settings.min_lesion_ml,
        warnings=warnings,
    )


def _measure(
    probability: NDArray[np.float32],
    brain: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    *,
    affine: NDArray[np.float64],
    provenance: Provenance,
) -> tuple[NDArray[np.int32], NDArray[np.uint8], dict[str, Any]]:
    """Return numbered lesions and regions, (X, Y, Z), and stats, table and warnings for JSON."""
    from bids_flairseg.measure.arrays import voxel_spacing, voxel_volume_ml
    from bids_flairseg.measure.lesions import label_lesions, lesion_table
    from bids_flairseg.measure.outline import cut, fill_hollow
    from bids_flairseg.measure.regions import region_map
    from bids_flairseg.measure.stats import load_hints, scan_stats

    voxel_ml = voxel_volume_ml(affine)
    mask = cut(
        probability,
        provenance.threshold,
        voxel_ml=voxel_ml,
        large_ml=provenance.large_ml,
        large_threshold=provenance.large_threshold,
    )
    mask = fill_hollow(mask, probability, voxel_spacing(affine))
    lesions = label_lesions(mask, voxel_ml=voxel_ml, min_ml=provenance.min_lesion_ml)
    warnings = (*provenance.warnings, *load_hints(lesions > 0, brain))
    provenance = replace(provenance, warnings=warnings)
    regions = region_map(classes, voxel_spacing(affine), lesions > 0)
    table = lesion_table(lesions, probability, affine, regions)
    stats = scan_stats(table, brain, classes, affine=affine, provenance=provenance)
    content = {
        "stats": stats.row(),
        "table": table.to_dict("records"),
        "warnings": list(warnings),
    }
    return lesions, regions, content


class _PlotInput(StepInput):
    flair = File(mandatory=True)
    lesions = File(mandatory=True)
    brain = File(mandatory=True)


class _PlotOutput(TraitedSpec):
    figures = traits.Dict(traits.Str, File, desc="SVG files by what they show")


class Plot(Step):
    """Draw the figures of the report."""

    input_spec, output_spec = _PlotInput, _PlotOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.preprocess.image import load_flair
        from bids_flairseg.reports.figures import draw_brain, draw_largest, draw_lesions

        flair = load_flair(Path(self.inputs.flair)).image
        lesions, brain = load(self.inputs.lesions), load(self.inputs.brain)
        drawings = {"lesions": draw_lesions(flair, lesions, brain)}
        if load_array(self.inputs.lesions).any():
            drawings["largest"] = draw_largest(flair, lesions, brain)
        drawings["brain"] = draw_brain(flair, brain)
        for name, drawing in drawings.items():
            (folder / f"{name}.svg").write_text(drawing, encoding="utf-8")
        return {"figures": {name: str(folder / f"{name}.svg") for name in drawings}}


class _WriteInput(StepInput):
    scan = traits.Any(mandatory=True, desc="the Scan")
    output_dir = traits.Str(mandatory=True)
    settings = traits.Any(mandatory=True, desc="Settings of the report")
    brain_source = traits.Str(mandatory=True, desc="network, supplied, resampled or stripped")
    inference = traits.Str(mandatory=True, desc="brain or windows")
    device = traits.Str(mandatory=True, desc="where the network ran")
    precision = traits.Str(mandatory=True, desc="how exactly it calculated")
    smoothed = traits.Float(mandatory=True, desc="share of the smoothed image, 0 to 1")
    versions = traits.Dict(traits.Str, traits.Str)
    fingerprint = traits.Str(mandatory=True)
    probability = File(mandatory=True)
    brain = File(mandatory=True)
    lesions = File(mandatory=True)
    regions = File(mandatory=True)
    preprocessed = File(mandatory=True)
    measures = File(mandatory=True)
    figures = traits.Dict(traits.Str, File, mandatory=True)


class _WriteOutput(TraitedSpec):
    stats = traits.Str(desc="the file that came last")


class Write(Step):
    """Put all results of a scan into the output folder."""

    input_spec, output_spec = _WriteInput, _WriteOutput
    always_run = True  # whoever deleted results wants them back, whatever the work folder holds

    def work(self, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - writes elsewhere
        """Do the step, see `Step.work`."""
        from bids_flairseg.bids.outputs import ScanPaths
        from bids_flairseg.nodes.derivatives import Found, write_scan

        inputs = self.inputs
        content = json.loads(Path(inputs.measures).read_text(encoding="utf-8"))
        found = Found(
            probability=Path(inputs.probability),
            brain=Path(inputs.brain),
            lesions=Path(inputs.lesions),
            regions=Path(inputs.regions),
            preprocessed=Path(inputs.preprocessed),
            figures={name: Path(path) for name, path in inputs.figures.items()},
            stats=content["stats"],
            table=content["table"],
            warnings=tuple(content["warnings"]),
        )
        last = write_scan(
            ScanPaths(Path(inputs.output_dir), inputs.scan, inputs.settings.voxel_size_mm),
            found,
            replace(
                inputs.settings,
                brain=inputs.brain_source,
                inference=inputs.inference,
                device=inputs.device,
                precision=inputs.precision,
                smoothed=inputs.smoothed,
            ),
            fingerprint=inputs.fingerprint,
            versions=dict(inputs.versions),
        )
        return {"stats": str(last)}

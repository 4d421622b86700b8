"""The node at the end of a training case: image and label put away for training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from bids_flairseg.nodes.files import load
from bids_flairseg.nodes.step import Step, StepInput


class _KeepCaseInput(StepInput):
    case_name = traits.Str(mandatory=True)
    participant = traits.Str(mandatory=True)
    attributes = traits.Dict(traits.Str, traits.Str, desc="site, diagnosis, scanner")
    labels = InputMultiPath(File, mandatory=True, desc="lesion masks, one per rater")
    rule = traits.Str("majority", usedefault=True, desc="how several raters' become one")
    values = traits.List(traits.Int, [], usedefault=True, desc="values that mean lesion")
    image = File(mandatory=True, desc="the FLAIR on the conformed grid")
    brain = File(mandatory=True, desc="on the same grid")
    prepared = File(mandatory=True, desc="what the network sees")


class _KeepCaseOutput(TraitedSpec):
    case = File(desc="JSON file of the stored case")


class KeepCase(Step):
    """Read the masks of a scan, and store image and target as arrays to be mapped."""

    input_spec, output_spec = _KeepCaseInput, _KeepCaseOutput

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step, see `Step.work`."""
        from bids_flairseg.train.cases import CaseInfo, LabelOptions, build_case
        from bids_flairseg.train.store import write_case

        inputs = self.inputs
        info = CaseInfo(
            name=inputs.case_name,
            participant=inputs.participant,
            labels=tuple(Path(path) for path in inputs.labels),
            attributes=dict(inputs.attributes),
        )
        case = build_case(
            info,
            LabelOptions(rule=inputs.rule, values=tuple(inputs.values)),
            flair=load(inputs.image),
            brain=load(inputs.brain),
            prepared=load(inputs.prepared),
        )
        return {"case": str(write_case(folder, case))}

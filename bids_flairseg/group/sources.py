"""What the scans are compared with: references of raters, and predictions of other models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bids_flairseg.bids.foreign import find_foreign, read_mapping
from bids_flairseg.bids.masks import Mask, find_references
from bids_flairseg.bids.names import enumerate_some
from bids_flairseg.bids.scans import list_participants
from bids_flairseg.config import GroupConfig
from bids_flairseg.errors import UsageError
from bids_flairseg.group.problems import Problem
from bids_flairseg.group.results import Selection

MODEL, RATER = "model", "rater"
#: Reference that stands for what more than half of the raters marked.
CONSENSUS = "consensus"
# A derivative of this name holds brain masks for the participant level: no references are missed.
_BRAIN_MASKS = "masks"
# Programs whose outputs are predictions, however their files are named.
_PROGRAMS = ("flairseg", "lst-ai", "nnu", "shiva", "mars-wmh", "mindglide", "samseg", "bianca")


@dataclass(frozen=True)
class Source:
    """One ``-d NAME=PATH`` that holds lesion masks.

    Attributes
    ----------
    name : str
        The NAME.
    folder : Path
        The PATH.
    kind : str
        ``rater`` for references, ``model`` for predictions.
    masks : mapping of str to tuple of Mask
        By participant.
    """

    name: str
    folder: Path
    kind: str
    masks: Mapping[str, tuple[Mask, ...]]


def find_sources(config: GroupConfig) -> tuple[list[Source], list[Problem]]:
    """Look through all derivatives that the user named.

    Outputs of known programs are predictions, everything else is a reference, unless
    ``--reference`` says it. Without any reference, all predictions are compared with ours.

    Parameters
    ----------
    config : GroupConfig
        Its derivatives and how masks in them are named.

    Returns
    -------
    list of Source
        In the order of the command line.
    list of Problem
        Derivatives without masks, among others.

    Raises
    ------
    MissingInputError
        A folder is not there.
    UsageError
        ``--reference`` names no derivative, or the file of ``--mask-names`` makes no sense.
    """
    derivatives = config.dataset.derivatives
    mapping = read_mapping(config.mask_names)
    for name in (*config.references, *mapping):
        if name not in derivatives:
            raise UsageError(
                f"--reference or --mask-names speaks of {name!r}, but -d knows "
                f"{enumerate_some(list(derivatives)) or 'none'}. Add -d {name}=PATH."
            )
    if CONSENSUS in derivatives:
        raise UsageError(
            f"-d {CONSENSUS}=PATH: that name stands for what most raters marked. Take another."
        )
    sources, problems = [], []
    asked = sorted(Selection.of(config.dataset).participants)
    for name, folder in derivatives.items():
        masks, kind = _masks(folder, asked, name, config)
        if masks:
            by_participant = groupby(masks, lambda mask: mask.entities["sub"])
            sources.append(Source(name, folder, kind, {k: tuple(v) for k, v in by_participant}))
        elif name != _BRAIN_MASKS:
            text = (
                f"{folder}: no lesion mask (*_label-lesion_mask.nii.gz, *_label-L_mask.nii.gz or "
                f"the names of a known tool) below it, so there is nothing to compare with -d "
                f"{name}. Name the masks in a file for --mask-names."
            )
            problems.append(Problem("no_masks", text, source=name))
    return sources, problems


def _masks(
    folder: Path, asked: Sequence[str], name: str, config: GroupConfig
) -> tuple[list[Mask], str]:
    """Find the masks of one derivative, sorted by participant, and say what they are."""
    mapping = read_mapping(config.mask_names)
    masks: list[Mask] = []
    kind: str | None = None
    if name not in mapping:
        there = [label for label in list_participants(folder) if not asked or label in asked]
        masks = find_references(folder, there)
        kind = MODEL if _is_prediction(folder) else RATER
    if not masks:
        masks, pattern = find_foreign(folder, asked, mapping.get(name), name=name)
        kind = pattern.kind if pattern else None
    if config.references:
        kind = RATER if name in config.references else MODEL
    return sorted(masks, key=lambda mask: mask.entities["sub"]), kind or MODEL


def _is_prediction(folder: Path) -> bool:
    """Tell whether a derivative says of itself that a program made it."""
    try:
        text = (folder / "dataset_description.json").read_text(encoding="utf-8-sig")
        makers = json.loads(text)["GeneratedBy"]
        names = [str(maker["Name"]).lower() for maker in makers]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return any(program in name for name in names for program in _PROGRAMS)

"""The project's own specification, read from ``spec.json``: entities, outputs, columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

Columns = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class OutputSpec:
    """How one output is named after the entities of its scan.

    Attributes
    ----------
    entities : mapping of str to str
        What comes on top of the scan's own entities, by key as in file names;
        ``{resolution}`` stands for the label of the model's voxel size.
    suffix, extension : str
        End of the name.
    description : str
        What the file holds.
    columns : mapping or None
        For a table, description and units of each column, in order.
    """

    entities: Mapping[str, str]
    suffix: str
    extension: str
    description: str
    columns: Columns | None = None


@dataclass(frozen=True)
class Spec:
    """Everything that ``spec.json`` says.

    Attributes
    ----------
    bids_version : str
        Version of BIDS that the outputs follow.
    entities : mapping of str to str
        Long name of each entity by its key (``acq``: ``acquisition``), in the order of names.
    outputs : mapping of str to OutputSpec
        Outputs of one scan by kind.
    bidsignore : tuple of str
        Lines of ``.bidsignore``.
    foreign_filter_keys : frozenset of str
        Keys that other apps use in a filter file.
    """

    bids_version: str
    entities: Mapping[str, str]
    outputs: Mapping[str, OutputSpec]
    bidsignore: tuple[str, ...]
    foreign_filter_keys: frozenset[str]


@lru_cache(maxsize=1)
def load_spec() -> Spec:
    """Read the specification that the package ships, once."""
    text = resources.files("bids_flairseg.bids").joinpath("spec.json").read_text("utf-8")
    content = json.loads(text)
    return Spec(
        bids_version=content["bids_version"],
        entities=content["entities"],
        outputs={
            kind: _output(item, content["columns"]) for kind, item in content["outputs"].items()
        },
        bidsignore=tuple(content["bidsignore"]),
        foreign_filter_keys=frozenset(content["foreign_filter_keys"]),
    )


def _output(item: Mapping[str, Any], columns: Mapping[str, Columns]) -> OutputSpec:
    """Build one output, with the columns that it names."""
    table = item.get("columns")
    return OutputSpec(
        entities=item["entities"],
        suffix=item["suffix"],
        extension=item["extension"],
        description=item["description"],
        columns=columns[table] if table else None,
    )

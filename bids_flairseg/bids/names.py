"""File names of BIDS taken apart and put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bids_flairseg.bids.spec import load_spec

_PART = r"[a-zA-Z0-9]+-[a-zA-Z0-9+]+"
_NAME = re.compile(rf"({_PART}(?:_{_PART})*)_([a-zA-Z0-9]+)(\.[^/]+)")


@dataclass(frozen=True)
class BidsName:
    """A file name's parts.

    Attributes
    ----------
    entities : mapping of str to str
        Labels by key, as written and in their order: ``{"sub": "01", "run": "02"}``.
    suffix : str
        What comes after the last underscore: ``FLAIR``.
    extension : str
        From the first dot on: ``.nii.gz``.
    """

    entities: Mapping[str, str]
    suffix: str
    extension: str


def parse_name(name: str) -> BidsName | None:
    """Take a file name apart.

    Parameters
    ----------
    name : str
        Without folder.

    Returns
    -------
    BidsName or None
        None if the name does not follow BIDS, or names an entity twice.

    Examples
    --------
    >>> parse_name("sub-01_run-02_FLAIR.nii.gz").entities
    {'sub': '01', 'run': '02'}
    >>> parse_name("sub-01_old_FLAIR.nii.gz") is None
    True
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    parts = [part.partition("-") for part in match[1].split("_")]
    entities = {key: label for key, _, label in parts}
    return BidsName(entities, match[2], match[3]) if len(entities) == len(parts) else None


def format_stem(entities: Mapping[str, str]) -> str:
    """Join entities in the order that BIDS wants; unknown ones keep theirs, before ``space``.

    Parameters
    ----------
    entities : mapping of str to str
        Labels by key.

    Returns
    -------
    str
        Name without suffix and ending.

    Examples
    --------
    >>> format_stem({"space": "orig", "sub": "01", "chunk": "2", "label": "L"})
    'sub-01_space-orig_chunk-2_label-L'
    """
    order = {key: position for position, key in enumerate(load_spec().entities)}
    unknown = order["space"] - 0.5
    ordered = sorted(entities, key=lambda key: order.get(key, unknown))
    return "_".join(f"{key}-{entities[key]}" for key in ordered)


def strip_labels(labels: Iterable[str], key: str) -> tuple[str, ...]:
    """Take the prefix off labels and drop repetitions.

    Parameters
    ----------
    labels : iterable of str
        With or without prefix.
    key : str
        Prefix without hyphen: ``sub``.

    Returns
    -------
    tuple of str
        Bare labels in their first order.

    Examples
    --------
    >>> strip_labels(["sub-01", "02", "01"], "sub")
    ('01', '02')
    """
    return tuple(dict.fromkeys(label.removeprefix(f"{key}-") for label in labels))


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sort key under which ``sub-2`` comes before ``sub-10``."""
    pieces = re.findall(r"\d+|\D+", text)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def enumerate_some(items: Iterable[str], most: int = 8) -> str:
    """List the first few names and count the rest.

    Parameters
    ----------
    items : iterable of str
        All names.
    most : int
        How many to spell out.

    Returns
    -------
    str
        For a message.

    Examples
    --------
    >>> enumerate_some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = list(items)
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown

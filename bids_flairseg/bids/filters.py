"""BIDS filter files, as fMRIPrep has them: which FLAIRs to take."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_flairseg.bids.names import BidsName
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.errors import MissingInputError, UsageError

_NONE, _ANY, _OPTIONAL = "Query.NONE", "Query.ANY", "Query.OPTIONAL"
_SPECIAL = {
    "*": _ANY,
    "NONE": _NONE,
    "ANY": _ANY,
    "REQUIRED": _ANY,
    "OPTIONAL": _OPTIONAL,
}
_FILE_KEYS = ("suffix", "extension", "datatype")
_EXAMPLE = '{"flair": {"acquisition": "3D"}}'


@dataclass(frozen=True)
class FlairFilter:
    """Conditions that a FLAIR must meet.

    Attributes
    ----------
    conditions : mapping of str to tuple of str
        Allowed values by entity key (``acq``), or by suffix, extension and datatype.
    regex : bool
        Values are regular expressions, searched for.
    """

    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    regex: bool = False

    def accepts(self, name: BidsName) -> bool:
        """Tell whether a file of this name meets all conditions."""
        values = {**name.entities, "suffix": name.suffix, "datatype": "anat"}
        values["extension"] = name.extension
        return all(
            any(self._matches(key, values.get(key), wanted) for wanted in allowed)
            for key, allowed in self.conditions.items()
        )

    def _matches(self, key: str, value: str | None, wanted: str) -> bool:
        """Compare one value, None if the name has no such entity, with one that is allowed."""
        if wanted in {_NONE, _ANY, _OPTIONAL}:
            return wanted == _OPTIONAL or (value is None) == (wanted == _NONE)
        if value is None:
            return False
        if self.regex:
            return re.search(wanted, value) is not None
        if key == "run" and value.isdecimal() and wanted.isdecimal():
            return int(value) == int(wanted)  # pybids reads this one entity as a number
        return value == wanted


def read_filter(path: Path | None) -> FlairFilter:
    """Read the part ``flair`` of a BIDS filter file.

    Parameters
    ----------
    path : Path or None
        The file; None filters nothing. Entities go by their long names; a value may be a
        label, a number, a list, null (must be absent) or ``"*"`` (must be there).

    Returns
    -------
    FlairFilter
        What the file asks for. Parts for images of other apps are passed over as long as
        there is one for the FLAIR.

    Raises
    ------
    MissingInputError
        There is no such file.
    UsageError
        The file is no JSON, or has keys that have no meaning.
    """
    if path is None:
        return FlairFilter()
    query = _flair_part(path, _load(path))
    regex = query.pop("regex_search", False) is True
    filters = FlairFilter(
        {_entity_key(path, name): _allowed(path, name, query[name]) for name in query}, regex
    )
    if regex:
        _check_patterns(path, filters)
    return filters


def _load(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{path}: the BIDS filter file is not there. Check --bids-filter-file."
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: expected a JSON file such as {_EXAMPLE}, but: {error}. Correct the file."
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a JSON object such as {_EXAMPLE}. Correct the file.")
    return content


def _flair_part(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part for the FLAIR, and refuse keys that look like a slip."""
    known = load_spec().foreign_filter_keys
    strange = [key for key in content if key != "flair" and key not in known]
    if strange or (content and "flair" not in content):
        key = (strange or list(content))[0]
        nearest = difflib.get_close_matches(key.lower(), ["flair"], cutoff=0.0)[0]
        raise UsageError(
            f'{path}: expected the key "{nearest}", found "{key}". flairseg reads FLAIR images '
            f"only; write {_EXAMPLE}."
        )
    part = content.get("flair", {})
    if not isinstance(part, dict):
        raise UsageError(f'{path}: "flair" must hold an object of entities, such as {_EXAMPLE}.')
    return dict(part)


def _entity_key(path: Path, name: str) -> str:
    """Translate an entity's long name to its key in file names."""
    if name in _FILE_KEYS:
        return name
    keys = {long: key for key, long in load_spec().entities.items()}
    if name in keys:
        return keys[name]
    short = load_spec().entities.get(name)
    near = [short] if short else difflib.get_close_matches(name, [*keys, *_FILE_KEYS], n=1)
    hint = f' Did you mean "{near[0]}"?' if near else f" Known are: {', '.join(keys)}."
    raise UsageError(f'{path}: "{name}" is not an entity of BIDS.{hint}')


def _allowed(path: Path, name: str, value: Any) -> tuple[str, ...]:
    """Bring one condition into the form of a tuple of texts."""
    values = value if isinstance(value, list) else [value]
    if not all(item is None or isinstance(item, str | int) for item in values):
        raise UsageError(
            f'{path}: "{name}" must be a label, a number, a list of them, null or "*", '
            f"found {value!r}."
        )
    return tuple(_text(item, name) for item in values)


def _text(value: str | int | None, name: str) -> str:
    """Print one allowed value; absence and presence get names that no label can have."""
    if value is None:
        return _NONE
    text = str(value).removeprefix("Query.") if isinstance(value, str) else str(value)
    if text == "*" or str(value).startswith("Query."):
        return _SPECIAL.get(text, str(value))
    key = {"subject": "sub-", "session": "ses-"}.get(name, "")
    return text.removeprefix(key)


def _check_patterns(path: Path, filters: FlairFilter) -> None:
    """Refuse regular expressions that are none."""
    for key, allowed in filters.conditions.items():
        for pattern in set(allowed) - {_NONE, _ANY, _OPTIONAL}:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(
                    f'{path}: "{pattern}" for {key} is no regular expression ({error}).'
                ) from error

"""Lesion masks that other tools left, found by the names those tools give them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_flairseg.bids.masks import Mask
from bids_flairseg.bids.names import natural_key
from bids_flairseg.errors import MissingInputError, UsageError
from bids_flairseg.storage import TEMPORARY_PREFIX

_ENTITY = re.compile(r"(?:^|[/_])(sub|ses|acq|run|rec|dir|ce|echo|chunk)-([a-zA-Z0-9+]+)")
_KEYS = {"pattern", "labels", "threshold", "kind"}
_KINDS = ("model", "rater")


@dataclass(frozen=True)
class Pattern:
    """How a tool names its masks, and what is lesion in them.

    Attributes
    ----------
    tool : str
        Name of the tool.
    expression : str
        Regular expression, searched for in the path relative to the folder, whatever the case.
        The participant and the other entities come from ``sub-``, ``ses-`` and so on in the
        names of the file and its folders.
    labels : tuple of int
        Values that mean lesion; none: everything above 0.
    threshold : float or None
        For maps of probability: from which value a voxel is lesion.
    kind : str or None
        ``model`` or ``rater``; None where the pattern does not say.
    named : bool
        Others name their masks so too: taken only where the name of the tool is part of NAME or
        of the folder's name.
    """

    tool: str
    expression: str
    labels: tuple[int, ...] = ()
    threshold: float | None = None
    kind: str | None = "model"
    named: bool = False


#: Tried in this order; the first that fits any file of a folder is taken for all of it. From the
#: code that writes the files, in the tools' repositories; docs/portability.md names the places.
PATTERNS: tuple[Pattern, ...] = (
    Pattern("LST-AI", r"space-(flair|orig)_seg-lst\.nii(\.gz)?$"),
    Pattern("SHiVAi", r"(^|[/_])wmh_map\.nii(\.gz)?$", threshold=0.2),
    Pattern("MARS-WMH", r"_wmh\.nii(\.gz)?$"),
    Pattern(
        "MindGlide",
        r"(_seg|-seg|-segMajorityVoted)\.nii(\.gz)?$",
        labels=(18,),
        named=True,
    ),
    Pattern("nnU-Net", r"^[^/]*sub-[a-zA-Z0-9+]+(_[a-z]+-[a-zA-Z0-9+]+)*(_FLAIR)?\.nii(\.gz)?$"),
)


def read_mapping(path: Path | None) -> Mapping[str, Pattern]:
    r"""Read the TOML file that tells how masks are named.

    Parameters
    ----------
    path : Path or None
        One table for each ``NAME`` of ``-d NAME=PATH``: ``pattern``, and if need be
        ``labels``, ``threshold`` and ``kind``.

    Returns
    -------
    mapping of str to Pattern
        By name; empty without a file.

    Raises
    ------
    UsageError
        The file is no TOML, or has tables or keys that make no sense.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "names.toml"
    >>> _ = file.write_text('[mytool]\npattern = "_lesions.nii.gz$"\nlabels = [2, 3]')
    >>> read_mapping(file)["mytool"].labels
    (2, 3)
    """
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected TOML, but it cannot be read ({error}).") from error
    return {name: _pattern(path, name, table) for name, table in content.items()}


def _pattern(path: Path, name: str, table: Any) -> Pattern:
    """Check one table of the mapping."""
    example = f'An example: [{name}] pattern = "_lesions\\\\.nii\\\\.gz$".'
    if not isinstance(table, dict) or not isinstance(table.get("pattern"), str):
        raise UsageError(f"{path}: expected a table [{name}] with a pattern. {example}")
    unknown = sorted(table.keys() - _KEYS)
    if unknown or table.get("kind", "model") not in _KINDS:
        raise UsageError(
            f"{path}: [{name}] may have {', '.join(sorted(_KEYS))} (kind: model or rater), "
            f"found {unknown or table['kind']}. {example}"
        )
    try:
        re.compile(table["pattern"])
        labels = tuple(int(value) for value in table.get("labels", ()))
        limit = table.get("threshold")
        threshold = None if limit is None else float(limit)
    except (re.error, TypeError, ValueError) as error:
        raise UsageError(f"{path}: [{name}] makes no sense ({error}). {example}") from error
    return Pattern(name, table["pattern"], labels, threshold, table.get("kind"))


def find_foreign(
    folder: Path, participants: Sequence[str], pattern: Pattern | None = None, *, name: str = ""
) -> tuple[list[Mask], Pattern | None]:
    """Find the masks of another tool.

    Parameters
    ----------
    folder : Path
        Its results; every level below is looked at.
    participants : sequence of str
        Labels without ``sub-`` to keep; none means all.
    pattern : Pattern, optional
        How they are named; by default the known tools are tried.
    name : str
        What the user calls the folder.

    Returns
    -------
    list of Mask
        Sorted by path.
    Pattern or None
        The one that fitted; None where none did.

    Raises
    ------
    MissingInputError
        The folder is not there.
    """
    if not folder.is_dir():
        raise MissingInputError(
            f"{folder}: expected a folder with masks, but there is none. Check -d NAME=PATH."
        )
    files = [path for path in folder.rglob("*.nii*") if _is_image(path.relative_to(folder))]
    wanted = set(participants)
    for candidate in (pattern,) if pattern else _candidates(f"{name} {folder.name}"):
        masks = [
            mask
            for mask in _fitting(folder, files, candidate)
            if not wanted or mask.entities["sub"] in wanted
        ]
        if masks:
            return sorted(masks, key=lambda mask: natural_key(str(mask.path))), candidate
    return [], None


def _is_image(path: Path) -> bool:
    """Tell whether a file is an image by its name, and none that flairseg is still writing."""
    hidden = any(part.startswith(TEMPORARY_PREFIX) for part in path.parts)
    return path.name.endswith((".nii", ".nii.gz")) and not hidden


def _candidates(names: str) -> list[Pattern]:
    """Leave out the patterns that need their tool's name, where it is not there."""
    return [p for p in PATTERNS if not p.named or p.tool.lower() in names.lower()]


def _fitting(folder: Path, files: Sequence[Path], pattern: Pattern) -> Iterator[Mask]:
    """Yield the files of a pattern that tell their participant."""
    expression = re.compile(pattern.expression, re.IGNORECASE)
    for path in files:
        relative = path.relative_to(folder).as_posix()
        entities = dict(_ENTITY.findall(relative))
        if "sub" in entities and expression.search(relative):
            yield Mask(path, entities, None, pattern.labels, pattern.threshold)

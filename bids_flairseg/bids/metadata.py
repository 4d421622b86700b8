"""Sidecars of a dataset read by the inheritance of BIDS; what is broken becomes a warning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_flairseg.bids.names import parse_name


@dataclass
class SidecarReader:
    """Reads the sidecars of FLAIR files, each folder listed once.

    Attributes
    ----------
    root : Path
        The dataset.
    """

    root: Path
    _listed: dict[Path, list[tuple[Path, Mapping[str, str]]]] = field(default_factory=dict)

    def read(
        self, flair: Path, entities: Mapping[str, str]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Merge all sidecars that apply to a file, the nearest one last.

        Parameters
        ----------
        flair : Path
            A file below the root.
        entities : mapping of str to str
            Its entities by key.

        Returns
        -------
        dict
            What the sidecars say together.
        tuple of str
            One warning for each that could not be read; the rest counts all the same.
        """
        merged: dict[str, Any] = {}
        warnings = []
        for path in self._applicable(flair, entities):
            try:
                merged.update(_read_object(path))
            except (OSError, ValueError) as error:
                warnings.append(
                    f"{path}: expected a JSON object, but it cannot be read ({error}). The "
                    "sidecar is not used; correct or remove it."
                )
        return merged, tuple(warnings)

    def _applicable(self, flair: Path, entities: Mapping[str, str]) -> list[Path]:
        """List sidecars from the root down, all of whose entities are the file's own."""
        inner = flair.parent.relative_to(self.root).parts
        folders = [self.root.joinpath(*inner[:depth]) for depth in range(len(inner) + 1)]
        return [
            path
            for folder in folders
            for path, own in self._sidecars(folder)
            if own.items() <= entities.items()
        ]

    def _sidecars(self, folder: Path) -> list[tuple[Path, Mapping[str, str]]]:
        """List the FLAIR sidecars of one folder, the most general one first."""
        if folder not in self._listed:
            found: list[tuple[Path, Mapping[str, str]]] = []
            for path in sorted(folder.glob("*FLAIR.json")):
                name = parse_name(path.name)
                if name is not None and name.suffix == "FLAIR":
                    found.append((path, name.entities))
                elif path.name == "FLAIR.json":
                    found.append((path, {}))
            self._listed[folder] = sorted(found, key=lambda item: len(item[1]))
        return self._listed[folder]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is not there, or holds something else."""
    try:
        return _read_object(path)
    except (OSError, ValueError):
        return {}


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, or holds something else.
    """
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError(f"found a {type(content).__name__}")
    return content

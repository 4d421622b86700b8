"""The outputs as a dataset: ``dataset_description.json``, ``README.md``, ``.bidsignore``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_flairseg import __version__
from bids_flairseg.bids.atomic import write_json, write_text
from bids_flairseg.bids.scans import RAW
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.errors import OutputError
from bids_flairseg.storage import absolute_path, as_output_error

LOGGER = logging.getLogger(__name__)

_NAME = "flairseg"
_ACKNOWLEDGE = (
    "Please cite Rauschecker et al. (2022), Interinstitutional portability of a deep learning "
    "brain MRI lesion segmentation algorithm, Radiology: Artificial Intelligence 4(1), "
    "doi:10.1148/ryai.2021200152, name the version of flairseg and its model, and cite the source "
    "dataset as it asks. Research software, not a medical device."
)
_README = """\
# Lesions on FLAIR MRI

flairseg made this folder, a BIDS derivative dataset: for every FLAIR of the source dataset the
lesion mask, the lesion probability, the lesions one by one with their table, a brain mask, the
preprocessed image and a table of numbers (`sub-*/**/anat`), and for every participant a report
(`sub-*.html`). After the group level, `group.html` and the tables `group_*.tsv` sum up all scans;
`models` holds what a training has made.

`dataset_description.json` names the version, the model, the licence and the source dataset.
`logs` holds a record of every run: its options, versions and models, and where the results come
from; `flairseg --config logs/RUN/flairseg.toml` does a run again. `*.json` beside a table explains
its columns. `flairseg --help` lists the options; the page `outputs` of the documentation describes
every file.

Research software, not a medical device.
"""


@dataclass(frozen=True)
class DatasetInfo:
    """What the description of the outputs says about a run.

    Attributes
    ----------
    bids_dir : Path
        The input dataset.
    derivatives : mapping of str to Path
        Further inputs by name.
    model, model_sha256, model_licence : str
        Name, digest and licence of the lesion bundle.
    """

    bids_dir: Path
    derivatives: Mapping[str, Path] = field(default_factory=dict)
    model: str = ""
    model_sha256: str = ""
    model_licence: str = ""


def prepare_output_dir(output_dir: Path, info: DatasetInfo) -> None:
    """Make the output folder a BIDS derivative dataset.

    Safe to call again, and by two runs at once: each file appears complete, and a description
    that is there already is only touched if it says something else.

    Parameters
    ----------
    output_dir : Path
        Root of the outputs; made if need be.
    info : DatasetInfo
        What is said about the run.

    Raises
    ------
    OutputError, StorageError
        The folder cannot be written, or holds a dataset that is not ours.
    """
    path = output_dir / "dataset_description.json"
    old = _read_ours(path)
    new = build_description(output_dir, info)
    made = new["GeneratedBy"]
    links = {**old.get("DatasetLinks", {}), **new["DatasetLinks"]}
    if old.get("DatasetLinks", {}).get(RAW, links[RAW]) != links[RAW]:
        LOGGER.warning(
            "%s: earlier outputs came from %s, this run reads %s",
            output_dir,
            old["DatasetLinks"][RAW],
            links[RAW],
        )
    new["DatasetLinks"] = links
    # results of an earlier version or model stay, and with them what made them
    new["GeneratedBy"] = [*made, *(each for each in old.get("GeneratedBy", []) if each not in made)]
    if new != old:
        write_json(path, new)
    _write_bidsignore(output_dir / ".bidsignore")
    _write_readme(output_dir)


def build_description(
    output_dir: Path, info: DatasetInfo, environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Build the content of ``dataset_description.json``.

    Parameters
    ----------
    output_dir : Path
        Root of the outputs; links to inputs around it are relative.
    info : DatasetInfo
        What is said about the run.
    environment : mapping of str to str
        Variables that tell of a container; by default those of the process.

    Returns
    -------
    dict
        Names of BIDS to values.
    """
    raw = _read(info.bids_dir / "dataset_description.json")
    links = {RAW: info.bids_dir, **info.derivatives}
    uris = {name: _link(output_dir, path) for name, path in links.items()}
    generator: dict[str, Any] = {"Name": _NAME, "Version": __version__}
    if info.model:
        generator["Description"] = (
            f"Lesion model {info.model}, licence {info.model_licence or 'unknown'}, "
            f"weights sha256 {info.model_sha256 or 'unknown'}"
        )
    container = _container(environment)
    if container:
        generator["Container"] = container
    description = {
        "Name": f"flairseg: lesions on FLAIR, {_text(raw, 'Name') or 'unnamed dataset'}",
        "BIDSVersion": load_spec().bids_version,
        "DatasetType": "derivative",
        "License": _text(raw, "License"),
        "Authors": _texts(raw, "Authors"),
        "HowToAcknowledge": _ACKNOWLEDGE,
        "ReferencesAndLinks": _texts(raw, "ReferencesAndLinks"),
        "GeneratedBy": [generator],
        "SourceDatasets": [_source(raw, uris[RAW])],
        "DatasetLinks": uris,
    }
    return {key: value for key, value in description.items() if value is not None}


def _source(raw: Mapping[str, Any], uri: str) -> dict[str, str]:
    """Name the input dataset by its DOI, which holds everywhere, or else by its place."""
    doi = _text(raw, "DatasetDOI")
    if not doi:
        return {"URL": uri}
    return {"DOI": f"doi:{doi}" if doi.startswith("10.") else doi}


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    """Return an entry of the input's description if it is a text."""
    value = raw.get(key)
    return value if isinstance(value, str) else None


def _texts(raw: Mapping[str, Any], key: str) -> list[str] | None:
    """Return the texts of a list of the input's description, None if there are none."""
    texts = raw.get(key)
    if not isinstance(texts, list):
        return None
    return [text for text in texts if isinstance(text, str) and text.strip()] or None


def _link(output_dir: Path, target: Path) -> str:
    """Return a relative link where one folder lies in the other, else one that is absolute."""
    here, there = absolute_path(output_dir), absolute_path(target)
    if here.is_relative_to(there) or there.is_relative_to(here):
        return Path(os.path.relpath(there, here)).as_posix()
    return there.as_uri()


def _container(environment: Mapping[str, str]) -> dict[str, str]:
    """Describe the container that the program runs in, as far as the environment tells."""
    tag = environment.get("FLAIRSEG_CONTAINER_TAG", "")
    image = environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER")
    kind = "singularity" if image else "docker"
    if image:
        return {"Type": kind, "Tag": tag or Path(image).name}
    return {"Type": kind, "Tag": tag} if tag else {}


def _read(path: Path) -> dict[str, Any]:
    """Read a description; nothing if there is none or it is broken (validation tells)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_ours(path: Path) -> dict[str, Any]:
    """Read the description that an earlier run left, and refuse that of another dataset."""
    try:
        if not path.exists():
            return {}
    except OSError as error:
        raise as_output_error(error, path) from error
    content = _read(path)
    generators = content.get("GeneratedBy")
    first = generators[0] if isinstance(generators, list) and generators else {}
    name = first.get("Name") if isinstance(first, dict) else None
    if content and name != _NAME:
        owner = name or content.get("Name")
        raise OutputError(
            f"{path}: expected an empty folder or outputs of flairseg, found the dataset "
            f"{owner!r}. Choose a folder of its own, such as derivatives/flairseg."
        )
    return content


def _write_bidsignore(path: Path) -> None:
    """List what is not BIDS, keeping lines that the user has added."""
    wanted = load_spec().bidsignore
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise as_output_error(error, path) from error
    missing = [line for line in wanted if line not in lines]
    if missing:
        write_text(path, "\n".join([*lines, *missing]) + "\n")


def _write_readme(output_dir: Path) -> None:
    """Say what the folder is, unless something says so already, such as words of the user."""
    if not any(path.name.lower().startswith("readme") for path in output_dir.iterdir()):
        write_text(output_dir / "README.md", _README)

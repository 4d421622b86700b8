"""The BIDS validator (bids-validator-deno), run offline on what matters."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bids_flairseg.bids.names import enumerate_some, strip_labels
from bids_flairseg.config import DatasetConfig
from bids_flairseg.errors import InvalidBidsError, MissingInputError
from bids_flairseg.storage import as_output_error

LOGGER = logging.getLogger(__name__)

_PROGRAM = "bids-validator-deno"
# Large and none of our business; the validator would walk through all of them.
_NOT_INPUT = frozenset({"derivatives", "sourcedata", "code", ".git", ".datalad"})
# Content of single files: flairseg checks that itself, scan by scan, and goes on with the rest.
_CONTENT_CODES = frozenset(
    {
        "EMPTY_FILE",
        "FILE_READ",
        "GZIP_HEADER_UNREADABLE",
        "INVALID_JSON_ENCODING",
        "JSON_INVALID",
        "JSON_NOT_AN_OBJECT",
        "NIFTI_HEADER_UNREADABLE",
        "SYMLINK_BROKEN",
    }
)
_MOST_CODES = 8
_MOST_FILES = 3
_MOST_LETTERS = 200
_POLL_S = 0.1


@dataclass(frozen=True)
class Issue:
    """One finding of the validator.

    Attributes
    ----------
    code, severity : str
        Its name, and ``error`` or ``warning``.
    location : str
        The file, from the root on, with a leading slash.
    message : str
        What is wrong, in words.
    """

    code: str
    severity: str
    location: str
    message: str


def validate_dataset(dataset: DatasetConfig, stop: threading.Event | None = None) -> None:
    """Check the input before a run, unless that was switched off.

    Only the files of the root and the folders of the wanted participants are looked at, so
    the time does not grow with the rest of the dataset. Folders of the run itself (results,
    intermediate files, index) may lie in the dataset. What is wrong inside single files is
    logged: the scan that needs them fails by itself later.

    Parameters
    ----------
    dataset : DatasetConfig
        The input; the check is laid out in its work folder.
    stop : Event, optional
        Once it is set, the validator is ended, and nothing more is said.

    Raises
    ------
    InvalidBidsError
        The validator reports errors; the message groups them.
    MissingInputError
        The dataset cannot be read.
    OutputError, StorageError
        The work folder cannot be written.
    """
    if dataset.skip_validation:
        LOGGER.info("BIDS validation skipped")
        return
    wanted = _choose_entries(dataset)
    if not any(dataset.bids_dir.iterdir()):
        raise InvalidBidsError(
            f"{dataset.bids_dir}: expected a dataset, but the folder is empty. Is it mounted there "
            "(-v DATASET:FOLDER:ro, -B DATASET:FOLDER:ro)?"
        )
    try:
        dataset.work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dataset.work_dir, prefix="validate-") as folder:
            for path in wanted:
                (Path(folder) / path.name).symlink_to(path.absolute())
            issues = run_validator(Path(folder), headers=False, stop=stop)
    except OSError as error:
        raise as_output_error(error, dataset.work_dir) from error
    if issues is None:
        return
    errors = [issue for issue in issues if issue.severity == "error"]
    absent = {_stem(issue) for issue in errors if issue.code == "SYMLINK_BROKEN"}
    tolerated = [issue for issue in errors if _is_content(issue, absent)]
    for line in summarise(tolerated):
        LOGGER.warning("BIDS validator: %s", line)
    fatal = [issue for issue in errors if issue not in tolerated]
    if fatal:
        raise InvalidBidsError(_message(dataset.bids_dir, fatal))
    LOGGER.info("BIDS validator: no error that stops the run in %s", dataset.bids_dir)


def find_errors(folder: Path) -> list[Issue]:
    """Validate a folder in full, image headers included, and return its errors.

    Parameters
    ----------
    folder : Path
        Root of a dataset.

    Returns
    -------
    list of Issue
        Empty when it is valid.

    Raises
    ------
    FileNotFoundError
        The validator is not installed or does not run.
    """
    issues = run_validator(folder, headers=True)
    if issues is None:
        raise FileNotFoundError(f"{_PROGRAM} does not run")
    return [issue for issue in issues if issue.severity == "error"]


def run_validator(
    folder: Path, *, headers: bool, stop: threading.Event | None = None
) -> list[Issue] | None:
    """Run the validator on a folder.

    Parameters
    ----------
    folder : Path
        A dataset.
    headers : bool
        Look at the headers of images, too.
    stop : Event, optional
        Once it is set, the validator is ended.

    Returns
    -------
    list of Issue or None
        Errors only; None if the validator does not run, with a warning in the log, or was
        ended.
    """
    program = _find_program()
    if program is None:
        LOGGER.warning(
            "%s is not installed; the dataset is not validated. Install it with pip, or say "
            "--skip-bids-validation.",
            _PROGRAM,
        )
        return None
    command = [program, str(folder), "--format", "json", "--ignoreWarnings", "--no-color"]
    command += [] if headers else ["--ignoreNiftiHeaders"]
    try:
        output = _run_until(stop or threading.Event(), command)
        if output is None:
            return None
        report = json.loads(output)
        return [_issue(item, report["issues"]) for item in report["issues"]["issues"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOGGER.warning("%s does not run (%s); the dataset is not validated", program, error)
        return None


def _run_until(stop: threading.Event, command: Sequence[str]) -> bytes | None:
    """Run a program and return what it prints; None if it was ended by the event."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=nothing, stdout=pipe, stderr=nothing, env=_environment()
    ) as process:
        while not stop.is_set():
            try:
                return process.communicate(timeout=_POLL_S)[0]
            except subprocess.TimeoutExpired:
                continue
        process.kill()
    return None


def _find_program() -> str | None:
    """Find the validator beside this Python, where pip puts it, or on the path."""
    beside = Path(sys.executable).parent / _PROGRAM
    return str(beside) if beside.is_file() else shutil.which(_PROGRAM)


def _environment() -> dict[str, str]:
    """Return an environment in which the validator asks nobody for updates and keeps nothing.

    Its runtime would put a cache into the home folder; where it cannot, it does without.
    """
    nowhere = {"DENO_DIR": os.devnull}
    return {**nowhere, **os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}


def _issue(item: dict[str, Any], report: dict[str, Any]) -> Issue:
    """Read one finding; the words come from the finding itself or from its code."""
    code = item["code"]
    words = report.get("codeMessages", {}).get(code) or item.get("issueMessage") or ""
    if item.get("subCode"):
        words = f"{item['subCode']}: {words}"
    location = item.get("location") or next(iter(item.get("affects") or []), "")
    return Issue(code, item.get("severity", "error"), location, " ".join(words.split()))


def _choose_entries(dataset: DatasetConfig) -> list[Path]:
    """List the files and folders of the root that are to be validated."""
    participants = {f"sub-{label}" for label in strip_labels(dataset.participant_labels, "sub")}
    try:
        entries = list(dataset.bids_dir.iterdir())
    except OSError as error:
        raise MissingInputError(
            f"{dataset.bids_dir}: expected a folder with a BIDS dataset, but it cannot be read "
            f"({error.strerror}). Is it mounted?"
        ) from error
    others = _NOT_INPUT | _ignored_folders(entries) | _own_folders(dataset)
    return [
        path
        for path in entries
        if path.name not in others
        and (not participants or not path.name.startswith("sub-") or path.name in participants)
    ]


def _own_folders(dataset: DatasetConfig) -> set[str]:
    """Name the folders of the root that hold what the run itself writes."""
    root = dataset.bids_dir.resolve()
    written = (dataset.output_dir, dataset.work_dir, dataset.database_dir)
    inside = (
        path.resolve().relative_to(root).parts
        for path in written
        if path is not None and path.resolve().is_relative_to(root)
    )
    return {parts[0] for parts in inside if parts and not parts[0].startswith("sub-")}


def _ignored_folders(entries: Iterable[Path]) -> set[str]:
    """Name the folders of the root that ``.bidsignore`` lists.

    The validator takes no notice of a line that ends in a slash, as in ``results/``.
    """
    folders = [path for path in entries if path.is_dir()]
    ignored = set()
    for file in (path for path in entries if path.name == ".bidsignore"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            pattern = line.strip().removeprefix("/").removesuffix("**").removesuffix("/")
            ignored |= {path.name for path in folders if fnmatch(path.name, pattern)}
    return ignored


def _stem(issue: Issue) -> str:
    """Return the location without its endings, the same for an image and its sidecar."""
    folder, _, name = issue.location.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _is_content(issue: Issue, absent: Container[str]) -> bool:
    """Tell whether an error is about what is inside one file of a participant, or a table."""
    tables = ("participants.tsv", "_sessions.tsv", "_scans.tsv", "participants.json")
    if issue.location.endswith(tables):
        return True
    if issue.code == "SIDECAR_WITHOUT_DATAFILE":  # its image has not been fetched (git-annex)
        return _stem(issue) in absent
    return issue.code in _CONTENT_CODES and issue.location != "/dataset_description.json"


def summarise(issues: Iterable[Issue]) -> list[str]:
    """Bring findings to one line per code: what is wrong, and in which files."""
    grouped: dict[str, list[Issue]] = {}
    for issue in issues:
        grouped.setdefault(issue.code, []).append(issue)
    lines = []
    for code, group in grouped.items():
        files = enumerate_some(
            sorted({issue.location for issue in group if issue.location}), _MOST_FILES
        )
        words = textwrap.shorten(group[0].message, _MOST_LETTERS, placeholder=" ...")
        lines.append(f"{code}: {words} [{files}]" if files else f"{code}: {words}")
    return lines


def _message(root: Path, errors: Sequence[Issue]) -> str:
    """Build the message of an invalid dataset."""
    lines = summarise(errors)
    shown = [f"  {line}" for line in lines[:_MOST_CODES]]
    if len(lines) > _MOST_CODES:
        shown.append(f"  and {len(lines) - _MOST_CODES} more kinds of error")
    number = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    head = f"{root}: expected a valid BIDS dataset; the BIDS validator reports {number}:"
    remedy = (
        "Correct them, list files that are not BIDS in .bidsignore, or go on with "
        "--skip-bids-validation."
    )
    return "\n".join([head, *shown, remedy])

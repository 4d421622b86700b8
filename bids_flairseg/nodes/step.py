"""What all nodes share: an interface that leaves a word about its failure behind."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, traits

from bids_flairseg.errors import FlairsegError, InputError, OutputError, StorageError
from bids_flairseg.storage import FULL

LOGGER = logging.getLogger(__name__)

FAILURE_FILE = "failure.json"
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class Failure:
    """Why a step failed, in words for the user.

    Attributes
    ----------
    text : str
        One line, or a few.
    exit_code : int
        What the command line would end with if there were nothing else.
    """

    text: str
    exit_code: int = 1


class StepInput(BaseInterfaceInputSpec):
    """What every step is told."""

    flair = traits.Str(nohash=True, desc="the image in the dataset, named in messages")


class Step(SimpleInterface):
    """Base of all nodes: `work` does the step, and a failure is written down.

    Attributes
    ----------
    needs_network : bool
        Whether the step loads a network; such steps should meet in the same process.
    """

    needs_network = False

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Do the step.

        Parameters
        ----------
        folder : Path
            The node's own folder, for the files it makes.

        Returns
        -------
        mapping of str to object
            Values of the output fields.
        """
        raise NotImplementedError

    def _named(self, failure: Failure, error: Exception) -> Failure:
        """Name the FLAIR where the numeric core, which sees no files, could not."""
        flair = getattr(self.inputs, "flair", None)
        if not flair or not isinstance(error, InputError) or failure.text.startswith("/"):
            return failure
        return Failure(f"{flair}: {failure.text}", failure.exit_code)

    def _run_interface(self, runtime: Any) -> Any:
        folder = Path(runtime.cwd)
        try:
            self._results.update(self.work(folder))
        except Exception as error:
            _write_failure(folder, self._named(describe(error), error))
            raise
        return runtime


def describe(error: BaseException) -> Failure:
    """Put an error into words for the user.

    Parameters
    ----------
    error : BaseException
        Any; the project's own errors speak for themselves.

    Returns
    -------
    Failure
        Text and exit code.
    """
    if isinstance(error, FlairsegError):
        return Failure(str(error), error.exit_code)
    if isinstance(error, MemoryError):
        return Failure("Not enough memory. Lower --nprocs, or take --inference windows.")
    if isinstance(error, OSError) and error.errno in FULL:
        return Failure(
            f"{error.filename or 'a file'}: cannot be written, the disk is full. "
            "Make room and run the same command again.",
            StorageError.exit_code,
        )
    if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
        return Failure(
            f"{error.filename or 'a file'}: access is denied ({error.strerror}). "
            "Check the rights of the folder and the mount options.",
            OutputError.exit_code,
        )
    if isinstance(error, OSError):
        return Failure(f"Reading or writing failed: {error}.", StorageError.exit_code)
    return Failure(f"An error in flairseg itself ({type(error).__name__}: {error}).")


def read_failure(folder: Path) -> Failure | None:
    """Read what a step left behind when it failed.

    Parameters
    ----------
    folder : Path
        The node's own folder.

    Returns
    -------
    Failure or None
        None when it left nothing, for instance because its process was killed.
    """
    try:
        return Failure(**json.loads((folder / FAILURE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_failure(folder: Path, failure: Failure) -> None:
    try:
        (folder / FAILURE_FILE).write_text(json.dumps(asdict(failure)), encoding="utf-8")
    except OSError as error:  # a full disk, say: the crash file or the log tells then
        LOGGER.error("%s (not written down: %s)", failure.text, error)

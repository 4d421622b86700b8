"""A step that fails says why, in words for the user."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from nipype.interfaces.base import TraitedSpec, traits

from bids_flairseg.errors import InputError, StorageError
from bids_flairseg.nodes.step import FAILURE_FILE, Failure, Step, StepInput, describe, read_failure


class _Input(StepInput):
    error = traits.Any()


class _Output(TraitedSpec):  # type: ignore[misc]
    answer = traits.Int()


class Stumble(Step):
    input_spec, output_spec = _Input, _Output

    def work(self, folder: Path) -> Mapping[str, Any]:
        if self.inputs.error:
            raise self.inputs.error
        return {"answer": 42}


def test_result_of_the_work_is_the_output(tmp_path: Path) -> None:
    assert Stumble().run(cwd=str(tmp_path)).outputs.answer == 42
    assert read_failure(tmp_path) is None


def test_failure_is_written_down_and_raised(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Stumble(error=StorageError("/x: gone.")).run(cwd=str(tmp_path))
    assert read_failure(tmp_path) == Failure("/x: gone.", 74)


def test_failure_names_the_image_if_the_core_did_not(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Stumble(flair="/data/a.nii", error=InputError("no brain.")).run(cwd=str(tmp_path))
    assert read_failure(tmp_path) == Failure("/data/a.nii: no brain.", 65)
    with pytest.raises(InputError):
        Stumble(flair="/data/a.nii", error=InputError("/data/a.nii: dark.")).run(cwd=str(tmp_path))
    assert read_failure(tmp_path) == Failure("/data/a.nii: dark.", 65)


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (OSError(errno.ENOSPC, "no space", "/x/y"), 74, "disk is full"),
        (OSError(errno.EROFS, "read-only", "/x/y"), 73, "/x/y"),
        (OSError(errno.EIO, "broken", "/x/y"), 74, "/x/y"),
        (MemoryError(), 1, "memory"),
        (ValueError("odd"), 1, "flairseg itself (ValueError: odd)"),
    ],
)
def test_every_error_has_words_and_a_code(error: Exception, code: int, word: str) -> None:
    failure = describe(error)
    assert failure.exit_code == code
    assert word in failure.text


def test_unreadable_failure_is_none(tmp_path: Path) -> None:
    (tmp_path / FAILURE_FILE).write_text("{")
    assert read_failure(tmp_path) is None

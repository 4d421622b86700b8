"""Writers: a file is there in full or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_flairseg.bids.atomic import (
    remove_stale,
    write_json,
    write_text,
    write_tsv,
)
from bids_flairseg.bids.names import parse_name
from bids_flairseg.errors import OutputError, StorageError
from bids_flairseg.storage import TEMPORARY_PREFIX, as_output_error, atomic_path


def fail(final: Path, how: BaseException | Callable[[Path], None]) -> None:
    """Write half a file, then raise an error or do harm to its folder."""
    with atomic_path(final) as temporary:
        temporary.write_text("half")
        if isinstance(how, BaseException):
            raise how
        how(final.parent)


def test_the_final_name_appears_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "new/sub-01_mask.nii.gz"
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"1")
        assert not final.exists()
        assert temporary.parent == final.parent
        assert temporary.name.endswith(".nii.gz")
        assert parse_name(temporary.name) is None
    assert final.read_bytes() == b"1"
    assert list(final.parent.iterdir()) == [final]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    final = tmp_path / "a.json"
    write_text(final, "old")
    with pytest.raises(error):
        fail(final, error())
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, OutputError),
        (errno.EROFS, OutputError),
        (errno.ENOSPC, StorageError),
        (errno.EDQUOT, StorageError),
        (errno.EFBIG, StorageError),
        (errno.EIO, StorageError),
        (errno.ENOENT, StorageError),
    ],
)
def test_an_error_of_the_system_names_the_file_and_a_remedy(
    tmp_path: Path, number: int, kind: type[Exception]
) -> None:
    final = tmp_path / "a.json"
    with pytest.raises(kind, match=r"a\.json: .*\. \w+.*\.$"):
        fail(final, OSError(number, os.strerror(number)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match=r"out/a\.json"):
        write_text(tmp_path / "out/a.json", "x")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputError, match=r"a\.json"):
        write_text(tmp_path / "a.json", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_vanishes_is_reported(tmp_path: Path) -> None:
    final = tmp_path / "gone/a.json"
    with pytest.raises(StorageError, match="vanished"):
        fail(final, shutil.rmtree)


def test_an_error_without_a_number_keeps_its_words(tmp_path: Path) -> None:
    assert "no space in the tube" in str(as_output_error(OSError("no space in the tube"), tmp_path))


def test_a_killed_writer_leaves_no_final_file_and_a_rest_that_is_known_by_its_name(
    tmp_path: Path,
) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from bids_flairseg.storage import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    final = tmp_path / "sub-01/a.json"
    done = subprocess.run([sys.executable, "-c", code, str(final)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name[: len(TEMPORARY_PREFIX)] for path in final.parent.iterdir()] == [
        TEMPORARY_PREFIX
    ]


def test_what_a_killed_run_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    now = time.time()
    (tmp_path / "sub-01").mkdir()
    (tmp_path / f"{TEMPORARY_PREFIX}folder").mkdir()
    names = ("old.json", "new.json", "folder/old.json")
    files = [tmp_path / f"{TEMPORARY_PREFIX}{name}" for name in names]
    others = [tmp_path / "old.json", tmp_path / f"sub-01/{TEMPORARY_PREFIX}old.nii.gz"]
    for path in (*files, *others):
        path.touch()
        os.utime(path, (now - 3600, now - 3600))
    os.utime(files[1], (now - 60, now - 60))
    os.utime(tmp_path / f"{TEMPORARY_PREFIX}folder", (now - 3600, now - 3600))
    assert remove_stale(tmp_path, before=now) == 1
    assert [path.exists() for path in files] == [False, True, True]
    assert all(path.exists() for path in others)
    assert remove_stale(tmp_path / "gone", before=now) == 0


def test_files_obey_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.json", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_json_keeps_order_and_tames_what_it_does_not_know(tmp_path: Path) -> None:
    content = {"z": np.float32(0.5), "a": [np.int64(3), float("nan")], "p": Path("/x"), "ü": (1,)}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(text) == {"z": 0.5, "a": [3, None], "p": "/x", "ü": [1]}
    assert text.index('"z"') < text.index('"a"')
    assert "ü" in text


def test_cells_cannot_break_a_table(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"a": "one\ttwo\nthree", "b": None},
        {"a": float("nan"), "b": np.float64(0.1)},
        {"b": np.int32(7)},
        {"a": "", "b": 0},
    ]
    write_tsv(tmp_path / "a.tsv", ["a", "b"], rows)
    assert (tmp_path / "a.tsv").read_text() == (
        "a\tb\none two three\tn/a\nn/a\t0.1\nn/a\t7\nn/a\t0\n"
    )

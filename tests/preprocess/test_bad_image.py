"""A file that is no image of a head is refused with what is wrong and what to do."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import FlairsegError, InputError, MissingInputError, StorageError
from bids_flairseg.preprocess import image as image_module
from bids_flairseg.preprocess.image import load_flair, load_grid
from tests.preprocess.nifti import SHAPE, content, pixdim, put, ramp


def constant(value: float) -> NDArray[Any]:
    return np.full(SHAPE, value, dtype="<f4")


def half_nan() -> NDArray[Any]:
    data = ramp()
    data[:6] = np.nan
    return data


BAD_CONTENT: dict[str, tuple[bytes, str]] = {
    "text": (b"participant_id\tage\nsub-01\t44\n" * 50, "found text that begins"),
    "short text": (b"hello", "found text that begins 'hello'"),
    "html": (b"<!DOCTYPE html>" + b"x" * 600, "expected a NIfTI image"),
    "noise": (bytes(range(256)) * 4, "found a file of another kind"),
    "few bytes": (bytes(100), "found 100 bytes"),
    "pair": (content(magic=b"ni1"), "hdr/.img pair"),
    "4D": (content(ramp((*SHAPE, 2))), r"expected a 3D image, found shape \(12, 11, 10, 2\)"),
    "2D": (content(ramp((12, 11))), "expected several slices"),
    "single slice": (content(ramp((40, 40, 1))), "expected several slices"),
    "zeros": (content(constant(0)), "found only zeros"),
    "constant": (content(constant(7)), "found 7 in every voxel"),
    "NaN": (content(half_nan()), "found 660 of 1320 voxels NaN"),
    "overflow": (content(ramp(dtype="<f8") * 1e300), "voxels NaN or infinite"),
    "complex": (content(ramp(dtype="<c8")), "found complex voxels"),
    "RGB": (content(datatype=128, bitpix=24), r"found colour \(RGB\) voxels"),
    "unknown type": (content(datatype=77), r"found unknown voxels \(datatype 77\)"),
    "bits": (content(datatype=1), "found unknown voxels"),
    "singular": (content(srow_y=[0, 0, 0, 0]), r"sform whose axes are \(nearly\) parallel"),
    "zero affine": (content(srow_x=0, srow_y=0, srow_z=0), "sform with voxel edges of 0, 0, 0"),
    "NaN affine": (content(srow_x=[np.nan, 0, 0, 0]), "sform with NaN"),
    "huge affine": (content(srow_x=[500, 0, 0, 0]), "sform with voxel edges of 500"),
    "far affine": (content(srow_x=[-2, 0, 0, 9e7]), "origin 9e\\+07 mm away"),
    "bad quaternion": (content(sform_code=0, quatern_b=1, quatern_c=1), "the quaternion"),
    "zero voxel": (content(pixdim=pixdim(2, 0, 3)), "found 2, 0, 3 in pixdim"),
    "negative voxel": (content(pixdim=pixdim(2, -2, 3)), "found 2, -2, 3 in pixdim"),
    "NaN voxel": (content(pixdim=pixdim(2, np.nan, 3)), "found 2, nan, 3 in pixdim"),
    "metres": (content(pixdim=pixdim(0.002, 0.002, 0.002)), "expected voxel edges of 0.1"),
    "no axes": (content(dim=[0, 1, 1, 1, 1, 1, 1, 1]), "expected positive dimensions"),
    "nine axes": (content(dim=[9, 1, 1, 1, 1, 1, 1, 1]), "expected positive dimensions"),
    "negative axis": (content(dim=[3, 12, -11, 10, 1, 1, 1, 1]), "expected positive dimensions"),
    "giant": (content(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "promises 32767 x 32767"),
    "too little": (content(dim=[3, 300, 300, 300, 1, 1, 1, 1]), "expected 10800"),
    "slightly short": (content()[:-1], "Copy or download"),
    "offset": (content(vox_offset=-40), "found vox_offset -40"),
    "NaN offset": (content(vox_offset=np.nan), "found vox_offset nan"),
}


@pytest.mark.parametrize("name", ["sub-01_FLAIR.nii", "sub-01_FLAIR.nii.gz"])
@pytest.mark.parametrize("case", BAD_CONTENT)
def test_bad_content_is_refused_with_file_finding_and_remedy(
    tmp_path: Path, case: str, name: str
) -> None:
    data, finding = BAD_CONTENT[case]
    path = put(tmp_path, data, name)

    with pytest.raises(InputError, match=finding) as caught:
        load_flair(path)

    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert message.count(". ") >= 1  # a remedy follows


def compressed() -> bytes:
    return gzip.compress(content(np.random.default_rng(0).random(SHAPE).astype("<f4")))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:300],
        lambda data: data[:12],
        lambda data: data[:-4],
        lambda data: data[:-6] + b"\0\0" + data[-4:],
        lambda data: data[:2000] + bytes(50) + data[2050:],
        lambda data: data[:2] + b"\xff" * 40,
    ],
)
def test_a_damaged_gzip_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(damage(compressed()))

    with pytest.raises(InputError, match="Copy or download it again"):
        load_flair(path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "MAX_TRAILING_BYTES", 2**20)
    monkeypatch.setattr(image_module, "_CHUNK_BYTES", 2**18)
    path = put(tmp_path, content() + bytes(2**24), "bomb.nii.gz")

    assert "over 1048576 bytes beyond" in load_flair(path).warnings[0]


def test_no_memory_is_taken_for_what_a_gzip_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, content(dim=[3, 800, 800, 800, 1, 1, 1, 1]), "a.nii.gz")
    monkeypatch.setattr(np, "empty", lambda *_, **__: pytest.fail("memory was taken"))

    with pytest.raises(InputError, match="holds at most"):
        load_flair(path)


def no_file(folder: Path) -> Path:
    return folder / "none.nii.gz"


def broken_link(folder: Path) -> Path:
    (folder / "link.nii.gz").symlink_to("../.git/annex/objects/XX/YY/MD5E-s1.nii.gz")
    return folder / "link.nii.gz"


def pointer(folder: Path) -> Path:
    path = folder / "pointer.nii.gz"
    path.write_text("/annex/objects/MD5E-s1234--0123456789abcdef.nii.gz\n")
    return path


def folder_for_file(folder: Path) -> Path:
    (folder / "folder.nii.gz").mkdir()
    return folder / "folder.nii.gz"


def empty_file(folder: Path) -> Path:
    (folder / "empty.nii.gz").touch()
    return folder / "empty.nii.gz"


@pytest.mark.parametrize("load", [load_flair, load_grid])
@pytest.mark.parametrize(
    ("make", "error", "finding"),
    [
        (no_file, MissingInputError, "found no file"),
        (broken_link, MissingInputError, "annex/objects/.*datalad get"),
        (pointer, MissingInputError, "git-annex pointer.*datalad get"),
        (folder_for_file, InputError, "found a folder"),
        (empty_file, InputError, "found an empty file"),
    ],
)
def test_a_file_that_is_none_is_named(
    tmp_path: Path,
    load: Callable[[Path], object],
    make: Callable[[Path], Path],
    error: type[FlairsegError],
    finding: str,
) -> None:
    path = make(tmp_path)

    with pytest.raises(error, match=finding) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: expected ")


@pytest.mark.parametrize(
    ("cause", "error", "finding"),
    [
        (PermissionError(13, "Permission denied"), MissingInputError, "reading is not permitted"),
        (OSError(5, "Input/output error"), StorageError, "Input/output error"),
    ],
)
def test_what_the_system_reports_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cause: OSError,
    error: type[FlairsegError],
    finding: str,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise cause

    path = put(tmp_path, content())
    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(error, match=finding):
        load_flair(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, content())
    path.chmod(0)

    with pytest.raises(MissingInputError, match="reading is not permitted"):
        load_flair(path)

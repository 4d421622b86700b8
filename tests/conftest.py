"""What all tests share: real data where it is, tiny images and datasets where it is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent

MakeImage = Callable[..., nib.Nifti1Image]
MakeDataset = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests last, so that a plain mistake shows in the first minute."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real data, or skip the test."""
    folder = Path(os.environ.get("FLAIRSEG_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "openms-bids").is_dir():
        pytest.skip(f"no real data: {folder}/openms-bids is not there (set FLAIRSEG_TEST_DATA)")
    return folder


def rotation(degrees: float, axis: int) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix that turns by an angle around one axis."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(3)
    first, second = [other for other in range(3) if other != axis]
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def head_array(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Draw an asymmetric head of about 150 mm in world space, lesion included, as (X, Y, Z).

    Scalp 180, skull 20, brain 100, ventricles 30, one lesion of 12 mm radius (170) on the
    right (positive x), in front and above the centre; so a flip of any axis shows.
    """
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]  # (X, Y, Z, 3) mm
    radius = np.sqrt(((world / (66.0, 80.0, 64.0)) ** 2).sum(axis=-1))
    data = np.zeros(shape, dtype=np.float32)
    for limit, value in ((1.0, 180.0), (0.92, 20.0), (0.85, 100.0), (0.2, 30.0)):
        data[radius < limit] = value
    data[((world - (28.0, 22.0, 18.0)) ** 2).sum(axis=-1) < 12.0**2] = 170.0
    return data


@pytest.fixture(scope="session")
def make_image() -> MakeImage:
    """Give a maker of tiny heads: ``make_image(shape, zooms, axes="RAS", tilt=0.0)``."""

    def make(
        shape: tuple[int, int, int] = (24, 28, 20),
        zooms: tuple[float, float, float] = (6.0, 6.0, 8.0),
        *,
        axes: str = "RAS",
        tilt: float = 0.0,
    ) -> nib.Nifti1Image:
        """Draw a head on a RAS+ grid tilted by an angle, then store its axes in that order."""
        affine = np.eye(4)
        affine[:3, :3] = rotation(tilt, 0) @ rotation(tilt / 2, 2) @ np.diag(zooms)
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        head = nib.Nifti1Image(head_array(affine, shape), affine)
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
        )
        image: nib.Nifti1Image = head.as_reoriented(turn)
        image.header.set_xyzt_units("mm", "sec")
        image.set_sform(image.affine, code=1)
        image.set_qform(image.affine, code=1)
        return image

    return make


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


@pytest.fixture
def make_dataset(tmp_path: Path, make_image: MakeImage) -> MakeDataset:
    """Give a maker of valid BIDS trees: ``make_dataset({"sub-01_FLAIR": image, ...})``.

    Names are those of the files without folder and ending; None as image draws a default
    head. All goes to ``tmp_path / name``.
    """

    def make(
        images: Mapping[str, nib.Nifti1Image | None] | None = None, *, name: str = "bids"
    ) -> Path:
        """Write the tree and return its root."""
        root = tmp_path / name
        write_json(
            root / "dataset_description.json",
            {"Name": "Tiny heads", "BIDSVersion": "1.10.0", "DatasetType": "raw"},
        )
        (root / "README").write_text("Heads drawn for a test. They show nobody.\n")
        participants = set()
        for stem, image in (images or {"sub-01_FLAIR": None}).items():
            parts = [part for part in stem.split("_") if part[:4] in ("sub-", "ses-")]
            folder = root.joinpath(*parts, "anat")
            folder.mkdir(parents=True, exist_ok=True)
            nib.save(image or make_image(), folder / f"{stem}.nii.gz")
            write_json(folder / f"{stem}.json", {"MagneticFieldStrength": 3})
            participants.add(parts[0])
        rows = "".join(f"{participant}\n" for participant in sorted(participants))
        (root / "participants.tsv").write_text("participant_id\n" + rows)
        return root

    return make

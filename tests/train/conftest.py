"""A made-up head of nested ellipsoids, and one tiny training that several files look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bids_flairseg.train.job import FitResult, TrainingJob


def draw_labels() -> NDArray[np.uint16]:
    """Draw a label map (64, 72, 64), 1 mm: scalp, skull, CSF, cortex, white matter, ventricle."""
    shape = (64, 72, 64)
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    centre = [(n - 1) / 2 for n in shape]
    radius = np.sqrt(
        sum(((g - c) / (n / 2)) ** 2 for g, c, n in zip(grid, centre, shape, strict=True))
    )
    labels = np.zeros(shape, np.uint16)
    for limit, left, right in (
        (0.95, 511, 511), (0.85, 515, 515), (0.78, 24, 24), (0.72, 3, 42), (0.58, 2, 41),
        (0.18, 4, 43),
    ):  # fmt: skip
        inside = radius < limit
        labels[inside] = left
        labels[32:][inside[32:]] = right
    labels[28:36, 30:42, 8:16] = 16
    labels[14:26, 8:20, 14:24] = 7
    return labels


@pytest.fixture(scope="session")
def head() -> NDArray[np.uint16]:
    return draw_labels()


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingJob, FitResult]:
    from bids_flairseg.train import engine
    from tests.train.blobs import tiny_job

    job = tiny_job(tmp_path_factory.mktemp("unbroken") / "run")
    return job, engine.fit(job)


@pytest.fixture(scope="session")
def parent(
    unbroken: tuple[TrainingJob, FitResult], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from bids_flairseg.train.result import save_result

    path = tmp_path_factory.mktemp("parent") / "bundle"
    save_result(*unbroken, path)
    return path


@pytest.fixture
def every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell of each round of a training, not of one in some seconds."""
    monkeypatch.setattr("bids_flairseg.train.journal._EVERY_S", 0.0)

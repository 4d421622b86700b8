"""What is no head is never taken for one without a word, by the network that is shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import bundled
from bids_flairseg.nodes.files import save
from bids_flairseg.nodes.networks import FindBrain
from bids_flairseg.preprocess.grid import new_image

pytestmark = pytest.mark.slow

SHAPE, ZOOM_MM = (90, 108, 80), 2.5
Draw = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]


def noise(radius: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
    return chance.uniform(0, 255, SHAPE)


def ball(limit_mm: float, grain: float) -> Draw:
    def draw(radius: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
        inside = (radius < limit_mm) * (100 + chance.normal(0, grain, SHAPE))
        return np.asarray(chance.rayleigh(5, SHAPE) + inside)

    return draw


@pytest.mark.parametrize(
    "draw",
    [noise, ball(80, 0), ball(60, 15), ball(80, 15)],
    ids=["noise", "sphere", "small grainy sphere", "grainy sphere of a head's size"],
)
def test_a_phantom_is_warned_of_or_refused(tmp_path: Path, draw: Draw) -> None:
    affine = np.diag([ZOOM_MM] * 3 + [1.0])
    affine[:3, 3] = -ZOOM_MM * (np.array(SHAPE) - 1) / 2
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    radius = np.linalg.norm(grid @ affine[:3, :3] + affine[:3, 3], axis=-1)
    image = new_image(draw(radius, np.random.default_rng(0)).astype(np.float32), affine)
    step = FindBrain(
        image=save(image, tmp_path / "image.nii"),
        bundle=str(bundled("anatomy")),
        fingerprint="",
        nthreads=2,
        device="cpu",
    )
    try:
        said = list(step.run(cwd=str(tmp_path)).outputs.warnings)
    except InputError as error:
        said = [str(error)]
    doubts = ("check its outline", "the FLAIR of a head")
    assert any(doubt in text for text in said for doubt in doubts), said

"""Made-up cases: bright balls in a noisy brain, and a network that learns them in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bids_flairseg.model.bundle import BundleConfig, Inference, Preprocessing
from bids_flairseg.model.unet import Stage, UNetConfig
from bids_flairseg.train.job import TrainingJob
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.train.store import StoredCase

TINY_NET = UNetConfig(
    encoder=(Stage(4, 4, 6),), decoder=(Stage(6, 6, 4),), residual=False, head=(4,),
    head_kernel=3, head_activation="linear",
)  # fmt: skip
TINY_CONFIG = BundleConfig(
    name="tiny", architecture=TINY_NET, classes=("lesion",),
    preprocessing=Preprocessing(voxel_size_mm=1.0), inference=Inference(window=16, step=8),
)  # fmt: skip
TINY_RECIPE = SiteRecipe(
    learning_rate=1e-2, warm_up_steps=2, epochs=3, steps_per_epoch=4, batch=2, micro_batch=1,
    patch=16, ema=0.8, precision="float32", lesion_patches=6, free_patches=6, volumes_in_memory=2,
    early_stopping=0, rotation_deg=0.0, shift_mm=0.0, scale=0.0, bend_mm=0.0,
)  # fmt: skip


def ball_case(
    number: int, *, lesion: bool = True, shape: tuple[int, int, int] = (24, 26, 22)
) -> StoredCase:
    """Draw a case: a brain of noise around zero, and a ball two units brighter."""
    rng = np.random.default_rng(number)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    middle = (np.array(shape) - 1) / 2
    brain = (((grid - middle) / (middle - 1)) ** 2).sum(-1) < 1
    centre = middle + rng.uniform(-4, 4, 3)
    target = (((grid - centre) ** 2).sum(-1) < 3.2**2) & brain & lesion
    image = rng.standard_normal(shape) * 0.5 + 2.5 * target
    image = np.where(brain, np.where(image == 0, 0.01, image), 0).astype(np.float16)
    return StoredCase(
        name=f"sub-{number:02d}", participant=f"{number:02d}", image=image,
        target=target.astype(np.uint8), lesion_ml=float(target.sum()) / 1000,
        attributes={"diagnosis": "ms" if number % 2 else "glioma"},
    )  # fmt: skip


def tiny_job(folder: Path, **changes: object) -> TrainingJob:
    """Describe a training of some seconds, from scratch."""
    values: dict[str, object] = {
        "folder": folder,
        "train": tuple(ball_case(number) for number in range(3)),
        "validation": tuple(ball_case(number) for number in (10, 11)),
        "recipe": TINY_RECIPE,
        "config": TINY_CONFIG,
        "device": "cpu",
    }
    return TrainingJob(**values | changes)  # type: ignore[arg-type]


def assert_same(one: list[Any], other: list[Any], *, atol: float = 1e-5) -> None:
    """Fail unless two networks have the same weights."""
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)

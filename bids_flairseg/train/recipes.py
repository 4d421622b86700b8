"""How the bundled networks are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.model.unet import Stage, UNetConfig
from bids_flairseg.train.augment import shade
from bids_flairseg.train.synthesis.space import Rng, Shape


@dataclass(frozen=True)
class Recipe:
    """Network, optimiser and on-line augmentation of one bundle.

    Parameters
    ----------
    network : UNetConfig
        Shape of the network.
    crop : tuple of int
        Shape (X, Y, Z) of a training example.
    voxel_mm : float
        Edge of a voxel.
    batch : int
        Examples a step.
    learning_rate : float
        Peak rate of AdamW, after the warm-up.
    weight_decay : float
        Decoupled weight decay.
    ema : float
        Momentum of the running average of the weights.
    warm_up_steps : int
        Steps over which the rate rises.
    precision : str
        Keras policy; the loss stays in float32.
    steps_per_epoch : int
        Steps between two lines of the history.
    seed : int
        Seed of the initial weights and of all crops.
    workers : int
        Threads that cut crops ahead; the result does not depend on it.
    """

    network: UNetConfig
    crop: Shape
    voxel_mm: float
    batch: int = 1
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    ema: float = 0.99
    warm_up_steps: int = 50
    precision: str = "mixed_bfloat16"
    steps_per_epoch: int = 100
    seed: int = 0
    workers: int = 1

    def augment(
        self, rng: Rng, image: NDArray[np.float16], target: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Cut a random crop, mirror it in half of the draws, shade it anew.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        image : ndarray of float16, shape (A, B, C)
            Stored image.
        target : ndarray of uint8, shape (A, B, C)
            Stored target.

        Returns
        -------
        image : ndarray of float32, shape (X, Y, Z)
            Crop, zero-padded where the example is smaller.
        target : ndarray of uint8, shape (X, Y, Z)
            Likewise.
        """
        box = _random_box(rng, target, self.crop, lesion=self.network.classes == 1)
        image_crop = _fit(np.asarray(image[box], np.float32), self.crop)
        target_crop = _fit(np.asarray(target[box]), self.crop)
        if rng.random() < 0.5:
            image_crop, target_crop = image_crop[::-1], target_crop[::-1]
        normalised = self.network.classes == 1
        shaded = shade(rng, image_crop, self.voxel_mm, normalised=normalised)
        return shaded, np.ascontiguousarray(target_crop)


def _random_box(
    rng: Rng, target: NDArray[np.uint8], crop: Shape, *, lesion: bool
) -> tuple[slice, ...]:
    """Crop anywhere, or, in two of three draws for lesions, around a lesion voxel."""
    low = [int(rng.integers(0, max(0, n - c) + 1)) for n, c in zip(target.shape, crop, strict=True)]
    if lesion and rng.random() < 0.67:
        found = np.flatnonzero(np.asarray(target[::2, ::2, ::2]))
        if len(found):
            small = [(n + 1) // 2 for n in target.shape]
            centre = 2 * np.array(np.unravel_index(int(rng.choice(found)), small))
            jitter = rng.integers(-20, 21, 3)
            low = [
                int(np.clip(m + j - c // 2, 0, max(0, n - c)))
                for m, j, c, n in zip(centre, jitter, crop, target.shape, strict=True)
            ]
    return tuple(slice(a, a + c) for a, c in zip(low, crop, strict=True))


def _fit(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    margin = [(0, c - n) for c, n in zip(shape, array.shape, strict=True)]
    return np.pad(array, margin)


_ANATOMY = UNetConfig(
    encoder=(Stage(16, 16, 32), Stage(32, 32, 48), Stage(48, 48, 64), Stage(64, 64, 96)),
    decoder=(Stage(96, 96, 64), Stage(64, 64, 48), Stage(48, 48, 32), Stage(32, 32, 16)),
    classes=7, residual=False, head=(16,), head_kernel=3, head_activation="linear",
)  # fmt: skip

_LESION = UNetConfig(
    encoder=(Stage(16, 16, 32), Stage(32, 32, 64), Stage(64, 64, 128), Stage(128, 128, 192)),
    decoder=(Stage(192, 192, 128), Stage(128, 128, 96), Stage(96, 64, 48), Stage(48, 32, 16)),
    residual=False, head=(16,), head_kernel=3, head_activation="linear",
)  # fmt: skip

_BLOCKS = UNetConfig(
    encoder=(Stage(32, 32, 48), Stage(48, 48, 64), Stage(64, 64, 96), Stage(96, 96, 128)),
    decoder=(Stage(128, 128, 96), Stage(96, 96, 64), Stage(64, 64, 48), Stage(48, 48, 32)),
    residual=False, patch=2, head=(8,), head_kernel=3, head_activation="linear",
)  # fmt: skip

RECIPES = {
    "anatomy": Recipe(network=_ANATOMY, crop=(96, 112, 96), voxel_mm=2.0),
    "lesion": Recipe(network=_LESION, crop=(128, 128, 96), voxel_mm=1.0, learning_rate=1.5e-3),
    # what stands beside it
    "lesion-blocks": Recipe(network=_BLOCKS, crop=(128, 128, 96), voxel_mm=1.0, learning_rate=1e-3),
}

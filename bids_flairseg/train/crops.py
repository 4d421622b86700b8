"""Random crops of the examples of a pool, as a network is trained on them."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.train.pool import list_examples, read_example
from bids_flairseg.train.recipes import Recipe
from bids_flairseg.train.synthesis.space import Rng


class PoolDataset(keras.utils.PyDataset):
    """Random crops of the examples in a folder.

    Parameters
    ----------
    folder : Path
        The pool; files that appear later are used as well.
    recipe : Recipe
        Crop, batch and augmentation.
    seed : int
        With epoch and index it decides every draw.
    epoch : int
        Epochs that an earlier call has done.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, seed: int, epoch: int = 0) -> None:
        ahead = 1 + 2 * recipe.workers
        super().__init__(workers=recipe.workers, use_multiprocessing=False, max_queue_size=ahead)
        self.folder, self.recipe, self.seed, self.epoch = folder, recipe, seed, epoch
        self.paths = list_examples(folder)
        self._seconds: list[float] = []

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def on_epoch_end(self) -> None:
        """Count the epoch and look for new examples."""
        self.epoch += 1
        self.paths = list_examples(self.folder)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        begun = time.monotonic()
        rng = np.random.default_rng((self.seed, self.epoch, index))
        drawn = [self._draw(rng) for _ in range(self.recipe.batch)]
        images, targets = (np.stack(arrays)[..., None] for arrays in zip(*drawn, strict=True))
        self._seconds.append(time.monotonic() - begun)
        return images, targets

    @property
    def seconds(self) -> float:
        """That cutting crops has taken until now, of all threads together."""
        return sum(self._seconds)

    def _draw(self, rng: Rng) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        path = self.paths[int(rng.integers(len(self.paths)))]
        return self.recipe.augment(rng, *read_example(path))

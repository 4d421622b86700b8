"""What a training is given, and what it gives back."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_flairseg.errors import FlairsegError, UsageError
from bids_flairseg.model.bundle import (
    BundleConfig,
    Inference,
    Preprocessing,
    bundle_digest,
    bundled,
    read_config,
)
from bids_flairseg.model.unet import DUONG2019, UNetConfig
from bids_flairseg.train.cursor import CaseScore
from bids_flairseg.train.layers import LAYERS, name_trained
from bids_flairseg.train.presets import SiteRecipe
from bids_flairseg.train.store import StoredCase

if TYPE_CHECKING:
    import keras


class StoppedError(FlairsegError):
    """A signal ended the training; the same command goes on."""

    exit_code = 143  # 128 + SIGTERM, as shells have it


class DivergedError(FlairsegError):
    """The loss or the weights became NaN or infinite again and again."""


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Parameters
    ----------
    folder : Path
        Where its state is kept; a folder of the same job is gone on with.
    train, validation : tuple of StoredCase
        Cases that are trained on, and those that only choose epoch and threshold.
    recipe : SiteRecipe
        How.
    parent : Path or None
        Bundle to begin with; None begins with random weights.
    config : BundleConfig or None
        Grid, intensities and network of a training from scratch; None takes those of
        Duong et al. 2019 with the normalisation of the paper.
    layers : str
        What is trained: see :data:`bids_flairseg.train.layers.LAYERS`.
    synthetic : tuple of StoredCase
        Synthetic cases, of which each epoch mixes in some.
    seed : int
        Of the random weights and of every draw.
    name : str
        Of the bundle that comes out.
    checkpoint_minutes : float
        Time between two checkpoints within an epoch.
    nthreads : int
        Threads of the kernels.
    workers : int
        Threads that cut patches.
    device : str
        ``auto``, ``cpu`` or ``gpu``.
    memory_mb : int or None
        What the process may take of the machine's memory; None takes what is free.
    flip : bool
        Held-out cases are predicted as the mean of the image and its mirror image.
    min_lesion_ml : float
        Smaller lesions do not count as found in held-out cases.

    Raises
    ------
    UsageError
        No case, a case on both sides, layers that do not exist, or only some of them with
        random weights.
    """

    folder: Path
    train: tuple[StoredCase, ...]
    validation: tuple[StoredCase, ...]
    recipe: SiteRecipe
    parent: Path | None = None
    config: BundleConfig | None = None
    layers: str = "all"
    synthetic: tuple[StoredCase, ...] = ()
    seed: int = 0
    name: str = "site"
    checkpoint_minutes: float = 10.0
    nthreads: int = 1
    workers: int = 1
    device: str = "auto"
    memory_mb: int | None = None
    flip: bool = True
    min_lesion_ml: float = 0.01

    def __post_init__(self) -> None:
        if self.layers not in LAYERS:
            raise UsageError(f"--layers: expected one of {', '.join(LAYERS)}, found {self.layers}.")
        if self.layers != "all" and self.parent is None:
            raise UsageError(
                f"--layers: expected all where training begins from scratch, found {self.layers}. "
                "Name the bundle to begin with by --model and --mode finetune."
            )
        if not self.train:
            raise UsageError("training: expected a case with a label to train on, found none.")
        names = [case.name for case in (*self.train, *self.validation)]
        if both := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(
                f"training: expected each case once, to train on or to validate, found {both[0]} "
                "more often."
            )

    @property
    def trained(self) -> str:
        """What is trained, in words."""
        network = self.bundle_config().architecture
        return name_trained(network, self.layers, self.recipe.networks)

    def bundle_config(self, threshold: float | None = None) -> BundleConfig:
        """Return the configuration of the bundle that comes out.

        Parameters
        ----------
        threshold : float, optional
            By default that of the parent, 0.5 from scratch.

        Returns
        -------
        config : BundleConfig
            Network, grid and intensities are those of the parent.
        """
        if self.parent:
            base = read_config(self.parent)
        else:  # thresholds belong to weights, and these begin anew
            base = self.config or scratch_config(self.recipe)
            plain = Inference(window=base.inference.window, step=base.inference.step)
            base = replace(base, inference=plain)
        if threshold is None:
            return replace(base, name=self.name)
        inference = replace(base.inference, threshold=threshold)
        return replace(base, name=self.name, inference=inference)

    def identity(self) -> dict[str, Any]:
        """Return all that decides about the result, as JSON has it.

        Returns
        -------
        identity : dict
            Machine, threads and times of checkpoints are no part of it.
        """
        return {
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "layers": self.layers,
            "flip": self.flip,
            "min_lesion_ml": self.min_lesion_ml,
            "parent": bundle_digest(self.parent) if self.parent else None,
            "architecture": self.bundle_config().architecture.to_dict(),
            "train": [_fingerprint(case) for case in self.train],
            "validation": [_fingerprint(case) for case in self.validation],
            "synthetic": [_fingerprint(case) for case in self.synthetic],
        }


@dataclass(frozen=True)
class FitResult:
    """What came out of a training.

    Attributes
    ----------
    model : keras.Model
        With the weights that are kept.
    config : BundleConfig
        With the threshold that was chosen.
    trained_parameters : int
        Weights that could change.
    best_epoch : int
        Epoch whose weights are kept; 0 means those of the parent.
    history : tuple of dict
        Rows of ``history.tsv``.
    before, after : tuple of CaseScore
        Held-out cases with the parent and with the kept weights, each at its own threshold;
        `before` is empty from scratch.
    notes : tuple of str
        What a reader should know, a sentence or two each.
    seconds : float
        Time of all processes that worked on it.
    """

    model: keras.Model
    config: BundleConfig
    trained_parameters: int
    best_epoch: int
    history: tuple[dict[str, Any], ...] = ()
    before: tuple[CaseScore, ...] = ()
    after: tuple[CaseScore, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def find_difference(one: Any, other: Any, name: str = "") -> str | None:
    """Name the first entry in which two identities differ.

    Parameters
    ----------
    one, other : object
        As JSON has it.
    name : str
        Of what is compared.

    Returns
    -------
    difference : str or None
        For instance ``recipe.epochs (30, now 20)``; None where they are equal.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            path = f"{name}.{key}" if name else key
            if found := find_difference(one.get(key), other.get(key), path):
                return found
        return None
    return None if one == other else f"{name} ({one!r:.60}, now {other!r:.60})"


def scratch_config(recipe: SiteRecipe) -> BundleConfig:
    """Return grid, intensities and network of a training from scratch.

    Parameters
    ----------
    recipe : SiteRecipe
        Whether it is the network of the paper.

    Returns
    -------
    config : BundleConfig
        That of the bundled lesion model otherwise.

    Raises
    ------
    UsageError
        The network of the paper cannot take the patches of the recipe.
    """
    if recipe.network != "duong2019":
        return read_config(bundled("lesion"))
    check_patch(recipe, DUONG2019)
    return BundleConfig(
        name="site",
        architecture=DUONG2019,
        classes=("lesion",),
        preprocessing=Preprocessing(voxel_size_mm=1.0, normalisation="zscore"),
        inference=Inference(window=recipe.patch, step=max(1, recipe.patch // 3)),
    )


def check_patch(recipe: SiteRecipe, network: UNetConfig) -> None:
    """Make sure that a network can halve the patches of a recipe as often as it has to.

    Parameters
    ----------
    recipe : SiteRecipe
        With the edge of a patch.
    network : UNetConfig
        Shape of the network.

    Raises
    ------
    UsageError
        It cannot; the next edges that it can are named.
    """
    step = network.multiple
    if recipe.patch % step:
        below = recipe.patch // step * step
        nearest = " or ".join(str(edge) for edge in (below, below + step) if edge)
        raise UsageError(
            f"patch: expected a multiple of {step}, by which the network makes its input smaller, "
            f"found {recipe.patch}. Take --set patch={nearest}."
        )


def _fingerprint(case: StoredCase) -> str:
    """Name a case and some of its content; a thorough digest would take seconds for each."""
    thin = case.image[::8, ::8, ::8].tobytes()
    check = zlib.crc32(case.target[::2, ::2, ::2].tobytes(), zlib.crc32(thin))
    return f"{case.name} {'x'.join(map(str, case.image.shape))} {case.lesion_ml:.3f} {check:08x}"

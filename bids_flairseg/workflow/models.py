"""The two bundles of a run, read and checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from bids_flairseg import __version__
from bids_flairseg.config import SegmentConfig
from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import (
    BundleConfig,
    bundle_digest,
    bundle_fingerprint,
    check_bundle,
    read_card,
)
from bids_flairseg.model.memory import prediction_bytes
from bids_flairseg.model.settings import Preprocessing
from bids_flairseg.reports.records import Settings
from bids_flairseg.train.synthesis.labels import CLASSES as ANATOMY_CLASSES

#: What the steps around the two networks rely on; the anatomy classes count by place.
ANATOMY_INPUT = Preprocessing(2.0, "brain99", brain_only=False)
LESION_NORMALISATIONS = ("zscore", "robust")
LIBRARIES_GB = 0.9
BRAIN_MM, HEAD_MM = (160.0, 192.0, 176.0), (256.0, 256.0, 256.0)
PACKAGES: Mapping[str, str] = {
    "TensorFlow": "tensorflow",
    "Keras": "keras",
    "Nipype": "nipype",
    "PyBIDS": "pybids",
    "NiBabel": "nibabel",
    "NumPy": "numpy",
    "SciPy": "scipy",
}


@dataclass(frozen=True)
class Model:
    """One bundle as a run sees it.

    Attributes
    ----------
    path : Path
        Its folder.
    config : BundleConfig
        How the network is built and applied.
    sha256 : str
        Digest of the weights.
    fingerprint : str
        Digest of all that decides about its results.
    licence : str
        Under which licence it may be used.
    data : str
        What it was trained on, in words; empty where its card does not say.
    """

    path: Path
    config: BundleConfig
    sha256: str
    fingerprint: str
    licence: str
    data: str

    def memory_gb(self, inference: str = "auto") -> float:
        """Estimate the memory of a process that applies it to a large head.

        Parameters
        ----------
        inference : str
            ``windows`` for one window at a time.

        Returns
        -------
        float
            GB (10^9 bytes), what the libraries take included.
        """
        architecture, edge = self.config.architecture, self.config.preprocessing.voxel_size_mm
        field = BRAIN_MM if self.config.preprocessing.brain_only else HEAD_MM
        if inference == "windows":
            field = (self.config.inference.window * edge,) * 3
        step = architecture.multiple
        x, y, z = (math.ceil(length / edge / step) * step for length in field)
        return LIBRARIES_GB + prediction_bytes(architecture, (x, y, z)) / 1e9

    def record(self) -> dict[str, Any]:
        """Return what the run's record says about it."""
        return {
            "name": self.config.name,
            "path": str(self.path),
            "sha256": self.sha256,
            "licence": self.licence,
        }


@dataclass(frozen=True)
class Models:
    """Both bundles of a run."""

    lesion: Model
    anatomy: Model

    @property
    def fingerprints(self) -> dict[str, str]:
        """Return each bundle's fingerprint by its role."""
        return {"lesion": self.lesion.fingerprint, "anatomy": self.anatomy.fingerprint}


def read_models(segment: SegmentConfig) -> Models:
    """Read and check both bundles; loads no numeric library.

    Parameters
    ----------
    segment : SegmentConfig
        Where they are.

    Returns
    -------
    Models
        Both bundles.

    Raises
    ------
    MissingInputError, InputError
        A bundle is incomplete, broken, or one for another purpose.
    """
    lesion, anatomy = _read(segment.model), _read(segment.anatomy)
    _check_lesion(lesion)
    _check_anatomy(anatomy)
    return Models(lesion, anatomy)


def _check_lesion(model: Model) -> None:
    """Refuse what is no lesion model, or wants to see what no step prepares."""
    names, wanted = model.config.classes, model.config.preprocessing
    expect = partial(_expect, model, "--model")
    expect("a lesion model, of one class", f"the classes {', '.join(names)}", len(names) == 1)
    expect(
        f"a normalisation of {' or '.join(LESION_NORMALISATIONS)}",
        wanted.normalisation,
        wanted.normalisation in LESION_NORMALISATIONS,
    )
    expect("input that is zero outside the brain", "brain_only false", wanted.brain_only)


def _check_anatomy(model: Model) -> None:
    """Refuse what is no anatomy model of the kind that the skull stripping can use."""
    names, wanted = model.config.classes, model.config.preprocessing
    expect = partial(_expect, model, "--anatomy-model")
    expect(f"the classes {', '.join(ANATOMY_CLASSES)}", ", ".join(names), names == ANATOMY_CLASSES)
    expect(_say_input(ANATOMY_INPUT), _say_input(wanted), wanted == ANATOMY_INPUT)


def _say_input(wanted: Preprocessing) -> str:
    part = "the brain alone" if wanted.brain_only else "the whole head"
    return f"{part}, voxels of {wanted.voxel_size_mm:g} mm, normalised by {wanted.normalisation}"


def _expect(model: Model, option: str, expectation: str, finding: str, fits: bool) -> None:
    if not fits:
        raise InputError(
            f"{model.path / 'config.json'}: expected {expectation} for {option}, found {finding}. "
            "Have the two models been mixed up, or is it one for another purpose?"
        )


def _read(path: Path) -> Model:
    card = read_card(path)
    return Model(
        path=path,
        config=check_bundle(path),
        sha256=bundle_digest(path),
        fingerprint=bundle_fingerprint(path),
        licence=card.licence,
        data=card.data,
    )


def report_settings(segment: SegmentConfig, models: Models) -> Settings:
    """Gather what the reports say about models and options.

    Parameters
    ----------
    segment : SegmentConfig
        Options.
    models : Models
        Both bundles; the lesion bundle's thresholds hold unless the user gave one, which then
        holds for lesions of any size.

    Returns
    -------
    Settings
        Those of all scans of the run; what differs between scans is still to be filled in.
    """
    lesion = models.lesion.config
    inference = lesion.inference
    if segment.threshold is not None:
        inference = replace(inference, threshold=segment.threshold, large_ml=0.0, large_share=1.0)
    return Settings(
        model=lesion.name,
        model_sha256=models.lesion.sha256,
        threshold=inference.threshold,
        large_ml=inference.large_ml,
        large_threshold=inference.large_threshold,
        min_lesion_ml=segment.min_lesion_ml,
        anatomy=models.anatomy.config.name,
        anatomy_sha256=models.anatomy.sha256,
        n4=segment.n4,
        flip=segment.flip,
        voxel_size_mm=lesion.preprocessing.voxel_size_mm,
        normalisation=lesion.preprocessing.normalisation,
        licence=models.lesion.licence,
        networks=len(lesion.architecture.members),
        data=models.lesion.data,
        anatomy_data=models.anatomy.data,
    )


def software_versions(*, n4: bool) -> dict[str, str]:
    """Return the versions of what computes, by the names that people know.

    Parameters
    ----------
    n4 : bool
        Whether ANTsPy has a part in it.

    Returns
    -------
    dict of str to str
        Versions by name.
    """
    packages = {**PACKAGES, **({"ANTsPy": "antspyx"} if n4 else {})}
    versions = {"flairseg": __version__}
    for name, package in packages.items():
        try:
            versions[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions

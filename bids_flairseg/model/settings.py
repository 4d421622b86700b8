"""What a model bundle says about itself, as frozen records that JSON cannot surprise."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from bids_flairseg.errors import InputError
from bids_flairseg.model.unet import UNetConfig

FORMAT = 1
NORMALISATIONS = ("zscore", "robust", "brain99")
PRECISIONS = ("auto", "float32")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
# Finer grids than this fill any memory, coarser ones show no lesion.
_VOXEL_LIMITS_MM = (0.3, 10.0)
_LARGEST_WINDOW = 512
_LARGEST_LESION_ML = 2000.0

Record = TypeVar("Record")


@dataclass(frozen=True)
class Preprocessing:
    """What the network wants to see.

    Parameters
    ----------
    voxel_size_mm : float
        Edge of its isotropic voxels in mm.
    normalisation : str
        ``zscore`` (mean and SD over the brain), ``robust`` (median and
        interquartile range over the brain) or ``brain99`` (99th centile of the
        brain becomes 1).
    brain_only : bool
        Voxels outside the brain are exactly zero.

    Raises
    ------
    InputError
        A value has the wrong type, or is none that is known.
    """

    voxel_size_mm: float
    normalisation: str = "zscore"
    brain_only: bool = True

    def __post_init__(self) -> None:
        low, high = _VOXEL_LIMITS_MM
        _check_number("preprocessing.voxel_size_mm", self.voxel_size_mm, low, high)
        _check_choice("preprocessing.normalisation", self.normalisation, NORMALISATIONS)
        _check("preprocessing.brain_only", self.brain_only, isinstance(self.brain_only, bool),
               "true or false")  # fmt: skip


@dataclass(frozen=True)
class Inference:
    """How the network is applied.

    Parameters
    ----------
    threshold : float
        Probability from which a voxel counts, 0 to 1.
    window, step : int
        Edge of the overlapping cubes and distance between two of them, in
        voxels, where the volume is not predicted in one pass.
    precision : str
        ``auto`` allows bfloat16, for a bundle whose masks it does not change
        (Dice within 0.005); ``float32`` forbids it.
    large_ml : float
        Volume in ml from which a lesion is large.
    large_share : float
        Share of the threshold from which voxels around a large lesion count, 0.1 to 1; 1 for
        the threshold itself.

    Raises
    ------
    InputError
        A value has the wrong type, or is none that is known.
    """

    threshold: float = 0.5
    window: int = 96
    step: int = 32
    precision: str = "auto"
    large_ml: float = 0.0
    large_share: float = 1.0

    def __post_init__(self) -> None:
        _check_number("inference.threshold", self.threshold, 0.0, 1.0)
        _check_integer("inference.window", self.window, 1, _LARGEST_WINDOW)
        _check_integer("inference.step", self.step, 1, self.window)
        _check_choice("inference.precision", self.precision, PRECISIONS)
        _check_number("inference.large_ml", self.large_ml, 0.0, _LARGEST_LESION_ML)
        _check_number("inference.large_share", self.large_share, 0.1, 1.0)

    @property
    def large_threshold(self) -> float | None:
        """Probability from which voxels around a large lesion count, None for no other.

        Two decimals, as thresholds have them.
        """
        return round(self.threshold * self.large_share, 2) if self.large_share < 1 else None


@dataclass(frozen=True)
class BundleConfig:
    """Content of a bundle's ``config.json``.

    Parameters
    ----------
    name : str
        Short name for tables: letters, digits and ``._+-``.
    architecture : UNetConfig
        Shape of the network.
    classes : tuple of str
        Name of each output channel, spelt like `name`.
    preprocessing : Preprocessing
        What the network wants to see.
    inference : Inference
        How it is applied.
    format : int
        Version of this layout.

    Raises
    ------
    InputError
        A value has the wrong type, or two contradict each other.
    """

    name: str
    architecture: UNetConfig
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    inference: Inference = field(default_factory=Inference)
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check("name", self.name, _is_name(self.name), "up to 64 letters, digits and . _ + -")
        words = all(map(_is_name, self.classes))
        fits = words and len(self.classes) == self.architecture.classes
        _check("classes", self.classes, fits, f"{self.architecture.classes} names")
        multiple = self.architecture.multiple
        _check("inference.window", self.inference.window, self.inference.window % multiple == 0,
               f"a multiple of {multiple}, as the architecture needs it")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready values, the format first."""
        values = asdict(self) | {"architecture": self.architecture.to_dict()}
        return {"format": values.pop("format")} | values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BundleConfig:
        """Build a configuration from what :meth:`to_dict` returned.

        Parameters
        ----------
        values : mapping
            Content of ``config.json``.

        Returns
        -------
        config : BundleConfig
            Checked.

        Raises
        ------
        InputError
            The format is newer than this version knows, a key is unknown or
            missing, or a value is impossible.
        """
        _check_format(values)
        parts = dict(values)
        parts["architecture"] = UNetConfig.from_dict(_part(values, "architecture"))
        parts["preprocessing"] = build(Preprocessing, _part(values, "preprocessing"))
        parts["inference"] = build(Inference, _part(values, "inference"))
        names = values.get("classes")
        _check("classes", names, isinstance(names, list | tuple), "a list of names")
        parts["classes"] = tuple(names or ())
        return build(cls, parts)


def build(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Build a record from a mapping.

    Parameters
    ----------
    kind : type
        A dataclass.
    values : mapping
        Values by field; fields with a default may be missing.

    Returns
    -------
    record : instance of `kind`
        The record.

    Raises
    ------
    InputError
        A key is unknown or missing.
    """
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(map(str, set(values) - known)):
        raise InputError(
            f"{kind.__name__}: expected only {sorted(known)}, found {unknown} as well. "
            "The bundle was written by another tool or a newer version."
        )
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(
            f"{kind.__name__}: expected {sorted(known)}, found {sorted(values)} ({error}). "
            "Add what is missing."
        ) from error


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    if not isinstance(part, Mapping):
        found = "nothing" if part is None else f"{part!r:.60}"
        raise InputError(
            f"{name}: expected an object with its settings, found {found}. "
            "Take the file from an intact bundle."
        )
    return part


def _check_format(values: Mapping[str, Any]) -> None:
    found = values.get("format")
    _check("format", found, isinstance(found, int) and not isinstance(found, bool), "a number")
    if found != FORMAT:
        raise InputError(
            f"format: expected {FORMAT}, found {found}. The bundle was written for another "
            "version of flairseg: update flairseg, or export the bundle with this version."
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _check(name: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise InputError(f"{name}: expected {expected}, found {value!r:.60}. Correct the value.")


def _check_number(name: str, value: object, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    good = number and math.isfinite(value) and low <= value <= high  # type: ignore[arg-type,operator]
    _check(name, value, good, f"a number from {low:g} to {high:g}")


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _check(name, value, good, f"a whole number from {low} to {high}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _check(name, value, value in choices, f"one of {', '.join(choices)}")

"""Recipes for training on real scans: one record, read from a short TOML file.

Every field of :class:`SiteRecipe` is a key of such a file, and ``--set KEY=VALUE`` sets one
alone. What each means stands beside it, and in ``docs/training.md``.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from bids_flairseg.errors import InputError, MissingInputError, UsageError
from bids_flairseg.train.layers import LAYERS, NETWORKS

PRESETS = ("default", "duong2019", "quick")

MANY = 10
"""Participants from which on ``[finetune_many]`` holds: of so many enough are held out to tell
when to stop."""

_FEW_TABLE, _MANY_TABLE = "finetune", "finetune_many"
_FOLDER = Path(__file__).with_suffix("")


def _number(default: float, low: float, high: float, text: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "text": text})


def _choice(default: str, choices: tuple[str, ...], text: str) -> Any:
    return field(default=default, metadata={"choices": choices, "text": text})


def _switch(default: bool, text: str) -> Any:
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True)
class SiteRecipe:
    """How a network is trained on the scans of a site.

    Raises
    ------
    InputError
        A value has the wrong type or is out of its range, or two contradict each other.
    """

    name: str = field(default="own", metadata={"text": "Name for logs and the card."})
    network: str = _choice(
        "parent", ("parent", "duong2019"),
        "Architecture when training starts from scratch: that of the bundle of `--model`, or the "
        "paper's.",
    )  # fmt: skip
    layers: str = _choice(
        "all", LAYERS, "What is trained where training begins with a bundle; `--layers` wins."
    )
    networks: str = _choice(
        "all", NETWORKS,
        "Of a bundle of two networks, train both, or (`blocks`) only the one on blocks of voxels.",
    )  # fmt: skip
    loss: str = _choice(
        "both", ("cross-entropy", "dice", "both", "careful"),
        "What is made small: cross-entropy, soft Dice, their sum with missed lesion counting "
        "more, or (`careful`) that with ten times the entropy, which keeps probabilities true.",
    )  # fmt: skip
    optimiser: str = _choice("adamw", ("adam", "adamw"), "Adam, or Adam with weight decay.")
    learning_rate: float = _number(1e-3, 1e-8, 1.0, "Peak rate of the optimiser.")
    weight_decay: float = _number(1e-4, 0.0, 1.0, "Decoupled weight decay; `adamw` only.")
    schedule: str = _choice(
        "cosine", ("constant", "cosine"), "The rate stays, or falls to zero along a cosine."
    )
    warm_up_steps: int = _number(50, 0, 100_000, "Steps over which the rate rises to its peak.")
    clip_norm: float = _number(
        1.0, 0.0, 1e6, "Longest gradient of one array of weights; 0 for any."
    )
    epochs: int = _number(60, 1, 100_000, "Epochs at most.")
    steps_per_epoch: int = _number(
        100, 0, 10_000_000, "Optimiser steps in an epoch; 0 for all patches of all cases."
    )
    batch: int = _number(4, 1, 4096, "Patches of one optimiser step.")
    micro_batch: int = _number(
        0, 0, 4096,
        "Patches in memory at once; gradients are added up over `batch` / `micro_batch` rounds. "
        "0 takes the largest that fits.",
    )  # fmt: skip
    patch: int = _number(96, 8, 512, "Edge of a patch in voxels of 1 mm.")
    lesion_patches: int = _number(30, 0, 1000, "Patches with lesion from one augmented volume.")
    free_patches: int = _number(30, 1, 1000, "Patches without lesion from it.")
    augmentations: int = _number(3, 1, 1000, "Augmented volumes of a case in an epoch.")
    volumes_in_memory: int = _number(16, 1, 256, "Augmented volumes that patches are mixed from.")
    mirror: bool = _switch(True, "Mirror left and right in half of the patches.")
    rotation_deg: float = _number(10.0, 0.0, 180.0, "Largest rotation about each axis, degrees.")
    shift_mm: float = _number(5.0, 0.0, 100.0, "Largest translation along each axis.")
    scale: float = _number(0.1, 0.0, 0.5, "Largest relative change of size.")
    bend_mm: float = _number(2.0, 0.0, 20.0, "Largest spread of the free-form deformation.")
    bias: float = _number(0.0, 0.0, 1.0, "How often a volume gets a coil's bias field, 0 to 1.")
    blur: float = _number(0.0, 0.0, 1.0, "How often a volume is smoothed.")
    slices: float = _number(0.0, 0.0, 1.0, "How often a volume gets slices of 2 to 6 mm.")
    noise: float = _number(0.0, 0.0, 1.0, "How often a volume gets noise, ghosts and ringing.")
    gamma: float = _number(0.0, 0.0, 1.0, "How often the grey scale of a volume is bent.")
    ema: float = _number(
        0.99, 0.0, 0.99999,
        "Momentum of the running average of the weights, which is what is kept; 0 for none.",
    )  # fmt: skip
    precision: str = _choice(
        "auto", ("auto", "float32", "bfloat16"),
        "Of the activations; the loss stays in float32. `auto` takes bfloat16 where the device "
        "is faster in it.",
    )  # fmt: skip
    norm: str = _choice(
        "update", ("update", "keep"),
        "Batch normalisation of trained layers is trained as well, or kept as it is in the "
        "bundle.",
    )  # fmt: skip
    hold_out: float = _number(
        0.2, 0.0, 0.9,
        "Share of the participants that is not trained on but chooses epoch and threshold; "
        "0 for none.",
    )  # fmt: skip
    validate_every: int = _number(
        1, 1, 10_000, "Epochs from one look at held-out cases to the next."
    )
    early_stopping: int = _number(
        10, 0, 10_000,
        "Looks at held-out cases without a better mean Dice after which training ends; 0 for "
        "never.",
    )  # fmt: skip
    keep_best: bool = _switch(
        True,
        "Keep the epoch that did best on held-out cases, the bundle that training began with "
        "included, not the last.",
    )
    least_gain: float = _number(
        0.0, 0.0, 1.0,
        "By how much the mean Dice on held-out cases must be above that of the bundle before "
        "another epoch is kept; `keep_best` only.",
    )  # fmt: skip
    threshold: str = _choice(
        "choose",
        ("choose", "keep"),
        "Choose the threshold on held-out cases, or keep the bundle's.",
    )
    threshold_cases: int = _number(
        5, 1, 10_000, "Held-out cases with lesion below which the threshold is kept."
    )
    parent_share: float = _number(
        0.0, 0.0, 1.0,
        "Share of the bundle's own weights in the average with the trained ones that is kept.",
    )  # fmt: skip
    synthetic_share: float = _number(
        0.0,
        0.0,
        0.95,
        "Share of synthetic cases in an epoch; they come from the folder of `--synthetic`.",
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item, getattr(self, item.name))
        if self.micro_batch and self.batch % self.micro_batch:
            raise InputError(
                f"micro_batch: expected a divisor of batch = {self.batch}, found "
                f"{self.micro_batch}. Take one, or 0 for the largest that fits."
            )


def recipe_keys() -> dict[str, str]:
    """Return what each key of a recipe means.

    Returns
    -------
    keys : dict of str to str
        Meaning by key, in the order of the record.
    """
    return {item.name: item.metadata["text"] for item in fields(SiteRecipe)}


def load_recipe(
    name_or_path: str | Path,
    overrides: Mapping[str, str] | None = None,
    *,
    fine_tuning: bool = False,
    participants: int = 0,
) -> SiteRecipe:
    """Read a recipe.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a preset, or path of a TOML file. A file may start from a preset with
        the key ``base``; without it, from the defaults of the record.
    overrides : mapping of str to str, optional
        Values by key, as text, which win over those of the file.
    fine_tuning : bool
        Whether training begins with a bundle: then the table ``[finetune]`` of the file
        wins over what stands above it.
    participants : int
        How many are trained on or held out: from :data:`MANY` on, the table
        ``[finetune_many]`` wins over ``[finetune]``.

    Returns
    -------
    recipe : SiteRecipe
        Checked.

    Raises
    ------
    MissingInputError
        There is no such preset and no such file.
    InputError
        The file is no TOML, a key is unknown, a value has the wrong type, or only some layers
        or networks are to be trained from scratch.
    UsageError
        The same, for a key of `overrides` or for what they and the file make together.
    """
    path = _find(name_or_path)
    tables = [_FEW_TABLE] if fine_tuning else []
    if fine_tuning and participants >= MANY:
        tables.append(_MANY_TABLE)
    values = {"name": path.stem} | _read(path, tables)
    try:
        given = {key: _parse(key, text) for key, text in (overrides or {}).items()}
        return _build(values | given, fine_tuning=fine_tuning)
    except InputError as error:
        if overrides and str(error) != _fault(values, fine_tuning=fine_tuning):
            raise UsageError(f"recipe {name_or_path} with {dict(overrides)}: {error}") from error
        raise InputError(f"{path}: {error}") from error


def _build(values: Mapping[str, Any], *, fine_tuning: bool) -> SiteRecipe:
    """Check all values together; raises InputError."""
    recipe = SiteRecipe(**values)
    for key in ("layers", "networks"):
        value = getattr(recipe, key)
        if value != "all" and not fine_tuning:
            raise InputError(
                f"{key}: expected all where training begins from scratch, found {value}. Put "
                f"it below [{_FEW_TABLE}]."
            )
    return recipe


def _fault(values: Mapping[str, Any], *, fine_tuning: bool) -> str:
    """Say what is wrong with the values of a file alone; nothing if nothing is."""
    try:
        _build(values, fine_tuning=fine_tuning)
    except InputError as error:
        return str(error)
    return ""


def _find(name_or_path: str | Path) -> Path:
    if str(name_or_path) in PRESETS:
        return _FOLDER / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if not path.is_file():
        close = difflib.get_close_matches(str(name_or_path), PRESETS, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise MissingInputError(
            f"{name_or_path}: expected one of the recipes {', '.join(PRESETS)}, or a TOML file; "
            f"there is no such file.{hint}"
        )
    return path


def _read(path: Path, tables: Sequence[str]) -> dict[str, Any]:
    """Return the values of a file, with those of the tables, on top of those of its base."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"{path}: expected TOML, lines such as epochs = 20, but reading it failed ({error}). "
            "Correct the line."
        ) from error
    tuned = {name: values.pop(name, {}) for name in (_FEW_TABLE, _MANY_TABLE)}
    base = values.pop("base", None)
    if base is not None and base not in PRESETS:
        raise InputError(
            f"{path}: expected base as one of {', '.join(PRESETS)}, found {base!r}. Correct it."
        )
    for name, table in tuned.items():
        if not isinstance(table, dict):
            raise InputError(
                f"{path}: expected {name} as a table, found {name} = {table!r:.40}. Write "
                f"[{name}], and its keys below."
            )
    for key in (*values, *(key for table in tuned.values() for key in table)):
        _known(key, path)
    start = _read(_FOLDER / f"{base}.toml", tables) if base else {}
    for table in (values, *(tuned[name] for name in tables)):
        start |= table
    return start


def _known(key: str, path: Path | None = None) -> Field[Any]:
    """Return the field of a key, or say what it might have been."""
    known = {item.name: item for item in fields(SiteRecipe)}
    if key in known:
        return known[key]
    close = difflib.get_close_matches(key, known, 1, cutoff=0.0)
    where = f"{path}: " if path else ""
    raise InputError(
        f"{where}expected a key of a recipe, found {key}. The nearest is {close[0]}; all are in "
        "docs/training.md."
    )


def _parse(key: str, text: str) -> Any:
    """Turn the text of a command line into the type of its key."""
    kind = _kind(_known(key))
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        raise InputError(f"{key}: expected {_words(kind)}, found {text!r:.40}.") from error


def _kind(item: Field[Any]) -> type:
    # annotations are text here; a default such as 0 would not tell a number from a whole one
    return {"float": float, "int": int, "bool": bool, "str": str}[str(item.type)]


def _words(kind: type) -> str:
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text"}[kind]


def _check(item: Field[Any], value: object) -> None:
    kind, limits = _kind(item), item.metadata
    wanted = (int, float) if kind is float else (kind,)
    good = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    expected = _words(kind)
    if "choices" in limits:
        expected, good = f"one of {', '.join(limits['choices'])}", value in limits["choices"]
    elif "low" in limits:
        expected += f" from {limits['low']:g} to {limits['high']:g}"
        good = good and _within(value, limits)
    if not good:
        raise InputError(
            f"{item.name}: expected {expected}, found {value!r:.40}. Correct the value."
        )


def _within(value: Any, limits: Mapping[str, Any]) -> bool:
    return math.isfinite(value) and bool(limits["low"] <= value <= limits["high"])

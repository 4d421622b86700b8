"""The command line's arguments for training; like those of the parser, imports nothing heavy."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Collection, Mapping
from pathlib import Path

from bids_flairseg import values
from bids_flairseg.errors import UsageError

LAYERS = ("first", "middle", "last", "first+last", "all")
RATERS = ("majority", "union", "first", "staple")
ATTRIBUTES = (
    "site", "diagnosis", "group", "Manufacturer", "MagneticFieldStrength", "MRAcquisitionType",
)  # fmt: skip
_CROSSVAL_ONLY = ("from_scratch", "folds", "fold")
_SINGLE_TRAINING = ("train_fraction", "repeats")
_ANY_TRAINING = (
    "raters", "label_value", "dry_run", "also_train_on", "synthetic", "recipe", "set",
    "checkpoint_minutes", "bundle_name", "share_ids", "cases_with", "train_count",
)  # fmt: skip
#: Options of a training that a mode has no use for.
UNUSED: Mapping[str, Collection[str]] = {
    "predict": ("layers", *_ANY_TRAINING, *_SINGLE_TRAINING, *_CROSSVAL_ONLY),
    "train": ("layers", *_CROSSVAL_ONLY),
    "finetune": _CROSSVAL_ONLY,
    "crossval": _SINGLE_TRAINING,
}
_REMEDIES: Mapping[tuple[str, str], str] = {
    ("predict", "cases_with"): "Scans to segment are chosen by --participant-label and "
    "--bids-filter-file.",
    ("train", "layers"): "From random weights all layers have to be trained.",
    ("train", "from_scratch"): "--mode train does it anyway.",
    ("crossval", "train_fraction"): "For a cross-validation, say how many participants by "
    "--train-count.",
    ("crossval", "repeats"): "A cross-validation is repeated with another --random-seed and "
    "another output folder.",
}


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``--mode train``, ``finetune`` and ``crossval``.

    Parameters
    ----------
    parser : ArgumentParser
        Gets a group of its own.
    """
    group = parser.add_argument_group(
        "training", "for --mode train, finetune and crossval; labels are found by -d NAME=PATH"
    )
    _add_labels(group)
    _add_recipe(group)
    _add_amount(group)
    _add_result(group)


def _add_labels(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--raters",
        choices=RATERS,
        default="majority",
        help="how the masks of several raters of one scan become one (default: %(default)s)",
    )
    group.add_argument(
        "--label-value",
        nargs="+",
        action="extend",
        type=values.number(int, 1),
        default=[],
        metavar="N",
        help="values that mean lesion in masks with several (default: the only one besides 0)",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="stop after the check of all cases",
    )
    group.add_argument(
        "--also-train-on",
        nargs="+",
        action="extend",
        type=dataset,
        default=[],
        metavar="BIDS_DIR=LABELS",
        help="further datasets and their lesion masks, for training only (default labels: all "
        "of BIDS_DIR/derivatives)",
    )
    group.add_argument(
        "--synthetic",
        type=values.path,
        metavar="DIR",
        help="folder of synthetic examples, of which synthetic_share of the recipe is mixed in",
    )


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--recipe",
        type=values.recipe,
        default="default",
        metavar="NAME|FILE",
        help="how to train: default, duong2019 (the paper), quick, or a TOML file "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--set",
        "--recipe-set",
        nargs="+",
        action="extend",
        type=setting,
        default=[],
        metavar="KEY=VALUE",
        help="single values of the recipe, such as epochs=20",
    )
    group.add_argument(
        "--layers",
        choices=LAYERS,
        help="which layers are fine-tuned (default: what the recipe says: all, of two networks "
        "those of the one on blocks)",
    )
    group.add_argument(
        "--from-scratch",
        action="store_true",
        help="crossval: train every fold from random weights (default: fine-tune --model)",
    )
    group.add_argument(
        "--checkpoint-minutes",
        type=values.number(float, 0.0),
        default=10.0,
        metavar="MIN",
        help="longest time between two checkpoints (default: %(default)s)",
    )


def _add_amount(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--cases-with",
        nargs="+",
        action="extend",
        type=attribute,
        default=[],
        metavar="KEY=VALUE",
        help="take cases of the dataset with these attributes only, such as site=B: site, "
        "diagnosis or group of participants.tsv, Manufacturer, MagneticFieldStrength or "
        "MRAcquisitionType of the sidecar; of several values of one key, any",
    )
    amount = group.add_mutually_exclusive_group()
    amount.add_argument(
        "--train-count",
        type=values.number(int, 1),
        metavar="N",
        help="take N participants of the dataset only, those held out included, drawn by "
        "--random-seed; crossval: for each fold, of those outside it",
    )
    amount.add_argument(
        "--train-fraction",
        type=values.number(float, 0.0, 1.0),
        metavar="F",
        help="the same as a share of them, above 0",
    )
    group.add_argument(
        "--repeats",
        type=values.number(int, 1),
        default=1,
        metavar="N",
        help="train N times on the same participants, with the seeds that follow --random-seed "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--folds",
        type=values.number(int, 2),
        default=3,
        metavar="N",
        help="parts of a cross-validation (default: %(default)s)",
    )
    group.add_argument(
        "--fold",
        type=values.number(int, 1),
        metavar="K",
        help="do this fold only, 1 to N; a call without it gathers them (default: all)",
    )


def _add_result(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--bundle-name",
        type=bundle_name,
        metavar="NAME",
        help="name of the model, which goes to OUTPUT_DIR/models/NAME (default: made from what "
        "is trained)",
    )
    group.add_argument(
        "--share-ids",
        action="store_true",
        help="name the participants in the model's card (default: digests)",
    )


def dataset(text: str) -> tuple[Path, Path | None]:
    """Split ``BIDS_DIR=LABELS``; the labels may be left out."""
    root, equals, labels = text.partition("=")
    return values.path(root), values.path(labels) if equals else None


def setting(text: str) -> tuple[str, str]:
    """Split ``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key.strip().replace("-", "_"), value.strip()


def attribute(text: str) -> tuple[str, str]:
    """Split ``KEY=VALUE`` and check that cases have such an attribute.

    Parameters
    ----------
    text : str
        As typed; the key in whatever case.

    Returns
    -------
    tuple of str
        One of `ATTRIBUTES`, and the value.

    Raises
    ------
    ArgumentTypeError
        There is no value, or no such key; then the nearest is named.
    """
    key, _, value = (part.strip() for part in text.partition("="))
    known = {name.lower(): name for name in ATTRIBUTES}
    if not key or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    if key.lower() not in known:
        (close,) = difflib.get_close_matches(key.lower(), known, 1, cutoff=0.0)
        raise argparse.ArgumentTypeError(
            f"{key!r} is none of {', '.join(ATTRIBUTES)}; the nearest is {known[close]}"
        )
    return known[key.lower()], value


def bundle_name(text: str) -> str:
    """Check the name of a bundle: letters, digits and ``._+-``, beginning with one of the former.

    Parameters
    ----------
    text : str
        As typed.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ArgumentTypeError
        It would not do as a name.
    """
    plain = text.translate(str.maketrans("", "", "._+-"))
    if not plain.isalnum() or not plain.isascii() or not text[0].isalnum() or len(text) > 48:
        raise argparse.ArgumentTypeError(f"{text!r} is no name (letters, digits and . _ + -)")
    return text


def check_training(arguments: argparse.Namespace, asked: Collection[str]) -> None:
    """Refuse what contradicts the mode.

    Parameters
    ----------
    arguments : Namespace
        All arguments.
    asked : collection of str
        Those that were asked for, be it with the value that they have anyway.

    Raises
    ------
    UsageError
        An option belongs to another mode, or two of them contradict each other.
    """
    mode = arguments.mode
    # From random weights all layers are trained: who says so says nothing wrong.
    harmless = {"layers"} if mode == "train" and arguments.layers == "all" else set()
    check_use(mode, set(asked) - harmless)
    layers = arguments.layers or dict(arguments.set).get("layers", "all")
    if (mode == "train" or arguments.from_scratch) and layers != "all":
        option = "--layers " if arguments.layers else "--set layers="
        raise UsageError(
            f"{option}{layers}: from random weights all layers have to be trained. Leave it out, "
            "or take --mode finetune, or crossval without --from-scratch."
        )
    if arguments.train_fraction == 0:
        raise UsageError("--train-fraction 0: expected a share above 0.")
    if mode == "crossval":
        _check_crossval(arguments)


def check_use(mode: str, asked: Collection[str]) -> None:
    """Refuse options of a training that a mode has no use for.

    Parameters
    ----------
    mode : str
        A key of `UNUSED`.
    asked : collection of str
        Names of the options that were asked for.

    Raises
    ------
    UsageError
        One is in vain; the message names the modes that it belongs to.
    """
    for name in UNUSED[mode]:
        if name in asked:
            option = f"--{name.replace('_', '-')}"
            modes = [other for other, unused in UNUSED.items() if name not in unused]
            listed = ", ".join([*modes[:-2], " and ".join(modes[-2:])])
            nearest = "finetune" if "finetune" in modes else modes[0]
            remedy = f"Add --mode {nearest}, or leave {option} out."
            remedy = _REMEDIES.get((mode, name), remedy)
            raise UsageError(f"{option} belongs to --mode {listed}, not to {mode}. {remedy}")


def _check_crossval(arguments: argparse.Namespace) -> None:
    if arguments.fold is not None and arguments.fold > arguments.folds:
        raise UsageError(
            f"--fold {arguments.fold}: expected 1 to {arguments.folds}, the number of --folds."
        )
    if arguments.bundle_name == "base":
        raise UsageError(
            "--bundle-name base: crossval-base is the folder for the results of --model as it is. "
            "Take another name."
        )

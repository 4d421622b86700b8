"""The command line's arguments for the group level; imports nothing heavy."""

from __future__ import annotations

import argparse

from bids_flairseg import values

#: Options that the participant level has no use for.
GROUP_ONLY = (
    "reference", "mask_names", "group_by", "local_cases", "margin", "lesion_map", "strict",
)  # fmt: skip


def add_group(parser: argparse.ArgumentParser) -> None:
    """Add the options of the group level."""
    group = parser.add_argument_group("group level")
    group.add_argument(
        "--reference",
        nargs="+",
        default=[],
        metavar="NAME",
        help="which of -d NAME=PATH are references; the others are predictions to compare "
        "(default: those that no known program has made)",
    )
    group.add_argument(
        "--mask-names",
        type=values.path,
        metavar="FILE",
        help="TOML file that says how masks are named in -d NAME=PATH: a table [NAME] with "
        "pattern, labels, threshold, kind (default: BIDS names and those of known tools)",
    )
    group.add_argument(
        "--group-by",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of participants.tsv or attributes of the FLAIR's JSON file to compare "
        "groups by (default: diagnosis, site, scanner and acquisition, as far as they are there)",
    )
    group.add_argument(
        "--local-cases",
        nargs="+",
        type=values.named_count,
        default=[],
        metavar="NAME=K",
        help="with how many of your own cases the model of -d NAME=PATH was trained, for the "
        "learning curve (default: the number at the end of NAME)",
    )
    group.add_argument(
        "--margin",
        type=values.number(float, 0.0, 1.0),
        default=0.05,
        metavar="DICE",
        help="how much less Dice still counts as no worse than a rater (default: %(default)s)",
    )
    group.add_argument(
        "--lesion-map",
        action="store_true",
        help="also map how often lesions lie where, in standard space (each scan is registered "
        "once, which takes some seconds)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="fail if anything cannot be compared or a scan has no result",
    )

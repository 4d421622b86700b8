"""The command line's arguments; imports nothing heavy, so that help and errors come at once."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bids_flairseg import (
    __version__,
    config_file,
    group_options,
    run_options,
    training_options,
    values,
)
from bids_flairseg.errors import MissingInputError, UsageError

LOGGER = logging.getLogger(__name__)

_ANSWERS = {"-h", "--help", "--version"}
MODES = ("predict", "train", "finetune", "crossval")

EPILOG = """\
examples:
  flairseg /data/bids /data/out participant --participant-label 01 02
  flairseg /data/bids /data/out participant -d masks=/data/brain-masks --nprocs 8
  flairseg /data/bids /data/out group -d manual=/data/manual
  flairseg /data/bids /data/out participant --mode finetune -d manual=/data/manual
  flairseg /data/bids /data/new participant --model /data/out/models/NAME

exit codes:
  0 all done                      64 wrong arguments
  1 some scan failed              65 unusable data
  16 not a valid BIDS dataset     66 an input is missing
  17 unknown analysis level       73 an output cannot be created
  18 the filters matched nothing  74 reading or writing failed
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are exceptions and not the end of the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to complain about.

        Parameters
        ----------
        message : str
            What argparse says.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(f"{message}. See {self.prog} --help.")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that names an option's value once and not after each of its spellings."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        default = self._get_default_metavar_for_optional(action)
        return ", ".join(action.option_strings) + " " + self._format_args(action, default)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    Namespace
        Checked values by name.

    Raises
    ------
    UsageError
        An argument is unknown, malformed or contradicts another one.
    AnalysisLevelError
        The analysis level is none that exists.
    MissingInputError
        A file or folder named is not there.
    """
    own = [_hyphened(text) for text in (sys.argv[1:] if argv is None else argv)]
    path = config_file.find_config(own)
    words = own
    if path is not None and _ANSWERS.isdisjoint(own):
        words = config_file.complete(own, path, build_parser())
    try:
        parser = build_parser()
        arguments = parser.parse_args(words)
        changed = {
            name for name, value in vars(arguments).items() if value != parser.get_default(name)
        }
        _check_use(arguments, config_file.given_options(own, build_parser()), changed)
    except UsageError as error:
        raise UsageError(f"{path}, or the command line: {error}" if path else f"{error}") from error
    _check_paths(arguments)
    if arguments.omp_nthreads is None:
        arguments.omp_nthreads = min(arguments.nprocs, 8)
    elif arguments.omp_nthreads > arguments.nprocs:
        LOGGER.warning(
            "--omp-nthreads %d is more than the %d that --nprocs allows all steps together; "
            "each step takes %d",
            arguments.omp_nthreads,
            arguments.nprocs,
            arguments.nprocs,
        )
        arguments.omp_nthreads = arguments.nprocs
    return arguments


def _hyphened(text: str) -> str:
    """Spell an option with hyphens; both spellings have been in use among BIDS Apps."""
    if not text.startswith("--"):
        return text
    name, equals, value = text.partition("=")
    return name.replace("_", "-") + equals + value


def _check_use(arguments: argparse.Namespace, given: set[str], changed: set[str]) -> None:
    """Refuse options that the analysis level or the mode has no use for.

    A file may serve both levels, so only what the command line itself gives is held against the
    level. Against the mode counts as well what a file has changed.
    """
    if arguments.analysis_level == "group":
        if arguments.mode != "predict":
            raise UsageError(f"--mode {arguments.mode} belongs to the participant level.")
        training_options.check_use("predict", given)
        return
    for name in group_options.GROUP_ONLY:
        if name in given:
            raise UsageError(f"--{name.replace('_', '-')} belongs to the group level.")
    training_options.check_training(arguments, given | changed)


def _check_paths(arguments: argparse.Namespace) -> None:
    folders = [arguments.bids_dir, arguments.model, arguments.anatomy_model, arguments.synthetic]
    folders += [path for _, path in arguments.derivatives]
    folders += [path for both in arguments.also_train_on for path in both]
    for path in filter(None, folders):
        if not path.is_dir():
            raise MissingInputError(f"{path}: expected a folder, but there is none. Is it mounted?")
    files = [arguments.bids_filter_file, arguments.nipype_plugin_file, arguments.mask_names]
    for path in filter(None, files):
        if not path.is_file():
            raise MissingInputError(f"{path}: expected a file, but there is none.")
    # A link to the dataset is the dataset as well.
    if os.path.realpath(arguments.output_dir) == os.path.realpath(arguments.bids_dir):
        raise UsageError(
            f"{arguments.output_dir}: the results cannot go into the dataset's own root. "
            f"Take {arguments.bids_dir / 'derivatives' / 'flairseg'}."
        )


def build_parser() -> Parser:
    """Build the parser, option groups in the order in which a user meets them."""
    parser = Parser(
        prog="flairseg",
        usage="flairseg BIDS_DIR OUTPUT_DIR {participant,group} [options]",
        description="Segments hyperintense brain lesions on FLAIR MRI and measures them.\n"
        "Research software, not a medical device. Hyphens in option names may be underscores.",
        epilog=EPILOG,
        formatter_class=Formatter,
        add_help=False,
        allow_abbrev=False,
    )
    _add_positionals(parser)
    _add_general(parser)
    _add_selection(parser)
    _add_segmentation(parser)
    training_options.add_training(parser)
    run_options.add_resources(parser)
    run_options.add_execution(parser)
    group_options.add_group(parser)
    return parser


def _add_positionals(parser: Parser) -> None:
    group = parser.add_argument_group("required")
    group.add_argument(
        "bids_dir", type=values.path, metavar="BIDS_DIR", help="root folder of a BIDS dataset"
    )
    group.add_argument(
        "output_dir",
        type=values.path,
        metavar="OUTPUT_DIR",
        help="folder for the results (a BIDS derivative dataset); made when missing",
    )
    group.add_argument(
        "analysis_level",
        type=values.analysis_level,
        metavar="{participant,group}",
        help="participant: segment every scan; group: one table and page over all scans",
    )


def _add_general(parser: Parser) -> None:
    group = parser.add_argument_group("general")
    group.add_argument("-h", "--help", action="help", help="show this text and exit")
    group.add_argument(
        "--version", action="version", version=f"flairseg {__version__}", help="show the version"
    )
    group.add_argument(
        "-v",
        "--verbose",
        dest="verbosity",
        action="count",
        default=0,
        help="say more; -vv for everything",
    )
    group.add_argument(
        config_file.OPTION,
        type=values.path,
        metavar="FILE",
        help="TOML file with options: the flairseg.toml of an earlier run, to do it again, or your "
        "own; what is given on the command line wins",
    )


def _add_selection(parser: Parser) -> None:
    group = parser.add_argument_group("what to read")
    group.add_argument(
        "--participant-label",
        nargs="+",
        action="extend",
        type=values.label("sub-"),
        default=[],
        metavar="LABEL",
        help="only these participants, with or without sub- (default: all)",
    )
    group.add_argument(
        "--session-label",
        nargs="+",
        action="extend",
        type=values.label("ses-"),
        default=[],
        metavar="LABEL",
        help="only these sessions, with or without ses- (default: all)",
    )
    group.add_argument(
        "--bids-filter-file",
        type=values.path,
        metavar="FILE",
        help="JSON file of PyBIDS filters under the key 'flair', "
        'such as {"flair": {"acquisition": "3D"}}',
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        action="extend",
        type=values.derivative,
        default=[],
        metavar="NAME=PATH",
        help="derivative datasets. Participant level: brain masks (desc-brain_mask) found there "
        "are used instead of our own. Group level: lesion masks found there are compared with ours",
    )
    group.add_argument(
        "--bids-database-dir",
        type=values.path,
        metavar="DIR",
        help="folder of a PyBIDS index to use; made there when missing",
    )
    group.add_argument(
        "--skip-bids-validation",
        action="store_true",
        help="do not check that the dataset is valid BIDS",
    )


def _add_segmentation(parser: Parser) -> None:
    group = parser.add_argument_group("segmentation")
    group.add_argument(
        "--mode",
        choices=MODES,
        default="predict",
        help="what the participant level does: segment; train a model from scratch; fine-tune "
        "--model; test by cross-validation how much that helps (default: %(default)s)",
    )
    group.add_argument(
        "--model", type=values.path, metavar="DIR", help="lesion model (default: the one shipped)"
    )
    group.add_argument(
        "--anatomy-model",
        type=values.path,
        metavar="DIR",
        help="model that finds the brain and its parts (default: the one shipped)",
    )
    group.add_argument(
        "--threshold",
        type=values.number(float, 0.0, 1.0),
        metavar="P",
        help="probability from which a voxel is lesion, in lesions of any size (default: the "
        "model's own, which may have a lower one around large lesions)",
    )
    group.add_argument(
        "--min-lesion-ml",
        type=values.number(float, 0.0),
        default=0.01,
        metavar="ML",
        help="leave out lesions smaller than this volume in ml (default: %(default)s)",
    )
    group.add_argument(
        "--n4", action="store_true", help="correct the bias field with N4 (slow) (default: no)"
    )
    group.add_argument(
        "--no-flip",
        action="store_true",
        help="do not average with what the networks say of the mirrored image, which takes "
        "as long again and is a little better (default: average)",
    )
    group.add_argument(
        "--inference",
        choices=("auto", "brain", "windows"),
        default="auto",
        help="brain: the whole brain in one pass; windows: overlapping cubes, less memory; "
        "auto: one pass where memory allows it (default: %(default)s)",
    )

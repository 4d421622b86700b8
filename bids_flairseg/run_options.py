"""The command line's arguments for machine and run; imports nothing heavy."""

from __future__ import annotations

import argparse

from bids_flairseg import values


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add how much of the machine may be taken."""
    group = parser.add_argument_group("resources")
    group.add_argument(
        "--nprocs",
        "--nthreads",
        "--n-cpus",
        type=values.number(int, 1),
        default=values.processors(),
        metavar="N",
        help="threads of all steps together (default: the %(default)s that this process may use)",
    )
    group.add_argument(
        "--omp-nthreads",
        type=values.number(int, 1),
        metavar="N",
        help="threads of one step (default: NPROCS, at most 8)",
    )
    group.add_argument(
        "--mem-mb",
        "--mem",
        type=values.megabytes,
        metavar="MB",
        help="memory of all steps together, in MB or with a unit, as in 16G (default: 90%% of "
        "what the machine, the container or the batch job has)",
    )
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where the networks run; auto: a GPU when there is one (default: %(default)s)",
    )
    group.add_argument(
        "--nipype-plugin-file",
        type=values.path,
        metavar="FILE",
        help="YAML or JSON file with 'plugin' and 'plugin_args' of a Nipype plugin "
        "(default: MultiProc)",
    )


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add where and how a run goes on."""
    group = parser.add_argument_group("execution")
    group.add_argument(
        "-w",
        "--work-dir",
        type=values.path,
        metavar="DIR",
        help="folder for intermediate files, worth keeping until all is done (default: ./work; "
        "where that cannot be written, a temporary folder that goes away at the end; for training "
        "one in OUTPUT_DIR that stays)",
    )
    group.add_argument(
        "--clean-workdir",
        action="store_true",
        help="remove the intermediate files of this run's scans from the work folder, before the "
        "run and of finished scans after it; without it they stay, 100 to 200 MB a scan",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="do everything again; by default finished scans whose image, options and models "
        "are unchanged are left as they are",
    )
    group.add_argument(
        "--stop-on-first-crash",
        action="store_true",
        help="stop when a scan fails; by default the others go on",
    )
    group.add_argument(
        "--write-graph",
        action="store_true",
        help="draw the workflow into the work folder",
    )
    group.add_argument(
        "--random-seed",
        type=values.number(int, 0),
        default=0,
        metavar="N",
        help="seed of everything random (default: %(default)s)",
    )

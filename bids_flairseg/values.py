"""Values of single arguments: from the text of the command line to paths, labels, numbers."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from bids_flairseg.errors import AnalysisLevelError
from bids_flairseg.limits import processor_quota
from bids_flairseg.storage import absolute_path

_MEGABYTES = {"": 1.0, "K": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}
ANALYSIS_LEVELS = ("participant", "group")


def processors() -> int:
    """Count the processors this process may use: its affinity, and a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return int(max(1, min(count, processor_quota())))


def path(text: str) -> Path:
    """Make a path absolute, without asking that it be there."""
    return absolute_path(text)


def recipe(text: str) -> str:
    """Make the path of a recipe absolute; a name stays as it is."""
    return str(path(text)) if text.endswith(".toml") else text


def analysis_level(text: str) -> str:
    """Check the analysis level.

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
    AnalysisLevelError
        It is none that exists.
    """
    if text not in ANALYSIS_LEVELS:
        raise AnalysisLevelError(
            f"unknown analysis level {text!r}: expected {' or '.join(ANALYSIS_LEVELS)}. "
            f"What the participant level does is chosen with --mode."
        )
    return text


def label(prefix: str) -> Callable[[str], str]:
    """Return a function that checks a BIDS label and takes a prefix such as ``sub-`` off."""

    def check(text: str) -> str:
        bare = text.removeprefix(prefix)
        if not bare.replace("+", "").isalnum():
            raise argparse.ArgumentTypeError(f"{text!r} is no BIDS label (letters and digits)")
        return bare

    return check


def derivative(text: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``; without a name the folder's own is taken."""
    name, equals, folder = text.partition("=")
    root = path(folder if equals else text)
    return (name if equals and name else root.name), root


def named_count(text: str) -> tuple[str, int]:
    """Split ``NAME=K`` into a name and a count."""
    name, _, count = text.rpartition("=")
    if not name or not count.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=K, such as site8=8")
    return name, int(count)


def megabytes(text: str) -> int:
    """Read an amount of memory: in MB, or with a unit such as ``16G`` or ``16GB``.

    Parameters
    ----------
    text : str
        As typed.

    Returns
    -------
    int
        MB (10^6 bytes), at least 1.

    Raises
    ------
    ArgumentTypeError
        It is no amount of memory.

    Examples
    --------
    >>> megabytes("8000"), megabytes("1.5G"), megabytes("16gb")
    (8000, 1500, 16000)
    """
    match = re.fullmatch(r"([0-9]+\.?[0-9]*)([KMGT]?)B?", text.strip().upper())
    size = float(match[1]) * _MEGABYTES[match[2]] if match else 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory, as 16000 or 16G are")
    return int(size)


megabytes.__name__ = "int number"  # how argparse names it to the user


def number(
    kind: Callable[[str], float], lowest: float, highest: float = math.inf
) -> Callable[[str], float]:
    """Return a function that reads a number within limits, both allowed."""

    def check(text: str) -> float:
        value = kind(text)
        if not lowest <= value <= highest:
            limits = f"from {lowest:g}" + ("" if math.isinf(highest) else f" to {highest:g}")
            raise argparse.ArgumentTypeError(f"{text} is not a number {limits}")
        return value

    check.__name__ = f"{kind.__name__} number"  # how argparse names it to the user
    return check

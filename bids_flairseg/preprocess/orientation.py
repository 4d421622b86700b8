"""Whether a head lies in its image as the header says: feet down, face to the front.

A file whose axes were mixed up on the way looks like any other to a program. The anatomy
network does not: it is surest about a head that lies as its training heads did.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.preprocess.brain import ANATOMY_MM, BACKGROUND, Anatomy, Predict

CEREBRUM, HINDBRAIN = (1, 2, 3), (5, 6)
"""Classes of the anatomy network above and below the tentorium."""

LEAST_SHARE = 0.05
"""Hindbrain over cerebrum where both are seen in whole; 0.13 to 0.2 in the test data."""

BELOW_MM, BEHIND_MM = 20.0, 15.0
"""The hindbrain's middle lies 40 to 51 mm below and 29 to 36 mm behind that of the cerebrum."""

SURER = 0.004
"""How much surer the network has to be of a turned head, as a mean probability: right heads
lead by 0.009 and more over all their turns."""

_Turn = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_TURNS: dict[str, _Turn] = {
    "upside down": lambda data: data[:, :, ::-1],
    "back to front": lambda data: data[:, ::-1],
    "upside down and back to front": lambda data: data[:, ::-1, ::-1],
    "with its slices running from back to front": lambda data: data.transpose(0, 2, 1),
    "with its slices running from front to back": lambda data: data.transpose(0, 2, 1)[:, :, ::-1],
    "on its side": lambda data: data.transpose(1, 0, 2),
}


def orientation_hints(anatomy: Anatomy, predict: Predict) -> tuple[str, ...]:
    """Say so where the head seems to lie otherwise than its header says.

    The network is asked again only where the hindbrain is not where it should be, and only of
    an image that shows all of the brain is the answer worth anything. Left and right cannot
    be told apart this way.

    Parameters
    ----------
    anatomy : Anatomy
        Of the image as it is.
    predict : callable
        The anatomy network.

    Returns
    -------
    hints : tuple of str
        One sentence, or none.
    """
    if not _is_odd(anatomy):
        return ()
    best, name = _sureness(anatomy.probabilities) + SURER, ""
    for turn, turned in _TURNS.items():
        sureness = _sureness(predict(np.ascontiguousarray(turned(anatomy.seen))))
        if sureness > best:
            best, name = sureness, turn
    if not name:
        return ()
    hint = (
        f"The head seems to lie {name} in the image: the orientation in the header (qform, sform) "
        "is probably wrong. Regions and sides in the tables are then wrong as well; convert the "
        "scan anew from DICOM."
    )
    return (hint,)


def _is_odd(anatomy: Anatomy) -> bool:
    """Find a brain not longest from front to back, or no hindbrain below and behind."""
    best = anatomy.probabilities.argmax(-1)
    upper, lower = (np.argwhere(np.isin(best, classes)) for classes in (CEREBRUM, HINDBRAIN))
    if not len(upper) or len(lower) < LEAST_SHARE * len(upper):
        return True
    width, length, height = upper.std(0)
    _, forward, up = (upper.mean(0) - lower.mean(0)) * ANATOMY_MM
    return bool(length < max(width, height) or forward < BEHIND_MM or up < BELOW_MM)


def _sureness(probabilities: NDArray[np.float32]) -> float:
    """Mean probability of the class chosen, over the brain."""
    top = probabilities.max(-1)[probabilities.argmax(-1) != BACKGROUND]
    return float(top.mean()) if top.size else 0.0

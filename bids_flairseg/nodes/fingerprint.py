"""What tells whether a finished scan would come out the same if it were done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from bids_flairseg import __version__
from bids_flairseg.config import SegmentConfig

_OPTIONS = ("threshold", "min_lesion_ml", "n4", "flip", "inference")


def settings_digest(segment: SegmentConfig, models: Mapping[str, str]) -> str:
    """Condense all settings that change the numbers of a scan.

    Parameters
    ----------
    segment : SegmentConfig
        Options; of the models' folders only what `models` says counts.
    models : mapping of str to str
        Digest of every model by its role.

    Returns
    -------
    str
        SHA-256 in hexadecimal, the version of flairseg included.
    """
    options = {name: getattr(segment, name) for name in _OPTIONS}
    content = {"version": __version__, "options": options, "models": dict(models)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint(settings: str, flair: Path, brain_mask: Path | None, *, about: str = "") -> str:
    """Condense the settings and the contents of a scan's files.

    Parameters
    ----------
    settings : str
        What `settings_digest` gives.
    flair : Path
        The image.
    brain_mask : Path or None
        The mask that the user supplied.
    about : str
        What else of the dataset shows in the results.

    Returns
    -------
    str
        Three SHA-256 in hexadecimal, joined by points: of settings and surroundings, of the
        FLAIR, and of the brain mask; the last is empty without one.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    own = hashlib.sha256(f"{settings}\n{about}".encode()).hexdigest()
    return ".".join([own, _file_digest(flair), _file_digest(brain_mask) if brain_mask else ""])


def input_digests(mark: str) -> tuple[str, str]:
    """Return the digests of the files in a fingerprint.

    Parameters
    ----------
    mark : str
        What `fingerprint` gave.

    Returns
    -------
    str, str
        SHA-256 of the FLAIR and of the brain mask in hexadecimal; empty where there is none.

    Examples
    --------
    >>> input_digests("a.b.")
    ('b', '')
    """
    _, flair, mask = mark.split(".")
    return flair, mask


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

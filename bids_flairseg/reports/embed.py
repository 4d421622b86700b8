"""Figures read back from their files, checked before they become part of a page."""

from __future__ import annotations

import logging
from pathlib import Path
from xml.etree import ElementTree as ET

LOGGER = logging.getLogger(__name__)

_SVG = "{http://www.w3.org/2000/svg}"
_TAGS = {_SVG + tag for tag in ("svg", "g", "rect", "image", "path", "text", "title")}
_PICTURE = "data:image/jpeg;base64,"


def read_figure(path: Path | None) -> str | None:
    """Return the markup of a figure for inlining, or None when it cannot be shown.

    Inlined, a figure is sharp at any zoom and its outlines can be hidden. As markup is
    taken over without escaping, nothing passes but the shapes, words and pictures that the
    figures module draws: no script, no style, no event, no address.

    Parameters
    ----------
    path : Path or None
        An SVG file.

    Returns
    -------
    str or None
        Text of the file as it is.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if not _is_harmless(text):
            LOGGER.warning("%s: left out of the report, as it is no figure of ours", path)
            return None
    except (OSError, UnicodeDecodeError, ET.ParseError) as error:
        LOGGER.warning("%s: left out of the report (%s)", path, error)
        return None
    return text


def _is_harmless(text: str) -> bool:
    # Declarations and processing instructions come before any element is seen.
    if "<!" in text or "<?" in text:
        return False
    return all(
        element.tag in _TAGS and all(_is_plain(*item) for item in element.items())
        for element in ET.fromstring(text).iter()
    )


def _is_plain(name: str, value: str) -> bool:
    if name.lower().endswith("href"):
        return value.startswith(_PICTURE)
    return not name.lower().startswith("on") and name != "style" and "url(" not in value

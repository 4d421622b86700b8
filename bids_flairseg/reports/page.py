"""What all HTML pages share: templates, escaping, and one script that may run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING

from bids_flairseg import __version__

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """Return the templates; every value is escaped, and a missing one is an error.

    Templates of plain text (``.txt.j2``) escape nothing: what they give is a value itself.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("bids_flairseg.reports", "templates"),
        autoescape=select_autoescape(default=True, disabled_extensions=("txt.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> str:
    """Fill a template of a whole page, which extends ``_base.html.j2``.

    The page allows the script of ``_script.js.j2`` by its digest and no other: markup that
    should slip in could neither run nor fetch anything.

    Parameters
    ----------
    template : str
        File name in ``templates/``.
    **values : object
        Names that the template uses.

    Returns
    -------
    str
        The page, ending in a line feed.
    """
    script = environment().get_template("_script.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment().get_template(template)
    text = page.render(
        version=__version__, script=script, script_digest=f"sha256-{digest}", **values
    )
    return text + "\n"

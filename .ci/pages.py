"""The parts of the documentation that the code itself tells: options, files, columns.

What stands in a page between a mark such as `<!-- options -->` and `<!-- end -->` is written by
this script, so that the pages can be read where they lie; with `--check` it only tells whether
something has fallen behind. As a hook of MkDocs it fills in the site.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bids_flairseg.bids.spec import Columns, load_spec
from bids_flairseg.parser import EPILOG, build_parser

#: Defaults in words.
DEPENDS_ON_THE_MACHINE = {"nprocs": "all that this process may use"}
DOCS = Path(__file__).resolve().parent.parent / "docs"
_MARK = re.compile(r"<!-- (options|exit-codes|files|columns) -->.*?<!-- end -->", re.DOTALL)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a table; what stands for something else in Markdown is written as it is."""
    names = list(header)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def plain(text: str) -> str:
    """Keep Markdown from reading marks into a text."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text)


def help_text(action: argparse.Action) -> str:
    """Return an option's help as the command shows it."""
    text = (action.help or "") % {**vars(action), "prog": "flairseg"}
    if action.dest not in DEPENDS_ON_THE_MACHINE:
        return text
    return f"{text.partition(' (default')[0]} (default: {DEPENDS_ON_THE_MACHINE[action.dest]})"


def spelling(action: argparse.Action) -> str:
    """Return an option's names and what follows them."""
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = ""
    if action.nargs != 0:
        value = str(action.metavar or "{" + ",".join(map(str, action.choices or [])) + "}")
        value += " ..." if action.nargs == "+" else ""
    names = "<br>".join(f"`{name}`" for name in action.option_strings)
    return names + (f" {plain(value)}" if value else "")


def options() -> str:
    """Describe all arguments by their groups."""
    parts = []
    for group in build_parser()._action_groups:
        if not group._group_actions:
            continue
        parts.append(f"## {(group.title or '').capitalize()}\n")
        if group.description:
            parts.append(plain(group.description) + "\n")
        rows = ((spelling(action), plain(help_text(action))) for action in group._group_actions)
        parts.append(table(("option", "meaning"), rows))
    return "\n".join(parts)


def exit_codes() -> str:
    """Return what the help says of them, as a table."""
    _, _, text = EPILOG.partition("exit codes:\n")
    pairs = re.findall(r" +(\d+) (.+?)(?=  +\d|\n|$)", text)
    rows = sorted((int(code), meaning.strip()) for code, meaning in pairs)
    return table(("code", "meaning"), ((str(code), meaning) for code, meaning in rows))


def files() -> str:
    """Describe the files of a scan."""
    rows = []
    for output in load_spec().outputs.values():
        added = "".join(
            f"_{key}-{value.format(resolution='1mm')}" for key, value in output.entities.items()
        )
        rows.append((f"`{added}_{output.suffix}{output.extension}`", plain(output.description)))
    return table(("after the name of the FLAIR", "what"), rows)


def columns() -> str:
    """Describe the columns of both tables of a scan."""
    parts = []
    for output in load_spec().outputs.values():
        if output.columns:
            parts += [f"### {output.description}\n", _columns(output.columns)]
    return "\n".join(parts)


def _columns(known: Columns) -> str:
    rows = (
        (f"`{name}`", plain(about["Description"]), about.get("Units", ""))
        for name, about in known.items()
    )
    return table(("column", "meaning", "unit"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "options": options,
    "exit-codes": exit_codes,
    "files": files,
    "columns": columns,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the marks of a page; MkDocs calls this for each."""
    return _MARK.sub(
        lambda mark: f"<!-- {mark[1]} -->\n\n{PARTS[mark[1]]()}\n<!-- end -->", markdown
    )


def main() -> int:
    """Bring all pages up to date, or, with --check, return 1 if one is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    chosen = parser.parse_args()
    behind = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (filled := on_page_markdown(text)) != text:
            behind.append(page)
            if not chosen.check:
                page.write_text(filled, encoding="utf-8")
    if not chosen.check or not behind:
        return 0
    names = ", ".join(page.name for page in behind)
    print(f"docs: {names}: other than the code says. Run: python .ci/pages.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

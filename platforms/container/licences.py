"""Print a table of what is installed: name, version, licence, and where the texts of it lie."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

COLUMNS = ("name", "version", "licence", "files")
TEXTS = re.compile(r"(licen[cs]es?|copying|notice|third.party)", re.IGNORECASE)


def find_licence(package: Distribution) -> str:
    """Return what a package says of its licence, n/a where it says nothing."""
    fields = package.metadata
    classifiers = [text.rpartition(" :: ")[2] for text in fields.get_all("Classifier") or []
                   if text.startswith("License :: ")]  # fmt: skip
    first_line = (fields.get("License") or "").strip().partition("\n")[0]
    return fields.get("License-Expression") or "; ".join(classifiers) or first_line or "n/a"


def find_texts(package: Distribution) -> Iterator[str]:
    """Name the files of a package that hold licences and notices, as far as they are there."""
    for path in package.files or []:
        told = TEXTS.search(path.name) or TEXTS.fullmatch(path.parent.name)
        if told and path.suffix not in {".py", ".pyc"} and path.locate().is_file():
            yield str(path)


def main() -> None:
    """Write the table of this environment, in the order of names."""
    rows = [
        (each.metadata["Name"], each.version, find_licence(each), " ".join(find_texts(each)))
        for each in distributions()
    ]
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerows([COLUMNS, *sorted(rows, key=lambda row: row[0].lower())])


if __name__ == "__main__":
    main()

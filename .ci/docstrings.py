"""Check the docstrings of all public names with numpydoc's own rules.

A docstring of one line says that the name and the types tell the rest. One that goes on must
name every parameter in its order (PR01, PR02, PR03) and what is returned (RT01). The fields
of a record may be described where they stand.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

from numpydoc.validate import validate

PACKAGE = "bids_flairseg"
CHECKS = {"PR01", "PR02", "PR03", "RT01"}
EXEMPT_WHEN_SHORT = {"PR01", "RT01"}


def find_modules(package: str) -> Iterator[ModuleType]:
    """Import every module that is no script."""
    root = importlib.import_module(package)
    yield root
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def public_names(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Name the public functions, classes and methods that a module defines."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield f"{module.__name__}.{name}", value
        if inspect.isclass(value):
            for key, method in vars(value).items():
                if not key.startswith("_") and inspect.isfunction(method):
                    yield f"{module.__name__}.{name}.{key}", method


def find_faults(name: str, value: object) -> Iterator[str]:
    """Describe what is wrong with one docstring."""
    text = inspect.getdoc(value) or ""
    skipped = EXEMPT_WHEN_SHORT if "\n" not in text or inspect.isclass(value) else set()
    result = validate(name)
    for code, message in result["errors"]:
        if code in CHECKS - skipped:
            yield f"{result['file']}:{result['file_line']}: {code} {name}: {message}"


def main() -> int:
    """Print all faults and count them."""
    names = dict(pair for module in find_modules(PACKAGE) for pair in public_names(module))
    faults = [fault for name, value in names.items() for fault in find_faults(name, value)]
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"numpydoc: {len(names)} public names, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

"""Compile what flairseg imports, once and for all, for a file system that is read-only later."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "bids_flairseg"
#: Packages that flairseg does without.
OPTIONAL = {"jax"}


def find_modules(root: Path) -> Iterator[str]:
    """Name the modules of a package and all that they import, within functions too."""
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root.parent).with_suffix("")
        if path.stem != "__main__":
            yield ".".join(relative.parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module


def compile_loaded(prefix: Path) -> int:
    """Compile every loaded module below a folder; return how many there were."""
    # asking a lazy module of TensorFlow for its file the usual way would load it
    paths = {Path(vars(module).get("__file__") or "") for module in list(sys.modules.values())}
    sources = [path for path in paths if path.suffix == ".py" and path.is_relative_to(prefix)]
    for path in sources:
        # never compared with the source's time, which a copy into a layer may change
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), invalidation_mode=mode)
    return len(sources)


def main() -> None:
    """Import all, then compile all; what cannot be imported should not have been left out."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{PACKAGE}: expected to be installed in {sys.prefix}.")
    for name in sorted(set(find_modules(Path(spec.origin).parent))):
        if name.partition(".")[0] not in OPTIONAL:
            importlib.import_module(name)
    sys.stderr.write(f"{compile_loaded(Path(sys.prefix))} modules compiled\n")


if __name__ == "__main__":
    main()

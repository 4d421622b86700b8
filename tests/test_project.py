"""What holds for the project as a whole: its style in numbers, its metadata, its scripts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import bids_flairseg
from tests.conftest import ROOT

MODULES = sorted((ROOT / "bids_flairseg").rglob("*.py"))
MOST_LINES = 350
LONGEST_FUNCTION = 60
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    """Spell a distribution's name as the packaging rules do."""
    return re.sub(r"[-_.]+", "-", name).lower()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Find all functions of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(path: Path) -> Iterator[str]:
    """Name the top-level packages that a module imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_files_and_functions_stay_short() -> None:
    long = [path.name for path in MODULES if len(path.read_text().splitlines()) > MOST_LINES]
    long += [
        f"{path.name}: {function.name}"
        for path in MODULES
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_every_imported_package_is_declared() -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["jax"]]
    declared = {normal(re.split(r"[<>=!\[; ]", text)[0]) for text in wanted}
    names = {name for path in MODULES for name in imported(path)}
    foreign = names - sys.stdlib_module_names - {bids_flairseg.__name__}
    found = packages_distributions()
    missing = {
        name
        for name in foreign
        if declared.isdisjoint(normal(each) for each in found.get(name, [name]))
    }
    assert missing == set()


def test_every_declared_package_is_imported() -> None:
    indirect = {"tensorflow", "bids-validator-deno"}  # through Keras; as a program
    found = packages_distributions()
    used = {
        normal(each) for path in MODULES for name in imported(path) for each in found.get(name, [])
    }
    declared = {normal(re.split(r"[<>=!\[; ]", text)[0]) for text in PROJECT["dependencies"]}
    assert declared - used - indirect == set()


SCRIPTS = [
    path
    for folder in ("benchmarks", ".ci", "platforms")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def defined(path: Path) -> set[str]:
    """Name what a module defines or imports at its top level."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_what_there_is(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        path = ROOT.joinpath(*node.module.split("."))
        if path.relative_to(ROOT).parts[0] not in ("bids_flairseg", "tests"):
            continue
        sources = (path.with_suffix(".py"), path / "__init__.py")
        known = {name for source in sources if source.is_file() for name in defined(source)}
        known |= {other.stem for other in path.glob("*")}
        assert {alias.name for alias in node.names} <= known, f"{script.name}: {node.module}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_ask_for_the_convolutions_before_tensorflow_is_loaded(script: Path) -> None:
    """What is imported first decides which convolutions TensorFlow has, and what is measured."""
    names = [
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    packages = [name.partition(".")[0] for name in names]
    heavy = [n for n, package in enumerate(packages) if package in ("keras", "tensorflow")]
    if heavy:
        assert "bids_flairseg" in packages[: heavy[0]]


def test_every_dependency_has_a_lower_bound() -> None:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    assert [text for each in lists for text in each if ">=" not in text] == [
        "bids-flairseg[docs,jax,test]"
    ]


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, bids_flairseg.parser; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy = {"ants", "bids", "keras", "matplotlib", "nibabel", "nilearn", "nipype", "numpy"}
    assert heavy.isdisjoint(run.stdout.split())


def test_version_is_the_same_everywhere() -> None:
    version = bids_flairseg.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGES.md").read_text()
    assert f'"tool-version": "{version}"' in (ROOT / "descriptor.json").read_text()


def test_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"`(bids_flairseg/[^`]+)`", (ROOT / "README.md").read_text())
    assert named
    assert [path for path in named if not list(ROOT.glob(path))] == []


def test_make_demo_leaves_nothing_beside_its_own_folder() -> None:
    command = ["make", "--dry-run", "demo", "BIDS=/data/mine"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    (line,) = [text for text in run.stdout.splitlines() if "bin/flairseg" in text]
    assert line.endswith(" participant -w demo-data/work")


def test_the_container_says_what_it_is() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "ARG FLAIRSEG_CONTAINER_TAG=flairseg:${VERSION}" in lines
    assert "ENV FLAIRSEG_CONTAINER_TAG=${FLAIRSEG_CONTAINER_TAG}" in lines


def test_descriptor_follows_the_parser() -> None:
    command = [sys.executable, ".ci/descriptor.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stdout

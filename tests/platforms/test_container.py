"""The image's recipe: what is pinned, what is let in, what it says of itself."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from nilearn.datasets.struct import GM_MNI152_FILE_PATH, WM_MNI152_FILE_PATH
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bids_flairseg
from tests.conftest import ROOT

LOCKS = [ROOT / "locks" / f"{name}.txt" for name in ("build", "cpu", "gpu")]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(path: Path) -> dict[str, list[tuple[Requirement, int]]]:
    """Read a lock file: versions of each package, and how many checksums each has."""
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", path.read_text()):
        if not entry.startswith("#"):
            requirement = Requirement(entry.partition("\\")[0].strip())
            sums = len(re.findall(r"--hash=sha256:[0-9a-f]{64}", entry))
            found.setdefault(canonicalize_name(requirement.name), []).append((requirement, sums))
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_package_is_pinned_with_checksums(path: Path) -> None:
    packages = pinned(path)
    assert len(packages) > 5
    loose = [
        str(requirement)
        for versions in packages.values()
        for requirement, sums in versions
        if not re.fullmatch(r"==[^*,]+", str(requirement.specifier)) or not sums
    ]
    assert loose == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_no_registry_and_no_folder_of_a_machine_is_named(path: Path) -> None:
    assert not re.search(
        r"--(index-url|extra-index-url|find-links|trusted)|://|@ ", path.read_text()
    )


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_the_lock_files_serve_what_the_project_asks_for(variant: str) -> None:
    packages = pinned(ROOT / "locks" / f"{variant}.txt")
    for text in PROJECT["dependencies"]:
        wanted = Requirement(text)
        name: str = canonicalize_name(wanted.name)
        if (variant, name) == ("cpu", "tensorflow"):
            name = "tensorflow-cpu"
        versions = [str(each.specifier)[2:] for each, _ in packages.get(name, [])]
        assert versions, f"{name}: run `make lock`"
        assert all(wanted.specifier.contains(version) for version in versions), name
    assert ("nvidia-cudnn-cu12" in packages) is (variant == "gpu")


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_what_flairseg_does_without_is_in_no_image(variant: str) -> None:
    lines = (ROOT / "locks" / "left-out.txt").read_text().splitlines()
    names = {line.partition(";")[0] for line in lines if not line.startswith("#")}
    assert len(names) > 2
    assert names.isdisjoint(pinned(ROOT / "locks" / f"{variant}.txt"))


def test_slim_keeps_the_data_that_are_read(tmp_path: Path) -> None:
    """The template of the standard space is made from nilearn's maps of grey and white matter."""
    data = GM_MNI152_FILE_PATH.parent
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    profiler = "tensorflow/python/profiler/internal/_pywrap_profiler_plugin"
    module_of_tests = "scipy/stats/_page_trend_test.py"  # belongs to the library, unlike Keras's
    for name in (
        "statsmodels/datasets/x/src/a.csv", "numpy/tests/test_a.py", "numpy/a.h",
        "keras/src/a_test.py", "PIL/_avif.cpython-312-x86_64-linux-gnu.so", f"{profiler}.so",
        module_of_tests,
    ):  # fmt: skip
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    copies = packages / "nilearn" / "datasets" / "data"
    copies.mkdir(parents=True)
    for path in data.glob("*.nii.gz"):
        (copies / path.name).touch()
    subprocess.run(["sh", ROOT / "platforms" / "container" / "slim", tmp_path], check=True)
    left = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
    maps = {
        f"nilearn/datasets/data/{path.name}" for path in (GM_MNI152_FILE_PATH, WM_MNI152_FILE_PATH)
    }
    assert left == maps | {module_of_tests, f"{profiler}.py"}


def test_licences_of_what_is_installed_are_listed() -> None:
    script = ROOT / "platforms" / "container" / "licences.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    rows = {
        row["name"].lower(): row for row in csv.DictReader(run.stdout.splitlines(), delimiter="\t")
    }
    wanted = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert wanted <= {canonicalize_name(name) for name in rows}
    assert "BSD" in rows["numpy"]["licence"]
    assert rows["connected-components-3d"]["licence"].startswith("LGPL")
    for name in ("numpy", "scipy", "pandas"):
        assert [text for text in rows[name]["files"].split(" ") if "LICENSE" in text]


def test_the_notice_names_the_data_of_the_bundled_networks() -> None:
    notice = (ROOT / "NOTICE").read_text()
    for path in (ROOT / "bids_flairseg" / "model" / "bundles").glob("*/model.json"):
        told = " ".join(json.loads(path.read_text())["attribution"])
        sources = re.findall(r"doi:\S+[^\s,.;)]", told)
        assert sources
        assert [source for source in sources if source not in notice] == []
    assert PROJECT["license-files"] == ["LICENSE", "NOTICE"]


def test_the_label_names_the_version() -> None:
    assert f"ARG VERSION={bids_flairseg.__version__}\n" in DOCKERFILE


def test_the_image_runs_flairseg_as_nobody_special() -> None:
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert 'ENTRYPOINT ["flairseg"]' in last
    assert re.search(r"^USER [1-9]\d*:\d+$", last, re.MULTILINE)
    assert not re.search(r"^RUN", last, re.MULTILINE)  # nothing but copies: no tool is left


def test_what_the_recipe_copies_is_let_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert source in allowed


def test_the_check_runs_what_the_image_would_run() -> None:
    """The check lays out the environment by itself; it must be that of the Dockerfile."""
    enter = (ROOT / "platforms" / "container" / "enter").read_text()
    (block,) = re.findall(r"^ENV (PATH=(?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    for name, value in re.findall(r"(\w+)=(\S+)", block):
        if name not in {"LANG", "HOME"}:  # conditions change them
            assert f"{name}={value}" in enter

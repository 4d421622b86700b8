"""What README and documentation tell people to type is what the command takes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg import parser
from bids_flairseg.bids.spec import load_spec
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Words before the arguments of flairseg, in a container or not.
PROGRAM = re.compile(r"^(?:flairseg|\S*flairseg(?::\S+|\.sif))$")
ELSEWHERE = ("docker", "podman", "apptainer", "singularity", "sbatch", "srun")
CALL = rf"flairseg |({'|'.join(ELSEWHERE)}) (run|exec) "
POOL = ["-m", "bids_flairseg.train.pool"]
#: What takes a container, a cluster, or hours.
NOT_RUN = rf"{'|'.join(ELSEWHERE)}|#SBATCH|.*python (benchmarks/|-m bids_flairseg.train.(pre|exp))"
MARK = "<!-- not run by the tests: needs "
#: A page that tells in a table when and how its commands were run.
LOGGED = "platforms.md"
INLINE = re.compile(r"`((?:flairseg )?\S+ \S+ (?:participant|group)(?: [^`]*)?)`")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Find code, indented or fenced, with the line before it."""
    pattern = r"(?:^|\n)(?:[^\n]*)\n(?:\s*\n)*(```[^\n]*\n(.*?)```|(?:(?: {4}[^\n]*|\s*)\n)+)"
    for found in re.finditer(pattern, text + "\n", re.DOTALL):
        code = found[2] or found[1]
        if code.strip():
            yield text[: found.start(1)].rstrip().rpartition("\n")[2], code


def lines(code: str) -> Iterator[str]:
    """Join what a backslash continues."""
    yield from (line.strip() for line in code.replace("\\\n", " ").splitlines() if line.strip())


def split(line: str) -> list[str]:
    """Split a line of shell; variables become a number, which is a label as well."""
    plain = re.sub(r"\$\{?\w+(?:\[[^]]*\])?\}?", "1", line)
    return shlex.split(plain.replace("$(id -u):$(id -g)", "1"), comments=True)


def unrolled(code: Iterator[str]) -> Iterator[str]:
    """Write out the lines of a loop of shell over listed words."""
    for line in code:
        loop = re.fullmatch(r"for (\w+) in ([^;$]+); do", line)
        if not loop:
            yield line
            continue
        body = list(takewhile(lambda line: line != "done", code))
        for word in loop[2].split():
            yield from (inner.replace(f"${loop[1]}", word) for inner in body)


def commands(page: Path) -> Iterator[list[str]]:
    """Find the arguments of each call of flairseg on a page, and how a pool is filled."""
    text = page.read_text(encoding="utf-8")
    for _, code in blocks(text):
        for line in unrolled(lines(code)):
            if line.startswith(f"python {' '.join(POOL)} "):
                yield split(line)[1:]
            words = split(line) if re.match(CALL, line) else []
            starts = [n for n, word in enumerate(words) if PROGRAM.match(word)]
            if starts and "[options]" not in words:
                yield words[starts[-1] + 1 :]
    for found in INLINE.finditer(text):
        words = split(found[1])
        yield words[1:] if words[0] == "flairseg" else words


CASES = [
    pytest.param(words, id=f"{page.name}-{' '.join(words)[:70]}")
    for page in PAGES
    for words in commands(page)
    if words[:2] != POOL
]


def test_commands_are_found() -> None:
    assert len(CASES) > 30
    assert {page.name for page in PAGES if list(commands(page))} >= {"README.md", "index.md"}


def test_the_pages_tell_what_the_code_does() -> None:
    command = [sys.executable, ".ci/pages.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr


def test_the_page_of_options_names_every_default() -> None:
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for action in parser.build_parser()._actions:
        if action.default not in (None, False, 0, [], "==SUPPRESS=="):
            (row,) = re.findall(rf"^\| .*`{action.option_strings[-1]}`.*$", text, re.MULTILINE)
            assert "(default: " in row, action.dest


@pytest.mark.parametrize("words", CASES)
def test_every_documented_command_is_one_that_the_parser_takes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser, "_check_paths", lambda _: None)
    record = tmp_path / "flairseg.toml"
    record.write_text(
        '[arguments]\nbids_dir = "a"\noutput_dir = "b"\nanalysis_level = "participant"\n'
    )
    if "--help" in words or "--version" in words:
        return
    parser.parse_arguments([str(record) if w.endswith(".toml") and words[n - 1] == "--config" else w
                            for n, w in enumerate(words)])  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_needs_a_container_or_a_cluster_is_marked(page: Path) -> None:
    if page.name == LOGGED:
        return
    for before, code in blocks(page.read_text(encoding="utf-8")):
        needed = [line for line in lines(code) if re.match(NOT_RUN, line)]
        assert not needed or before.startswith(MARK), needed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_modules_and_targets_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:`| {4})make ([a-z]+)", text):
        assert target in targets
    for module in re.findall(r"python -m (bids_flairseg[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module
    for script in re.findall(r"python (\S+\.py)", text):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_modules_take_the_options_that_the_pages_give(page: Path) -> None:
    for _, code in blocks(page.read_text(encoding="utf-8")):
        for line in lines(code):
            called = re.search(r"python (?:(\S+\.py)|-m (bids_flairseg[\w.]*))(.*)", line)
            if called:
                path = Path(called[1] or called[2].replace(".", "/") + ".py")
                source = source_of(ROOT / path)
                for option in re.findall(r"(?<!\S)(--[a-z-]+)", called[3]):
                    assert f'"{option}"' in source, (path, option)


def source_of(script: Path) -> str:
    """Read a script and the modules beside it that it imports from."""
    text = script.read_text(encoding="utf-8")
    names = re.findall(r"^from (\w+) import", text, re.MULTILINE)
    beside = [path for path in (script.with_name(f"{name}.py") for name in names) if path.is_file()]
    return text + "".join(path.read_text(encoding="utf-8") for path in beside)


def test_the_map_of_the_code_names_what_there_is() -> None:
    text = (ROOT / "docs" / "code.md").read_text(encoding="utf-8")
    names = [name.split(".") for name in re.findall(r"`(\w+(?:\.\w+)+)`", text)]
    assert len(names) > 15
    for *folders, last in names:
        path = ROOT / "bids_flairseg" / "/".join(folders)
        if path.with_suffix(f".{last}").is_file() or (path / f"{last}.py").is_file():
            continue
        source = path.with_suffix(".py").read_text(encoding="utf-8")
        assert re.search(rf"^def {last}\b", source, re.MULTILINE), (folders, last)


def test_options_that_the_pages_name_exist() -> None:
    known = {text for action in parser.build_parser()._actions for text in action.option_strings}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"`(--[a-z][a-z0-9-]+)", text))
        assert named - known - OF_OTHERS == set(), page.name


#: Options of other programs that the pages name.
OF_OTHERS = {"--bids", "--changes", "--no-container", "--cleanenv", "--time", "--mem", "--array"}


def test_the_readme_names_the_outputs_as_they_are() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for output in load_spec().outputs.values():
        assert f"_{output.suffix}" in text


#: Makes a training short; the pages leave these words out.
QUICK = [
    "--recipe",
    "quick",
    "--set",
    "patch=32",
    "epochs=1",
    "steps_per_epoch=2",
    "batch=2",
    "warm_up_steps=1",
]
RUN_IN_ORDER = [
    ("docs/index.md", "docs/reproducibility.md"),
    ("docs/faq.md",),
    ("README.md",),
    ("docs/training.md",),
    ("docs/portability.md",),
]
#: Numbers in the place of those that a page gives.
COUNTS = {"--train-count": "1", "--repeats": "2", "--count": "2"}
#: Folders that stand for those that a page names in capitals. What names others is not run.
PLACES = {
    "BIDS": "bids", "OUT": "results", "RESULTS": "new", "POOL": "pool", "LABELMAPS": "labelmaps",
    "LABELS": "outlines", "MANUAL": "outlines", "REFERENCES": "outlines",
    "IN1": "a", "L1": "a/derivatives/manual", "IN2": "b", "L2": "b/derivatives/manual",
    "BRATS": "c", "LB": "c/derivatives/manual", "IN2T": "d", "L2T": "d/derivatives/manual",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("pages", RUN_IN_ORDER, ids=lambda pages: pages[0])
def test_documented_commands_run(pages: tuple[str, ...], tmp_path: Path) -> None:
    write = [sys.executable, "-m", "tests.tiny", str(tmp_path / "bundles")]
    subprocess.run(write, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    write_data(tmp_path)
    done = 0
    for words in (words for page in pages for words in commands(ROOT / page)):
        local = fill_in(words, tmp_path)
        if local[0] == "/bids":  # a container's; the same without one is on the page as well
            continue
        assert has_inputs(local, tmp_path), local
        run = subprocess.run(
            [sys.executable, *([] if "-m" in local else ["-m", "bids_flairseg"]), *local],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert run.returncode == 0, (local, run.stderr)
        done += 1
    assert done >= 2


def write_data(folder: Path) -> None:
    """Write datasets, outlines of their lesions, brain masks for none, and a label map."""
    from tests.end_to_end.heads import write_dataset
    from tests.train.conftest import draw_labels

    write_outlined(folder / "bids", folder / "outlines", [0, 1, 2])
    for number, name in enumerate("abcd"):
        heads = [3 + 2 * number, 4 + 2 * number]
        write_outlined(folder / name, folder / name / "derivatives/manual", heads)
    write_dataset(folder / "masks", {})
    (folder / "manual").symlink_to("outlines")
    (folder / "lst-ai").symlink_to("outlines")
    (folder / "labelmaps").mkdir()
    labels = nib.Nifti1Image(draw_labels(), np.eye(4))
    nib.save(labels, folder / "labelmaps" / "head.nii.gz")


def write_outlined(dataset: Path, outlines: Path, turns: list[int]) -> None:
    """Write a dataset of heads turned by so many times 5 degrees, and their lesions' outlines."""
    from tests.end_to_end.heads import draw_head, write_dataset

    heads = {f"{turn:02d}": draw_head("RAS", 5.0 * turn, lesion=True) for turn in turns}
    write_dataset(dataset, heads)
    write_dataset(outlines, {})
    for label, image in heads.items():
        path = outlines / f"sub-{label}/anat/sub-{label}_label-L_mask.nii.gz"
        path.parent.mkdir(parents=True)
        outline = (np.asarray(image.dataobj) > 150).astype(np.uint8)
        nib.save(nib.Nifti1Image(outline, image.affine), path)


def has_inputs(words: list[str], folder: Path) -> bool:
    """Tell whether a command's dataset and derivatives are there, and all others filled in."""
    derivatives = words[words.index("-d") + 1 :] if "-d" in words else []
    inputs = [word.partition("=")[2] for word in takewhile(lambda word: "=" in word, derivatives)]
    inputs += [] if words[0].startswith("-") else [words[0]]
    if "-m" in words:
        return True
    left = [word for word in words if re.search(r"(?:^|=)[A-Z][A-Z0-9_]+$", word)]
    return not left and all((folder / path).is_dir() for path in inputs)


def place(found: re.Match[str]) -> str:
    return PLACES.get(found[0], found[0])


def fill_in(words: list[str], folder: Path) -> list[str]:
    """Put what is there in the place of what a page names, tiny networks and a short training."""
    local = [word.replace("/path/to/", "") for word in words]
    local = [re.sub(r"(?<![^=])[A-Z][A-Z0-9]*(?![^/=])", place, word) for word in local]
    local = [COUNTS.get(local[n - 1], word) for n, word in enumerate(local)]
    if "-m" in local:
        return [str(next(folder.glob(word))) if "*" in word else word for word in local]
    for names, pattern in ((("RUN",), "logs/*/flairseg.toml"), (("NAME", "M_1"), "models/*/")):
        found = [str(p) for p in sorted(folder.glob(f"results/{pattern}")) if "fold" not in p.name]
        local = [found[0] if any(name in each for name in names) else each for each in local]
    if "participant" in local and "--config" not in local:
        local += ["--anatomy-model", "bundles/anatomy", "--nprocs", "2"]
        # A pool has the voxels of the bundled model.
        local += [] if {"--model", "--synthetic"} & {*local} else ["--model", "bundles/lesion"]
    if "--mode" in local:
        local += [*QUICK, *(["--folds", "2"] if "crossval" in local else [])]
    return local

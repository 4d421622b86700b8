"""The Boutiques descriptors: what bosh says of them, and the names of files that they promise."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.bids.outputs import ScanPaths
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.parser import build_parser, parse_arguments
from tests.conftest import ROOT
from tests.end_to_end.heads import draw_head, write_dataset

FOLDER = ROOT / "platforms" / "boutiques"
DESCRIPTOR, FILES = ROOT / "descriptor.json", FOLDER / "files" / "descriptor.json"
BOSH = os.environ.get("FLAIRSEG_BOSH") or shutil.which("bosh")
COMMANDS = {
    "segment": "flairseg bids out participant --participant-label 01 02 --skip-bids-validation "
    "--nprocs 4 --mem-mb 8000",
    "finetune": "flairseg bids out participant --derivatives manual=outlines --mode finetune "
    "--set epochs=20 --layers first+last --train-count 8",
    "crossval-fold": "flairseg bids out participant --derivatives manual=outlines --mode crossval "
    "--folds 5 --fold 2 --random-seed 1",
    "group": "flairseg bids out group --derivatives manual=outlines --group-by site",
    "cbrain": "flairseg CbrainBidsSingleSubject sub-01-flairseg participant "
    "--participant-label 01 --work-dir work",
}
needs_bosh = pytest.mark.skipif(
    BOSH is None, reason="bosh is not installed (pip install boutiques, or set FLAIRSEG_BOSH)"
)


def bosh(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(BOSH), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@needs_bosh
@pytest.mark.parametrize("words", [(DESCRIPTOR,), ("--bids", DESCRIPTOR), (FILES,)], ids=str)
def test_bosh_validates(words: tuple[str | Path, ...]) -> None:
    run = bosh("validate", *words)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_invocation_has_its_command_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(COMMANDS)


@needs_bosh
@pytest.mark.parametrize("name", COMMANDS)
def test_an_invocation_gives_its_command(name: str) -> None:
    run = bosh("exec", "simulate", DESCRIPTOR, "-i", FOLDER / f"{name}.json")
    assert run.returncode == 0, run.stdout + run.stderr
    out = COMMANDS[name].split()[2]
    assert run.stdout.splitlines()[-1] == f"mkdir -p {out}; {COMMANDS[name]}"


@needs_bosh
@pytest.mark.parametrize(
    "more",
    [
        {"layers": "last"},
        {"mode": "crossval", "fold": 1, "repeats": 2},
        {"mode": "crossval", "from_scratch": True, "layers": "last"},
        {"mode": "train", "train_count": 3, "train_fraction": 0.5},
    ],
    ids=str,
)
def test_bosh_refuses_options_that_do_not_go_together(more: dict[str, Any], tmp_path: Path) -> None:
    invocation = {"bids_dir": "bids", "output_dir": "out", "analysis_level": "participant", **more}
    (tmp_path / "invocation.json").write_text(json.dumps(invocation))
    run = bosh("exec", "simulate", DESCRIPTOR, "-i", tmp_path / "invocation.json")
    assert run.returncode != 0
    assert "flairseg bids" not in run.stdout


@needs_bosh
@pytest.mark.slow
def test_bosh_launches_it_without_a_container(tmp_path: Path) -> None:
    write = [sys.executable, "-m", "tests.tiny", str(tmp_path / "bundles")]
    subprocess.run(write, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    write_dataset(tmp_path / "bids", {"01": draw_head("RAS", 0.0, lesion=True)})
    models = {"model": "bundles/lesion", "anatomy_model": "bundles/anatomy"}
    invocation = {**load(FOLDER / "segment.json"), **models, "participant_label": ["01"]}
    (tmp_path / "invocation.json").write_text(json.dumps(invocation))
    words = ["exec", "launch", "--no-container", str(DESCRIPTOR), "invocation.json"]
    run = subprocess.run(
        [str(BOSH), *words], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "out" / "sub-01.html").is_file()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_are_ones_that_flairseg_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("bids", "CbrainBidsSingleSubject", "outlines"):
        (tmp_path / folder).mkdir()
    arguments = vars(parse_arguments(shlex.split(COMMANDS[name])[1:]))
    for key, value in load(FOLDER / f"{name}.json").items():
        if isinstance(value, int | float) or key in ("mode", "layers", "analysis_level"):
            assert arguments[key] == value
        elif key in ("bids_dir", "output_dir", "work_dir"):
            assert arguments[key] == tmp_path / value


def test_groups_conditions_and_cbrain_name_inputs_that_exist() -> None:
    descriptor = load(DESCRIPTOR)
    inputs = {entry["id"]: entry for entry in descriptor["inputs"]}
    named = {member for group in descriptor["groups"] for member in group["members"]}
    for disabled in inputs["mode"]["value-disables"].values():
        named |= set(disabled)
    modules = descriptor["custom"]["cbrain:integrator_modules"]
    named |= set(modules["BoutiquesInputValueFixer"])
    named |= {
        value
        for key, value in modules["BoutiquesBidsSingleSubjectMaker"].items()
        if key.endswith("_id")
    }
    assert named - set(inputs) == set()


def test_options_of_a_training_are_disabled_where_nothing_is_trained() -> None:
    (mode,) = [entry for entry in load(DESCRIPTOR)["inputs"] if entry["id"] == "mode"]
    groups = {group.title: group for group in build_parser()._action_groups}
    training = {
        action.dest
        for title, group in groups.items()
        if title and title.startswith("training")
        for action in group._group_actions
    }
    assert training
    assert training == set(mode["value-disables"]["predict"])


@pytest.mark.parametrize("session", [None, "A"])
def test_output_templates_match_what_is_written(session: str | None, tmp_path: Path) -> None:
    entities = {"sub": "01", "ses": session, "acq": "3D", "run": "1"}
    known = {key: value for key, value in entities.items() if value is not None}
    scan = Scan(flair=tmp_path / "bids" / "x_FLAIR.nii.gz", entities=known)
    outputs = ScanPaths(tmp_path / "out", scan)
    templates = {entry["id"]: entry["path-template"] for entry in load(FILES)["output-files"]}
    kinds = load_spec().outputs
    paths = {kind: outputs.path(kind) for kind in kinds}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for kind, path in paths.items():
        template = templates[kind + ("_of_sessions" if session else "")]
        found = list(tmp_path.glob(template.replace("[OUTPUT_DIR]", "out")))
        assert found == [path]
    assert set(templates) - {"results", "report"} == {
        kind + where for kind in kinds for where in ("", "_of_sessions")
    }

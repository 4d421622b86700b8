"""Write descriptor.json, the Boutiques description of the command, from its own parser.

`bosh validate --bids` wants four things: the folder for results is made on the command line,
participants and sessions come first, that folder may be named by a text or by a file, and it is
the only output. So there is a second descriptor, platforms/boutiques/files/descriptor.json, that
names the files in it as well.

Options have no default values here: Boutiques would put them all on every command line, those of
a training on that of a segmentation too. Their descriptions say what holds without them. The
modes disable what belongs to others; bosh 0.5 does not look at that, but refuses an option of a
training without a mode, and flairseg itself refuses what is left.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from bids_flairseg import __version__
from bids_flairseg.bids.spec import load_spec
from bids_flairseg.parser import build_parser
from bids_flairseg.training_options import UNUSED
from bids_flairseg.values import ANALYSIS_LEVELS

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "descriptor.json"
FILES_TARGET = ROOT / "platforms" / "boutiques" / "files" / "descriptor.json"
LEFT_OUT = {"help", "version"}
FIRST = ["bids_dir", "output_dir", "analysis_level", "participant_label", "session_label"]
#: What the command takes and a number cannot be.
WITH_A_UNIT = " or with a unit, as in 16G"
DEPENDS_ON_THE_MACHINE = {"nprocs": "all that this process may use"}
IS_FILE = {
    "bids_dir",
    "model",
    "anatomy_model",
    "synthetic",
    "bids_filter_file",
    "nipype_plugin_file",
    "mask_names",
    "config",
}
DISABLES = {"fold": UNUSED["crossval"], "from_scratch": ["layers"]}
SHARED_PLACE = (
    "; for platforms that choose folders as files. bosh itself loses it, because two inputs share "
    "its place on the command line: give it the folder as output_dir"
)
GROUPS = [
    {
        "id": "output",
        "name": "output",
        "description": "Where results go: a new folder, or one that is there.",
        "members": ["output_dir", "output_dir_existing"],
        "mutually-exclusive": True,
        "one-is-required": True,
    },
    {
        "id": "amount",
        "name": "amount of training data",
        "description": "A number of participants or a share of them.",
        "members": ["train_count", "train_fraction"],
        "mutually-exclusive": True,
    },
]
RESULTS = {
    "id": "results",
    "name": "results",
    "description": "BIDS derivative dataset: masks, tables, reports",
    "path-template": "[OUTPUT_DIR]",
    "optional": False,
}
#: What CBRAIN reads; docs/platforms.md says what each entry does and where that is written.
CBRAIN = {
    "cbrain:readonly-input-files": True,
    "cbrain:integrator_modules": {
        "BoutiquesBidsSingleSubjectMaker": {
            "dataset_input_id": "bids_dir",
            "subjects_input_id": "participant_label",
            "keep_sub_prefix": False,
        },
        "BoutiquesOutputFilenameRenamer": {"output_dir": ["bids_dir", "results"]},
        "BoutiquesInputValueFixer": {
            "analysis_level": "participant",
            "output_dir_existing": None,
            "bids_database_dir": None,
            "nipype_plugin_file": None,
            "work_dir": "work",
        },
    },
}
#: For one participant, from what benchmarks/command.py measured; docs/platforms.md has the figures.
RESOURCES = {"cpu-cores": 2, "ram": 4, "disk-space": 1, "walltime-estimate": 600, "nodes": 1}
IS_FLAG = (argparse._StoreTrueAction, argparse._CountAction)
ERROR_CODES = {
    1: "Some scan failed; the others are done",
    16: "The input is not a valid BIDS dataset",
    17: "Unknown analysis level",
    18: "The filters matched nothing",
    64: "Wrong arguments",
    65: "Unusable data",
    66: "An input is missing",
    73: "An output cannot be created",
    74: "Reading or writing failed",
}


def describe_type(action: argparse.Action) -> dict[str, Any]:
    """Say what kind of value an argument takes."""
    if isinstance(action, IS_FLAG):
        return {"type": "Flag"}
    if action.dest in IS_FILE:
        return {"type": "File"}
    kind = getattr(action.type, "__name__", "")
    if kind.endswith("number"):
        return {"type": "Number", "integer": kind.startswith("int")}
    return {"type": "String"}


def explain(action: argparse.Action) -> str:
    """Return the help of an argument, as far as it holds for its type."""
    text = (action.help or "") % {**vars(action), "prog": "flairseg"}
    return text.replace(WITH_A_UNIT, "") if describe_type(action)["type"] == "Number" else text


def describe(action: argparse.Action) -> dict[str, Any]:
    """Describe one argument."""
    choices = ANALYSIS_LEVELS if action.dest == "analysis_level" else action.choices
    entry = {
        "id": action.dest,
        "name": action.dest.replace("_", " "),
        "description": explain(action),
        "value-key": f"[{action.dest.upper()}]",
        "optional": not action.required,
        **describe_type(action),
    }
    if action.option_strings:
        long = [spelling for spelling in action.option_strings if spelling.startswith("--")]
        entry["command-line-flag"] = long[0]  # aliases follow
    if action.nargs == "+":
        entry["list"] = True
    if choices:
        entry["value-choices"] = list(choices)
    if action.dest == "mode":
        entry["value-disables"] = UNUSED
    if action.dest in UNUSED["predict"]:
        entry["requires-inputs"] = ["mode"]
    if action.dest in DISABLES:
        entry["disables-inputs"] = DISABLES[action.dest]
    if action.dest in DEPENDS_ON_THE_MACHINE:
        meaning = (action.help or "").partition(" (default")[0]
        entry["description"] = f"{meaning} (default: {DEPENDS_ON_THE_MACHINE[action.dest]})"
    return entry


def describe_inputs() -> list[dict[str, Any]]:
    """Describe all arguments, the folder for results in both of its forms."""
    actions = {action.dest: action for action in build_parser()._actions}
    names = FIRST + [name for name in actions if name not in {*FIRST, *LEFT_OUT}]
    inputs = [describe(actions[name]) for name in names]
    position = FIRST.index("output_dir")
    inputs[position]["optional"] = True
    existing = {**inputs[position], "id": "output_dir_existing", "type": "File"}
    existing["name"] = "existing output dir"
    existing["description"] += SHARED_PLACE
    return [*inputs[: position + 1], existing, *inputs[position + 1 :]]


def citation() -> str:
    """Say how to cite; Boutiques has no field for it."""
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (paper,) = content["references"]
    author = paper["authors"][0]["family-names"]
    return f"Please cite it with {author} et al. {paper['year']}, doi:{paper['doi']}."


def build_descriptor() -> dict[str, Any]:
    """Describe the whole command."""
    inputs = describe_inputs()
    keys = " ".join(dict.fromkeys(entry["value-key"] for entry in inputs))
    return {
        "name": "flairseg",
        "description": "BIDS App that segments and measures hyperintense brain lesions on FLAIR "
        f"MRI. Research software, not a medical device. {citation()}",
        "author": "flairseg maintainers",
        "tool-version": __version__,
        "schema-version": "0.5",
        "command-line": f"mkdir -p [OUTPUT_DIR]; flairseg {keys}",
        "container-image": {"type": "docker", "image": f"flairseg:{__version__}"},
        "inputs": inputs,
        "groups": GROUPS,
        "output-files": [RESULTS],
        "error-codes": [{"code": code, "description": text} for code, text in ERROR_CODES.items()],
        "suggested-resources": RESOURCES,
        "tags": {
            "domain": ["neuroinformatics", "bids", "mri"],
            "modality": ["FLAIR"],
            "purpose": ["segmentation", "white matter hyperintensities", "lesions"],
        },
        "custom": CBRAIN,
    }


def describe_files() -> list[dict[str, Any]]:
    """Describe the files of one scan, with and without sessions, and the page of a participant.

    A name of several scans (acq-, run-) matches as well, so each is a list.
    """
    found = []
    for kind, output in load_spec().outputs.items():
        fixed = "".join(
            f"_{key}-{'*' if value.startswith('{') else value}"
            for key, value in output.entities.items()
        )
        name = f"sub-*{fixed}_{output.suffix}{output.extension}"
        for where, folder in (("", "sub-*/anat"), ("_of_sessions", "sub-*/ses-*/anat")):
            found.append(
                {
                    "id": kind + where,
                    "name": (kind + where).replace("_", " "),
                    "description": output.description,
                    "path-template": f"[OUTPUT_DIR]/{folder}/{name}",
                    "list": True,
                    "optional": True,
                }
            )
    page = {**RESULTS, "id": "report", "name": "report", "list": True, "optional": True}
    page |= {"description": "Report of a participant", "path-template": "[OUTPUT_DIR]/sub-*.html"}
    return [*found, page]


def build_files_descriptor() -> dict[str, Any]:
    """Describe the command once more, with every file that it writes."""
    whole = build_descriptor()
    return {**whole, "output-files": [RESULTS, *describe_files()]}


def main() -> int:
    """Write both files, or with --check compare them."""
    for target, content in ((TARGET, build_descriptor()), (FILES_TARGET, build_files_descriptor())):
        text = json.dumps(content, indent=2) + "\n"
        if "--check" not in sys.argv[1:]:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        elif not target.is_file() or target.read_text(encoding="utf-8") != text:
            print(f"{target.relative_to(ROOT)} differs from the parser. Write it: make descriptor")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

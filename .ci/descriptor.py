"""Write descriptor.json, the Boutiques description of the command, from its own parser.

`bosh validate --bids` wants three things: the folder for results is made on the command line,
participants and sessions come first, and that folder may be named by a text or by a file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bids_flairseg import __version__
from bids_flairseg.parser import build_parser
from bids_flairseg.values import ANALYSIS_LEVELS

TARGET = Path(__file__).resolve().parent.parent / "descriptor.json"
LEFT_OUT = {"help", "version"}
FIRST = ["bids_dir", "output_dir", "analysis_level", "participant_label", "session_label"]
DEPENDS_ON_THE_MACHINE = {"nprocs"}
IS_FILE = {"bids_dir", "model", "anatomy_model", "bids_filter_file", "nipype_plugin_file"}
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


def describe(action: argparse.Action) -> dict[str, Any]:
    """Describe one argument."""
    choices = ANALYSIS_LEVELS if action.dest == "analysis_level" else action.choices
    entry = {
        "id": action.dest,
        "name": action.dest.replace("_", " "),
        "description": (action.help or "") % {**vars(action), "prog": "flairseg"},
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
    if action.default not in (None, [], False, 0) and action.dest not in DEPENDS_ON_THE_MACHINE:
        entry["default-value"] = action.default
    if action.dest in DEPENDS_ON_THE_MACHINE:
        entry["description"] = (action.help or "").partition(" (default")[0]
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
    return [*inputs[: position + 1], existing, *inputs[position + 1 :]]


def build_descriptor() -> dict[str, Any]:
    """Describe the whole command."""
    inputs = describe_inputs()
    keys = " ".join(dict.fromkeys(entry["value-key"] for entry in inputs))
    return {
        "name": "flairseg",
        "description": "BIDS App that segments and measures hyperintense brain lesions on FLAIR "
        "MRI. Research software, not a medical device.",
        "author": "flairseg maintainers",
        "tool-version": __version__,
        "schema-version": "0.5",
        "command-line": f"mkdir -p [OUTPUT_DIR]; flairseg {keys}",
        "inputs": inputs,
        "groups": [
            {
                "id": "output",
                "name": "output",
                "members": ["output_dir", "output_dir_existing"],
                "mutually-exclusive": True,
                "one-is-required": True,
            }
        ],
        "output-files": [
            {
                "id": "results",
                "name": "results",
                "description": "BIDS derivative dataset: masks, tables, reports",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            }
        ],
        "error-codes": [{"code": code, "description": text} for code, text in ERROR_CODES.items()],
        "tags": {"domain": ["neuroinformatics", "bids", "mri"]},
    }


def main() -> int:
    """Write the file, or with --check compare it."""
    text = json.dumps(build_descriptor(), indent=2) + "\n"
    if "--check" in sys.argv[1:]:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} differs from the parser. Write it anew: make descriptor")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

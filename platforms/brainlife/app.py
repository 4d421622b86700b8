"""Run flairseg on what Brainlife hands over: config.json in, output/ and product.json out.

Nothing but the standard library is imported; flairseg is run as a command of the same Python.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BIDS, RESULTS, WORK, OUTPUT = Path("bids"), Path("out_dir"), Path("work"), Path("output")
VALUES = {
    "threshold": "--threshold",
    "min_lesion_ml": "--min-lesion-ml",
    "model": "--model",
    "anatomy_model": "--anatomy-model",
    "nprocs": "--nprocs",
}
FLAGS = {"n4": "--n4", "no_flip": "--no-flip"}
REGIONS = ("periventricular", "juxtacortical", "deep_white", "infratentorial", "other")


class AppError(Exception):
    """Something that the person who started the app should read."""


def read_config() -> dict[str, Any]:
    """Read config.json and check the image that it names."""
    path = Path("config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AppError(f"{path}: expected a JSON file. {error}") from error
    if not isinstance(config, dict):
        raise AppError(f"{path}: expected an object, got {type(config).__name__}.")
    flair = config.get("flair")
    if not isinstance(flair, str) or not flair.endswith((".nii.gz", ".nii")):
        raise AppError(f"{path}: expected 'flair' to name a NIfTI file, got {flair!r}.")
    if not Path(flair).is_file():
        raise AppError(f"{flair}: expected the image that config.json names, but it is not there.")
    for key in FLAGS:
        if config.get(key) not in (None, "", True, False):
            raise AppError(f"{path}: expected {key!r} to be true or false, got {config[key]!r}.")
    return config


def read_meta(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Brainlife knows of the FLAIR: subject, session, and its sidecar's fields."""
    inputs = [entry for entry in as_list(config.get("_inputs")) if isinstance(entry, dict)]
    named = [entry for entry in inputs if "flair" in [*as_list(entry.get("keys")), entry.get("id")]]
    meta = (named or inputs or [{}])[0].get("meta")
    return dict(meta) if isinstance(meta, dict) else {}


def as_list(value: object) -> list[Any]:
    """Take anything but a list for an empty one."""
    return value if isinstance(value, list) else []


def make_label(value: object) -> str:
    """Take out of a name what a BIDS label may not hold."""
    return re.sub(r"[^0-9A-Za-z]", "", str(value if value is not None else ""))


def make_dataset(config: Mapping[str, Any]) -> None:
    """Lay out a BIDS dataset whose image is a link."""
    meta = read_meta(config)
    session = make_label(meta.get("session"))
    parts = [
        f"sub-{make_label(meta.get('subject')) or '01'}",
        *([f"ses-{session}"] * bool(session)),
    ]
    shutil.rmtree(BIDS, ignore_errors=True)
    folder = BIDS.joinpath(*parts, "anat")
    folder.mkdir(parents=True)
    flair = Path(config["flair"]).resolve()
    ending = ".nii.gz" if flair.name.endswith(".gz") else ".nii"
    stem = "_".join([*parts, "FLAIR"])
    (folder / f"{stem}{ending}").symlink_to(flair)
    # Fields of a sidecar begin with a capital; the others are Brainlife's own.
    sidecar = {key: value for key, value in meta.items() if key[:1].isupper()}
    write_json(folder / f"{stem}.json", sidecar)
    description = {"Name": "Brainlife", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    write_json(BIDS / "dataset_description.json", description)


def run_flairseg(config: Mapping[str, Any]) -> None:
    """Run the participant level, and raise its last words when it fails."""
    words = [str(BIDS), str(RESULTS), "participant", "--skip-bids-validation", "-w", str(WORK)]
    for key, option in VALUES.items():
        if config.get(key) not in (None, ""):
            words += [option, str(config[key])]
    words += [option for key, option in FLAGS.items() if config.get(key) is True]
    process = subprocess.Popen(
        [sys.executable, "-m", "bids_flairseg", *words],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stderr is not None
    last: list[str] = []
    for line in process.stderr:
        sys.stderr.write(line)
        last = [*last[-19:], line]
    if process.wait() != 0:
        errors = [line.strip() for line in last if "error:" in line] or [
            text.strip() for text in last
        ]
        raise AppError(f"flairseg ended with {process.returncode}: " + " ".join(errors))


def the_only(pattern: str) -> Path:
    """Find the one result of its kind."""
    found = sorted(RESULTS.glob(pattern))
    if len(found) != 1:
        raise AppError(f"{RESULTS}: expected one {pattern}, found {len(found)}.")
    return found[0]


def copy_outputs() -> None:
    """Name results as Brainlife's datatypes want them."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for pattern, target in (
        ("sub-*/**/*_space-orig_label-L_mask.nii.gz", "mask/mask.nii.gz"),
        ("sub-*/**/*_desc-preproc_FLAIR.nii.gz", "flair/flair.nii.gz"),
        ("sub-*.html", "html/index.html"),
    ):
        path = OUTPUT / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(the_only(pattern), path)


def make_product() -> dict[str, Any]:
    """Gather the numbers of the scan, a message and a chart."""
    with the_only("sub-*/**/*_label-L_stats.tsv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    counts = [int(row[f"{region}_count"]) for region in REGIONS]
    text = f"{row['lesion_count']} lesions, {float(row['lesion_volume_ml']):.2f} ml in all."
    messages: list[dict[str, Any]] = [{"type": "success", "msg": text}]
    if row["warnings"] not in ("", "n/a"):
        messages.append({"type": "warning", "msg": row["warnings"]})
    bars = {"type": "bar", "x": [name.replace("_", " ") for name in REGIONS], "y": counts}
    layout = {"yaxis": {"title": "lesions"}}
    messages.append(
        {"type": "plotly", "name": "Lesions by region", "data": [bars], "layout": layout}
    )
    return {
        "brainlife": messages,
        "stats": row,
        "mask": {"datatype_tags": ["lesion", "flair"]},
        "flair": {"datatype_tags": ["preprocessed"]},
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Run the app in the current folder."""
    try:
        config = read_config()
        make_dataset(config)
        run_flairseg(config)
        copy_outputs()
        product = make_product()
    except (AppError, OSError) as error:
        write_json(Path("product.json"), {"brainlife": [{"type": "error", "msg": str(error)}]})
        sys.stderr.write(f"{error}\n")
        return 1
    write_json(Path("product.json"), product)
    return 0


if __name__ == "__main__":
    sys.exit(main())

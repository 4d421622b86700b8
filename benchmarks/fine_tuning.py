"""What a site gains by fine-tuning: how many cases, which layers, how long.

``simulate`` makes a site that the bundled model has never met: synthetic heads with another
contrast, resolution and lesion style, outlined by raters with habits of their own. It fine-tunes
on some of its cases with each choice of layers, and scores the same held-back cases before and
after. ``crossval`` asks the same of real scans, with ``flairseg --mode crossval``. Both print one
table; what is done is not done again, so an interrupted call goes on.

    python benchmarks/fine_tuning.py simulate OUT --heads DIR [--shapes DIR] [--site thick]
    python benchmarks/fine_tuning.py crossval OUT --bids DIR --labels DIR [--participants 1 2 3]

Both take ``--layers``, ``--model``, ``--recipe`` and ``--set`` as flairseg does; fewer steps are
``--set epochs=6``, and ``--minutes`` ends with what is there by then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.bids.tables import read_tsv
from bids_flairseg.model.bundle import bundle_fingerprint, bundled, read_card, read_config
from bids_flairseg.preprocess.normalise import normalise_array
from bids_flairseg.train.folds import hold_out, take
from bids_flairseg.train.layers import LAYERS
from bids_flairseg.train.presets import SiteRecipe, load_recipe
from bids_flairseg.train.store import NOT_ZERO, StoredCase, read_cases, write_case
from bids_flairseg.train.synthesis import acquisition
from bids_flairseg.train.synthesis.labels import read_labels
from bids_flairseg.train.synthesis.lesion import VOXEL_MM, lesion_example
from bids_flairseg.train.synthesis.shapes import LesionShapes, Places

WORSE = 0.01  # of Dice; less is noise
NOT_RUN = "not run"


@dataclass(frozen=True)
class Site:
    """What is different at a site.

    Attributes
    ----------
    gamma : float
        Exponent of the signal: under 1 it flattens the contrast of tissues.
    faint : float
        Share of the lesions' contrast that is left.
    slice_mm : float
        Distance of slices, 0 for isotropic images.
    kinds : tuple of str
        Kinds of lesion, in turn.
    grow : int
        Voxels by which its raters draw beyond (or, below zero, within) the lesion.
    """

    gamma: float
    faint: float
    slice_mm: float
    kinds: tuple[str, ...]
    grow: int


SITES = {
    "thick": Site(0.75, 0.8, 5.0, ("small vessel", "stroke", "tumour"), 1),
    "faint": Site(1.3, 0.55, 0.0, ("demyelination", "small vessel"), 0),
    "strict": Site(1.0, 1.0, 3.0, ("tumour", "demyelination"), -1),
}


@dataclass(frozen=True)
class Plan:
    """One fine-tuning of the simulated site; all that its process has to know."""

    folder: Path
    cases: Path
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    layers: str
    model: Path
    recipe: SiteRecipe
    seed: int
    threads: int
    label: str

    @property
    def name(self) -> str:
        """Name of its result; another recipe, seed or choice of cases has another one."""
        decides = (self.train, self.validation, self.test, asdict(self.recipe), self.seed)
        return f"{self.label}-{digest(decides)}" if self.train else f"before-{digest(self.test)}"


def draw_case(number: int, chosen: argparse.Namespace) -> StoredCase:
    """Draw a head of the site as its scanner and its raters would have it."""
    rng, site = np.random.default_rng((77, number)), SITES[chosen.site]
    real = LesionShapes.read(chosen.shapes) if chosen.shapes else None
    heads = sorted(chosen.heads.glob("**/*.nii.gz"))
    normalisation = read_config(chosen.model).preprocessing.normalisation
    kind = site.kinds[number % len(site.kinds)]
    places = Places.of_head(read_labels(heads[number % len(heads)]))
    image, target = lesion_example(rng, places, real, kind=kind)
    image, target = shift(rng, np.asarray(image, np.float32), target, site, normalisation)
    name = f"sub-{number:03d}"
    x, y, z = image.shape
    return StoredCase(
        name=name,
        participant=name.removeprefix("sub-"),
        image=image.astype(np.float16),
        target=target,
        lesion_ml=float(target.sum()) * VOXEL_MM**3 / 1000,
        attributes={"diagnosis": kind},
        grid_shape=(x, y, z),
        affine=np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0]),
    )


def shift(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    target: NDArray[np.uint8],
    site: Site,
    normalisation: str,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Let the scanner and the raters of a site have a normalised image."""
    inside = image != 0
    floor = float(np.percentile(image[inside], 0.5)) - 0.5
    signal = np.where(inside, image - floor, 0) / -floor  # tissue about 1
    soft = ndimage.gaussian_filter(target.astype(np.float32), 1.0)
    signal = signal - (1 - site.faint) * soft * np.clip(signal - 1, 0, None)
    signal = (np.clip(signal, 0, None) ** site.gamma).astype(np.float32)
    if site.slice_mm:
        weight = inside.astype(np.float32)
        signal, weight, soft = acquisition.slices(
            rng, [signal, weight, target.astype(np.float32)], VOXEL_MM, axis=2,
            thickness_mm=site.slice_mm,
        )  # fmt: skip
        signal, target = signal / np.maximum(weight, 0.1), (soft > 0.5).astype(np.uint8)
    drawn = target > 0
    if site.grow > 0:
        drawn = ndimage.binary_dilation(drawn, iterations=site.grow)
    elif site.grow < 0:
        drawn = ndimage.binary_erosion(drawn, iterations=-site.grow)
    image = normalise_array(np.where(inside, signal, 0), inside, kind=normalisation)
    image = np.where(np.abs(image) < NOT_ZERO, NOT_ZERO, image)
    return np.where(inside, image, 0).astype(np.float32), (drawn & inside).astype(np.uint8)


def fine_tune(plan: Plan) -> dict[str, Any]:
    """Fine-tune, and score the test cases, mirrored as flairseg does; in a process of its own."""
    from bids_flairseg.model.predict import mirrored
    from bids_flairseg.model.runtime import applied, get_model, set_up
    from bids_flairseg.train.engine import fit
    from bids_flairseg.train.job import TrainingJob
    from bids_flairseg.train.validation import at_threshold, score_cases

    set_up(plan.threads, "cpu")
    test = read_cases(plan.cases, plan.test)
    if not plan.train:
        network = get_model(plan.model)
        scores = score_cases(mirrored(network.apply), test, network.config)
        return {"dice": [score.dice for score in scores]}
    job = TrainingJob(
        folder=plan.folder / "training" / plan.name,
        train=read_cases(plan.cases, plan.train),
        validation=read_cases(plan.cases, plan.validation),
        recipe=plan.recipe, parent=plan.model, layers=plan.layers, seed=plan.seed,
        nthreads=plan.threads, workers=2, device="cpu",
    )  # fmt: skip
    result = fit(job)
    scores = score_cases(mirrored(applied(result.model)), test, result.config)
    scores = at_threshold(scores, result.config.inference.threshold)
    return {
        "dice": [score.dice for score in scores],
        "minutes": result.seconds / 60,
        "best_epoch": result.best_epoch,
        "threshold": result.config.inference.threshold,
        "parameters": result.trained_parameters,
    }


def simulate(chosen: argparse.Namespace) -> list[list[str]]:
    """Fine-tune on several amounts of cases of the site with each choice of layers."""
    normalisation = read_config(chosen.model).preprocessing.normalisation
    cases = chosen.out / f"{chosen.site}-{normalisation}"
    names = [f"sub-{n:03d}" for n in range(max(chosen.cases) + chosen.test)]
    make_cases(chosen, cases, names)
    test, pool = tuple(names[: chosen.test]), read_cases(cases, names[chosen.test :])
    folder = chosen.out / f"{chosen.site}-{bundle_fingerprint(chosen.model)[:8]}"
    shared = {"folder": folder, "cases": cases, "test": test, "model": chosen.model,
              "seed": chosen.seed, "threads": chosen.threads}  # fmt: skip
    recipe = partial(load_recipe, chosen.recipe, dict(chosen.set), fine_tuning=True)
    nothing = Plan(train=(), validation=(), layers="", label="before", recipe=recipe(), **shared)
    before = run(nothing)["dice"]
    rows = [["cases", "before", *chosen.layers]]
    for count in chosen.cases:
        own = [c for c in pool if c.name in take(pool, count=count, seed=chosen.seed)]
        own_recipe = recipe(participants=count)
        train, held = hold_out(own, share=own_recipe.hold_out, seed=chosen.seed)
        rows.append([str(count), f"{statistics.mean(before):.3f}"])
        for layers in chosen.layers:
            plan = Plan(train=train, validation=held, layers=layers, label=f"{count}-{layers}",
                        recipe=own_recipe, **shared)  # fmt: skip
            result = run(plan, allowed=chosen.allowed())
            rows[-1].append(cell(before, result) if result else NOT_RUN)
            print(" | ".join(rows[-1]), flush=True)
    return rows


def make_cases(chosen: argparse.Namespace, folder: Path, names: Sequence[str]) -> None:
    """Draw the cases of the site that are not there yet."""
    for number, name in enumerate(names):
        if not (folder / f"{name}.json").exists():
            write_case(folder, draw_case(number, chosen))


def run(plan: Plan, *, allowed: bool = True) -> dict[str, Any]:
    """Return the result of a plan, from an earlier call where there is one; empty without time."""
    path = plan.folder / "results" / f"{plan.name}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    if not allowed:
        return {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:  # TensorFlow gives nothing back
        result = executor.submit(fine_tune, plan).result()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result))
    return result


def cell(before: Sequence[float], result: dict[str, Any]) -> str:
    """Say what came out: mean Dice, its change, cases that lost, minutes."""
    change = [new - old for new, old in zip(result["dice"], before, strict=True)]
    worse = sum(value < -WORSE for value in change)
    return (
        f"{statistics.mean(result['dice']):.3f} ({statistics.mean(change):+.3f}, {worse} of "
        f"{len(change)} worse, {result['minutes']:.1f} min)"
    )


def crossval(chosen: argparse.Namespace) -> list[list[str]]:
    """Cross-validate real scans with each choice of layers, by the command itself."""
    out, rows = chosen.out / bundle_fingerprint(chosen.model)[:8], list[list[str]]()
    recipe = partial(load_recipe, chosen.recipe, dict(chosen.set), fine_tuning=True)
    few, many = (asdict(recipe(participants=count)) for count in (1, 1000))
    for layers in chosen.layers:
        name = f"{layers}-{digest([few, many, chosen.seed])}"
        if not dices(out, name) and (not rows or chosen.allowed()):
            subprocess.run(crossval_command(chosen, out, layers, name), check=True)
        old, new = dices(out, "base"), dices(out, name)
        if not rows:
            rows = [["layers", *old, "mean", "worse", "minutes"], line("before", old)]
        if not new:
            rows.append([layers, *[NOT_RUN] * len(old), "", "", ""])
            continue
        worse = sum(new[case] < old[case] - WORSE for case in old)
        cards = [read_card(path.parent) for path in out.glob(f"models/{name}-fold*/model.json")]
        minutes = sum(card.training["minutes"] for card in cards)
        rows.append([*line(layers, new)[:-2], str(worse), f"{minutes:.1f}"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def dices(out: Path, model: str) -> dict[str, float]:
    """Read the Dice of each case with a model; empty where one of them is missing."""
    rows = [row for row in read_tsv(out / "crossval.tsv").rows if row["model"] == model]
    if any(row["dice"] == "n/a" for row in rows):
        return {}
    return {f"{row['case']} ({row['reference_ml']} ml)": float(row["dice"]) for row in rows}


def digest(content: object) -> str:
    """Condense what decides about a result."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:8]


def line(name: str, found: Mapping[str, float]) -> list[str]:
    """Write the Dice of all cases and their mean; two more cells are empty."""
    values = [*found.values(), statistics.mean(found.values())]
    return [name, *(f"{value:.3f}" for value in values), "", ""]


def crossval_command(chosen: argparse.Namespace, out: Path, layers: str, name: str) -> list[str]:
    """Return the command of one cross-validation; all share a work folder, and preprocess once."""
    words: list[Any] = [sys.executable, "-m", "bids_flairseg", chosen.bids, out]
    words += ["participant", "--mode", "crossval", "--folds", chosen.folds, "--layers", layers]
    words += ["-d", f"manual={chosen.labels}", "-w", chosen.out / "work"]
    words += ["--model", chosen.model, "--recipe", chosen.recipe, "--device", "cpu"]
    words += ["--nprocs", chosen.threads, "--random-seed", chosen.seed]
    words += ["--bundle-name", name]
    if chosen.participants:
        words += ["--participant-label", *chosen.participants]
    if chosen.set:
        words += ["--set", *(f"{key}={value}" for key, value in chosen.set)]
    return [str(word) for word in words]


def main() -> None:
    """Run one of the two, and print its table in Markdown."""
    chosen, began = build_parser().parse_args(), time.monotonic()
    chosen.allowed = lambda: time.monotonic() - began < 60 * chosen.minutes
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows = (simulate if chosen.command == "simulate" else crossval)(chosen)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    text = "\n".join(lines) + "\n"
    name = chosen.site if chosen.command == "simulate" else "crossval"
    (chosen.out / f"{name}.md").write_text(text)
    print(text)


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_subparsers(dest="command", required=True).add_parser
    made, real = add("simulate"), add("crossval")
    for each in (made, real):
        each.add_argument("out", type=Path)
        each.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
        each.add_argument("--model", type=Path, default=bundled("lesion"))
        each.add_argument("--recipe", default="default")
        each.add_argument("--set", nargs="+", default=[], type=lambda text: text.split("=", 1))
        each.add_argument("--seed", type=int, default=0)
        each.add_argument("--threads", type=int, default=2)
        each.add_argument("--minutes", type=float, default=1e9, help="begin nothing after them")
    made.add_argument("--heads", type=Path, required=True, help="folder of label maps")
    made.add_argument("--shapes", type=Path, help="folder of real lesion masks")
    made.add_argument("--site", choices=sorted(SITES), default="thick")
    made.add_argument("--cases", nargs="+", type=int, default=[1, 5, 10, 34])
    made.add_argument("--test", type=int, default=8, help="cases that are only tested on")
    real.add_argument("--bids", type=Path, required=True)
    real.add_argument("--labels", type=Path, required=True)
    real.add_argument("--participants", nargs="+")
    real.add_argument("--folds", type=int, default=3)
    return parser


if __name__ == "__main__":
    main()

"""What a simulated site gains by fine-tuning: how many cases, which layers, how long.

The site is one that the bundled model has never met: synthetic heads with another contrast,
resolution and lesion style, outlined by raters with habits of their own. The script fine-tunes on
some of its cases with each choice of layers, scores the same held-back cases before and after, and
prints one table; what is done is not done again, so an interrupted call goes on.

    python benchmarks/simulated_site.py OUT --heads DIR [--shapes DIR] [--site thick]

``--layers``, ``--model``, ``--recipe`` and ``--set`` are those of flairseg; fewer steps are
``--set epochs=6``, and ``--minutes`` ends with what is there by then. ``fine_tuning.py`` asks the
same of real scans.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gain import NOT_RUN, WORSE, begin, digest, new_parser, write_table
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.model.bundle import bundle_fingerprint, read_config
from bids_flairseg.preprocess.normalise import normalise_array
from bids_flairseg.train.folds import hold_out, take
from bids_flairseg.train.presets import SiteRecipe, load_recipe
from bids_flairseg.train.store import NOT_ZERO, StoredCase, read_cases, write_case
from bids_flairseg.train.synthesis import acquisition
from bids_flairseg.train.synthesis.labels import read_labels
from bids_flairseg.train.synthesis.lesion import VOXEL_MM, lesion_example
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.shapes import LesionShapes


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
    out = chosen.leave_out
    real = LesionShapes.read(chosen.shapes, leave_out=out) if chosen.shapes else None
    heads = sorted(chosen.heads.glob("**/*.nii.gz"))
    normalisation = read_config(chosen.model).preprocessing.normalisation
    kind = site.kinds[number % len(site.kinds)]
    places = Places.of_head(read_labels(heads[number % len(heads)]))
    image, target = lesion_example(rng, places, real, kind=kind)
    image, target = shift(rng, np.asarray(image, np.float32), target, site, normalisation)
    name = f"sub-{number:03d}"
    return StoredCase(
        name=name,
        participant=name.removeprefix("sub-"),
        image=image.astype(np.float16),
        target=target,
        lesion_ml=float(target.sum()) * VOXEL_MM**3 / 1000,
        attributes={"diagnosis": kind},
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
            rng, [signal, weight, target.astype(np.float32)], VOXEL_MM,
            steps_mm=acquisition.steps(2, site.slice_mm, VOXEL_MM),
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


def main() -> None:
    """Fine-tune, and print the table in Markdown."""
    chosen = begin(build_parser())
    write_table(chosen.out / f"{chosen.site}.md", simulate(chosen))


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = new_parser(__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, required=True, help="folder of label maps")
    parser.add_argument("--shapes", type=Path, help="folder of real lesion masks")
    parser.add_argument("--leave-out", nargs="+", default=(), help="patients of it not to use")
    parser.add_argument("--site", choices=sorted(SITES), default="thick")
    parser.add_argument("--cases", nargs="+", type=int, default=[1, 5, 10, 34])
    parser.add_argument("--test", type=int, default=8, help="cases that are only tested on")
    return parser


if __name__ == "__main__":
    main()

"""The portability study on tiny heads: cross-validations with some numbers of cases, then group."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.end_to_end.heads import draw_head, finish, launch, write_dataset

pytestmark = pytest.mark.slow

PEOPLE, COUNTS = 4, (1, 2)
TRAINING = (
    "--mode", "crossval", "--folds", "2", "--recipe", "quick",
    "--set", "patch=16", "epochs=2", "steps_per_epoch=3", "batch=2", "warm_up_steps=1",
)  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def flairseg(folder: Path, *words: object) -> None:
    """Run the command; what it prints is shown where it fails."""
    command = [sys.executable, "-m", "bids_flairseg", *map(str, words), "--skip-bids-validation"]
    code, text = finish(launch(command, folder))
    assert code == 0, text


def write_site(folder: Path) -> None:
    """Write heads with a noise of their own, and what two raters marked on them."""
    heads = {}
    for number in range(1, PEOPLE + 1):
        head = draw_head("RAS", 0.0, lesion=True)
        noise = np.random.default_rng(number).normal(0, 2, head.shape)
        data = np.clip(np.asarray(head.dataobj) + noise, 0, None).astype(np.float32)
        heads[str(number)] = nib.Nifti1Image(data, head.affine, head.header)
        for rater, level in (("anna", 150), ("ben", 168)):
            path = (
                folder / f"manual/sub-{number}/anat/sub-{number}_label-L_desc-{rater}_mask.nii.gz"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image((data > level).astype(np.uint8), head.affine), path)
    write_dataset(folder / "bids", heads)


def test_cross_validations_become_a_learning_curve(bundles: Path, tmp_path: Path) -> None:
    write_site(tmp_path)
    models = ("--model", bundles / "lesion", "--anatomy-model", bundles / "anatomy")
    labels = ("-d", "manual=manual")
    for count in COUNTS:
        name = ("--train-count", count, "--bundle-name", f"ft-{count}")
        where = ("-w", "work", "--nprocs", 2, "--device", "cpu")
        flairseg(tmp_path, "bids", "cv", "participant", *models, *where, *labels, *TRAINING, *name)
    others = [f"ft-{count}=cv/crossval-ft-{count}" for count in COUNTS]
    flairseg(tmp_path, "bids", "cv/crossval-base", "group", *labels, *others)
    out = tmp_path / "cv" / "crossval-base"
    agreement = rows_of(out / "group_agreement.tsv")
    assert {row["status"] for row in agreement} == {"ok"}
    consensus = [row["model"] for row in agreement if row["reference"] == "consensus"]
    base = consensus[0]
    assert sorted(consensus) == sorted([base, "ft-1", "ft-2"] * PEOPLE)  # each case, each model
    statistics = rows_of(out / "group_statistics.tsv")
    paired = [r for r in statistics if r["analysis"] == "paired" and r["reference"] == "consensus"]
    assert {(r["group_a"], r["group_b"]) for r in paired} == {
        (base, "ft-1"), (base, "ft-2"), ("ft-1", "ft-2"),
    }  # fmt: skip
    assert {row["n_a"] for row in paired} == {str(PEOPLE)}
    assert any(row["analysis"] == "learning curve" for row in statistics)
    page = (out / "group.html").read_text()
    assert "How many of your own cases" in page
    assert 'id="figure-learning_curve"' in page
    assert not [r for r in rows_of(out / "group_problems.tsv") if r["problem"] == "mixed"]

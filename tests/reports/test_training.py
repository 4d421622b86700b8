"""The page of a training: worst first, outlines where labels and predictions are, escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_flairseg.model.bundle import bundled
from bids_flairseg.reports import training
from bids_flairseg.reports.training import render_training, write_training_report
from bids_flairseg.train.cursor import CaseScore
from bids_flairseg.train.job import FitResult, TrainingJob
from bids_flairseg.train.validation import AFTER, BEFORE
from tests.reports.svg import panels_of
from tests.train.blobs import TINY_CONFIG, tiny_job

DICES = {"sub-10": (0.6, 0.8), "sub-11": (0.7, 0.4)}


def finished(folder: Path, **changes: Any) -> tuple[TrainingJob, FitResult]:
    """Pretend a fine-tuning: before it nothing was found, after it exactly the label."""
    job = tiny_job(folder, parent=bundled("lesion"), **changes)
    for case in job.validation:
        for stage, share in ((BEFORE, 0), (AFTER, 1)):
            (folder / stage).mkdir(parents=True, exist_ok=True)
            np.savez(folder / stage / f"{case.name}.npz", probability=case.target * 200 * share)
    scores = [
        tuple(CaseScore(name, dice, 1.0, 1.5) for dice in pair) for name, pair in DICES.items()
    ]
    result = FitResult(
        model=None,
        config=TINY_CONFIG,
        trained_parameters=1234,
        best_epoch=1,
        history=({"epoch": 0, "validation_dice": 0.65}, {"epoch": 1, "loss": 0.5}),
        before=tuple(pair[0] for pair in scores),
        after=tuple(pair[1] for pair in scores),
        notes=("<b>odd</b>",),
        seconds=90.0,
    )
    return job, result


def test_the_worst_case_comes_first_and_what_got_worse_is_marked(tmp_path: Path) -> None:
    page = render_training(*finished(tmp_path))
    rows = re.findall(r'<tr><th scope="row">(sub-1\d)</th>\s*<td class="num"', page)
    assert rows == ["sub-11", "sub-10"]
    assert re.search(r'class="num worse"[^>]*>-0.300<', page)
    assert re.search(r'class="num better"[^>]*>\+0.200<', page)
    assert "went from 0.650 to 0.600" in page


def test_outlines_are_those_of_label_and_prediction(tmp_path: Path) -> None:
    job, result = finished(tmp_path)
    page = render_training(job, result)
    figures = re.findall(r'<svg xmlns="[^"]*" viewBox="0 0 1100 .*?</svg>', page, re.DOTALL)
    assert len(figures) == 2
    case = next(case for case in job.validation if case.name == "sub-11")
    shown = panels_of(figures[0])
    assert len(shown) % 3 == 0
    plain, before, after = max(
        (shown[i : i + 3] for i in range(0, len(shown), 3)),
        key=lambda row: sum(map(len, row[2].outlines.get(0, []))),
    )
    assert not plain.outlines.get(0)
    assert before.outlines[0] == [] or after.outlines[0]
    largest = int(case.target.sum((0, 1)).max())
    assert int(after.filled(0).sum()) == largest


def test_nothing_is_fetched_and_words_are_escaped(tmp_path: Path) -> None:
    page = render_training(*finished(tmp_path))
    assert "&lt;b&gt;odd" in page
    assert not re.search(r'(src|href)="https?:', page)


def test_a_page_without_held_out_cases_says_so(tmp_path: Path) -> None:
    job, result = finished(tmp_path, validation=())
    page = render_training(job, replace(result, before=(), after=()))
    assert "No case was held out" in page


def test_a_page_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    assert not write_training_report(*finished(tmp_path), tmp_path / "gone" / "report.html")


def test_a_page_that_cannot_be_drawn_ends_nothing_and_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job, result = finished(tmp_path)
    path = tmp_path / "report.html"
    assert write_training_report(job, result, path)
    page = path.read_text()

    def fail(*_: object, **__: object) -> str:
        raise IndexError("no such slice")

    monkeypatch.setattr(training, "draw", fail)
    assert not write_training_report(job, result, path)
    assert "not written (IndexError: no such slice)" in caplog.text
    assert path.read_text() == page


def test_a_case_whose_probabilities_are_damaged_is_told_without_a_figure(tmp_path: Path) -> None:
    job, result = finished(tmp_path)
    for stage in (BEFORE, AFTER):
        (job.folder / stage / "sub-11.npz").write_bytes(b"")
    page = render_training(job, result)
    assert page.count('viewBox="0 0 1100 ') == 1
    assert re.search(r'<th scope="row">sub-11</th>', page)

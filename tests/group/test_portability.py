"""The page on portability says what its script does."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_flairseg.parser import parse_arguments
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "two_sites.py"))


def test_the_commands_of_the_page_are_those_that_run(script: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "portability.md").read_text()
    written = [line.strip() for line in page.split("## Try it")[1].splitlines()]
    written = [line for line in written if line.startswith("flairseg ")]
    assert written == [shlex.join(words) for words in script["commands"]([2, 4, 8])]


def test_the_command_line_knows_them(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in script["commands"]([2, 4], more=["--nprocs", "2"]):
        for folder in [*words[1:3], *(word.split("=")[1] for word in words if "=" in word)]:
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        parsed = parse_arguments(words[1:])
        assert parsed.analysis_level == words[3]
        if parsed.mode == "crossval":
            assert parsed.bundle_name == f"ft-{parsed.train_count}"


def test_site_b_differs_and_made_up_raters_do_too(script: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    data = np.zeros((20, 24, 9), np.float32)
    data[4:16, 4:20] = np.linspace(50, 900, 9)
    changed = script["shift"](data, random)
    assert changed.shape == data.shape
    assert not changed[data == 0].any()
    assert np.corrcoef(changed[data > 0], data[data > 0])[0, 1] < 0.995
    truth = np.zeros((30, 30, 30), bool)
    truth[8:20, 8:20, 8:20] = True
    for part, zooms in ((truth, (1, 1, 1)), (truth[..., 3::4], (1, 1, 4))):
        one, other = (script["rate"](part, random, zooms=zooms) > 0 for _ in range(2))
        for first, second in ((one, part), (other, part), (one, other)):
            dice = 2 * (first & second).sum() / (first.sum() + second.sum())
            assert 0.8 < dice < 0.995

"""Held-out cases are cut and scored as the main job does it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.measure.agreement import dice
from bids_flairseg.measure.outline import cut
from bids_flairseg.train.scores import THRESHOLDS, lesion_mask
from bids_flairseg.train.validation import read_kept, score_cases
from tests.train.blobs import TINY_CONFIG, ball_case

INFERENCE = replace(TINY_CONFIG.inference, threshold=0.35, large_ml=0.05, large_share=0.625)
CONFIG = replace(TINY_CONFIG, inference=INFERENCE)


def fading(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stand for a network that is less sure of what is darker."""
    return np.clip(batch / 4, 0, 1)


def test_large_lesions_are_cut_by_their_own_threshold() -> None:
    probability = fading(np.asarray(ball_case(1).image, np.float32))
    expected = cut(probability, 0.35, voxel_ml=0.001, large_ml=0.05, large_threshold=0.22)
    mask = lesion_mask(probability, CONFIG, min_lesion_ml=0.0)
    assert (mask == expected).all()
    assert mask.sum() > (probability >= 0.35).sum()


def test_every_score_follows_the_rule(tmp_path: Path) -> None:
    case = ball_case(1)
    (score,) = score_cases(fading, [case], CONFIG, keep=tmp_path)
    probability = fading(np.asarray(case.image, np.float32))
    for level, found in zip(THRESHOLDS, score.curve, strict=True):
        config = replace(CONFIG, inference=replace(INFERENCE, threshold=level))
        assert found == pytest.approx(dice(lesion_mask(probability, config), case.target > 0))
    kept = read_kept(tmp_path, case.name)
    assert kept is not None
    assert lesion_mask(kept, CONFIG).sum() / 1000 == pytest.approx(score.predicted_ml)


def test_a_speck_that_the_main_job_leaves_out_is_not_held_against_a_model() -> None:
    case = ball_case(1, lesion=False)

    def speck(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(batch == batch.max(), np.float32(0.9), np.float32(0))

    (score,) = score_cases(speck, [case], CONFIG)
    assert (score.dice, score.predicted_ml) == (1.0, 0.0)
    (score,) = score_cases(speck, [case], CONFIG, min_lesion_ml=0.0)
    assert score.dice == 0.0


def test_half_a_file_of_probabilities_counts_as_none(tmp_path: Path) -> None:
    case = ball_case(1)
    score_cases(fading, [case], CONFIG, keep=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        assert read_kept(tmp_path, case.name) is None
    path.write_bytes(whole[:200] + bytes(50) + whole[250:])
    assert read_kept(tmp_path, case.name) is None


def test_probabilities_have_their_name_once_they_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(stream: IO[bytes], **_: object) -> None:
        stream.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(KeyboardInterrupt):
        score_cases(fading, [ball_case(1)], CONFIG, keep=tmp_path)
    assert not list(tmp_path.iterdir())

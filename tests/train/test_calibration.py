"""Calibration: overconfident probabilities become shares, and the network gives them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.train.calibration import (
    calibration_error,
    count_tenths,
    fit_scaling,
    fold,
    reliability_curve,
)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize(("slope", "offset"), [(0.4, -0.8), (1.0, 0.0), (1.6, 0.5)])
def test_the_scaling_that_was_put_in_is_found(slope: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(-2, 3, 400_000)
    truth = rng.random(logit.size) < sigmoid(slope * logit + offset)
    found = fit_scaling([(sigmoid(logit).astype(np.float32), truth)])
    assert found == pytest.approx((slope, offset), abs=0.06)


def test_examples_without_lesion_do_no_harm() -> None:
    slope, offset = fit_scaling([(np.full((8, 8, 8), 0.2, np.float32), np.zeros((8, 8, 8), bool))])
    assert np.isfinite([slope, offset]).all()
    assert slope > 0


def test_heads_that_were_counted_apart_have_the_error_of_all_their_voxels() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(30_000).astype(np.float32)
    truth = rng.random(probability.size) < probability**2
    heads = list(zip(probability.reshape(3, -1), truth.reshape(3, -1), strict=True))
    counts = [count_tenths(*head) for head in heads]
    error = calibration_error(counts)
    assert error == calibration_error([count_tenths(probability, truth)])
    # the mean of p - p^2 from 0.05 to 1
    assert error == pytest.approx((1 / 6 - 0.05**2 / 2 + 0.05**3 / 3) / 0.95, abs=0.01)
    assert len(reliability_curve(counts)["share_of_lesion"]) == 10
    assert calibration_error([count_tenths(probability * 0.01, truth)]) is None


@pytest.mark.parametrize("two", [False, True])
def test_a_folded_network_gives_scaled_probabilities(two: bool) -> None:
    from bids_flairseg.model.unet import Stage, UNetConfig, build_unet

    stage = Stage(2, 2, 2)
    config = UNetConfig(encoder=(stage,), decoder=(stage,), head=(2,), head_activation="linear")
    model = build_unet(replace(config, beside=config) if two else config)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 8, 1)).astype(np.float32)
    before = np.asarray(model(image, training=False))
    fold(model, 0.5, -0.3)
    logit = np.log(before / (1 - before))
    np.testing.assert_allclose(model(image, training=False), sigmoid(0.5 * logit - 0.3), atol=1e-5)

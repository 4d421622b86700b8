"""The Keras side of patches: threads, resuming, forgetting. Loads TensorFlow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bids_flairseg.train.patches import PatchDataset
from bids_flairseg.train.sampling import Sampling
from bids_flairseg.train.store import StoredCase
from tests.train.cases import make_case

pytestmark = pytest.mark.slow

SAMPLING = Sampling(
    patch=16, batch=4, lesion_patches=6, free_patches=6, augmentations=2, volumes_in_memory=2
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[StoredCase]:
    folder = tmp_path_factory.mktemp("cases")
    return [make_case(folder, f"sub-{number}", seed=number) for number in range(1, 5)]


def test_batches_are_what_fit_takes(cases: list[StoredCase]) -> None:
    data = PatchDataset(cases, SAMPLING, seed=0)
    assert len(data) == 4 * 2 * 12 // 4
    images, targets = data[0]
    assert images.shape == targets.shape == (4, 16, 16, 16, 1)
    assert images.dtype == np.float32
    assert targets.dtype == np.uint8
    with_lesion = [target.any() for index in range(len(data)) for target in data[index][1]]
    assert np.mean(with_lesion) == pytest.approx(0.5, abs=0.1)


def test_threads_in_any_order_give_the_same_batches(cases: list[StoredCase]) -> None:
    one, other = (PatchDataset(cases, SAMPLING, seed=0) for _ in range(2))
    with ThreadPoolExecutor(4) as pool:
        found = dict(
            zip(range(23, -1, -1), pool.map(other.__getitem__, range(23, -1, -1)), strict=True)
        )
    for index in range(24):
        np.testing.assert_array_equal(one[index][0], found[index][0])


def test_a_half_done_epoch_goes_on_where_it_stopped(cases: list[StoredCase]) -> None:
    unbroken = PatchDataset(cases, SAMPLING, seed=0, epoch=1)
    resumed = PatchDataset(cases, SAMPLING, seed=0, epoch=1, first=20)
    assert len(resumed) == 4
    np.testing.assert_array_equal(resumed[1][0], unbroken[21][0])
    first = PatchDataset(cases, SAMPLING, seed=0)
    assert (resumed[1][0] != first[21][0]).any()


def test_volumes_are_forgotten_when_no_batch_needs_them(cases: list[StoredCase]) -> None:
    data = PatchDataset(cases, SAMPLING, seed=0)
    most = 0
    for index in range(len(data)):
        data[index]
        most = max(most, len(data._volumes))
    assert most <= 4
    assert not data._volumes


def test_an_error_reaches_the_caller(
    cases: list[StoredCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("bids_flairseg.train.patches.Volume", broken)
    with pytest.raises(MemoryError):
        PatchDataset(cases, SAMPLING, seed=0)[0]

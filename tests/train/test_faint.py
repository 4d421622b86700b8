"""The benchmark that asks how bright a lesion must be to be found."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

from tests.conftest import ROOT


def test_each_lesion_has_its_volume_its_contrast_and_whether_it_was_found() -> None:
    lesions = runpy.run_path(str(ROOT / "benchmarks" / "faint.py"))["lesions"]
    image = np.full((40, 40, 40), 0.5, np.float32)
    image[20:] = -0.5  # another tissue
    image[:, :, :4] = 0  # outside the brain
    truth, found = np.zeros((2, 40, 40, 40), bool)
    faint, bright = np.s_[8:11, 8:12, 8:13], np.s_[28:33, 28:33, 28:33]
    truth[faint] = truth[bright] = True
    image[faint], image[bright] = 1.25, 3.0
    found[32, 32, 32] = True  # touched in one voxel
    first, second = lesions(image, truth, found)
    assert first == (60, pytest.approx(0.75), False)
    assert second == (125, pytest.approx(3.5), True)

"""A second run does what is missing or has changed, and all of it when asked to."""

from __future__ import annotations

import pytest

from tests.end_to_end.heads import Finished, outputs

pytestmark = pytest.mark.slow


def test_second_run_does_only_what_is_missing(finished: Finished) -> None:
    command, bids, out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "sub-ras" / "anat").iterdir()}
    outputs(out, "lps", "space-orig_desc-brain_mask.nii.gz").unlink()
    code, text = command.run(bids, out, "--participant-label", "ras", "lps", "none")
    assert code == 0, text
    assert "2 are done already" in text
    assert outputs(out, "lps", "space-orig_desc-brain_mask.nii.gz").exists()
    assert before == {p: p.stat().st_mtime_ns for p in (out / "sub-ras" / "anat").iterdir()}


def test_another_threshold_does_the_scan_again(finished: Finished) -> None:
    command, bids, out, _ = finished
    path = outputs(out, "lps", "label-L_stats.tsv")
    code, text = command.run(bids, out, "--participant-label", "lps", "--threshold", "0.9")
    assert code == 0, text
    assert "\t0.9\t" in path.read_text()

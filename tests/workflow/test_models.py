"""Bundles that the steps around the networks cannot use are refused before anything starts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.config import SegmentConfig
from bids_flairseg.errors import InputError
from bids_flairseg.model.bundle import bundled
from bids_flairseg.train.synthesis.labels import CLASSES
from bids_flairseg.workflow.models import read_models, report_settings


def changed(folder: Path, name: str, part: str, values: Any) -> Path:
    """Copy a shipped bundle and change its configuration."""
    copy = folder / name
    shutil.copytree(bundled(name), copy)
    file = copy / "config.json"
    content = json.loads(file.read_text())
    content[part] = {**content[part], **values} if isinstance(values, dict) else values
    file.write_text(json.dumps(content))
    return copy


def test_the_shipped_bundles_are_fit_for_use() -> None:
    models = read_models(SegmentConfig(bundled("lesion"), bundled("anatomy")))
    assert models.fingerprints.keys() == {"lesion", "anatomy"}


def test_mixed_up_models_are_named() -> None:
    with pytest.raises(InputError, match=r"config\.json: expected a lesion model.*mixed up"):
        read_models(SegmentConfig(bundled("anatomy"), bundled("lesion")))
    with pytest.raises(InputError, match=r"expected the classes background.* found lesion"):
        read_models(SegmentConfig(bundled("lesion"), bundled("lesion")))


@pytest.mark.parametrize(
    ("name", "part", "values", "finding"),
    [
        ("lesion", "preprocessing", {"normalisation": "brain99"}, "zscore or robust.*brain99"),
        ("lesion", "preprocessing", {"brain_only": False}, "zero outside the brain"),
        ("anatomy", "classes", ["background", *"abcdef"], "found background, a, b"),
        ("anatomy", "classes", [*reversed(CLASSES)], "found brainstem, cerebellum"),
        ("anatomy", "preprocessing", {"normalisation": "robust"}, "found .*by robust"),
        ("anatomy", "preprocessing", {"voxel_size_mm": 1.0}, "found .*of 1 mm"),
        ("anatomy", "preprocessing", {"brain_only": True}, "found the brain alone"),
    ],
)
def test_unfit_bundles_are_refused(
    tmp_path: Path, name: str, part: str, values: Any, finding: str
) -> None:
    folders = {"lesion": bundled("lesion"), "anatomy": bundled("anatomy")}
    folders[name] = changed(tmp_path, name, part, values)
    with pytest.raises(InputError, match=finding) as caught:
        read_models(SegmentConfig(folders["lesion"], folders["anatomy"]))
    assert str(caught.value).startswith(f"{folders[name]}/config.json: expected ")


def test_reports_tell_of_both_networks_and_of_their_training_data() -> None:
    segment = SegmentConfig(bundled("lesion"), bundled("anatomy"))
    told = report_settings(segment, read_models(segment))
    assert told.networks == 2
    for data in (told.data, told.anatomy_data):
        assert data.startswith("FLAIRs synthesised from label maps")


def test_a_threshold_of_the_user_holds_for_lesions_of_any_size(tmp_path: Path) -> None:
    inference = {"threshold": 0.4, "large_ml": 10.0, "large_share": 0.5}
    segment = SegmentConfig(changed(tmp_path, "lesion", "inference", inference), bundled("anatomy"))
    own = report_settings(segment, read_models(segment))
    assert (own.threshold, own.large_ml, own.large_threshold) == (0.4, 10.0, 0.2)
    given = replace(segment, threshold=0.3)
    asked = report_settings(given, read_models(given))
    assert (asked.threshold, asked.large_threshold) == (0.3, None)

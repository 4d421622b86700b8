"""BIDS filter files: which names they let through, and how a slip is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bids_flairseg.bids.filters import read_filter
from bids_flairseg.bids.names import parse_name
from bids_flairseg.errors import MissingInputError, UsageError

NAMES = [
    "sub-01_FLAIR.nii.gz",
    "sub-01_ses-A_FLAIR.nii.gz",
    "sub-01_ses-B_acq-3D_run-01_FLAIR.nii.gz",
    "sub-02_acq-2D_run-2_FLAIR.nii",
]


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "filter.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"acquisition": "3D"}, [2]),
        ({"acquisition": ["2D", "3D"]}, [2, 3]),
        ({"acquisition": None}, [0, 1]),
        ({"acquisition": "*"}, [2, 3]),
        ({"session": "Query.NONE"}, [0, 3]),
        ({"session": "Query.OPTIONAL"}, [0, 1, 2, 3]),
        ({"session": ["A", None]}, [0, 1, 3]),
        ({"session": "ses-A"}, [1]),
        ({"subject": "02"}, [3]),
        ({"run": 1}, [2]),
        ({"run": 2}, [3]),
        ({"run": "02"}, [3]),
        ({"acquisition": "03D"}, []),
        ({"extension": ".nii"}, [3]),
        ({"suffix": "FLAIR", "datatype": "anat"}, [0, 1, 2, 3]),
        ({"suffix": "T1w"}, []),
        ({"acquisition": "^.D$", "regex_search": True}, [2, 3]),
        ({"acquisition": "3", "session": "B"}, []),
    ],
)
def test_what_passes(tmp_path: Path, query: dict[str, Any], expected: list[int]) -> None:
    filters = read_filter(write(tmp_path, {"flair": query}))
    parsed = [parse_name(name) for name in NAMES]
    assert [i for i, name in enumerate(parsed) if name and filters.accepts(name)] == expected


def test_no_file_and_an_empty_one_let_all_pass(tmp_path: Path) -> None:
    assert read_filter(None) == read_filter(write(tmp_path, {}))


def test_parts_for_other_images_are_passed_over(tmp_path: Path) -> None:
    both = {"t1w": {"session": "1"}, "bold": {"task": "rest"}, "flair": {"session": "A"}}
    assert read_filter(write(tmp_path, both)).conditions == {"ses": ("A",)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"t2w": {"session": "1"}}, 'expected the key "flair", found "t2w"'),
        ({"FLAIR": {}}, 'expected the key "flair", found "FLAIR"'),
        ({"flair": {}, "falir": {}}, 'found "falir"'),
        ({"flair": {"acq": "3D"}}, 'Did you mean "acquisition"'),
        ({"flair": {"aquisition": "3D"}}, 'Did you mean "acquisition"'),
        ({"flair": {"MagneticFieldStrength": 3}}, "is not an entity"),
        ({"flair": {"run": {"a": 1}}}, '"run" must be a label'),
        ({"flair": {"run": 1.5}}, '"run" must be a label'),
        ({"flair": {"acquisition": "(", "regex_search": True}}, "no regular expression"),
        ({"flair": "3D"}, "must hold an object"),
        (["flair"], "expected a JSON object"),
        ("{broken", "expected a JSON file"),
    ],
)
def test_a_slip_is_answered_with_the_file_and_the_remedy(
    tmp_path: Path, content: Any, words: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UsageError, match=words) as caught:
        read_filter(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="--bids-filter-file"):
        read_filter(tmp_path / "none.json")

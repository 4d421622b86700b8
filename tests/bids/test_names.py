"""Names: taken apart and put together, they are the same."""

from __future__ import annotations

import pytest

from bids_flairseg.bids.names import (
    enumerate_some,
    format_stem,
    natural_key,
    parse_name,
    strip_labels,
)


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_FLAIR.nii.gz",
        "sub-A1_ses-b_acq-3D_ce-gad_rec-norm_run-007_echo-1_part-mag_chunk-2_FLAIR.nii",
        "sub-01_space-orig_label-L_mask.nii.gz",
        "sub-01_space-orig_res-1mm_desc-preproc_FLAIR.nii.gz",
    ],
)
def test_format_undoes_parse(name: str) -> None:
    parsed = parse_name(name)
    assert parsed is not None
    assert f"{format_stem(parsed.entities)}_{parsed.suffix}{parsed.extension}" == name


@pytest.mark.parametrize(
    "name",
    [
        "FLAIR.nii.gz",
        "sub-01.nii.gz",
        "sub-01_FLAIR",
        "sub-01_old_FLAIR.nii.gz",
        "sub-01_sub-02_FLAIR.nii.gz",
        "sub-01__FLAIR.nii.gz",
        "sub-0 1_FLAIR.nii.gz",
        "sub-_FLAIR.nii.gz",
        ".sub-01_FLAIR.nii.gz",
    ],
)
def test_what_is_no_bids_name_is_refused(name: str) -> None:
    assert parse_name(name) is None


def test_entities_come_in_the_order_of_bids_whatever_the_order_given() -> None:
    shuffled = {"label": "L", "chunk": "2", "run": "1", "space": "orig", "ses": "A", "sub": "9"}
    assert format_stem(shuffled) == "sub-9_ses-A_run-1_space-orig_chunk-2_label-L"


def test_an_unknown_entity_stays_before_what_is_added() -> None:
    assert format_stem({"sub": "1", "foo": "x", "space": "orig"}) == "sub-1_foo-x_space-orig"


def test_labels_lose_only_their_own_prefix() -> None:
    assert strip_labels(["sub-01", "01", "ses-02", "sub-sub-3"], "sub") == ("01", "ses-02", "sub-3")


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    assert sorted(["s10", "s2", "s1b", "s1"], key=natural_key) == ["s1", "s1b", "s2", "s10"]


def test_short_lists_are_shown_in_full() -> None:
    assert enumerate_some("abc", most=3) == "a, b, c"
    assert enumerate_some([]) == ""

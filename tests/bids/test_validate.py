"""Validation of the input: what stops a run, what does not, and how it is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bids_flairseg.bids import validate
from bids_flairseg.bids.validate import Issue, find_errors, summarise, validate_dataset
from bids_flairseg.errors import InvalidBidsError, MissingInputError, OutputError
from tests.bids.conftest import MakeConfig, MakeTree

ONE = "sub-01/anat/sub-01_FLAIR.nii.gz"


def test_the_real_dataset_passes(
    shared_data: Path, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = make_config(shared_data / "openms-bids")
    validate_dataset(config)
    assert "no error" in caplog.text
    assert list(config.work_dir.iterdir()) == []
    assert find_errors(shared_data / "openms-bids") == []


def test_a_wrong_name_is_invalid_and_told_in_few_words(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    root = make_tree(ONE, *(f"sub-01/anat/sub-01_copy{i}.nii.gz" for i in range(9)))
    with pytest.raises(InvalidBidsError) as caught:
        validate_dataset(make_config(root))
    text = str(caught.value)
    assert text.startswith(f"{root}: expected a valid BIDS dataset")
    assert "sub-01_copy0.nii.gz" in text
    assert "and 6 more" in text
    assert "--skip-bids-validation" in text
    assert len(text.splitlines()) < 6


def test_a_folder_that_is_no_dataset_is_invalid(tmp_path: Path, make_config: MakeConfig) -> None:
    (tmp_path / "x" / "scans").mkdir(parents=True)
    with pytest.raises(InvalidBidsError, match="dataset_description"):
        validate_dataset(make_config(tmp_path / "x"))


def test_the_home_folder_stays_empty(
    tmp_path: Path, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("DENO_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    find_errors(make_tree(ONE))
    assert list((tmp_path / "home").iterdir()) == []


def test_an_empty_folder_may_be_a_wrong_mount(tmp_path: Path, make_config: MakeConfig) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(InvalidBidsError, match="the folder is empty"):
        validate_dataset(make_config(tmp_path / "x"))


def test_a_broken_description_is_invalid(make_tree: MakeTree, make_config: MakeConfig) -> None:
    root = make_tree(ONE)
    (root / "dataset_description.json").write_text("{broken")
    with pytest.raises(InvalidBidsError, match="dataset_description"):
        validate_dataset(make_config(root))


def test_what_is_inside_files_is_logged_and_left_to_the_scan(
    make_tree: MakeTree, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_tree(ONE, "sub-02/anat/x")
    (root / "sub-02/anat/x").unlink()
    (root / "sub-02/anat/sub-02_FLAIR.nii.gz").symlink_to("../../.git/annex/absent")
    (root / "sub-02/anat/sub-02_FLAIR.json").write_text("{}")
    (root / "sub-01/anat/sub-01_FLAIR.json").write_text("{broken")
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\n\nsub-02\t1\t2\n")
    validate_dataset(make_config(root))
    for word in ("EMPTY_FILE", "SYMLINK_BROKEN", "JSON_INVALID", "participants.tsv"):
        assert word in caplog.text
    (root / "sub-02/anat/sub-02_T1w.json").write_text("{}")  # of no image, not even a link
    with pytest.raises(InvalidBidsError, match="SIDECAR_WITHOUT_DATAFILE"):
        validate_dataset(make_config(root))


def test_only_the_wanted_participants_are_looked_at(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    root = make_tree(ONE, "sub-02/anat/sub-02_copy.nii.gz", "derivatives/x/y", "sourcedata/z")
    (root / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\n")
    validate_dataset(make_config(root, participant_labels=("sub-01", "03")))
    with pytest.raises(InvalidBidsError):
        validate_dataset(make_config(root, participant_labels=("02",)))


def test_bidsignore_of_the_dataset_counts(make_tree: MakeTree, make_config: MakeConfig) -> None:
    root = make_tree(ONE, "sub-01/anat/sub-01_copy.nii.gz", "old/a.txt", "older/b", "oldest/c")
    lines = ["# mine", "", "*_copy.nii.gz", "old/", "/older/**", "oldest"]
    (root / ".bidsignore").write_text("\n".join(lines) + "\n")
    validate_dataset(make_config(root))


@pytest.mark.parametrize("place", ["out", "results/flairseg", "derivatives/flairseg"])
def test_folders_of_the_run_may_lie_in_the_dataset(
    make_tree: MakeTree, make_config: MakeConfig, place: str
) -> None:
    root = make_tree(ONE, f"{place}/logs/1/flairseg.toml", "work/x.txt", "index/y.sqlite")
    own = {"output_dir": root / place, "work_dir": root / "work", "database_dir": root / "index"}
    validate_dataset(make_config(root, **own))
    with pytest.raises(InvalidBidsError):
        validate_dataset(make_config(root))


def test_skipping_skips(tmp_path: Path, make_config: MakeConfig) -> None:
    validate_dataset(make_config(tmp_path / "nothing", skip_validation=True))


@pytest.mark.parametrize("program", [None, "/bin/false", "/nonexistent/validator"])
def test_without_the_validator_the_run_goes_on_with_a_warning(
    make_tree: MakeTree,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    program: str | None,
) -> None:
    monkeypatch.setattr(validate, "_find_program", lambda: program)
    root = make_tree(ONE)
    validate_dataset(make_config(root))
    assert "the dataset is not validated" in caplog.text
    with pytest.raises(FileNotFoundError):
        find_errors(root)


def test_a_work_folder_that_is_a_file_is_refused(
    make_tree: MakeTree, make_config: MakeConfig
) -> None:
    root = make_tree(ONE)
    with pytest.raises(OutputError, match="dataset_description"):
        validate_dataset(make_config(root, work_dir=root / "dataset_description.json"))


def test_a_missing_dataset_is_missing_input(tmp_path: Path, make_config: MakeConfig) -> None:
    with pytest.raises(MissingInputError, match="none"):
        validate_dataset(make_config(tmp_path / "none"))


def test_one_line_per_code() -> None:
    issues = [Issue("A", "error", f"/{i}", "words") for i in range(5)]
    issues.append(Issue("B", "error", "", "other"))
    assert summarise(issues) == ["A: words [/0, /1, /2 and 2 more]", "B: other"]


def test_long_words_of_the_validator_end_with_a_whole_one() -> None:
    (line,) = summarise([Issue("A", "error", "/x", "specification " * 40)])
    assert line == f"A: {'specification ' * 14}... [/x]"

"""The outputs as a dataset: what it says, and that it is written with care."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from bids_flairseg import __version__
from bids_flairseg.bids.description import DatasetInfo, build_description, prepare_output_dir
from bids_flairseg.errors import OutputError

MODEL = ("lesion", "ab" * 32, "CC-BY-4.0")


def raw(tmp_path: Path, **content: Any) -> Path:
    root = tmp_path / "bids"
    root.mkdir(exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "My data", **content}))
    return root


def load(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "dataset_description.json").read_text())
    return content


def test_it_names_program_model_licence_and_source(tmp_path: Path) -> None:
    root = raw(
        tmp_path, License="CC0", Authors=["A. Writer", "B. Reader"], ReferencesAndLinks=["x"]
    )
    prepare_output_dir(tmp_path / "out", DatasetInfo(root, {"masks": tmp_path / "m"}, *MODEL))
    found = load(tmp_path / "out")
    assert found["DatasetType"] == "derivative"
    assert found["GeneratedBy"][0]["Name"] == "flairseg"
    assert found["GeneratedBy"][0]["Version"] == __version__
    assert all(text in found["GeneratedBy"][0]["Description"] for text in MODEL)
    assert found["DatasetLinks"] == {"raw": root.as_uri(), "masks": (tmp_path / "m").as_uri()}
    assert found["SourceDatasets"] == [{"URL": root.as_uri()}]
    assert found["License"] == "CC0"
    assert found["Authors"] == ["A. Writer", "B. Reader"]
    assert found["ReferencesAndLinks"] == ["x"]


@pytest.mark.parametrize("doi", ["doi:10.1/x", "10.1/x"])
def test_a_source_with_a_doi_is_named_by_that_and_not_by_a_place(tmp_path: Path, doi: str) -> None:
    found = build_description(tmp_path / "out", DatasetInfo(raw(tmp_path, DatasetDOI=doi)))
    assert found["SourceDatasets"] == [{"DOI": "doi:10.1/x"}]


def test_what_made_earlier_results_stays_named(tmp_path: Path) -> None:
    root = raw(tmp_path)
    for model in ("first", "second", "second"):
        prepare_output_dir(tmp_path / "out", DatasetInfo(root, {}, model, "ab", "CC0"))
    told = [each["Description"].split(",")[0] for each in load(tmp_path / "out")["GeneratedBy"]]
    assert told == ["Lesion model second", "Lesion model first"]


def test_links_have_no_detours_and_follow_no_links(tmp_path: Path) -> None:
    root = raw(tmp_path)
    (tmp_path / "link").symlink_to(root)
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "far").symlink_to(tmp_path / "deep" / "down")
    detour = tmp_path / "nowhere" / ".." / "link"
    info = DatasetInfo(detour, {"masks": tmp_path / "far" / ".." / "masks"})
    found = build_description(tmp_path / "x" / ".." / "out", info)
    links = found["DatasetLinks"]
    assert links["raw"] == found["SourceDatasets"][0]["URL"] == (tmp_path / "link").as_uri()
    assert Path(unquote(urlsplit(links["masks"]).path)).resolve() == tmp_path / "deep" / "masks"
    inside = build_description(root / "x" / ".." / "derivatives" / "flairseg", DatasetInfo(root))
    assert inside["DatasetLinks"] == {"raw": "../.."}


@pytest.mark.parametrize("authors", [None, [], "A. Writer", [3, " "]])
def test_nobody_is_made_an_author(tmp_path: Path, authors: Any) -> None:
    assert "Authors" not in build_description(tmp_path, DatasetInfo(raw(tmp_path, Authors=authors)))


def test_the_folder_says_what_it_is_unless_the_user_does(tmp_path: Path) -> None:
    prepare_output_dir(tmp_path / "out", DatasetInfo(raw(tmp_path)))
    assert "flairseg" in (tmp_path / "out" / "README.md").read_text()
    for name in ("README", "readme.rst", "README.md"):
        folder = tmp_path / f"of {name}"
        folder.mkdir()
        (folder / name).write_text("mine")
        prepare_output_dir(folder, DatasetInfo(raw(tmp_path)))
        (readme,) = (path for path in folder.iterdir() if path.name.lower().startswith("readme"))
        assert readme.read_text() == "mine"


def test_links_within_the_dataset_are_relative(tmp_path: Path) -> None:
    root = raw(tmp_path)
    found = build_description(root / "derivatives/flairseg", DatasetInfo(root))
    assert found["DatasetLinks"] == {"raw": "../.."}


@pytest.mark.parametrize(
    ("environment", "container"),
    [
        ({}, None),
        ({"FLAIRSEG_CONTAINER_TAG": "flairseg:1"}, {"Type": "docker", "Tag": "flairseg:1"}),
        ({"APPTAINER_CONTAINER": "/x/f.sif"}, {"Type": "singularity", "Tag": "f.sif"}),
        (
            {"SINGULARITY_CONTAINER": "/x/f.sif", "FLAIRSEG_CONTAINER_TAG": "flairseg:1"},
            {"Type": "singularity", "Tag": "flairseg:1"},
        ),
    ],
)
def test_a_container_is_named(
    tmp_path: Path, environment: dict[str, str], container: dict[str, str] | None
) -> None:
    found = build_description(tmp_path, DatasetInfo(tmp_path), environment)
    assert found["GeneratedBy"][0].get("Container") == container


@pytest.mark.parametrize("content", ["{broken", "[]", '{"Name": 3, "License": 5}', None])
def test_a_broken_description_of_the_input_does_no_harm(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "dataset_description.json").write_text(content)
    found = build_description(tmp_path / "out", DatasetInfo(tmp_path))
    assert found["Name"].endswith("unnamed dataset")
    assert "License" not in found


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    info, out = DatasetInfo(raw(tmp_path), {}, *MODEL), tmp_path / "out"
    prepare_output_dir(out, info)
    before = {path.name: path.stat().st_ino for path in out.iterdir()}
    prepare_output_dir(out, info)
    assert {path.name: path.stat().st_ino for path in out.iterdir()} == before
    assert set(before) == {"dataset_description.json", ".bidsignore", "README.md"}


def test_links_of_earlier_runs_stay(tmp_path: Path) -> None:
    root, out = raw(tmp_path), tmp_path / "out"
    prepare_output_dir(out, DatasetInfo(root, {"masks": tmp_path / "m"}))
    prepare_output_dir(out, DatasetInfo(root))
    assert set(load(out)["DatasetLinks"]) == {"raw", "masks"}


def test_another_source_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    prepare_output_dir(out, DatasetInfo(raw(tmp_path)))
    assert caplog.text == ""
    prepare_output_dir(out, DatasetInfo(tmp_path / "elsewhere"))
    assert "earlier outputs came from" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        {"Name": "My data", "BIDSVersion": "1.10.0"},
        {"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]},
        {"Name": "x", "GeneratedBy": []},
    ],
)
def test_the_folder_of_another_dataset_is_refused_and_left_alone(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    path = tmp_path / "dataset_description.json"
    path.write_text(json.dumps(content))
    with pytest.raises(OutputError, match="Choose a folder of its own"):
        prepare_output_dir(tmp_path, DatasetInfo(tmp_path))
    assert json.loads(path.read_text()) == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_torn_description_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text('{"Name": "flai')
    prepare_output_dir(tmp_path, DatasetInfo(tmp_path))
    assert load(tmp_path)["GeneratedBy"][0]["Name"] == "flairseg"


def test_bidsignore_lists_what_the_design_lists_and_keeps_what_the_user_added(
    tmp_path: Path,
) -> None:
    (tmp_path / ".bidsignore").write_text("mine\nfigures\n")
    prepare_output_dir(tmp_path, DatasetInfo(tmp_path))
    lines = (tmp_path / ".bidsignore").read_text().splitlines()
    assert sorted(lines) == sorted(
        [
            "mine",
            ".flairseg_work",
            "*.html",
            "figures",
            "models",
            "crossval*",
            "*_stats.tsv",
            "*_stats.json",
            "group_*",
        ]
    )
    assert not any(line.endswith("/") for line in lines)


def test_many_runs_at_once_leave_one_whole_description(tmp_path: Path) -> None:
    info = DatasetInfo(raw(tmp_path), {}, *MODEL)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: prepare_output_dir(tmp_path / "out", info), range(24)))
    assert load(tmp_path / "out")["DatasetType"] == "derivative"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "dataset_description.json",
        ".bidsignore",
        "README.md",
    }


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out"):
        prepare_output_dir(tmp_path / "out", DatasetInfo(tmp_path))

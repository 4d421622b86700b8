"""A scan is done when its last file is there, and only with all the others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from bids_flairseg.bids.outputs import ScanPaths, sidecar_path
from bids_flairseg.bids.scans import Scan
from bids_flairseg.bids.sidecars import describe_surroundings
from bids_flairseg.config import DatasetConfig, SegmentConfig
from bids_flairseg.errors import OutputError
from bids_flairseg.nodes import derivatives
from bids_flairseg.nodes.derivatives import Found, read_fingerprint, read_report, write_scan
from bids_flairseg.nodes.files import save
from bids_flairseg.nodes.fingerprint import fingerprint, settings_digest
from bids_flairseg.reports.records import Settings
from bids_flairseg.workflow.resume import clean_branches, is_done, remove_leftovers
from bids_flairseg.workflow.scan import run_folder
from tests.conftest import MakeDataset

SETTINGS = Settings("tiny", "0" * 64, threshold=0.5, min_lesion_ml=0.01)


@pytest.fixture
def paths(make_dataset: MakeDataset, tmp_path: Path) -> ScanPaths:
    flair = make_dataset() / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz"
    return ScanPaths(tmp_path / "out", Scan(flair, {"sub": "01"}))


@pytest.fixture
def found(paths: ScanPaths, tmp_path: Path) -> Found:
    flair = Nifti1Image.from_filename(paths.scan.flair)
    lesions = np.zeros(flair.shape, np.uint16)
    lesions[10:13, 10:13, 10:13] = 1
    images = {
        name: Path(save(Nifti1Image(data, flair.affine), tmp_path / f"{name}.nii"))
        for name, data in {
            "probability": lesions.astype(np.float32),
            "brain": np.ones(flair.shape, np.uint8),
            "lesions": lesions,
            "regions": np.full(flair.shape, 3, np.uint8),
            "preprocessed": np.zeros((5, 5, 5), np.float32),
        }.items()
    }
    figure = tmp_path / "lesions.svg"
    figure.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return Found(
        **images,
        figures={"lesions": figure},
        stats={"lesion_volume_ml": "7.776", "lesion_count": "1"},
        table=[{"index": 1, "name": "lesion-1", "voxels": 27}],
        warnings=("dark",),
    )


def write(paths: ScanPaths, found: Found, digest: str = "abc") -> Path:
    return write_scan(paths, found, SETTINGS, fingerprint=digest, versions={"Nipype": "1"})


def test_what_was_written_can_be_read_back(paths: ScanPaths, found: Found) -> None:
    assert write(paths, found) == sidecar_path(paths.stats)
    assert read_fingerprint(paths) == "abc"
    report = read_report(paths)
    assert report is not None
    assert report.stats["lesion_count"] == "1"
    assert report.warnings == ("dark",)
    assert report.settings == SETTINGS
    assert report.figures.lesions == paths.figure("lesions")
    assert report.figures.largest is None
    grid = Nifti1Image.from_filename(paths.scan.flair)
    assert report.acquisition is not None
    assert report.acquisition.matrix == grid.shape
    assert report.acquisition.voxel_mm == pytest.approx(grid.header.get_zooms(), abs=1e-3)


@pytest.mark.parametrize(("kind", "words"), [("zscore", "z-score"), ("robust", "interquartile")])
def test_the_scale_of_intensities_is_told_in_words(
    paths: ScanPaths, found: Found, kind: str, words: str
) -> None:
    settings = dataclasses.replace(SETTINGS, normalisation=kind)
    write_scan(paths, found, settings, fingerprint="abc", versions={})
    sidecar = json.loads(sidecar_path(paths.preprocessed).read_text())
    assert words in sidecar["Normalisation"]


def test_denoising_is_told_in_words(paths: ScanPaths, found: Found) -> None:
    for share, words in ((0.0, "none"), (0.4, "mixed with 40% of itself smoothed")):
        settings = dataclasses.replace(SETTINGS, smoothed=share)
        write_scan(paths, found, settings, fingerprint="abc", versions={})
        assert words in json.loads(sidecar_path(paths.preprocessed).read_text())["Denoising"]


def test_outputs_may_move(paths: ScanPaths, found: Found, tmp_path: Path) -> None:
    write(paths, found)
    moved = paths.output_dir.rename(tmp_path / "elsewhere")
    report = read_report(ScanPaths(moved, paths.scan))
    assert report is not None
    assert report.figures.lesions is not None
    assert report.figures.lesions.is_file()


def test_every_file_is_needed(paths: ScanPaths, found: Found) -> None:
    for path in (*paths.files(), paths.figure("lesions")):
        write(paths, found)
        path.unlink()
        assert read_fingerprint(paths) is None, path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("writer", ["write_text", "write_json", "write_table", "save_like"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError])
def test_a_failure_touches_nothing_of_the_last_run(
    paths: ScanPaths,
    found: Found,
    monkeypatch: pytest.MonkeyPatch,
    writer: str,
    error: type[BaseException],
) -> None:
    write(paths, found)
    before = contents(paths.output_dir)
    original, calls = getattr(derivatives, writer), []

    def fail(*arguments: Any) -> None:  # the last call of a kind, so that others came before
        calls.append(arguments)
        if len(calls) == {"write_table": 2, "save_like": 5, "write_json": 6}.get(writer, 1):
            raise error(f"{paths.output_dir}: no")
        original(*arguments)

    monkeypatch.setattr(derivatives, writer, fail)
    with pytest.raises(error):
        write(paths, found, "new")
    assert contents(paths.output_dir) == before
    assert read_fingerprint(paths) == "abc"


def test_all_files_appear_in_one_burst_and_the_mark_last(
    paths: ScanPaths, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths, found)
    mark, replace = sidecar_path(paths.stats), Path.replace
    waiting: list[int] = []
    order: list[Path] = []

    def watch(source: Path, target: Path) -> Path:
        if not target.relative_to(paths.output_dir).as_posix().startswith("sub-01/.flairseg-"):
            waiting.append(sum(path.is_file() for path in source.parents[2].rglob("*")))
            order.append(target)
            assert not mark.exists()
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watch)
    write(paths, found, "new")
    assert set(order) == {*paths.files(), paths.figure("lesions")}
    assert order[-1] == mark
    assert waiting == list(range(len(order), 0, -1))  # all were there before the first moved
    assert read_fingerprint(paths) == "new"
    assert not list(paths.output_dir.rglob(".*"))


def test_a_rename_that_fails_leaves_no_mixture(
    paths: ScanPaths, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths, found)
    paths.brain_mask.unlink()
    paths.brain_mask.mkdir()  # a file cannot take its name
    with pytest.raises(OutputError, match="anat: cannot be written"):
        write(paths, found, "new")
    assert read_fingerprint(paths) is None
    assert not [path for path in paths.files() if path.is_file()]


def test_image_of_a_model_with_other_voxels_goes(paths: ScanPaths, found: Found) -> None:
    write(paths, found)
    other = dataclasses.replace(paths, voxel_size_mm=1.5)
    write(other, found)
    (left,) = paths.folder.glob("*desc-preproc_FLAIR.nii.gz")
    assert left == other.preprocessed
    assert "res-1p5mm" in left.name
    assert len(list(paths.folder.glob("*preproc_FLAIR.json"))) == 1


def test_figure_of_an_earlier_run_goes(paths: ScanPaths, found: Found) -> None:
    write(
        paths,
        dataclasses.replace(found, figures={**found.figures, "largest": found.figures["lesions"]}),
    )
    assert paths.figure("largest").exists()
    write(paths, found)
    assert not paths.figure("largest").exists()


def test_mask_and_lesions_agree(paths: ScanPaths, found: Found) -> None:
    write(paths, found)
    mask, lesions = (
        np.asarray(Nifti1Image.from_filename(path).dataobj) for path in (paths.mask, paths.lesions)
    )
    assert np.array_equal(mask > 0, lesions > 0)
    assert mask.dtype == np.uint8


def test_done_means_same_settings_and_same_image(paths: ScanPaths, found: Found) -> None:
    about = describe_surroundings(paths.scan)
    write(paths, found, fingerprint("one", paths.scan.flair, None, about=about))
    assert is_done(paths, settings="one")
    assert not is_done(paths, settings="two")
    image = Nifti1Image.from_filename(paths.scan.flair)
    nib.save(Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), paths.scan.flair)
    assert not is_done(paths, settings="one")


@pytest.mark.parametrize(
    "change",
    [
        {"warnings": ("sub-01_FLAIR.json: expected a JSON object",)},
        {"sidecar": {"MagneticFieldStrength": 7}},
        {"brain_mask_source": "other"},
    ],
)
def test_what_the_sidecars_say_counts(
    paths: ScanPaths, found: Found, tmp_path: Path, change: dict[str, Any]
) -> None:
    mask = tmp_path / "masks" / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz"
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"mask")
    scan = dataclasses.replace(paths.scan, brain_mask=mask, brain_mask_source="masks")
    about = describe_surroundings(scan)
    write(paths, found, fingerprint("one", scan.flair, mask, about=about))
    assert is_done(dataclasses.replace(paths, scan=scan), settings="one")
    other = dataclasses.replace(scan, **change)
    assert not is_done(dataclasses.replace(paths, scan=other), settings="one")


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0.4},
        {"min_lesion_ml": 0.1},
        {"n4": True},
        {"flip": False},
        {"inference": "windows"},
    ],
)
def test_every_option_that_changes_numbers_counts(
    change: dict[str, object], tmp_path: Path
) -> None:
    segment = SegmentConfig(model=tmp_path, anatomy=tmp_path)
    models = {"lesion": "a", "anatomy": "b"}
    changed = dataclasses.replace(segment, **change)  # type: ignore[arg-type]
    assert settings_digest(segment, models) != settings_digest(changed, models)


def test_models_count_and_their_folders_do_not(tmp_path: Path) -> None:
    here = SegmentConfig(model=tmp_path / "a", anatomy=tmp_path)
    there = SegmentConfig(model=tmp_path / "b", anatomy=tmp_path)
    assert settings_digest(here, {"lesion": "a"}) == settings_digest(there, {"lesion": "a"})
    assert settings_digest(here, {"lesion": "a"}) != settings_digest(here, {"lesion": "b"})


def test_intermediate_files_of_other_scans_and_drawings_stay(
    paths: ScanPaths, tmp_path: Path
) -> None:
    dataset = DatasetConfig(tmp_path / "bids", paths.output_dir, tmp_path / "work")
    folder = run_folder(dataset)
    for name in ("old_wf/sub-01/check", "new_wf/sub-01/write", "new_wf/sub-010/check"):
        (folder / name).mkdir(parents=True)
        (folder / name / "image.nii").touch()
    (folder / "new_wf" / "graph.dot").touch()
    clean_branches(dataset, [paths.scan])
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {"new_wf/sub-010/check/image.nii", "new_wf/graph.dot"}
    assert not (folder / "old_wf").exists()


def test_leftovers_of_a_killed_run_go(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    for name in (".flairseg-12.nii.gz", "sub-01_mask.nii.gz"):
        (folder / name).write_text("")
    (tmp_path / "sub-01" / ".flairseg-ab" / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "sub-01" / ".flairseg-ab" / "sub-01" / "anat" / ".flairseg-12.json").touch()
    (tmp_path / "sub-02").mkdir()
    (tmp_path / "sub-02" / ".flairseg-12.nii.gz").write_text("")
    remove_leftovers(tmp_path, ["01"])
    assert [path.name for path in folder.iterdir()] == ["sub-01_mask.nii.gz"]
    assert list((tmp_path / "sub-01").iterdir()) == [folder]
    assert list((tmp_path / "sub-02").iterdir())  # another run may be at it

"""Options that change how or where the command works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.bids.validate import find_errors
from tests.conftest import ROOT
from tests.end_to_end.heads import (
    LESION_MM,
    Command,
    Finished,
    draw_head,
    finish,
    launch,
    load,
    outputs,
    write_dataset,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("plugin", ["MultiProc", "Linear"])
def test_parent_loads_no_tensorflow_unless_told_to_work_itself(
    command: Command, three_heads: Path, tmp_path: Path, plugin: str
) -> None:
    file = tmp_path / "plugin.yml"
    file.write_text(f"plugin: {plugin}\nplugin_args: {{}}\n")
    arguments = command.arguments(
        three_heads, tmp_path / "out", "--participant-label", "01", "--nipype-plugin-file",
        str(file), "--write-graph", "--nprocs", "1",
    )[3:]  # fmt: skip
    code = (
        "import sys\nfrom bids_flairseg.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"assert ('tensorflow' in sys.modules) == {plugin == 'Linear'}\n"
    )
    script = tmp_path / "script.py"
    script.write_text(f"if __name__ == '__main__':\n    {code.replace(chr(10), chr(10) + '    ')}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "work").rglob("graph.dot"))


ODD = "a+b"  # Nipype takes no plus, BIDS does


@pytest.fixture(scope="module")
def odd(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run with all that is unusual at once: labels, paths, files, options, surroundings."""
    folder = tmp_path_factory.mktemp("odd") / "Köpfe & mehr"
    folder.mkdir()
    command = Command(bundles, folder)
    heads = {ODD: draw_head("LPS", 10.0, lesion=True), "02": draw_head("RAS", 0.0, lesion=False)}
    bids, out = write_dataset(folder / "die Daten", heads), folder / "Ergebnisse ü"
    packed = bids / f"sub-{ODD}" / "anat" / f"sub-{ODD}_FLAIR.nii.gz"
    nib.save(load(packed), packed.with_suffix(""))
    packed.unlink()
    write_brain_mask(folder / "masks")
    words = command.arguments(
        bids, out, "--n4", "--no-flip", "--bids-database-dir", str(folder / "the index"), "-d",
        f"masks={folder / 'masks'}", "-w", "left out",
    )[:-2]  # fmt: skip
    # no home, and nothing can be written into the current folder
    code, text = finish(launch(words, Path("/proc"), home=False))
    assert code == 0, text
    return command, bids, out, text


def write_brain_mask(folder: Path) -> None:
    """Write a mask for one of the heads, on voxels of another size."""
    size = np.array((30, 34, 28))
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = -3.0 * (size - 1)
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(affine, grid)
    brain = ((world / (56.0, 68.0, 54.0)) ** 2).sum(axis=-1) < 1
    path = folder / "sub-02" / "anat" / "sub-02_desc-brain_mask.nii.gz"
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), affine), path)


def test_odd_names_options_and_surroundings_change_no_result(odd: Finished) -> None:
    _, _, out, text = odd
    mask = load(outputs(out, ODD, "space-orig_label-L_mask.nii.gz"))
    centre = nib.affines.apply_affine(
        mask.affine, np.argwhere(np.asarray(mask.dataobj) > 0).mean(axis=0)
    )
    assert np.allclose(centre, LESION_MM, atol=1.5)
    assert "intermediate files go to" in text  # a temporary folder ...
    temporary = Path(text.partition("intermediate files go to ")[2].partition(" and are")[0])
    assert not temporary.exists()  # ... that is gone
    assert find_errors(out) == []


def test_options_are_in_the_sidecars_and_on_the_page(odd: Finished) -> None:
    _, _, out, _ = odd
    preprocessed = outputs(out, ODD, "space-orig_res-4mm_desc-preproc_FLAIR.json")
    assert json.loads(preprocessed.read_text())["BiasFieldCorrection"] == "N4"
    page = (out / f"sub-{ODD}.html").read_text()
    assert "N4" in page
    assert "mirror image were averaged" not in page


def test_a_mask_on_another_grid_is_told_in_both_sidecars(odd: Finished) -> None:
    _, _, out, text = odd
    brain = json.loads(outputs(out, "02", "space-orig_desc-brain_mask.json").read_text())
    assert "resampled" in brain["Method"]
    assert brain["Sources"] == ["bids:masks:sub-02/anat/sub-02_desc-brain_mask.nii.gz"]
    lesions = json.loads(outputs(out, "02", "space-orig_label-L_mask.json").read_text())
    assert any("lies on another grid" in warning for warning in lesions["Warnings"])
    assert "lies on another grid" in text


def test_overwrite_does_all_again_and_the_work_folder_is_cleaned(odd: Finished) -> None:
    command, bids, out, _ = odd
    index = next((command.folder / "the index").glob("*"))
    before = index.stat().st_mtime_ns
    marks = {path: path.stat().st_mtime_ns for path in out.glob("sub-*/anat/*_stats.json")}
    assert len(marks) == 2
    words = command.arguments(
        bids, out, "--overwrite", "--clean-workdir", "--skip-bids-validation",
        "--bids-database-dir", str(index.parent), "--write-graph",
    )  # fmt: skip
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
    assert finish(launch(closed, command.folder)) == (0, "")
    assert all(path.stat().st_mtime_ns > time for path, time in marks.items())
    assert index.stat().st_mtime_ns == before
    left = list((command.folder / "work").rglob("*"))
    assert any(path.name.startswith("graph") for path in left)
    assert not [path for path in left if path.name.startswith("sub-") or path.suffix == ".nii"]


def test_the_first_crash_stops_the_run(command: Command, tmp_path: Path) -> None:
    heads = {f"{n:02d}": draw_head("RAS", 0.0, lesion=True) for n in range(6)}
    bids, out = write_dataset(tmp_path / "bids", heads), tmp_path / "out"
    (bids / "sub-00" / "anat" / "sub-00_FLAIR.nii.gz").write_text("no image" * 100)
    code, text = command.run(bids, out, "--stop-on-first-crash", "--skip-bids-validation")
    assert code == 1, text
    assert "found text that begins" in text
    assert "Traceback" not in text
    assert not (out / "sub-05").exists()
    assert find_errors(out) == []

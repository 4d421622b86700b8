"""The pages in a real browser: no error on its console, and all there that should be."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_flairseg.group.review import Verdict, read_verdicts
from bids_flairseg.reports.figures import draw_brain, draw_largest, draw_lesions
from bids_flairseg.reports.group import GroupPage, Review, render_group
from bids_flairseg.reports.participant import write_participant_report
from bids_flairseg.reports.records import Figures, ScanReport, Settings
from tests.reports.heads import make_head

pytestmark = pytest.mark.slow

LESIONS = 14
FOUND_NOTHING = ScanReport(
    name="sub-01",
    settings=Settings(model="lesion", model_sha256="ab" * 32, threshold=0.5, min_lesion_ml=0.01),
    stats={"lesion_count": 0, "lesion_volume_ml": 0, "brain_volume_ml": 1200},
)
FAILED = ScanReport(name="sub-01", error="sub-01_FLAIR.nii.gz: expected 3 axes, got 4.")
SCRIPT = "<script>document.body.dataset.foreign = 'ran'</script>"
# Sorts by volume, twice, and notes arrow and first lesion before, between and after.
SORT = """<script>
const head = document.querySelector("table.sortable thead tr").cells[1];
const button = head.querySelector("[role=button]");
document.body.dataset.arrows = [0, 1, 2].map((clicks) => {
  if (clicks) button.click();
  const arrow = getComputedStyle(button, "::after").content.codePointAt(1).toString(16);
  return arrow + ":" + document.querySelector("tbody tr[data-lesion]").dataset.lesion;
}).join(" ");
</script>"""

# Rejects the first scan with a note, exports, and notes what would be downloaded.
EXPORT = """<script>
const card = document.querySelector(".suspect");
card.querySelector("select").value = "reject";
card.querySelector("input").value = "moved\\t<b>much</b>";
card.querySelector("select").dispatchEvent(new Event("change"));
HTMLAnchorElement.prototype.click = () => {};
window.Blob = class { constructor(parts) { document.body.dataset.exported = parts.join(""); } };
URL.createObjectURL = () => "#";
document.getElementById("export-verdicts").click();
</script>"""

Browse = Callable[[Path], tuple[str, list[str]]]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Give a function that opens a page and returns its elements and the browser's console."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on the path, so no page can be looked at")

    def look(page: Path) -> tuple[str, list[str]]:
        options = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            "--disable-dev-shm-usage --enable-logging=stderr --v=0 --dump-dom"
        )
        command = [program, *options.split(), f"--user-data-dir={tmp_path / 'profile'}"]
        run = subprocess.run(
            [*command, page.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]

    return look


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ScanReport:
    """Give the record of a scan with many lesions, drawn."""
    folder = tmp_path_factory.mktemp("figures")
    flair, brain, nothing = make_head(lesions=False)
    labels = np.zeros(nothing.shape, dtype=np.int32)
    inside = np.argwhere(np.asarray(brain.dataobj) > 0)
    places = inside[:: len(inside) // LESIONS][:LESIONS]
    labels[tuple(places.T)] = np.arange(1, LESIONS + 1)
    lesions = nib.Nifti1Image(labels, nothing.affine)
    drawn = {
        "lesions": draw_lesions(flair, lesions, brain),
        "largest": draw_largest(flair, lesions, brain),
        "brain": draw_brain(flair, brain),
    }
    for name, text in drawn.items():
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")
    rows = [
        {"index": number, "volume_mm3": 210.0 / number, "voxels": 1, "region": "juxtacortical"}
        for number in range(1, LESIONS + 1)
    ]
    stats = {"lesion_count": LESIONS, "lesion_volume_ml": 0.68, "largest_lesion_ml": 0.21}
    figures = Figures(**{name: folder / f"{name}.svg" for name in drawn})
    return replace(FOUND_NOTHING, stats=stats, lesions=rows, figures=figures)


@pytest.fixture
def pages(tmp_path: Path, many: ScanReport) -> dict[str, Path]:
    """Write one page of each kind."""
    none = replace(FOUND_NOTHING, figures=Figures(many.figures.brain, None, many.figures.brain))
    written = {name: tmp_path / f"{name}.html" for name in ("many", "none", "failed", "group")}
    for name, scan in (("many", many), ("none", none), ("failed", FAILED)):
        write_participant_report(written[name], "01", [scan], command="flairseg /bids /out")
    rows = [
        {"participant_id": f"sub-{i}", "session_id": "n/a", "scan": f"sub-{i}"}
        | {"lesion_volume_ml": str(i), "lesion_count": "2"}
        for i in range(12)
    ]
    text = render_group(GroupPage("Tiny heads", rows, links={"sub-1": "sub-1.html"}))
    written["group"].write_text(text, encoding="utf-8")
    return written


@pytest.mark.parametrize(
    ("name", "words", "counts"),
    [
        ("many", "14 lesions were found", {"<tr data-lesion=": LESIONS, "<svg ": 3}),
        ("none", "This is a result, not an error.", {"<tr data-lesion=": 0, "<svg ": 2}),
        ("failed", "expected 3 axes, got 4.", {"<svg ": 0, "<h3>Settings</h3>": 0}),
        ("group", "12 scans of 12 participants", {'href="sub-1.html"': 1, "<svg ": 1}),
    ],
)
def test_a_page_opens_without_an_error(
    browse: Browse, pages: dict[str, Path], name: str, words: str, counts: dict[str, int]
) -> None:
    elements, console = browse(pages[name])
    assert console == []
    assert '<html lang="en" class="scripted">' in elements  # the script ran
    assert words in elements
    assert {text: elements.count(text) for text in counts} == counts
    sortable = name in {"many", "group"}
    assert ('<span role="button" tabindex="0">' in elements) == sortable


def test_a_foreign_script_does_not_run_and_the_console_says_so(
    browse: Browse, pages: dict[str, Path]
) -> None:
    page = pages["none"]
    page.write_text(page.read_text().replace("</body>", SCRIPT + "</body>"))
    elements, console = browse(page)
    assert len(console) == 1
    assert "Content Security Policy" in console[0]
    assert "data-foreign" not in elements


def test_sorting_shows_its_direction(browse: Browse, pages: dict[str, Path]) -> None:
    page = pages["many"]
    text = re.sub(r"<meta http-equiv=[^>]+>", "", page.read_text())
    page.write_text(text.replace("</body>", SORT + "</body>"))
    elements, console = browse(page)
    assert console == []
    assert 'data-arrows="2195:1 2191:14 2193:1"' in elements


def test_verdicts_are_exported_as_the_next_run_reads_them(browse: Browse, tmp_path: Path) -> None:
    rows = [
        {"participant_id": f"sub-{i}", "session_id": "n/a", "scan": f"sub-{i}"}
        | {"lesion_volume_ml": str(i), "lesion_count": "2"}
        for i in range(3)
    ]
    review = [Review(f"sub-{i}", "", 3.0 - i, ("odd",)) for i in (2, 0)]
    kept = [("sub-0", "accept", "seen & good")]
    text = render_group(GroupPage("Tiny heads", rows, review=review, verdicts=kept))
    page = tmp_path / "group.html"
    text = re.sub(r"<meta http-equiv=[^>]+>", "", text)
    page.write_text(text.replace("</body>", EXPORT + "</body>"), encoding="utf-8")
    elements, console = browse(page)
    assert console == []
    (exported,) = re.findall(r'data-exported="([^"]*)"', elements)
    (tmp_path / "group_verdicts.tsv").write_text(html.unescape(exported), encoding="utf-8")
    verdicts, problems = read_verdicts(tmp_path, ["sub-0", "sub-1", "sub-2"])
    assert verdicts == {
        "sub-0": Verdict("accept", "seen & good"),
        "sub-2": Verdict("reject", "moved <b>much</b>"),
    }
    assert [problem.kind for problem in problems] == ["rejected"]

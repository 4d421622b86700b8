"""The page tells all, needs nothing else, and lets nothing through that is not text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bids_flairseg.reports.figures import draw_brain, draw_largest, draw_lesions
from bids_flairseg.reports.participant import title, write_participant_report
from bids_flairseg.reports.records import Acquisition, Figures, ScanReport, Settings
from tests.reports.heads import make_head

EVIL = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>{{ 7*7 }}"
SETTINGS = Settings(model="lesion", model_sha256="ab" * 32, threshold=0.5, min_lesion_ml=0.01)
STATS: Mapping[str, object] = {
    "lesion_volume_ml": 13.65,
    "lesion_count": 2,
    "largest_lesion_ml": 13.44,
    "periventricular_ml": 13.44,
    "periventricular_count": 1,
    "juxtacortical_ml": 0.21,
    "juxtacortical_count": 1,
    "deep_white_ml": 0,
    "deep_white_count": 0,
    "infratentorial_ml": 0,
    "infratentorial_count": 0,
    "other_ml": 0,
    "other_count": 0,
    "brain_volume_ml": 1000.5,
    "ventricle_volume_ml": "n/a",
    "lesion_load_percent": 1.364,
}
LESIONS = [
    {
        "index": number,
        "name": f"lesion-{number}",
        "volume_mm3": volume,
        "voxels": voxels,
        "centroid_x": 12.5,
        "centroid_y": -30.0,
        "centroid_z": 4.0,
        "region": region,
        "mean_probability": 0.81,
        "confidence": 0.7,
        "max_diameter_mm": 31.2,
    }
    for number, volume, voxels, region in (
        (1, 13440.0, 64, "periventricular"),
        (2, 210.0, 1, "juxtacortical"),
    )
]

Write = Callable[..., str]


class Page(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """Draw the figures of a head with two lesions."""
    folder = tmp_path_factory.mktemp("figures")
    flair, brain, lesions = make_head()
    drawn = {
        "lesions": draw_lesions(flair, lesions, brain),
        "largest": draw_largest(flair, lesions, brain),
        "brain": draw_brain(flair, brain),
    }
    for name, text in drawn.items():
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")
    return Figures(**{name: folder / f"{name}.svg" for name in drawn})


@pytest.fixture
def scan(figures: Figures) -> ScanReport:
    """Give the record of a scan with two lesions."""
    return ScanReport(
        name="sub-01_ses-A_run-1",
        source="sub-01/ses-A/anat/sub-01_ses-A_run-1_FLAIR.nii.gz",
        stats=STATS,
        lesions=LESIONS,
        figures=figures,
        settings=SETTINGS,
        versions={"NiBabel": "5.3.2", "TensorFlow": "2.20.0"},
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a page and return its text."""

    def write_page(*scans: ScanReport, participant: str = "01", command: str = "") -> str:
        path = tmp_path / "sub-01.html"
        write_participant_report(path, participant, scans, command=command)
        return path.read_text(encoding="utf-8")

    return write_page


def failure(**changes: object) -> ScanReport:
    """Give the record of a scan that failed."""
    error = "sub-01_FLAIR.nii.gz: expected 3 axes, got 4. Extract one volume."
    return replace(ScanReport(name="sub-01_ses-B", error=error), **changes)  # type: ignore[arg-type]


def test_the_page_tells_what_was_found(write: Write, scan: ScanReport) -> None:
    page = Page(write(scan, command="flairseg /bids /out participant"))
    for text in (
        "sub-01",
        "Session A, run 1",
        "2 lesions were found, with a total volume of 13.7 ml, 1.36 % of the brain.",
        "13.440",
        "Periventricular",
        "Duong",
        "not for diagnosis",
        "flairseg /bids /out participant",
        "TensorFlow 2.20.0",
    ):
        assert text in page.words, text
    rows = [attributes for attributes in page.named("tr") if "data-lesion" in attributes]
    assert [row["data-lesion"] for row in rows] == ["1", "2"]


def test_the_page_needs_nothing_else(write: Write, scan: ScanReport) -> None:
    page = Page(write(scan, failure(), command="flairseg"))
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), (tag, value)
    assert not page.named("link")
    assert not page.named("iframe")


def test_only_our_own_script_may_run(write: Write, scan: ScanReport) -> None:
    text = write(scan)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [meta for meta in Page(text).named("meta") if "http-equiv" in meta]
    assert f"script-src 'sha256-{digest}'" in str(policy["content"])
    assert "default-src 'none'" in str(policy["content"])


def test_the_direction_of_sorting_is_drawn_on_what_the_script_makes(
    write: Write, scan: ScanReport
) -> None:
    text = write(scan)
    made = 'setAttribute("role", "button")' in text
    styled = re.findall(r'th\[aria-sort="(\w+)"\] \[role="button"\]::after', text)
    assert (made, styled) == (True, ["ascending", "descending"])


def test_pictures_say_what_they_show(write: Write, scan: ScanReport) -> None:
    page = Page(write(scan))
    labels = [svg["aria-label"] for svg in page.named("svg")]
    assert len(labels) == 3
    assert "2 lesions outlined and numbered" in str(labels[0])
    assert page.named("html") == [{"lang": "en"}]


def test_nothing_of_the_dataset_enters_as_markup(write: Write, scan: ScanReport) -> None:
    evil = replace(
        scan,
        name=f"sub-01_ses-{EVIL}",
        source=EVIL,
        stats={**STATS, "lesion_count": EVIL, "model": EVIL},
        lesions=[{**LESIONS[0], "region": EVIL, "index": EVIL, "centroid_x": EVIL}],
        settings=replace(SETTINGS, model=EVIL, brain=EVIL, normalisation=EVIL, licence=EVIL),
        versions={EVIL: EVIL, "NiBabel": EVIL},
        warnings=(EVIL,),
    )
    bad = failure(name=f"sub-01_ses-{EVIL}", source=EVIL, error=EVIL, crash_file=EVIL)
    page = Page(write(evil, bad, participant=EVIL, command=EVIL))
    assert len(page.named("script")) == 1
    assert not page.named("img")
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    # Shown as it is, once more than nine times, and not evaluated either.
    assert page.words.count("<script>alert('1')</script>") >= 9
    assert "{{ 7*7 }}" in page.words


def test_a_scan_without_lesions_is_told_kindly(write: Write, scan: ScanReport) -> None:
    stats = {**STATS, "lesion_volume_ml": 0, "lesion_count": 0, "largest_lesion_ml": 0}
    figures = replace(scan.figures, largest=None)
    doubt = ("Is this a head?",)
    page = Page(write(replace(scan, stats=stats, lesions=[], figures=figures, warnings=doubt)))
    assert "No lesion was found." in page.words
    assert page.words.index(doubt[0]) < page.words.index("a result, not an error")
    assert "The largest lesion" not in page.words
    assert not page.named("table")
    assert len(page.named("svg")) == 2


def test_a_failed_scan_says_what_to_do_and_the_others_are_shown(
    write: Write, scan: ScanReport
) -> None:
    page = Page(write(scan, failure(crash_file="logs/crash-7.txt")))
    assert "1 of 2 scans failed." in page.words
    assert "expected 3 axes, got 4. Extract one volume." in page.words
    assert "logs/crash-7.txt" in page.words
    assert "--bids-filter-file" in page.words
    assert "13.440" in page.words
    assert len(page.named("section")) == 3  # two scans and the methods of one


def test_a_participant_of_whom_all_failed_has_a_page(write: Write) -> None:
    page = Page(write(failure()))
    assert "This scan could not be processed." in page.words
    assert "Methods" not in page.words


def test_warnings_are_shown(write: Write, scan: ScanReport) -> None:
    page = Page(write(replace(scan, warnings=("The field of view cuts the brain.",)), scan))
    assert "The field of view cuts the brain." in page.words
    assert "done, 1 warning" in page.words


def test_scans_side_by_side_come_with_a_caveat_and_their_voxels(
    write: Write, scan: ScanReport
) -> None:
    thick = replace(scan, acquisition=Acquisition((0.9, 0.9, 5.0), (256, 256, 30), "2D"))
    caveat = "time points are not aligned"
    page = Page(write(thick, replace(scan, name="sub-01_ses-B")))
    assert caveat in page.words
    assert page.words.count("0.90 × 0.90 × 5.00") == 2  # in the table, and where the scan is
    assert page.words.count("matrix 256 × 256 × 30, 2D") == 1
    assert caveat not in Page(write(thick)).words


def test_numbers_belong_to_one_scan(write: Write, scan: ScanReport) -> None:
    alone, both = (Page(write(*scans)).words for scans in ([scan], [scan, scan]))
    for words in (alone, both):
        assert "in the table of this scan" in words
        assert "Colours repeat after 6 lesions." in words
        assert "everywhere on this page" not in words
    assert ("numbers of their own" in alone, "numbers of their own" in both) == (False, True)


def test_the_rules_of_counting_and_regions_stand_beside_the_numbers(
    write: Write, scan: ScanReport
) -> None:
    words = Page(write(scan)).words
    count = words.index("Lesions that touch, if only by the corner of a voxel, count as one")
    rule = words.index("periventricular if any voxel of it lies within 3 mm of the ventricles")
    assert words.index("Lesion load") < count < words.index("Every lesion")
    assert words.index("Where the lesions are") < rule < words.index("Lesion by lesion")


def test_settings_do_not_take_the_grid_for_the_image(write: Write, scan: ScanReport) -> None:
    page = Page(write(replace(scan, settings=replace(SETTINGS, smoothed=0.09, networks=2))))
    assert "Grid of the network1 mm, isotropic" in page.words.replace("\n", "")
    assert "9 % of a smoothed version was mixed in" in page.words
    assert "noisy" not in page.words
    assert "lesion, two networks" in page.words


def test_numbers_may_come_as_the_text_of_a_table(write: Write, scan: ScanReport) -> None:
    texts = {name: str(value) for name, value in STATS.items()}
    rows = [{name: str(value) for name, value in row.items()} for row in LESIONS]
    assert write(replace(scan, stats=texts, lesions=rows)) == write(scan)


def test_a_missing_or_foreign_figure_leaves_the_rest_of_the_page(
    write: Write, scan: ScanReport, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.svg"
    foreign.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")
    figures = Figures(lesions=foreign, largest=tmp_path / "gone.svg", brain=scan.figures.brain)
    page = Page(write(replace(scan, figures=figures)))
    assert page.words.count("No picture.") == 2
    assert len(page.named("script")) == 1
    assert "13.440" in page.words


def test_scans_processed_differently_have_their_own_methods(write: Write, scan: ScanReport) -> None:
    other = replace(scan, name="sub-01_ses-C", settings=replace(SETTINGS, n4=True))
    page = Page(write(scan, other, replace(scan, name="sub-01_ses-D")))
    assert page.words.count("For your paper") == 2
    assert page.words.count("Tustison NJ, Avants BB") == 1


def test_a_title_without_entities() -> None:
    assert title("sub-01") == "FLAIR"
    assert title("sub-01_acq-3D_run-02") == "Acquisition 3D, run 02"

"""Words fit the numbers, and references fit the words."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bids_flairseg import __version__
from bids_flairseg.reports.records import Figures, ScanReport, Settings, record_from
from bids_flairseg.reports.text import Methods, amount, describe_methods, summarise

SETTINGS = Settings(model="lesion", model_sha256="0123456789abcdef", threshold=0.4, min_lesion_ml=0)


def scan(count: int, **stats: object) -> ScanReport:
    """Give a scan with so many lesions."""
    row = {"lesion_count": count, "lesion_volume_ml": 3.0, "largest_lesion_ml": 2.5, **stats}
    return ScanReport(name="sub-01", stats=row, lesions=[{"region": "deep_white"}] * count)


def methods(**changes: object) -> Methods:
    """Describe a scan with some settings changed."""
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    (found,) = describe_methods([ScanReport(name="sub-01", settings=settings)])
    return found


def test_methods_tell_how_large_lesions_were_outlined() -> None:
    assert "10 ml" not in methods().paragraph
    told = methods(large_ml=10.0, large_threshold=0.2).paragraph
    assert "Lesions of 10 ml or more were extended to all adjoining voxels of at least 0.2." in told


def test_methods_tell_of_smoothing_where_there_was_some() -> None:
    assert "linear interpolation, and intensities" in methods().paragraph
    told = methods(smoothed=0.4).paragraph
    assert "those with much noise were mixed, in proportion to it," in told


def test_scans_that_were_smoothed_more_or_less_share_a_paragraph() -> None:
    scans = [
        ScanReport(name=f"sub-{n}", settings=replace(SETTINGS, smoothed=share))
        for n, share in enumerate((0.0, 0.3, 1.0))
    ]
    assert [each.scans for each in describe_methods(scans)] == [("sub-0",), ("sub-1", "sub-2")]


def test_one_lesion_is_one() -> None:
    assert summarise(scan(1)) == (
        "One lesion was found, with a volume of 3.00 ml. It lies in the deep white matter."
    )


def test_many_lesions_are_summed_up() -> None:
    text = summarise(scan(4, lesion_load_percent="0.25", deep_white_ml=2.7, juxtacortical_ml=0.3))
    assert text == (
        "4 lesions were found, with a total volume of 3.00 ml, 0.250 % of the brain. The largest, "
        "lesion 1, has 2.50 ml and lies in the deep white matter. 90 % of the volume lies in the "
        "deep white matter."
    )


def test_unknown_regions_are_not_invented() -> None:
    unknown = replace(scan(2, deep_white_ml="n/a"), lesions=[{"region": "n/a"}] * 2)
    assert summarise(unknown).endswith("The largest, lesion 1, has 2.50 ml.")


def test_almost_all_is_not_all() -> None:
    assert "99 % of the volume" in summarise(scan(2, deep_white_ml=2.995, other_ml=0.005))
    assert "All of the volume" in summarise(scan(2, deep_white_ml=3.0, other_ml=0.0))


def test_no_lesion() -> None:
    assert summarise(scan(0)) == "No lesion was found."


@pytest.mark.parametrize("value", [0.0123, 0.999, 1.0, 12.34, 99.94, 123.4, 5432.1])
def test_amounts_keep_three_digits(value: float) -> None:
    assert float(amount(value)) == pytest.approx(value, rel=0.006)


def test_n4_is_cited_only_when_used() -> None:
    assert not any("N4ITK" in reference for reference in methods().references)
    used = methods(n4=True)
    assert "N4 (Tustison et al., 2010)" in used.paragraph
    assert sum("Tustison" in reference for reference in used.references) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"brain": "supplied"}, "masks were supplied"),
        ({"brain": "resampled"}, "and resampled to the grid"),
        ({"brain": "stripped"}, "had been skull-stripped"),
        ({}, "extracted by a convolutional network"),
        ({"flip": True}, "left-right mirror image"),
        ({"inference": "windows"}, "overlapping cubes"),
        ({"normalisation": "robust"}, "interquartile range"),
        ({"min_lesion_ml": 0.02}, "smaller than 0.02 ml were left out"),
        ({}, "at least 0.4 were taken as lesion"),
        ({}, "weights 0123456789ab…"),
    ],
)
def test_the_paragraph_follows_the_settings(changes: dict[str, object], words: str) -> None:
    assert words in methods(**changes).paragraph


def test_every_citation_has_its_reference() -> None:
    found = methods(n4=True)
    for name in ("Abadi", "Brett", "Duong", "Gorgolewski", "Rauschecker", "Tustison", "Yarkoni"):
        assert name in found.paragraph
        assert any(reference.startswith(name) for reference in found.references)
    assert list(found.references) == sorted(found.references, key=str.lower)


def test_versions_are_named_where_known() -> None:
    report = ScanReport(name="sub-01", settings=SETTINGS, versions={"NiBabel": "5.3.2"})
    (found,) = describe_methods([report])
    assert "NiBabel 5.3.2 (Brett et al.), Nipype (Gorgolewski et al., 2011)" in found.paragraph


def test_results_of_an_older_version_name_that_version() -> None:
    plain = ScanReport(name="sub-01", settings=SETTINGS)
    kept = [{"flairseg": number, "NiBabel": "5"} for number in ("0.0.7", __version__)]
    old, new, unknown = describe_methods([*(replace(plain, versions=v) for v in kept), plain])
    assert [found.version for found in (old, new, unknown)] == ["0.0.7", __version__, __version__]
    assert "with flairseg 0.0.7, a BIDS App" in old.paragraph
    assert any("flairseg, version 0.0.7:" in reference for reference in old.references)
    assert not any(__version__ in text for text in (old.paragraph, *old.references))
    assert old.versions == new.versions == {"NiBabel": "5"}


def test_failed_scans_have_no_methods() -> None:
    assert describe_methods([ScanReport(name="sub-01", settings=SETTINGS, error="broken")]) == []


def test_a_record_comes_back_as_it_was_kept() -> None:
    record = replace(
        scan(1), settings=SETTINGS, figures=Figures(brain=Path("a.svg")), warnings=("look",)
    )
    assert record_from(asdict(record)) == record
    newer = asdict(record) | {"later": 1, "settings": asdict(SETTINGS) | {"later": 2}}
    assert record_from(newer) == record


def test_statistics_that_are_no_numbers_are_none() -> None:
    report = ScanReport(name="sub-01", stats={"a": "n/a", "b": None, "c": float("nan"), "d": "2.5"})
    assert [report.number(name) for name in "abcde"] == [None, None, None, 2.5, None]

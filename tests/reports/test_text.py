"""Words fit the numbers, and references fit the words."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bids_flairseg import __version__
from bids_flairseg.reports.acquisition import acquisition_in_words, read_acquisition
from bids_flairseg.reports.records import (
    Acquisition,
    Figures,
    ScanReport,
    Settings,
    record_from,
)
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
    assert "were extended" not in methods().paragraph
    assert "What lesions of 10 ml or more surround was taken as part" in methods().paragraph
    told = methods(large_ml=10.0, large_threshold=0.2).paragraph
    assert "Lesions of 10 ml or more were extended to all adjoining voxels of at least 0.2." in told


def test_methods_tell_of_smoothing_where_there_was_some() -> None:
    assert "linear interpolation, and intensities" in methods().paragraph
    told = methods(smoothed=0.4).paragraph
    assert "mixed, in proportion to their noise, with a version" in told
    assert "(40 % of the mixture), and intensities" in told


def test_only_what_was_smoothed_much_is_called_noisy() -> None:
    assert methods().denoising == "not needed"
    assert methods(smoothed=0.09).denoising == "9 % of a smoothed version was mixed in"
    assert methods(smoothed=0.5).denoising.startswith("noisy: 50 % of")


def test_scans_that_were_smoothed_more_or_less_share_a_paragraph() -> None:
    scans = [
        ScanReport(name=f"sub-{n}", settings=replace(SETTINGS, smoothed=share))
        for n, share in enumerate((0.0, 0.3, 1.0))
    ]
    none, some = describe_methods(scans)
    assert (none.scans, some.scans) == (("sub-0",), ("sub-1", "sub-2"))
    assert "30 to 100 %" in some.denoising
    assert "(30 to 100 % of the mixture)" in some.paragraph


def test_methods_count_the_networks() -> None:
    one, two = methods().paragraph, methods(networks=2).paragraph
    assert "A three-dimensional convolutional network of" in one
    assert "logits" not in one
    assert "Two three-dimensional convolutional networks of" in two
    assert "by a weighted mean of their logits, for the whole brain" in two


def test_methods_quote_what_the_cards_say_of_the_training_data() -> None:
    assert "training data" not in methods().paragraph
    told = methods(data="FLAIRs synthesised from label maps.", anatomy_data="heads").paragraph
    assert "by its card: “FLAIRs synthesised from label maps”; those" in told
    assert "of the anatomy model: “heads”." in told


def test_methods_tell_what_the_mirror_image_is_averaged_for() -> None:
    assert "mirror" not in methods().paragraph
    assert "from which the brain mask comes" in methods(flip=True).paragraph
    supplied = methods(flip=True, brain="supplied").paragraph
    assert "as were those of the anatomical segmentation." in supplied


def test_a_region_is_said_of_lesions_and_not_of_their_volume() -> None:
    touching = replace(scan(2, periventricular_ml=3.0), lesions=[{"region": "periventricular"}] * 2)
    text = summarise(touching)
    assert text.endswith(
        "lesion 1, has 2.50 ml and lies at the ventricles. All of the volume lies in lesions at "
        "the ventricles."
    )
    assert "is periventricular" not in text
    assert "with its whole volume" in methods().paragraph
    assert "if any voxel lay within 3 mm of the ventricles" in methods().paragraph


def test_one_lesion_is_one() -> None:
    assert summarise(scan(1)) == (
        "One lesion was found, with a volume of 3.00 ml. It lies in the deep white matter."
    )


def test_many_lesions_are_summed_up() -> None:
    text = summarise(scan(4, lesion_load_percent="0.25", deep_white_ml=2.7, juxtacortical_ml=0.3))
    assert text == (
        "4 lesions were found, with a total volume of 3.00 ml, 0.250 % of the brain. The largest, "
        "lesion 1, has 2.50 ml and lies in the deep white matter. 90 % of the volume lies in "
        "lesions of the deep white matter."
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
        scan(1),
        settings=SETTINGS,
        figures=Figures(brain=Path("a.svg")),
        warnings=("look",),
        acquisition=Acquisition((1.0, 1.0, 3.0), (256, 256, 48), "2D", field_t=1.5),
    )
    assert record_from(asdict(record)) == record
    kept = json.loads(json.dumps(asdict(record), default=str))
    assert record_from(kept).acquisition == record.acquisition
    newer = asdict(record) | {"later": 1, "settings": asdict(SETTINGS) | {"later": 2}}
    assert record_from(newer) == record


def test_statistics_that_are_no_numbers_are_none() -> None:
    report = ScanReport(name="sub-01", stats={"a": "n/a", "b": None, "c": float("nan"), "d": "2.5"})
    assert [report.number(name) for name in "abcde"] == [None, None, None, 2.5, None]


def test_an_image_is_summed_up_as_far_as_it_is_known() -> None:
    sidecar = {
        "MRAcquisitionType": "3D",
        "Manufacturer": "Siemens",
        "ManufacturersModelName": "Prisma",
        "MagneticFieldStrength": 3,
        "SliceThickness": 1.0,
    }
    known = read_acquisition([0.5, 1.0, 1.2], (320, 300, 170), sidecar)
    assert acquisition_in_words(known) == (
        "voxels of 0.50 × 1.00 × 1.20 mm, matrix 320 × 300 × 170, 3D, slice thickness 1 mm, "
        "Siemens Prisma, 3 T"
    )
    useless = {name: [None] for name in sidecar} | {"MagneticFieldStrength": float("nan")}
    for unknown in (useless, {}):
        said = acquisition_in_words(read_acquisition([0.5, 1.0, 1.2], (320, 300, 170), unknown))
        assert said == "voxels of 0.50 × 1.00 × 1.20 mm, matrix 320 × 300 × 170"

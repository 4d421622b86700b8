"""Words of a report: the summary of a scan, and a methods paragraph with its references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bids_flairseg import __version__
from bids_flairseg.measure.outline import HOLLOW_ML
from bids_flairseg.measure.regions import CORTEX_REACH_MM, VENTRICLE_REACH_MM
from bids_flairseg.preprocess.noise import SIGMA
from bids_flairseg.reports.page import environment
from bids_flairseg.reports.records import ScanReport, Settings

#: Regions in the order in which they are told, with their headings.
REGION_NAMES: Mapping[str, str] = {
    "periventricular": "Periventricular",
    "juxtacortical": "Juxtacortical",
    "deep_white": "Deep white matter",
    "infratentorial": "Infratentorial",
    "other": "Elsewhere",
}
_PROGRAM = "flairseg"
#: Share of the smoothed version in an image from which that is called noisy.
NOISY = 0.5
# What is said of a lesion, and of the lesions to which most of the volume belongs. A lesion has
# one region as a whole. "At" is what `regions` measures: a few mm, not touching.
_REGION_WORDS = {
    "periventricular": ("lies at the ventricles", "lesions at the ventricles"),
    "juxtacortical": ("lies at the cortex", "lesions at the cortex"),
    "deep_white": ("lies in the deep white matter", "lesions of the deep white matter"),
    "infratentorial": ("is infratentorial", "infratentorial lesions"),
    "other": ("lies elsewhere", "lesions elsewhere"),
}


def amount(value: float) -> str:
    """Print a number with the three digits that carry meaning.

    Parameters
    ----------
    value : float
        Any finite number.

    Returns
    -------
    str
        Neither exponent nor thousands separator.

    Examples
    --------
    >>> amount(0.01234), amount(1.5), amount(49.769), amount(1234.5), amount(0)
    ('0.0123', '1.50', '49.8', '1234', '0')
    """
    if value == 0:
        return "0"
    for limit, decimals in ((0.1, 4), (1.0, 3), (10.0, 2), (100.0, 1)):
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"


def summarise(scan: ScanReport) -> str:
    """Say in words what was found: how much, how many, the largest, and where.

    Parameters
    ----------
    scan : ScanReport
        A scan that is done.

    Returns
    -------
    str
        One to three sentences.
    """
    count, total = scan.number("lesion_count") or 0, scan.number("lesion_volume_ml") or 0.0
    if not count:
        return "No lesion was found."
    load = scan.number("lesion_load_percent")
    share = f", {amount(load)} % of the brain" if load is not None else ""
    first = scan.lesions[0] if scan.lesions else {}
    if count == 1:
        return f"One lesion was found, with a volume of {amount(total)} ml{share}.{_where(first)}"
    return (
        f"{count:.0f} lesions were found, with a total volume of {amount(total)} ml{share}. "
        f"{_largest(scan, first)}{_most(scan, total)}"
    )


def _where(lesion: Mapping[str, object]) -> str:
    words = _REGION_WORDS.get(str(lesion.get("region")))
    return f" It {words[0]}." if words else ""


def _largest(scan: ScanReport, lesion: Mapping[str, object]) -> str:
    volume = scan.number("largest_lesion_ml")
    if volume is None:
        return ""
    words = _REGION_WORDS.get(str(lesion.get("region")))
    place = f" and {words[0]}" if words else ""
    return f"The largest, lesion 1, has {amount(volume)} ml{place}."


def _most(scan: ScanReport, total: float) -> str:
    """Name the region that holds most of the volume, if regions are known."""
    volumes = {name: scan.number(f"{name}_ml") for name in REGION_NAMES}
    known = {name: volume for name, volume in volumes.items() if volume is not None}
    if not known or not total:
        return ""
    name = max(known, key=lambda region: known[region])
    percent = 100 * known[name] / total
    share = "All" if percent > 99.95 else f"{min(percent, 99):.0f} %"
    return f" {share} of the volume lies in {_REGION_WORDS[name][1]}."


def hints_in_words(text: str) -> str:
    """Print the quality hints of a table for a page.

    Parameters
    ----------
    text : str
        The column ``warnings``.

    Returns
    -------
    str
        Without the full stops that versions before put before each ``;``; empty for ``n/a``.

    Examples
    --------
    >>> hints_in_words("Noisy.; The field of view is short."), hints_in_words("n/a")
    ('Noisy; The field of view is short', '')
    """
    return "" if text == "n/a" else text.replace(".; ", "; ").removesuffix(".")


def denoising_in_words(shares: Sequence[float]) -> str:
    """Say how much of a smoothed version was mixed into images.

    Parameters
    ----------
    shares : sequence of float
        One per scan, 0 to 1; at least one.

    Returns
    -------
    str
        Calls an image noisy only where half or more of it is the smoothed version.

    Examples
    --------
    >>> denoising_in_words([0.09]), denoising_in_words([0])
    ('9 % of a smoothed version was mixed in', 'not needed')
    >>> denoising_in_words([0.3, 0.8])
    'noisy: 30 to 80 % of a smoothed version was mixed in'
    """
    if not any(shares):
        return "not needed"
    noisy = "noisy: " if max(shares) >= NOISY else ""
    return f"{noisy}{_percent(shares)} of a smoothed version was mixed in"


def _percent(shares: Sequence[float]) -> str:
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low} to {high} %"


@dataclass(frozen=True)
class Methods:
    """How the lesions of some scans were found.

    Attributes
    ----------
    scans : tuple of str
        Names of the scans that this holds for.
    settings : Settings
        Their settings.
    version : str
        The flairseg that found them; this one where that was not kept.
    versions : mapping of str to str
        Their further software.
    denoising : str
        How much of a smoothed version was mixed into them.
    paragraph : str
        Text for a paper.
    references : tuple of str
        What the paragraph cites, in alphabetical order.
    """

    scans: tuple[str, ...]
    settings: Settings
    version: str
    versions: Mapping[str, str]
    denoising: str
    paragraph: str
    references: tuple[str, ...]


def describe_methods(scans: Sequence[ScanReport]) -> list[Methods]:
    """Write one methods paragraph for all scans that were processed alike.

    Parameters
    ----------
    scans : sequence of ScanReport
        Failed ones are left out.

    Returns
    -------
    list of Methods
        In the order of the first scan of each.
    """
    groups: dict[tuple[Settings, str, tuple[tuple[str, str], ...]], dict[str, float]] = {}
    for scan in scans:
        if scan.settings is not None and scan.error is None:
            version = scan.versions.get(_PROGRAM, __version__)
            further = tuple(item for item in scan.versions.items() if item[0] != _PROGRAM)
            settings = replace(scan.settings, smoothed=float(scan.settings.smoothed > 0))
            shares = groups.setdefault((settings, version, further), {})
            shares[scan.name] = scan.settings.smoothed
    return [
        Methods(
            scans=tuple(shares),
            settings=settings,
            version=version,
            versions=dict(versions),
            denoising=denoising_in_words([*shares.values()]),
            paragraph=_paragraph(settings, version, dict(versions), _percent([*shares.values()])),
            references=_references(settings, version),
        )
        for (settings, version, versions), shares in groups.items()
    ]


def _paragraph(settings: Settings, version: str, versions: Mapping[str, str], mixed: str) -> str:
    text = (
        environment()
        .get_template("methods.txt.j2")
        .render(
            settings=settings,
            versions=versions,
            version=version,
            tools=_TOOLS,
            ventricle_reach_mm=VENTRICLE_REACH_MM,
            cortex_reach_mm=CORTEX_REACH_MM,
            hollow_ml=HOLLOW_ML,
            smoothing_voxels=SIGMA,
            mixed=mixed,
        )
    )
    return " ".join(text.split())


_TOOLS = (
    ("PyBIDS", "Yarkoni et al., 2019"),
    ("NiBabel", "Brett et al."),
    ("Nipype", "Gorgolewski et al., 2011"),
    ("TensorFlow", "Abadi et al., 2016"),
)


_REFERENCES = {
    "abadi": "Abadi M, Barham P, Chen J, et al. TensorFlow: a system for large-scale machine "
    "learning. 12th USENIX Symposium on Operating Systems Design and Implementation (OSDI 16), "
    "2016:265-283.",
    "brett": "Brett M, Markiewicz CJ, Hanke M, et al. NiBabel: access a cacophony of "
    "neuro-imaging file formats. Computer software. doi:10.5281/zenodo.591597",
    "duong": "Duong MT, Rudie JD, Wang J, et al. Convolutional neural network for automated "
    "FLAIR lesion segmentation on clinical brain MR imaging. AJNR Am J Neuroradiol "
    "2019;40(8):1282-1290. doi:10.3174/ajnr.A6138",
    "flairseg": "flairseg maintainers. flairseg, version {version}: a BIDS App that segments and "
    "measures hyperintense brain lesions on FLAIR MRI. Computer software.",
    "nipype": "Gorgolewski K, Burns CD, Madison C, et al. Nipype: a flexible, lightweight and "
    "extensible neuroimaging data processing framework in Python. Front Neuroinform 2011;5:13. "
    "doi:10.3389/fninf.2011.00013",
    "bids-apps": "Gorgolewski KJ, Alfaro-Almagro F, Auer T, et al. BIDS apps: improving ease of "
    "use, accessibility, and reproducibility of neuroimaging data analysis methods. PLoS Comput "
    "Biol 2017;13(3):e1005209. doi:10.1371/journal.pcbi.1005209",
    "rauschecker": "Rauschecker AM, Gleason TJ, Nedelec P, et al. Interinstitutional portability "
    "of a deep learning brain MRI lesion segmentation algorithm. Radiol Artif Intell "
    "2022;4(1):e200152. doi:10.1148/ryai.2021200152",
    "tustison-2010": "Tustison NJ, Avants BB, Cook PA, et al. N4ITK: improved N3 bias correction. "
    "IEEE Trans Med Imaging 2010;29(6):1310-1320. doi:10.1109/TMI.2010.2046908",
    "tustison-2021": "Tustison NJ, Cook PA, Holbrook AJ, et al. The ANTsX ecosystem for "
    "quantitative biological and medical imaging. Sci Rep 2021;11:9068. "
    "doi:10.1038/s41598-021-87564-6",
    "yarkoni": "Yarkoni T, Markiewicz CJ, de la Vega A, et al. PyBIDS: Python tools for BIDS "
    "datasets. J Open Source Softw 2019;4(40):1294. doi:10.21105/joss.01294",
}


def _references(settings: Settings, version: str) -> tuple[str, ...]:
    left_out = () if settings.n4 else ("tustison-2010", "tustison-2021")
    kept = (text for key, text in _REFERENCES.items() if key not in left_out)
    return tuple(text.replace("{version}", version) for text in kept)

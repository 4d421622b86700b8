"""How well two measurements of the same volumes agree, and how well one repeats itself."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bids_flairseg.measure.summaries import Interval, encode

# A case this many SD above the mean reference is listed and left out of the plot, as in the paper.
OUTLIER_SD = 3.0


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of two measurements (Bland and Altman 1986, Lancet 327:307; 1999).

    Attributes
    ----------
    n : int
        Pairs.
    bias, sd : float
        Mean and standard deviation of first minus second.
    lower, upper : float
        Limits of agreement, bias -+ 1.96 SD.
    bias_interval, lower_interval, upper_interval : Interval
        95 % confidence, by Student's t; the variance of a limit is
        ``SD^2 (1 / n + 1.96^2 / (2 (n - 1)))``.
    slope, slope_p : float
        Proportional bias: regression of the difference on the mean of both.
    """

    n: int
    bias: float
    sd: float
    lower: float
    upper: float
    bias_interval: Interval
    lower_interval: Interval
    upper_interval: Interval
    slope: float
    slope_p: float


@dataclass(frozen=True)
class Repeatability:
    """How far repeated measurements of a participant scatter.

    Attributes
    ----------
    participants, scans : int
        With at least two scans, and the scans they have.
    within_sd : float
        Within-subject standard deviation, from the pooled variance.
    cv_percent : float
        Within-subject coefficient of variation: root mean square of each participant's SD over
        mean, in percent; participants with mean 0 do not count.
    smallest_change : float
        Smallest detectable change, ``1.96 sqrt(2) within_sd`` (Bland and Altman 1996, BMJ
        313:744).
    """

    participants: int
    scans: int
    within_sd: float
    cv_percent: float
    smallest_change: float


def bland_altman(first: ArrayLike, second: ArrayLike) -> BlandAltman | None:
    """Compare two measurements of the same cases.

    Parameters
    ----------
    first, second : array of float, shape (n,)
        Both finite, such as predicted and reference volume in ml.

    Returns
    -------
    BlandAltman or None
        None for fewer than three pairs.
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    n = one.size
    if n < 3:
        return None
    difference, middle = one - other, (one + other) / 2
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf(0.975, n - 1))
    of_bias = t * sd / math.sqrt(n)
    of_limit = t * sd * math.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    lower, upper = bias - 1.96 * sd, bias + 1.96 * sd
    line = stats.linregress(middle, difference) if np.ptp(middle) > 0 else None
    return BlandAltman(
        n=n,
        bias=bias,
        sd=sd,
        lower=lower,
        upper=upper,
        bias_interval=Interval(bias - of_bias, bias + of_bias),
        lower_interval=Interval(lower - of_limit, lower + of_limit),
        upper_interval=Interval(upper - of_limit, upper + of_limit),
        slope=float(line.slope) if line else math.nan,
        slope_p=float(line.pvalue) if line else math.nan,
    )


def outliers(reference: ArrayLike) -> NDArray[np.bool_]:
    """Mark cases more than 3 SD above the mean, as the paper leaves them out of its plot.

    Parameters
    ----------
    reference : array of float, shape (n,)
        Reference volumes.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for those to list instead.
    """
    values = np.asarray(reference, dtype=float)
    if values.size < 3:
        return np.zeros(values.size, dtype=bool)
    return np.asarray(values > values.mean() + OUTLIER_SD * values.std(ddof=1), dtype=bool)


def lin_concordance(first: ArrayLike, second: ArrayLike) -> float:
    """Return Lin's concordance correlation coefficient (Lin 1989, Biometrics 45:255).

    Parameters
    ----------
    first, second : array of float, shape (n,)
        Measurements of the same cases.

    Returns
    -------
    float
        -1 to 1; NaN where neither varies.

    Examples
    --------
    >>> round(lin_concordance([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]), 4)
    0.5714
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.size < 2:
        return math.nan
    shared = float(np.mean((one - one.mean()) * (other - other.mean())))
    spread = float(one.var() + other.var() + (one.mean() - other.mean()) ** 2)
    return 2 * shared / spread if spread > 0 else math.nan


def icc(table: ArrayLike) -> float:
    """Return the intraclass correlation ICC(2,1): two-way random, absolute, single.

    Shrout and Fleiss 1979, Psychol Bull 86:420.

    Parameters
    ----------
    table : array of float, shape (cases, raters)
        At least two of each.

    Returns
    -------
    float
        NaN where there are fewer, or nothing varies.
    """
    data = np.asarray(table, dtype=float)
    n, k = data.shape
    if n < 2 or k < 2:
        return math.nan
    rows, columns, grand = data.mean(axis=1), data.mean(axis=0), data.mean()
    between = k * float(((rows - grand) ** 2).sum()) / (n - 1)
    raters = n * float(((columns - grand) ** 2).sum()) / (k - 1)
    rest = data - rows[:, None] - columns[None] + grand
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    below = between + (k - 1) * error + k * (raters - error) / n
    return (between - error) / below if below > 0 else math.nan


def repeatability(values: ArrayLike, clusters: Sequence[Hashable]) -> Repeatability | None:
    """Measure the scatter of repeated scans within participants.

    Parameters
    ----------
    values : array of float, shape (n,)
        Such as volumes in ml.
    clusters : sequence of hashable
        Participant of each.

    Returns
    -------
    Repeatability or None
        None where nobody has two scans.
    """
    data = np.asarray(values, dtype=float)
    codes = encode(clusters, data.size)
    counts = np.bincount(codes)
    repeated = counts > 1
    if not repeated.any():
        return None
    means = np.bincount(codes, weights=data) / counts
    squares = np.bincount(codes, weights=(data - means[codes]) ** 2)
    variances = squares[repeated] / (counts[repeated] - 1)
    pooled = float(squares[repeated].sum() / (counts[repeated] - 1).sum())
    there = means[repeated] > 0
    shares = variances[there] / means[repeated][there] ** 2
    return Repeatability(
        participants=int(repeated.sum()),
        scans=int(counts[repeated].sum()),
        within_sd=math.sqrt(pooled),
        cv_percent=100 * math.sqrt(float(shares.mean())) if shares.size else math.nan,
        smallest_change=1.96 * math.sqrt(2 * pooled),
    )

"""Single numbers and tests as journals of radiology print them."""

from __future__ import annotations

import math

from bids_flairseg.group.statistic import Statistic

# Decimals of a coefficient that would else be rounded to 1.
_DECIMALS = (2, 3, 4)


def p_in_words(p: float | None) -> str:
    """Print a p value as journals of radiology do.

    Parameters
    ----------
    p : float or None
        NaN and None could not be computed.

    Returns
    -------
    str
        Two digits, three below .01.

    Examples
    --------
    >>> p_in_words(0.0004), p_in_words(0.0042), p_in_words(0.083), p_in_words(None)
    ('P < .001', 'P = .004', 'P = .08', 'P not computed')
    """
    if p is None or math.isnan(p):
        return "P not computed"
    if p < 0.001:
        return "P < .001"
    if p >= 0.995:
        return "P > .99"
    digits = 3 if p < 0.01 or 0.045 <= p < 0.05 else 2
    return "P = " + f"{p:.{digits}f}".removeprefix("0")


def spread_in_words(row: Statistic, digits: int = 2) -> str:
    """Print median and quartiles of the first group of a row.

    Parameters
    ----------
    row : Statistic
        With numbers.
    digits : int
        Decimals.

    Returns
    -------
    str
        ``0.77 (IQR, 0.67-0.85)``.
    """
    if row.median_a is None or row.q1_a is None or row.q3_a is None:
        return "n/a"
    return f"{row.median_a:.{digits}f} (IQR, {row.q1_a:.{digits}f}\N{EN DASH}{row.q3_a:.{digits}f})"


def signed_in_words(value: float | None, digits: int) -> str:
    """Print a number with its sign, as typesetters do.

    Parameters
    ----------
    value : float or None
        None counts as 0.
    digits : int
        Decimals.

    Returns
    -------
    str
        ``+0.10``.
    """
    return f"{value or 0.0:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def test_in_words(row: Statistic) -> str:
    """Print a test with its p, the corrected one where it differs.

    Parameters
    ----------
    row : Statistic
        With a test.

    Returns
    -------
    str
        ``Mann-Whitney U = 12, P = .03, Holm-corrected P = .06``.
    """
    text = f"{row.test} = {row.statistic:.4g}" if row.statistic is not None else row.test
    return f"{text}, {p_in_words(row.p)}{corrected_in_words(row)}"


def corrected_in_words(row: Statistic) -> str:
    """Print the corrected p of a row.

    Parameters
    ----------
    row : Statistic
        With a test.

    Returns
    -------
    str
        With a comma before it; empty where it is that of the test.
    """
    differs = row.p is not None and row.p_holm is not None and row.p_holm > row.p
    return f", Holm-corrected {p_in_words(row.p_holm)}" if differs else ""


test_in_words.__test__ = False  # type: ignore[attr-defined]  # no test case of pytest


def coefficient_in_words(value: float) -> str:
    """Print a coefficient of correlation or concordance; only 1 itself is printed as 1.

    Parameters
    ----------
    value : float
        -1 to 1.

    Returns
    -------
    str
        Two digits, and as many more as tell it from 1.

    Examples
    --------
    >>> [coefficient_in_words(value) for value in (0.981, 0.9976, -0.99996, 1)]
    ['0.98', '0.998', '-0.9999', '1.00']
    """
    if 1 - abs(value) < 1e-9:
        return f"{value:.2f}"
    texts = [f"{value:.{digits}f}" for digits in _DECIMALS]
    below = (text for text in texts if abs(float(text)) < 1)
    return next(below, f"{math.copysign(0.9999, value)}")

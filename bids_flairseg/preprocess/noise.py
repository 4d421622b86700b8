"""Noise: how much there is, and smoothing where it is too much for the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.normalise import normalise_array

SIGMA = 0.6
"""Standard deviation of the Gaussian that takes noise out, in voxels."""
NOISE_LOW, NOISE_HIGH = 0.5, 0.65
"""Noise in a normalised image up to which it stays as it is, and from which it is smoothed;
in between it is mixed with the smoothed one. Unremarkable scans have 0.2 (2D) to 0.5 (3D) when
normalised as ``robust`` does it; ``zscore``, whose unit is wider, smooths later."""
# Of a normal distribution: its standard deviation over its median absolute deviation, and
# that of the second difference of independent values over theirs.
_MAD_SD, _LAPLACE_SD = 1.4826, 6**0.5


def noise_sd(data: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Estimate the noise within a mask from second differences, which anatomy hardly has.

    Parameters
    ----------
    data : ndarray of float32, shape (X, Y, Z)
        Intensities.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain.

    Returns
    -------
    sd : float
        Standard deviation of the noise, in units of the data: the median of the three axes,
        since across slices there is either anatomy or interpolation. 0 where the mask has no
        inside.
    """
    inner = ndimage.binary_erosion(mask)
    if not inner.any():
        return 0.0
    return float(np.median([_along(data, inner, axis) for axis in range(3)]))


def _along(data: NDArray[np.float32], inner: NDArray[np.bool_], axis: int) -> float:
    """Estimate the noise from differences along one axis, at voxels with two neighbours."""
    data, inner = np.moveaxis(data, axis, 0), np.moveaxis(inner, axis, 0)[1:-1]
    curvature = (2 * data[1:-1] - data[:-2] - data[2:])[inner]
    if not curvature.size:
        return 0.0
    return float(np.median(np.abs(curvature)) * _MAD_SD / _LAPLACE_SD)


def normalise_noisy(
    data: NDArray[np.float32], mask: NDArray[np.bool_], *, kind: str
) -> tuple[NDArray[np.float32], float]:
    """Normalise, and smooth beforehand what has much noise.

    A network finds nothing in an image with more noise than it was trained on, though what is
    to be found can be seen. The mixture of both images changes steadily with the noise, so that
    two scans that are alike are treated alike.

    Parameters
    ----------
    data : ndarray of float32, shape (X, Y, Z)
        Intensities, any scale and offset.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain.
    kind : str
        See `bids_flairseg.preprocess.normalise.normalise_array`.

    Returns
    -------
    normalised : ndarray of float32, shape (X, Y, Z)
        Zero outside the brain.
    share : float
        Of the smoothed image in the mixture, 0 to 1.

    Raises
    ------
    InputError
        If the mask is empty, the brain has one intensity only, or the kind is unknown.
    """
    normalised = normalise_array(data, mask, kind=kind)
    noise = noise_sd(normalised, mask)
    share = round(float(np.clip((noise - NOISE_LOW) / (NOISE_HIGH - NOISE_LOW), 0, 1)), 2)
    if share:
        mixture = data + np.float32(share) * (smooth_within(data, mask) - data)
        normalised = normalise_array(mixture, mask, kind=kind)
    return normalised, share


def smooth_within(data: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Smooth within a mask.

    Parameters
    ----------
    data : ndarray of float32, shape (X, Y, Z)
        Intensities.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain; what is outside has no influence.

    Returns
    -------
    smooth : ndarray of float32, shape (X, Y, Z)
        Mean with the weights of a Gaussian of `SIGMA`; zero outside.
    """
    weight = ndimage.gaussian_filter(mask.astype(np.float32), SIGMA)
    total = ndimage.gaussian_filter(np.where(mask, data, np.float32(0)), SIGMA)
    return np.divide(total, weight, out=np.zeros_like(total), where=mask)

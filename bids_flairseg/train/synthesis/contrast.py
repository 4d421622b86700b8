"""FLAIR contrast: from labels to the signal of each tissue.

Signals are relative to cerebral white matter. Ranges follow what clinical 2D
and 3D FLAIRs show: grey matter 5 to 45 % above white, CSF nulled, fat bright
or suppressed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.atrophy import Moved
from bids_flairseg.train.synthesis.space import Rng, Shape, smooth_field, stretch

_MUSCLE, _EYES, _SKIN, _BONE = 507, 506, 511, (515, 516)
#: Pairs of nuclei, and the least share of the contrast of cortex with white matter that they have.
DEEP_GREY = (((10, 49), 0.1), ((11, 50), 0.4), ((12, 51), 0.4), ((26, 58), 0.4), ((28, 60), 0.0))
#: Cortex, white matter being 1: least, most often, most.
GREY = (1.05, 1.2, 1.45)
#: Standard deviation of the blur of what is painted: 3D scans are as sharp as their voxels.
BLUR_MM = (0.1, 0.5)
#: Groups of tissues; by how much each changes at most over centimetres, and over 5 to 15 mm.
CHANGES = (
    (lb.CORTEX + lb.CEREBELLAR_CORTEX, 0.10, 0.06),
    (lb.WHITE + lb.CEREBELLAR_WHITE, 0.06, 0.06),
    (lb.BRAINSTEM, 0.06, 0.08),
    ((10, 49, 11, 50, 12, 51, 13, 52, 28, 60), 0.05, 0.08),
    (lb.CSF + lb.VENTRICLES, 0.6, 0.5),
)


def tissue_signals(rng: Rng, *, wide: bool) -> NDArray[np.float32]:
    """Draw one signal for each label number.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    wide : bool
        Draw from far beyond what FLAIRs show, for robustness.

    Returns
    -------
    signals : ndarray of float32, shape (1024,)
        Signal of each label number, cerebral white matter about 1.
    """
    signals = np.zeros(1024, np.float32)
    grey = rng.uniform(0.9, 1.6) if wide else rng.triangular(*GREY)
    white = 1.0
    csf = rng.uniform(0.02, 0.7) if wide else 0.02 + 0.33 * rng.random() ** 2
    _set(signals, lb.WHITE, white)
    _set(signals, lb.CORTEX, grey)
    _set(signals, lb.CEREBELLAR_CORTEX, grey * rng.uniform(0.85, 1.1))
    _set(signals, lb.CEREBELLAR_WHITE, white * rng.uniform(0.9, 1.12))
    _set(signals, lb.BRAINSTEM, white * rng.uniform(0.88, 1.18))
    _set(signals, lb.VENTRICLES, csf)
    _set(signals, lb.CSF, csf * rng.uniform(0.8, 1.6))
    _set(signals, lb.VESSELS, rng.uniform(0.1, 1.2))
    for pair, least in DEEP_GREY:
        _set(signals, pair, white + (grey - white) * rng.uniform(least, 1.1))
    _set(signals, (13, 52), white * rng.uniform(0.7, 1.05))  # iron makes the pallidum dark
    if rng.random() < 0.3:  # and, with age, the putamen
        _set(signals, (12, 51), white * rng.uniform(0.75, 1.0))
    for pair in ((17, 53), (18, 54)):
        _set(signals, pair, grey * rng.uniform(0.95, 1.12))
    _set(signals, (85, 137, 164), rng.uniform(0.6, 1.2))
    _set(signals, lb.SEPTUM, rng.uniform(0.7, 1.7))
    _outside(signals, rng, wide=wide)
    return signals


def _set(signals: NDArray[np.float32], numbers: tuple[int, ...], value: float) -> None:
    signals[list(numbers)] = value


def _outside(signals: NDArray[np.float32], rng: Rng, *, wide: bool) -> None:
    """Tissues outside the brain: anything, with likely values more often."""
    signals[lb.OUTSIDE_FROM :] = rng.uniform(0.05, 1.3, 1024 - lb.OUTSIDE_FROM)
    if wide:
        return
    fat_suppressed = rng.random() < 0.5
    signals[_MUSCLE] = rng.uniform(0.1, 0.8)
    signals[_SKIN] = rng.uniform(0.1, 0.6) if fat_suppressed else rng.uniform(0.7, 2.5)
    marrow = 1.6 if rng.random() < 0.2 else 0.35
    signals[list(_BONE)] = rng.uniform(0.02, marrow, len(_BONE))
    signals[_EYES] = rng.uniform(0.03, 0.5)


def paint(rng: Rng, head: Moved, voxel_mm: float, *, wide: bool) -> NDArray[np.float32]:
    """Paint a label map with signals, texture and partial volume.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    head : Moved
        The head in its new pose.
    voxel_mm : float
        Edge of a voxel.
    wide : bool
        See :func:`tissue_signals`.

    Returns
    -------
    image : ndarray of float32, shape (X, Y, Z)
        Signal before acquisition; white matter about 1.
    """
    image = head.paint(tissue_signals(rng, wide=wide))
    _vary(rng, image, head.labels, voxel_mm)
    if rng.random() < 0.8:
        _fill_orbits(rng, image, head.labels, voxel_mm)
    return _texture(rng, image, voxel_mm)


def _vary(
    rng: Rng, image: NDArray[np.float32], labels: NDArray[np.uint16], voxel_mm: float
) -> None:
    """Let tissues change over the head, each in its own way."""
    slow = smooth_field(rng, image.shape, rng.uniform(25, 70), voxel_mm)
    fine = smooth_field(rng, image.shape, rng.uniform(5, 15), voxel_mm)
    slowly, finely = np.zeros((2, 1024), np.float32)
    slowly[lb.OUTSIDE_FROM :] = rng.uniform(0.1, 0.5)
    finely[lb.OUTSIDE_FROM :] = rng.uniform(0.2, 0.7)
    for numbers, most_slowly, most_finely in CHANGES:
        slowly[list(numbers)] = rng.uniform(0, most_slowly)
        finely[list(numbers)] = rng.uniform(0, most_finely)
    image *= np.clip(1 + slowly[labels] * slow + finely[labels] * fine, 0.2, 3.0)


def _fill_orbits(
    rng: Rng, image: NDArray[np.float32], labels: NDArray[np.uint16], voxel_mm: float
) -> None:
    """Put bright fat around the eyes, right below the frontal lobes.

    The roof of the orbit is thinner than a slice: in half of the heads fat replaces it,
    so that nothing dark lies between fat and brain.
    """
    near = near_eyes(labels, voxel_mm, rng.uniform(8, 32))
    soft = (_MUSCLE, *_BONE) if rng.random() < 0.5 else (_MUSCLE,)
    fat = near & np.isin(labels, soft)
    field = smooth_field(rng, image.shape, 10, voxel_mm)
    level = np.exp(rng.uniform(np.log(0.7), np.log(4.5)))
    image[fat] = level * np.clip(1 + 0.25 * field[fat], 0.2, 2)


def near_eyes(labels: NDArray[np.uint16], voxel_mm: float, distance_mm: float) -> NDArray[np.bool_]:
    """Find what lies around the eyes.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    voxel_mm : float
        Edge of a voxel.
    distance_mm : float
        From the surface of the eyes.

    Returns
    -------
    near : ndarray of bool, shape (X, Y, Z)
        Nothing where the image shows no eyes.
    """
    eyes = labels[::2, ::2, ::2] == _EYES
    if not eyes.any():
        return np.zeros(labels.shape, bool)
    distance = ndimage.distance_transform_edt(~eyes).astype(np.float32) * 2 * voxel_mm
    return stretch(distance, labels.shape) < distance_mm


def _texture(rng: Rng, image: NDArray[np.float32], voxel_mm: float) -> NDArray[np.float32]:
    grain = rng.standard_normal(image.shape).astype(np.float32)
    ndimage.gaussian_filter(grain, rng.uniform(0.4, 1.0) / voxel_mm, output=grain, truncate=2.5)
    grain *= rng.uniform(0.01, 0.09) / (grain.std() + 1e-6)
    image = image * (1 + grain)
    blur = rng.uniform(*BLUR_MM) / voxel_mm
    return np.asarray(ndimage.gaussian_filter(image, blur, truncate=2.5))


def blobs(
    rng: Rng, shape: Shape, where: NDArray[np.bool_], count: int, radius_mm: tuple[float, float],
    voxel_mm: float,
) -> NDArray[np.float32]:  # fmt: skip
    """Return soft random ellipsoids centred on voxels of a mask.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z) of the result.
    where : ndarray of bool, shape (X, Y, Z)
        Voxels that may be centres.
    count : int
        Number of ellipsoids.
    radius_mm : tuple of float
        Smallest and largest radius.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    weights : ndarray of float32, shape (X, Y, Z)
        1 in the middle of an ellipsoid, falling to 0 across its border.
    """
    weights = np.zeros(shape, np.float32)
    flat = np.flatnonzero(where)
    if not len(flat):
        return weights
    for centre in rng.choice(flat, count):
        middle = np.array(np.unravel_index(centre, shape))
        radii = np.exp(rng.uniform(*np.log(radius_mm))) * rng.uniform(0.6, 1.5, 3) / voxel_mm
        reach = np.ceil(radii * 1.6 + 1).astype(int)
        low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.ogrid[box]
        distance = np.sqrt(
            sum(((g - m) / r) ** 2 for g, m, r in zip(grid, middle, radii, strict=True))
        )
        soft = np.clip((1.15 - distance) / 0.3, 0, 1)
        weights[box] = np.maximum(weights[box], soft)
    return weights


def tubes(
    rng: Rng, shape: Shape, apart_mm: float, radius_mm: float, voxel_mm: float
) -> NDArray[np.float32]:
    """Return soft, winding tubes, as vessels are.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : tuple of int
        Shape (X, Y, Z) of the result.
    apart_mm : float
        How far they lie apart, about.
    radius_mm : float
        Of a tube, about: it varies along it.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    weights : ndarray of float32, shape (X, Y, Z)
        1 along the lines where two smooth random fields are zero, falling to 0 at the radius.
    """
    fields = [smooth_field(rng, shape, apart_mm, voxel_mm) for _ in range(2)]
    squares = fields[0] ** 2 + fields[1] ** 2
    return np.asarray(np.clip(1.5 - np.sqrt(squares) * (apart_mm / radius_mm), 0, 1))

"""What is bright in FLAIRs of healthy brains, and no lesion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.contrast import blobs, tubes
from bids_flairseg.train.synthesis.places import BRAIN_TABLE
from bids_flairseg.train.synthesis.space import Rng, smooth_field

_VOXEL_MM = 1.0
#: How much brighter than white matter caps are, and their spread in mm: wider or brighter ones a
#: rater would outline.
CAP, CAP_MM = (0.05, 0.22), (2.5, 5.0)
#: Likewise the corticospinal tract, and where it ends, from the internal capsule: outwards, to the
#: front and up, below the motor cortex and in the crus.
TRACT, TRACT_MM, TRACT_ENDS_MM = (0.03, 0.15), (1.8, 3.5), ((4, -4, 26), (-11, 0, -20))
VENTRAL = (28, 60)  # the labels of the crus
#: Likewise the cortex of insula and cingulum, hippocampus and amygdala.
GREY, INSULA_MM, CINGULUM_MM, LIMBIC = (0.04, 0.22), (6, 16, 12), (7, 30, 9), (17, 53, 18, 54)


def add_normal_brightness(
    rng: Rng,
    image: NDArray[np.float32],
    labels: NDArray[np.uint16],
    to_ventricles: NDArray[np.float32],
) -> None:
    """Brighten what is bright in healthy brains: rims, plexus, flow, cortex.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal; changed.
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    to_ventricles : ndarray of float32, shape (X, Y, Z)
        Distance in mm to the lateral ventricles.
    """
    shape = image.shape
    white = np.isin(labels, (2, 41, 25, 57))
    wobble = smooth_field(rng, shape, rng.uniform(10, 30), _VOXEL_MM)
    if rng.random() < 0.7:  # ependymal rim, thin
        rim = np.clip(rng.uniform(1.0, 2.6) - np.abs(to_ventricles - 0.5), 0, 1) * (wobble > -0.5)
        image += rng.uniform(0.02, 0.22) * rim * (white | np.isin(labels, lb.VENTRICLES))
    if rng.random() < 0.6:  # terminal zones and dirty white matter, wide and faint
        image += (
            rng.uniform(0, 0.12)
            * np.exp(-np.maximum(to_ventricles, 0) / rng.uniform(4, 12))
            * white
        )
    if rng.random() < 0.5:  # cortex that is brighter in places (insula, cingulum)
        cortex = np.isin(labels, (*lb.CORTEX, *LIMBIC))
        image += rng.uniform(0, 0.12) * np.clip(wobble, 0, 2) * cortex
    ventricles = np.isin(labels, (4, 43, 5, 44, 15))
    if rng.random() < 0.95:  # choroid plexus
        plexus = blobs(rng, shape, ventricles, int(rng.integers(1, 9)), (1.5, 6), _VOXEL_MM)
        image += plexus * ventricles * (rng.uniform(0.6, 1.5) - image)
    if rng.random() < 0.6:  # septum and fornix, thin between the lateral ventricles
        wide = int(rng.integers(1, 3))
        sheet = ndimage.binary_dilation(labels == 4, iterations=wide) & ndimage.binary_dilation(
            labels == 43, iterations=wide
        )
        sheet = ndimage.gaussian_filter(sheet.astype(np.float32), 0.6, truncate=2.5)
        image += np.minimum(sheet * 1.5, 1) * (rng.uniform(0.8, 1.7) - image)
    fluid = np.isin(labels, lb.CSF + lb.VENTRICLES)
    if rng.random() < 0.4:  # pulsation defeats the nulling of CSF
        flow = blobs(rng, shape, fluid, int(rng.integers(1, 6)), (2, 9), _VOXEL_MM)
        image += flow * fluid * (rng.uniform(0.4, 1.3) - image)
    _add_vessels(rng, image, fluid, white)


def _add_vessels(
    rng: Rng, image: NDArray[np.float32], fluid: NDArray[np.bool_], white: NDArray[np.bool_]
) -> None:
    if rng.random() < 0.35:  # vessels that cross a slice, and those along it
        dots = blobs(rng, image.shape, fluid, int(rng.integers(5, 40)), (0.7, 1.6), _VOXEL_MM)
        image += dots * (rng.uniform(0.1, 1.4) - image)
    if rng.random() < 0.3:
        lines = tubes(rng, image.shape, rng.uniform(12, 30), rng.uniform(0.8, 2.0), _VOXEL_MM)
        image += lines * fluid * (rng.uniform(0.1, 1.4) - image)
    if rng.random() < 0.3:  # medullary veins and the spaces around vessels, dark in white matter
        lines = tubes(rng, image.shape, rng.uniform(12, 30), rng.uniform(0.6, 1.2), _VOXEL_MM)
        image *= 1 - rng.uniform(0.1, 0.5) * lines * white


def add_sinuses(
    rng: Rng,
    image: NDArray[np.float32],
    labels: NDArray[np.uint16],
    to_surface: NDArray[np.float32],
) -> None:
    """Let slow flow in sinuses, and thick dura, be bright in some heads.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal; changed.
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    to_surface : ndarray of float32, shape (X, Y, Z)
        Distance in mm to the surface of the brain, negative inside.
    """
    if rng.random() < 0.35:
        field = smooth_field(rng, image.shape, rng.uniform(8, 16), _VOXEL_MM)
        spots = np.clip((field - rng.uniform(1.2, 2.2)) / 0.35, 0, 1)
        spots *= (to_surface > -1) & (to_surface < 7) & (BRAIN_TABLE[labels] == 0)
        image += spots * (rng.uniform(0.8, 2.2) - image)


def add_caps(
    rng: Rng,
    image: NDArray[np.float32],
    labels: NDArray[np.uint16],
    where: NDArray[np.float32],
    points: NDArray[np.float32],
) -> None:
    """Brighten the white matter at the tips of the ventricles, and the fornices' commissure.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal; changed.
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    where : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel lies in the label map that the landmarks are of.
    points : ndarray of float32, shape (10, 3)
        See ``places.landmarks``.
    """
    white = np.isin(labels, lb.WHITE)
    for end in (0, 1):
        if rng.random() < 0.5:
            level, reach = rng.uniform(*CAP), [rng.uniform(*CAP_MM)] * 3
            for side in (0, 2):
                image += (
                    level * rng.uniform(0.7, 1.3) * _near(where, points[side + end], reach) * white
                )
    if rng.random() < 0.4:
        between = np.clip(_near(where, points[4], (8.0, 2.5, 3.0)) * 1.5, 0, 1)
        between *= white | np.isin(labels, lb.SEPTUM)
        image += between * np.maximum(rng.uniform(0.9, 1.6) - image, 0)


def _near(
    where: NDArray[np.float32], point: NDArray[np.float32], reach_mm: Sequence[float]
) -> NDArray[np.float32]:
    squares = sum(((where[i] - point[i]) / reach_mm[i]) ** 2 for i in range(3))
    return np.asarray(np.exp(-0.5 * squares), np.float32)


def add_tracts_and_limbic(
    rng: Rng,
    image: NDArray[np.float32],
    labels: NDArray[np.uint16],
    where: NDArray[np.float32],
    points: NDArray[np.float32],
) -> None:
    """Brighten the corticospinal tracts, and the cortex of insula and cingulum.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray of float32, shape (X, Y, Z)
        Signal; changed.
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    where : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel lies in the label map that the landmarks are of.
    points : ndarray of float32, shape (10, 3)
        See ``places.landmarks``.
    """
    if rng.random() < 0.4:
        level, reach = rng.uniform(*TRACT), rng.uniform(*TRACT_MM)
        tissue = np.isin(labels, lb.WHITE + lb.BRAINSTEM + VENTRAL)
        middle = float(points[[0, 2], 0].mean())
        for point in points[5:7]:
            tract = np.exp(-0.5 * (_to_tract(where, point, middle) / reach) ** 2)
            image += level * rng.uniform(0.8, 1.2) * tract * tissue
    cortex = np.isin(labels, (*lb.CORTEX, *LIMBIC))
    if rng.random() < 0.5:
        level = rng.uniform(*GREY)
        for point in points[7:9]:
            image += level * rng.uniform(0.8, 1.2) * _near(where, point, INSULA_MM) * cortex
    if rng.random() < 0.4:
        image += rng.uniform(*GREY) * _near(where, points[9], CINGULUM_MM) * cortex


def _to_tract(
    where: NDArray[np.float32], capsule: NDArray[np.float32], middle: float
) -> NDArray[np.float32]:
    """Distance in mm to the corticospinal tract of one side, from the crus to below the cortex."""
    outwards = np.sign(capsule[0] - middle)
    nearest = np.full(where.shape[1:], np.inf, np.float32)
    for offset in TRACT_ENDS_MM:
        along = np.array([offset[0] * outwards, *offset[1:]], np.float32)
        apart = where - capsule[:, None, None, None]
        share = np.clip(np.tensordot(along, apart, 1) / (along @ along), 0, 1)
        apart -= along[:, None, None, None] * share
        np.minimum(nearest, np.einsum("ixyz,ixyz->xyz", apart, apart), out=nearest)
    return np.sqrt(nearest)

"""What age does to the shape of a brain: wide ventricles, wide sulci."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.space import Rng, magnify, sample, sample_labels, smooth_field

#: Thickness of the cortex: least, most often, most.
THICKNESS_MM = (1.7, 2.8, 4.0)
#: Share of fluid where the banks of a sulcus touch, on average over a head: least and most. Below 0
#: there is none; from place to place it varies by 0.35 times a smooth field.
TOUCHING = (-0.3, 0.9)
#: By how much cortex is brighter at its surface than at the white matter, relative to its signal.
RIM = (-0.05, 0.25)
#: A voxel lies where banks touch if its depth exceeds that of its neighbourhood (a Gaussian of
#: FOLD_MM) by FOLDED_MM: from the first on there is some fluid, from the second on all of it.
FOLD_MM, FOLDED_MM = 1.2, (0.25, 0.6)
_LATERAL = lb.table({(4, 43): 1})
_CORTEX = lb.table({lb.CORTEX: 1})
_BELOW = lb.table({lb.WHITE + lb.DEEP_GREY: 1})
_DEEPEST_MM = 6.0


def change_ventricles(
    rng: Rng, labels: NDArray[np.uint16], coordinates: NDArray[np.float32]
) -> None:
    """Widen or narrow the lateral ventricles of some heads, often one side more than the other.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    labels : ndarray of uint16, shape (A, B, C)
        Label map at 1 mm.
    coordinates : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel of the new grid lies in it; changed.
    """
    if rng.random() < 0.6:
        return
    found = np.argwhere(_LATERAL[labels[::3, ::3, ::3]] > 0) * 3.0
    if len(found):
        centre = found.mean(0) + rng.uniform(-8, 8, 3)
        amount = rng.uniform(-0.2, 0.4)
        magnify(coordinates, centre, radius_mm=rng.uniform(18, 35), amount=amount)


@dataclass(frozen=True)
class Moved:
    """A label map at a new pose and age.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label of each voxel of the new grid.
    fluid : ndarray of float32, shape (X, Y, Z)
        Share of each voxel that is cortex in the old map and sulcus now.
    rim : ndarray of float32, shape (X, Y, Z)
        By how much the cortex is brighter there than in its middle, relative to its signal.
    where : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel lies in the old map.
    old : ndarray of uint16, shape (A, B, C)
        Label map without sulci.
    """

    labels: NDArray[np.uint16]
    fluid: NDArray[np.float32]
    rim: NDArray[np.float32]
    where: NDArray[np.float32]
    old: NDArray[np.uint16]

    def paint(self, signals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give each voxel its signal; those at a border have part of both.

        Parameters
        ----------
        signals : ndarray of float32, shape (1024,)
            Of each label number.

        Returns
        -------
        image : ndarray of float32, shape (X, Y, Z)
            Interpolated linearly; 0 outside the old map.
        """
        image = ndimage.map_coordinates(signals[self.old], self.where, order=1, mode="constant")
        image *= 1 + self.rim
        image += self.fluid * (signals[lb.CSF[0]] - signals[lb.CORTEX[0]])
        return np.asarray(image, np.float32)


@dataclass(frozen=True)
class Sulci:
    """A label map without sulci, and how far outside of the white matter each voxel lies.

    In label maps, sulci are chains of single voxels, and missing where banks touch. By that
    depth they can be drawn anew: a line where both banks meet, as wide as age makes it.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map in which CSF near the cortex counts as cortex.
    depth : ndarray of float32, shape (X, Y, Z)
        Distance to white matter and deep grey matter in mm, 1 mm voxels.
    """

    labels: NDArray[np.uint16]
    depth: NDArray[np.float32]

    @classmethod
    def of(cls, labels: NDArray[np.uint16]) -> Sulci:
        """Fill the sulci of a label map and measure the depth.

        Parameters
        ----------
        labels : ndarray of uint16, shape (X, Y, Z)
            Label map at 1 mm.

        Returns
        -------
        sulci : Sulci
            CSF up to 2 mm from the cortex is filled.
        """
        cortex = _CORTEX[labels] > 0
        beside = (labels == lb.CSF[0]) & ndimage.binary_dilation(cortex, iterations=2)
        filled = np.where(beside, np.uint16(lb.CORTEX[0]), labels)
        depth = ndimage.distance_transform_edt(_BELOW[labels] == 0).astype(np.float32)
        np.minimum(depth, _DEEPEST_MM, out=depth)
        return cls(filled, ndimage.gaussian_filter(depth - 0.5, 0.5, truncate=2.5))

    def draw(self, rng: Rng, where: NDArray[np.float32], voxel_mm: float) -> Moved:
        """Move the label map and draw its sulci: narrow in the young, wide in the old.

        Where banks touch there is a line of fluid, and the cortex is brighter at its surface, both
        more or less of it from head to head.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        where : ndarray of float32, shape (3, X, Y, Z)
            Where each voxel of the new grid lies in the label map.
        voxel_mm : float
            Edge of its voxels.

        Returns
        -------
        moved : Moved
            CSF where a voxel is mostly sulcus.
        """
        labels = sample_labels(self.labels, where)
        uneven = rng.uniform(0, 0.5) * smooth_field(rng, labels.shape, 35, voxel_mm)
        thickness = rng.triangular(*THICKNESS_MM) + uneven
        near = _CORTEX[labels] > 0
        cortex = sample(  # as far as a voxel's share reaches
            (_CORTEX[self.labels] > 0).astype(np.float32), where, ndimage.maximum_filter(near, 5)
        )
        depth = sample(self.depth, where, ndimage.maximum_filter(near, 11))  # as its mean is taken
        beyond = (depth - thickness) / max(voxel_mm, rng.uniform(0.7, 1.3))
        fold = depth - ndimage.gaussian_filter(depth, FOLD_MM / voxel_mm, truncate=2.5)
        low, high = FOLDED_MM
        line = np.clip((fold - low) / (high - low), 0, 1) * (depth > 1)
        line *= np.clip(
            rng.uniform(*TOUCHING) + 0.35 * smooth_field(rng, labels.shape, 20, voxel_mm), 0, 1
        )
        sulcus = np.maximum(np.clip(beyond + 0.5, 0, 1), line).astype(np.float32)
        rim = rng.uniform(*RIM) * cortex * (1 - sulcus) * (np.clip(depth / thickness, 0, 1) - 0.5)
        drawn = (_CORTEX[labels] > 0) & (sulcus > 0.5)
        aged = np.where(drawn, np.uint16(lb.CSF[0]), labels)
        return Moved(aged, cortex * sulcus, rim.astype(np.float32), where, self.labels)

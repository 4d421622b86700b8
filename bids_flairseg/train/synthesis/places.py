"""Where things lie in a head's label map (1 mm)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.atrophy import Sulci
from bids_flairseg.train.synthesis.space import stretch

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

BRAIN_TABLE = lb.table({lb.BRAIN: 1})
"""Labels of the brain without CSF, which reaches down the spinal canal."""
_DEEP = lb.WHITE + lb.DEEP_GREY + lb.CEREBELLAR_WHITE + lb.BRAINSTEM
TISSUE_TABLE, NOT_CORTEX_TABLE = lb.table({_DEEP: 1, lb.CORTEX: 1}), lb.table({_DEEP: 1})
"""Labels in which lesions may lie, with and without cortex."""

_WHITE, _CORTEX = lb.table({lb.WHITE: 1}), lb.table({lb.CORTEX: 1})
_VENTRICLES = lb.table({(4, 5, 43, 44): 1})
_LATERAL, _THALAMUS, _PUTAMEN, _PALLIDUM = (4, 43), (10, 49), (12, 51), (13, 52)
_WITHIN_MM, _BELOW_MM, _ABOVE_MM, _TO_INSULA_MM = 6.0, 1.0, 6.0, 12.0
_NOWHERE = -1000.0


@dataclass(frozen=True)
class Places:
    """Tissue and distances of a head, cropped to its brain, 1 mm.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    white, cortex : ndarray of bool, shape (X, Y, Z)
        Cerebral white matter and cortex.
    to_ventricles, to_cortex : ndarray of float32, shape (X, Y, Z)
        Distance in mm to the lateral ventricles and to the cortex.
    offset : tuple of int
        Voxel of the whole head at which the crop begins.
    """

    labels: NDArray[np.uint16]
    white: Mask
    cortex: Mask
    to_ventricles: Field
    to_cortex: Field
    offset: tuple[int, int, int] = (0, 0, 0)

    @cached_property
    def landmarks(self) -> Field:
        """See `landmarks`; found once, whatever is drawn in the head."""
        return landmarks(self.labels)

    @cached_property
    def sulci(self) -> Sulci:
        """Where sulci may be drawn; found once as well."""
        return Sulci.of(self.labels)

    @classmethod
    def of(cls, labels: NDArray[np.uint16]) -> Places:
        """Measure a label map.

        Parameters
        ----------
        labels : ndarray of uint16, shape (X, Y, Z)
            Label map, cropped to the brain.

        Returns
        -------
        places : Places
            Distances are computed at 2 mm.
        """
        return cls(
            labels,
            _WHITE[labels] > 0,
            _CORTEX[labels] > 0,
            _distance(_VENTRICLES[labels] > 0),
            _distance(_CORTEX[labels] > 0),
        )

    @classmethod
    def of_head(cls, labels: NDArray[np.uint16], *, margin: int = 12) -> Places:
        """Crop a head to its brain and measure it.

        Parameters
        ----------
        labels : ndarray of uint16, shape (X, Y, Z)
            Label map of a whole head, 1 mm, RAS+.
        margin : int
            Voxels around the brain that stay.

        Returns
        -------
        places : Places
            110 MB for an adult, once its sulci are known.
        """
        box = ndimage.find_objects(BRAIN_TABLE[labels])[0]
        cut = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
        x, y, z = (s.start for s in cut)
        return replace(cls.of(labels[cut]), offset=(x, y, z))


def _distance(mask: Mask) -> Field:
    coarse = ndimage.distance_transform_edt(~mask[::2, ::2, ::2]).astype(np.float32) * 2
    return stretch(coarse, mask.shape) - 1.0


def landmarks(labels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Find where healthy brains are bright: at the ventricles' tips, and in some tracts and cortex.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map at 1 mm, RAS+.

    Returns
    -------
    points : ndarray of float32, shape (10, 3)
        Voxels: front and back tip of the left, then of the right lateral ventricle; the
        commissure of the fornices, below the splenium; left and right the posterior limb of the
        internal capsule, where the corticospinal tract runs; left and right the insula; the
        cortex of the cingulum. Far outside where there are none.
    """
    points = np.full((10, 3), _NOWHERE, np.float32)
    found = [np.argwhere(labels == number) for number in _LATERAL]
    if not all(map(len, found)):
        return points
    for side, voxels in enumerate(found):
        for end, share in enumerate((99.8, 0.2)):
            height = np.percentile(voxels[:, 1], share)
            points[2 * side + end] = voxels[np.abs(voxels[:, 1] - height) <= 1].mean(0)
    middle = round((found[0][:, 0].mean() + found[1][:, 0].mean()) / 2)
    callosum = cc3d.largest_k(_WHITE[labels[middle]] > 0, k=1, connectivity=8) > 0
    if callosum.any():
        y, z = np.nonzero(callosum)
        back = np.percentile(y, 2) + _WITHIN_MM
        points[4] = (middle, back, z[np.abs(y - back) <= 2].min() - _BELOW_MM)
        points[9] = (middle, y.mean(), z.max() + _ABOVE_MM)
    for side in (0, 1):
        nuclei = [np.argwhere(labels[::2, ::2, ::2] == pair[side]) * 2
                  for pair in (_THALAMUS, _PALLIDUM, _PUTAMEN)]  # fmt: skip
        if all(map(len, nuclei)):
            thalamus, pallidum, putamen = (voxels.mean(0) for voxels in nuclei)
            lateral = np.sign(putamen[0] - middle)
            points[5 + side] = (pallidum[0] + 2 * lateral, thalamus[1] + 1, thalamus[2])
            points[7 + side] = putamen + np.array([_TO_INSULA_MM * lateral, 0, 0])
    return points

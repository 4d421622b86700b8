"""Where things lie in a head's label map (1 mm)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.space import stretch

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

BRAIN_TABLE = lb.table({lb.BRAIN: 1})
"""Labels of the brain without CSF, which reaches down the spinal canal."""

_WHITE, _CORTEX = lb.table({lb.WHITE: 1}), lb.table({lb.CORTEX: 1})
_VENTRICLES = lb.table({(4, 5, 43, 44): 1})
_LATERAL = (4, 43)
_WITHIN_MM, _BELOW_MM = 6.0, 1.0
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
    """

    labels: NDArray[np.uint16]
    white: Mask
    cortex: Mask
    to_ventricles: Field
    to_cortex: Field

    @cached_property
    def landmarks(self) -> Field:
        """See `landmarks`; found once, whatever is drawn in the head."""
        return landmarks(self.labels)

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
            60 MB for an adult.
        """
        box = ndimage.find_objects(BRAIN_TABLE[labels])[0]
        return cls.of(labels[tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)])


def _distance(mask: Mask) -> Field:
    coarse = ndimage.distance_transform_edt(~mask[::2, ::2, ::2]).astype(np.float32) * 2
    return stretch(coarse, mask.shape) - 1.0


def landmarks(labels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Find where white matter that is bright in health lies: at the ventricles' tips, and between.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map at 1 mm, RAS+.

    Returns
    -------
    points : ndarray of float32, shape (5, 3)
        Voxels: front and back tip of the left, then of the right lateral ventricle, and the
        commissure of the fornices, below the splenium; far outside where there are none.
    """
    points = np.full((5, 3), _NOWHERE, np.float32)
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
    return points

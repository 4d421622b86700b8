"""Where in the brain a lesion lies, from the classes of the anatomy network.

The four regions are those in which the 2017 McDonald criteria look for dissemination in
space, with what is left of the white matter as the fourth (Thompson et al. 2018, Lancet
Neurol 17:162; Filippi et al. 2016, MAGNIMS, Lancet Neurol 15:292): *periventricular*,
touching the lateral ventricles; *juxtacortical*, touching or inside the cortex;
*infratentorial*, in the brainstem or cerebellum; *deep_white*, all other cerebral tissue,
deep grey matter included.

"Touching" needs a tolerance, since the classes come from a network that works at 2 mm and
a FLAIR shows a rim of its own around the ventricles: 3 mm to the ventricles, the width of
the juxtaventricular zone of Kim et al. 2008 (Biol Psychiatry 64:273), and 1.5 mm to the
cortex, where the white matter of a gyrus is itself only a few mm wide. The 10 and 13 mm
rules for the white matter hyperintensities of old age would make most lesions of a patient
with multiple sclerosis periventricular; they are not used.

A lesion is about as bright as cortex, and the network takes many for it. So cortex within or
around lesions counts only where it goes on to cortex that has no lesion near it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.arrays import BoolArray, LabelArray, bounding_box

#: Names of the regions; a region's number is its place here.
REGIONS: tuple[str, ...] = (
    "other",
    "periventricular",
    "juxtacortical",
    "deep_white",
    "infratentorial",
)
OTHER, PERIVENTRICULAR, JUXTACORTICAL, DEEP_WHITE, INFRATENTORIAL = range(5)

CORTEX, WHITE_MATTER, VENTRICLES, OTHER_CSF, CEREBELLUM, BRAINSTEM = range(1, 7)

#: Farthest distance in mm that still counts as touching.
VENTRICLE_REACH_MM = 3.0
CORTEX_REACH_MM = 1.5
# Tissue lends its side of the tentorium to CSF and unlabelled voxels this near.
_TISSUE_REACH_MM = 6.0
# Islands of ventricle smaller than this are mistakes of the network, not ventricles.
_MIN_VENTRICLE_MM3 = 50.0
# Cortex this near to a lesion may be the lesion's own rim, which is a voxel of the network wide.
_RIM_MM = 2.5
# Pieces of cortex away from lesions that are smaller than this are no part of the sheet.
_MIN_CORTEX_MM3 = 500.0


def region_map(
    classes: LabelArray, spacing: Sequence[float], lesions: BoolArray | None = None
) -> NDArray[np.uint8]:
    """Give every voxel the region that a lesion there would lie in.

    In this order: nearer to cerebellum or brainstem than to the cerebrum, *infratentorial*;
    within 3 mm of the ventricles above the tentorium, *periventricular*; within 1.5 mm of the
    cortex, *juxtacortical*; nearer to white matter than to cortex, *deep_white*; else *other*,
    as is all that is more than 6 mm away from any tissue.
    Distances run between voxel centres; the 26 neighbours of a voxel always touch it,
    however thick the slices. The third ventricle counts as the lateral ones do, as the
    classes do not tell them apart; the fourth does not.

    Parameters
    ----------
    classes : ndarray of int, shape (X, Y, Z)
        Anatomy: 0 background, 1 cortex, 2 cerebral white matter and deep grey, 3 ventricles,
        4 other CSF inside the brain, 5 cerebellum, 6 brainstem.
    spacing : sequence of three float
        Voxel edges in mm.
    lesions : ndarray of bool, shape (X, Y, Z), optional
        Lesions, which are not believed to be cortex.

    Returns
    -------
    ndarray of uint8, shape (X, Y, Z)
        Places in `REGIONS`.
    """
    regions = np.zeros(classes.shape, dtype=np.uint8)
    margin = [int(np.ceil(_TISSUE_REACH_MM / edge)) for edge in spacing]
    box = bounding_box(classes > 0, margin=margin)
    if box is None:
        return regions
    inner = np.ascontiguousarray(classes[box])
    if lesions is not None and lesions.any():
        inner = _with_lesions(inner, lesions[box], spacing)
    grey = _reach(inner == CORTEX, spacing, _TISSUE_REACH_MM)
    white = _reach(inner == WHITE_MATTER, spacing, _TISSUE_REACH_MM)
    hindbrain = _reach(np.isin(inner, (CEREBELLUM, BRAINSTEM)), spacing, _TISSUE_REACH_MM)
    below = hindbrain < np.minimum(grey, white)
    ventricles = _without_islands((inner == VENTRICLES) & ~below, spacing, _MIN_VENTRICLE_MM3)
    regions[box] = np.select(
        [
            below,
            np.isfinite(_reach(ventricles, spacing, VENTRICLE_REACH_MM)),
            np.isfinite(_reach(inner == CORTEX, spacing, CORTEX_REACH_MM)),
            np.isfinite(white) & (white < grey),
        ],
        [INFRATENTORIAL, PERIVENTRICULAR, JUXTACORTICAL, DEEP_WHITE],
        default=OTHER,
    )
    return regions


def lesion_regions(labels: LabelArray, regions: LabelArray) -> NDArray[np.uint8]:
    """Give every lesion one region.

    A lesion with more than half of its voxels below the tentorium is infratentorial. Of the
    others, one that touches the ventricles anywhere is periventricular, also where it goes
    on to the cortex; one that touches the cortex is juxtacortical; the rest goes by
    majority.

    Parameters
    ----------
    labels : ndarray of int, shape (X, Y, Z)
        Lesions numbered from 1 without gaps.
    regions : ndarray of int, shape (X, Y, Z)
        What `region_map` gives, on the same grid.

    Returns
    -------
    ndarray of uint8, shape (n_lesions,)
        Places in `REGIONS`; item 0 is that of lesion 1.
    """
    inside = labels > 0
    numbers = labels[inside].astype(np.int64)
    kinds = len(REGIONS)
    count = int(numbers.max(initial=0))
    cells = np.bincount(numbers * kinds + regions[inside], minlength=(count + 1) * kinds)
    voxels = cells.reshape(count + 1, kinds)[1:]  # (n_lesions, n_regions)
    chosen: NDArray[np.uint8] = np.select(
        [
            2 * voxels[:, INFRATENTORIAL] > voxels.sum(axis=1),
            voxels[:, PERIVENTRICULAR] > 0,
            voxels[:, JUXTACORTICAL] > 0,
            voxels[:, DEEP_WHITE] >= voxels[:, OTHER],
        ],
        [INFRATENTORIAL, PERIVENTRICULAR, JUXTACORTICAL, DEEP_WHITE],
        default=OTHER,
    ).astype(np.uint8)
    return chosen


def _reach(mask: BoolArray, spacing: Sequence[float], limit: float) -> NDArray[np.float32]:
    """Return squared distances in mm^2 to a mask, infinite beyond a limit in mm.

    Exact within the limit, axis by axis, and several times faster than a full distance
    transform, since only shifts of up to the limit are tried. Voxels longer than the limit
    over the root of 3 count as that long, so that a voxel's 26 neighbours are within reach.
    """
    squared = np.where(mask, np.float32(0), np.float32(np.inf))
    for axis, edge in enumerate(spacing):
        step = min(float(edge), limit / np.sqrt(3.0))
        before = squared
        squared = before.copy()
        dearer = np.empty_like(before)
        for shift in range(1, int(limit / step * 1.0001) + 1):
            np.add(before, np.float32((shift * step) ** 2), out=dearer)
            near, far = _shifted(axis, shift)
            np.minimum(squared[near], dearer[far], out=squared[near])
            np.minimum(squared[far], dearer[near], out=squared[far])
    squared[squared > limit**2 * 1.0001] = np.inf
    return squared


def _shifted(axis: int, shift: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the index of all voxels but the last, and of all but the first, few of an axis."""
    near, far = [slice(None)] * 3, [slice(None)] * 3
    near[axis], far[axis] = slice(None, -shift), slice(shift, None)
    return tuple(near), tuple(far)


def _with_lesions(
    classes: LabelArray, lesions: BoolArray, spacing: Sequence[float]
) -> NDArray[np.uint8]:
    """Turn cortex that lies in lesions, or is their rim, into white matter."""
    cortex = classes == CORTEX
    near = np.isfinite(_reach(lesions, spacing, _RIM_MM))
    sheet = _without_islands(cortex & ~near, spacing, _MIN_CORTEX_MM3)
    rim = cortex & near & ~np.isfinite(_reach(sheet, spacing, _RIM_MM))
    return np.where(rim | (cortex & lesions), WHITE_MATTER, classes).astype(np.uint8)


def _without_islands(mask: BoolArray, spacing: Sequence[float], mm3: float) -> BoolArray:
    """Leave out components of a mask that are smaller than so much."""
    smallest = max(int(mm3 / float(np.prod(spacing))), 1)
    cleaned: BoolArray = cc3d.dust(mask, threshold=smallest, connectivity=26).astype(bool)
    return cleaned

"""What a rater outlines of the lesions that were painted: what can be seen."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: In units of the normalised image: the darkest tissue, which is no CSF; how far a lesion must lie
#: above the tissue around it; how far its brightest tenth, where that is not so.
DARKEST_TISSUE, VISIBLE, BRIGHT = -2.0, 0.9, 2.0
#: What a lesion of few voxels (1 mm) must have instead of 0.9, or nobody sees it.
VISIBLE_FEW, FEW_VOXELS = 1.3, 100
#: By how many standard deviations of what lies around it a lesion stands out.
ABOVE_NOISE = 0.8
#: The least that a lesion changes in a voxel that a rater still takes in, same units.
FAINTEST = 0.6
#: Of 1 mm: fewer are nothing that a rater would outline.
LEAST_VOXELS = 4
#: Voxels around a lesion within which it is compared with the tissue there.
AROUND = 4


def rated(
    soft: NDArray[np.float32], core: NDArray[np.float32], change: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Outline lesions as a rater does, by what the acquired image shows of them.

    That is where a voxel is mostly lesion, less what hardly changes the image, and with what a
    slice shows of a lesion thinner than itself: all above half of its own brightest part. What
    is dark within a lesion belongs to it.

    Parameters
    ----------
    soft, core : ndarray of float32, shape (X, Y, Z)
        Share of lesion in each voxel, and of the mass of a tumour.
    change : ndarray of float32, shape (X, Y, Z)
        What the lesions changed, without noise or enhanced edges, in units of the normalised image.

    Returns
    -------
    outlined : ndarray of bool, shape (X, Y, Z)
        Lesion.
    """
    outlined = np.zeros(change.shape, bool)
    found = ndimage.find_objects((soft > 0.1).astype(np.int8))
    if not found:
        return outlined
    box = tuple(slice(max(0, s.start - 3), s.stop + 3) for s in found[0])
    soft, core = soft[box], core[box]
    clear = ndimage.gaussian_filter(change[box], 0.6, truncate=2.5)
    peak = ndimage.maximum_filter(clear, 7)
    thin = (soft > 0.1) & (clear > VISIBLE) & (clear > 0.5 * peak)
    within = (soft > 0.5) | thin
    seen = (within & (clear > FAINTEST)) | (core > 0.5)
    outlined[box] = ndimage.binary_closing(seen, iterations=2) & within
    return outlined


def visible(image: NDArray[np.float32], lesions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the lesions that a rater could see: brighter than what lies around them.

    Parameters
    ----------
    image : ndarray of float32, shape (X, Y, Z)
        Normalised image, zero outside the brain.
    lesions : ndarray of bool, shape (X, Y, Z)
        All that was painted.

    Returns
    -------
    outlined : ndarray of bool, shape (X, Y, Z)
        26-connected parts of four voxels and more whose median lies 0.9 above that of the tissue
        around them (1.3 if they have less than 100 voxels), and above what varies there; of larger
        ones also those whose 90th centile lies 2 above it, as in a lesion with a dark middle.
    """
    parts = cc3d.connected_components(lesions, connectivity=26)
    outlined = np.zeros_like(lesions)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        wide = tuple(slice(max(0, s.start - AROUND), s.stop + AROUND) for s in box)
        part, values = parts[wide] == number, image[wide]
        around = tissue_around(values, part, parts[wide] > 0)
        around = around if around.size else np.zeros(1, np.float32)
        middle, upper = np.percentile(values[part], [50, 90]) - np.median(around)
        size = np.count_nonzero(part)
        few = size < FEW_VOXELS
        clear = middle >= max(VISIBLE_FEW if few else VISIBLE, ABOVE_NOISE * float(np.std(around)))
        if size >= LEAST_VOXELS and (clear or (not few and upper >= BRIGHT)):
            outlined[wide] |= part
    return outlined


def tissue_around(
    image: NDArray[np.float32], part: NDArray[np.bool_], lesions: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the values of the tissue around one lesion.

    Parameters
    ----------
    image : ndarray of float32, shape (X, Y, Z)
        Normalised image, zero outside the brain.
    part : ndarray of bool, shape (X, Y, Z)
        The lesion.
    lesions : ndarray of bool, shape (X, Y, Z)
        All lesions, which are no tissue to compare with; nor is CSF.

    Returns
    -------
    values : ndarray of float32, shape (V,)
        Of the voxels up to four from the lesion.
    """
    shell = ndimage.binary_dilation(part, iterations=AROUND) & ~lesions
    return np.asarray(image[shell & (image != 0) & (image > DARKEST_TISSUE)])

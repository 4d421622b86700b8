"""Label maps of heads: what their numbers mean, and how they are read.

Numbers are FreeSurfer's; 500 and above are tissues outside the brain
(SynthSeg's training maps, Billot et al. 2023, doi:10.1016/j.media.2023.102789).
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CORTEX = (3, 42)
WHITE = (2, 41, 25, 57)
VENTRICLES = (4, 5, 14, 15, 43, 44, 72)
DEEP_GREY = (10, 11, 12, 13, 17, 18, 26, 28, 49, 50, 51, 52, 53, 54, 58, 60, 85, 136, 137, 163, 164)
CEREBELLAR_CORTEX = (8, 47)
CEREBELLAR_WHITE = (7, 46)
BRAINSTEM = (16,)
CSF = (24,)
SEPTUM = (136, 163)  # septum and fornix, between the lateral ventricles
VESSELS = (30, 62)
BRAIN = CORTEX + WHITE + VENTRICLES + DEEP_GREY + CEREBELLAR_CORTEX + CEREBELLAR_WHITE + BRAINSTEM
OUTSIDE_FROM = 500

CLASSES = (
    "background",
    "cortex",
    "white-and-deep-grey",
    "ventricles",
    "other-csf",
    "cerebellum",
    "brainstem",
)

_SIZE = 1024


def table(groups: dict[tuple[int, ...], int]) -> NDArray[np.uint8]:
    """Return a look-up table from label numbers to the given values.

    Parameters
    ----------
    groups : dict
        Label numbers and the value that stands for them; all others give 0.

    Returns
    -------
    values : ndarray of uint8, shape (1024,)
        To be indexed with a label map.
    """
    values = np.zeros(_SIZE, np.uint8)
    for numbers, value in groups.items():
        values[list(numbers)] = value
    return values


_CLASS_OF = table(
    {
        CORTEX: 1,
        WHITE + DEEP_GREY + VESSELS: 2,
        VENTRICLES: 3,
        CEREBELLAR_CORTEX + CEREBELLAR_WHITE: 5,
        BRAINSTEM: 6,
    }
)
_IS_BRAIN = table({BRAIN: 1})


def read_labels(path: Path) -> NDArray[np.uint16]:
    """Read a 1 mm label map in closest RAS+ orientation.

    Parameters
    ----------
    path : Path
        NIfTI file.

    Returns
    -------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label numbers, 1 mm voxels.
    """
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asanyarray(image.dataobj)
    return np.asarray(np.minimum(labels, _SIZE - 1), np.uint16)


def close(mask: NDArray[np.bool_], radius_mm: float, voxel_mm: float) -> NDArray[np.bool_]:
    """Close a mask with a ball and fill its holes.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        Foreground.
    radius_mm : float
        Radius of the ball.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    closed : ndarray of bool, shape (X, Y, Z)
        Foreground with gaps up to twice the radius bridged.
    """
    margin = int(np.ceil(radius_mm / voxel_mm)) + 1
    padded = np.pad(mask, margin)
    grown = ndimage.distance_transform_edt(~padded) * voxel_mm <= radius_mm
    shrunk = ndimage.distance_transform_edt(grown) * voxel_mm > radius_mm
    inner = (shrunk | padded)[margin:-margin, margin:-margin, margin:-margin]
    return np.asarray(ndimage.binary_fill_holes(inner))


def brain_envelope(
    labels: NDArray[np.uint16], voxel_mm: float, *, radius_mm: float = 8.0
) -> NDArray[np.bool_]:
    """Return the filled brain mask: sulci, cisterns and ventricles belong to it.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    voxel_mm : float
        Edge of a voxel.
    radius_mm : float
        Radius of the closing.

    Returns
    -------
    envelope : ndarray of bool, shape (X, Y, Z)
        Closing of the brain's labels without outer CSF.
    """
    return close(_IS_BRAIN[labels] > 0, radius_mm, voxel_mm)


def anatomy_classes(labels: NDArray[np.uint16], voxel_mm: float) -> NDArray[np.uint8]:
    """Return the classes of the anatomy network.

    Parameters
    ----------
    labels : ndarray of uint16, shape (X, Y, Z)
        Label map.
    voxel_mm : float
        Edge of a voxel.

    Returns
    -------
    classes : ndarray of uint8, shape (X, Y, Z)
        Index into :data:`CLASSES`.
    """
    classes = _CLASS_OF[labels]
    envelope = brain_envelope(labels, voxel_mm)
    classes[envelope & (classes == 0)] = 4
    classes[~envelope] = 0
    return classes

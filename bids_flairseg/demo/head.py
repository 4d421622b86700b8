"""Drawing FLAIR-like heads from the ICBM 152 tissue maps.

The maps come with nilearn (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033), so
nothing is downloaded. What lies outside the brain is made of shells around it and of a few
simple bodies. Positions are in mm of the template's world, RAS+.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]

# Signal relative to white matter = 100, as on 3 T FLAIR without fat suppression.
WHITE, GREY, CSF, LESION = 100.0, 124.0, 26.0, 168.0
BONE, MARROW, FAT, MUSCLE, VITREOUS = 14.0, 52.0, 150.0, 68.0, 24.0

# Distance outside the brain's cavity, in mm, at which each shell begins.
SKULL_FROM, MARROW_FROM, MARROW_TO, SCALP_FROM, SCALP_TO = 1.5, 3.5, 5.5, 8.0, 15.0


@dataclass(frozen=True)
class Template:
    """Tissue maps on the template's 1 mm grid, each of shape (X, Y, Z).

    Parameters
    ----------
    grey, white : Volume
        Share of the tissue in each voxel, 0 to 1.
    depth : Volume
        Distance to the surface of the brain's cavity in mm, positive inside.
    affine : ndarray of float, shape (4, 4)
        From voxel to world.
    """

    grey: Volume
    white: Volume
    depth: Volume
    affine: NDArray[np.float64]


def load_template() -> Template:
    """Read the tissue maps that nilearn carries, and add the depth below the surface.

    Returns
    -------
    template : Template
        Maps of shape (197, 233, 189).
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    grey_image, white_image = load_mni152_gm_template(), load_mni152_wm_template()
    grey = np.asarray(grey_image.dataobj, dtype=np.float32)
    white = np.asarray(white_image.dataobj, dtype=np.float32)
    return Template(grey, white, cavity_depth(grey + white), grey_image.affine)


def cavity_depth(tissue: Volume) -> Volume:
    """Measure how deep each voxel lies in the brain's cavity.

    The cavity is the tissue closed by 12 mm, sulci, ventricles and cisterns inside.

    Parameters
    ----------
    tissue : Volume
        Share of grey and white matter together, shape (X, Y, Z), 1 mm.

    Returns
    -------
    depth : Volume
        Signed distance to its surface in mm, positive inside; worked out at 2 mm.
    """
    coarse = np.pad(tissue[::2, ::2, ::2] > 0.2, 8)
    grown = ndimage.distance_transform_edt(~coarse) <= 6
    closed = ndimage.distance_transform_edt(grown) > 6
    closed = ndimage.binary_fill_holes(closed)
    inside = ndimage.distance_transform_edt(closed)
    outside = ndimage.distance_transform_edt(~closed)
    signed = 2 * ndimage.gaussian_filter(inside - outside, 1)[8:-8, 8:-8, 8:-8]
    steps = np.meshgrid(*(np.arange(n) / 2 for n in tissue.shape), indexing="ij")
    return ndimage.map_coordinates(signed, steps, order=1, mode="nearest", output=np.float32)


def smooth_noise(shape: tuple[int, ...], nodes: int, rng: np.random.Generator) -> Volume:
    """Draw a smooth random field.

    Parameters
    ----------
    shape : tuple of int
        Shape of the field.
    nodes : int
        Random values along each axis; between them runs a cubic spline.
    rng : Generator
        Where chance comes from.

    Returns
    -------
    field : Volume
        Values of zero mean and a standard deviation of about 1.
    """
    field = rng.standard_normal((nodes,) * len(shape)).astype(np.float32)
    for length in shape:
        spline = ndimage.zoom(np.eye(nodes, dtype=np.float32), (length / nodes, 1), order=3)
        field = np.tensordot(field, spline, axes=(0, 1))  # the new axis comes last
    field -= field.mean()
    field /= field.std()
    return field


def sample(volume: Volume, voxels: NDArray[np.float32]) -> Volume:
    """Read a map of the template at any positions.

    Parameters
    ----------
    volume : Volume
        Map on the template's grid.
    voxels : ndarray of float32, shape (3, X, Y, Z)
        Positions in voxels of that grid; those outside take the nearest value.

    Returns
    -------
    values : Volume
        Linear interpolation, shape (X, Y, Z).
    """
    return ndimage.map_coordinates(volume, voxels, order=1, mode="nearest", output=np.float32)


def paint_head(
    template: Template, lesions: Volume, world: NDArray[np.float32], rng: np.random.Generator
) -> tuple[Volume, Volume]:
    """Draw one head, without bias field and noise.

    Parameters
    ----------
    template : Template
        Tissue maps.
    lesions : Volume
        Share of lesion on the template's grid, 0 to 1.
    world : ndarray of float32, shape (3, X, Y, Z)
        Where each voxel of the image lies in the template's world, in mm.
    rng : Generator
        Where the texture comes from.

    Returns
    -------
    signal, share : Volume
        The image (white matter = 100) and the share of lesion, each of shape (X, Y, Z).
    """
    voxels = world - template.affine[:3, 3].astype(np.float32)[:, None, None, None]
    grey, white = sample(template.grey, voxels), sample(template.white, voxels)
    share = sample(lesions, voxels)
    fine, coarse = (smooth_noise(share.shape, nodes, rng) for nodes in (48, 9))
    texture = 1 + 0.03 * (fine + coarse)
    brain = (WHITE * white + GREY * grey) * texture + CSF * np.clip(1 - grey - white, 0, 1)
    brain += share * (LESION * texture - brain)
    outside = -sample(template.depth, voxels)
    return paint_shells(brain, outside, world, rng), share


def paint_shells(
    brain: Volume, outside: Volume, world: NDArray[np.float32], rng: np.random.Generator
) -> Volume:
    """Lay skull, scalp, eyes, face and neck around a brain.

    Parameters
    ----------
    brain : Volume
        Signal of the brain and the fluid around it, shape (X, Y, Z).
    outside : Volume
        Distance outside the brain's cavity in mm.
    world : ndarray of float32, shape (3, X, Y, Z)
        Position of each voxel in the template's world in mm.
    rng : Generator
        Where the texture of muscle comes from.

    Returns
    -------
    signal : Volume
        The whole head, zero in air.
    """
    shell: Volume = outside / (1 + 0.06 * smooth_noise(brain.shape, 6, rng))
    signal = brain
    shells = (
        (SKULL_FROM, BONE),
        (MARROW_FROM, MARROW),
        (MARROW_TO, BONE),
        (SCALP_FROM, FAT),
    )
    for start, value in shells:
        signal = _lay(signal, value, shell - start)
    below = np.maximum(SCALP_TO - shell, _body_depth(world))  # mm under the skin
    flesh = MUSCLE * (1 + 0.25 * smooth_noise(brain.shape, 28, rng))
    signal = _lay(signal, flesh, np.minimum(below - 6, shell - SCALP_FROM))
    for side in (-1, 1):
        signal = _lay(signal, FAT, np.minimum(_ball(world, (33 * side, 60, -36), 18), shell - 6))
        signal = _lay(signal, VITREOUS, np.minimum(_ball(world, (33 * side, 66, -36), 12), shell))
    signal = _lay(signal, 0.0, np.minimum(_ball(world, (0, 62, -48), (11, 26, 18)), shell - 3))
    return _lay(signal, 0.0, -below)


def _lay(signal: Volume, value: Volume | float, depth: Volume) -> Volume:
    """Cover what lies deeper than 0 mm in a body, with a soft edge of 1 mm."""
    cover: Volume = np.clip(depth + 0.5, 0, 1)
    covered: Volume = signal + cover * (value - signal)
    return covered


def _ball(
    world: NDArray[np.float32],
    centre: tuple[float, float, float],
    radius: float | tuple[float, float, float],
) -> Volume:
    """Give roughly how deep each position lies in an ellipsoid, in mm."""
    radii = radius if isinstance(radius, tuple) else (radius,) * 3
    squares = [((world[i] - centre[i]) / radii[i]) ** 2 for i in range(3)]
    depth: Volume = min(radii) * (1 - np.sqrt(squares[0] + squares[1] + squares[2]))
    return depth


def _body_depth(world: NDArray[np.float32]) -> Volume:
    """Give roughly how deep each position lies in face or neck, in mm."""
    face = _ball(world, (0, 32, -52), (62, 66, 62))
    across = np.sqrt((world[0] / 58) ** 2 + ((world[1] + 28) / 62) ** 2)
    neck = np.minimum(58 * (1 - across), -30 - world[2])
    depth: Volume = np.maximum(face, neck)
    return depth

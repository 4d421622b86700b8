"""Putting lesions of known size into the template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.demo.head import Template, Volume, smooth_noise


@dataclass(frozen=True)
class LesionPlan:
    """How many lesions of which radius go where.

    Parameters
    ----------
    place : str
        ``periventricular``, ``deep``, ``juxtacortical`` or ``infratentorial``.
    count : int
        Number of lesions.
    radius : float
        Mean half-axis in mm; single lesions differ by a third.
    """

    place: str
    count: int
    radius: float


def find_places(template: Template) -> dict[str, NDArray[np.int64]]:
    """Find the voxels in which a lesion of each kind may have its centre.

    Parameters
    ----------
    template : Template
        Tissue maps.

    Returns
    -------
    places : dict of ndarray of int, shape (N, 3)
        Voxels of the template by name of the place.
    """
    coarse = (slice(None, None, 2),) * 3
    grey, white = template.grey[coarse], template.white[coarse]
    depth = template.depth[coarse]
    x, y, z = (
        2 * axis + start
        for axis, start in zip(
            np.indices(grey.shape, sparse=True), template.affine[:3, 3], strict=True
        )
    )  # mm
    fluid = (grey + white < 0.4) & (depth > 25) & (np.abs(x) < 40) & (z > -2)
    to_ventricle = 2 * ndimage.distance_transform_edt(~fluid)  # mm
    to_cortex = 2 * ndimage.distance_transform_edt(grey < 0.6)
    upper = (white > 0.8) & (z > 0)
    pons = (grey + white > 0.9) & (np.abs(x) < 14) & (y < -18) & (y > -38) & (z < -22) & (z > -42)
    return {
        "periventricular": 2 * np.argwhere(upper & (to_ventricle <= 4)),
        "deep": 2 * np.argwhere(upper & (to_ventricle > 9) & (to_cortex > 6)),
        "juxtacortical": 2 * np.argwhere(upper & (to_ventricle > 14) & (to_cortex <= 3)),
        "infratentorial": 2 * np.argwhere(pons & (depth > 12)),
    }


def place_lesions(
    template: Template, plans: tuple[LesionPlan, ...], rng: np.random.Generator
) -> Volume:
    """Draw lesions into an empty map.

    Parameters
    ----------
    template : Template
        Tissue maps.
    plans : tuple of LesionPlan
        What to draw; no plan gives an empty map.
    rng : Generator
        Where chance comes from.

    Returns
    -------
    share : Volume
        Share of lesion in each voxel of the template, 0 to 1, soft at the edge and none in
        fluid.
    """
    share = np.zeros_like(template.grey)
    places = find_places(template) if plans else {}
    for plan in plans:
        for centre in rng.choice(places[plan.place], plan.count, replace=False):
            _add_lesion(share, centre, plan.radius * rng.uniform(0.67, 1.33), rng)
    return share * np.clip(template.grey + template.white, 0, 1)


def _add_lesion(
    share: Volume, centre: NDArray[np.int64], radius: float, rng: np.random.Generator
) -> None:
    """Add one uneven ellipsoid to the map."""
    reach = int(np.ceil(1.8 * radius)) + 2
    low = np.maximum(centre - reach, 0)
    box = tuple(slice(a, b) for a, b in zip(low, centre + reach + 1, strict=True))
    view = share[box]
    offsets = np.ogrid[box]
    axes = radius * rng.uniform(0.75, 1.35, size=3)
    distance = np.sqrt(
        sum(((o - c) / a) ** 2 for o, c, a in zip(offsets, centre, axes, strict=True))
    )
    distance = distance + 0.12 * smooth_noise(view.shape, 4, rng)
    np.maximum(view, np.clip((1 - distance) * radius / 2 + 0.5, 0, 1), out=view)

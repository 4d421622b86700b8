"""Synthetic whole heads with their anatomy classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.train.synthesis import acquisition, atrophy, contrast, space
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.kinds import Lesions, draw_lesions, push
from bids_flairseg.train.synthesis.painting import add_lesions, hollow
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.shapes import LesionShapes
from bids_flairseg.train.synthesis.space import Rng, Shape

VOXEL_MM = 2.0
_ILL = 0.4  # share of the heads with lesions as the lesion network sees them
SHAPE: Shape = (96, 112, 96)
_POSE = space.PoseConfig(
    rotation_deg=18, nod_deg=32, scale=0.16, shear=0.08, shift_mm=14, bend_mm=3.5
)


def anatomy_example(
    rng: Rng,
    sulci: atrophy.Sulci,
    *,
    places: Places | None = None,
    real: LesionShapes | None = None,
    shape: Shape = SHAPE,
) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Synthesise a whole-head FLAIR at 2 mm and its classes.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    sulci : Sulci
        Of the label map of a whole head at 1 mm, RAS+.
    places : Places or None
        The head's brain, for lesions as those that the lesion network learns; None for none.
    real : LesionShapes or None
        Shapes outlined by raters.
    shape : tuple of int
        Shape (X, Y, Z) of the example.

    Returns
    -------
    image : ndarray of float16, shape (X, Y, Z)
        The 99th centile of the brain is about 1.
    classes : ndarray of uint8, shape (X, Y, Z)
        Index into ``labels.CLASSES``; a lesion has that of its tissue.
    """
    labels = sulci.labels
    brain = np.argwhere((labels[::4, ::4, ::4] > 0) & (labels[::4, ::4, ::4] < lb.OUTSIDE_FROM))
    where = space.random_coordinates(rng, shape, VOXEL_MM, brain.mean(0) * 4, _POSE)
    atrophy.change_ventricles(rng, labels, where)
    lesions = draw_lesions(rng, places, real) if places and rng.random() < _ILL else None
    if places and lesions:
        push(rng, where, lesions, places.offset)
    head = sulci.draw(rng, where, VOXEL_MM)
    moved = head.labels
    classes = lb.anatomy_classes(moved, VOXEL_MM)
    image = contrast.paint(rng, head, VOXEL_MM, wide=rng.random() < 0.2)
    if places and lesions and lesions.mask.any():
        image = _add_lesions(rng, image, head, lesions, places.offset, classes > 0)
    else:
        _add_blobs(rng, image, moved)
    _add_flow(rng, image, moved)
    image = acquisition.bias(rng, image, VOXEL_MM)
    _strip_or_deface(rng, image, classes)
    axis = int(rng.choice([2, 2, 2, 0, 1]))
    if rng.random() < 0.75:
        steps = acquisition.steps(axis, float(rng.uniform(2.5, 7.0)), VOXEL_MM)
        [image] = acquisition.slices(rng, [image], VOXEL_MM, steps_mm=steps)
    outside = _cut(rng, shape, axis)
    image = _spoil(rng, image)
    image[outside] = 0
    classes[outside] = 0
    return _scale(rng, image, classes).astype(np.float16), classes


def _spoil(rng: Rng, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add noise, everywhere or where there was signal, and store the numbers."""
    zero_background = rng.random() < 0.5
    mask = image > 1e-4
    image = acquisition.numbers(rng, acquisition.noise(rng, image))
    if zero_background:
        image[~mask] = 0
    return image


def _add_lesions(
    rng: Rng, image: NDArray[np.float32], head: atrophy.Moved, lesions: Lesions,
    offset: tuple[int, int, int], brain: NDArray[np.bool_],
) -> NDArray[np.float32]:  # fmt: skip
    """Paint lesions that were drawn in the brain alone, which begins at a voxel of the head."""
    where = head.where - np.reshape(offset, (3, 1, 1, 1)).astype(np.float32)
    soft, core, hole = (space.sample(each, where) for each in lesions.maps)
    parts = (np.maximum(soft * (1 - head.fluid), core), core, brain)  # a mass fills the sulci
    image = add_lesions(rng, image, parts, kind=lesions.kind, voxel_mm=VOXEL_MM)
    return hollow(rng, image, hole, head.labels)


def _add_blobs(rng: Rng, image: NDArray[np.float32], labels: NDArray[np.uint16]) -> None:
    """Add bright and dark balls, small ones to six heads in ten, and one large one to a quarter."""
    shape = image.shape
    inside = (labels > 0) & (labels < lb.OUTSIDE_FROM)
    if rng.random() < 0.6:
        where = inside & (labels != lb.CSF[0])
        small = contrast.blobs(rng, shape, where, int(rng.integers(1, 25)), (2, 7), VOXEL_MM)
        image += small * (rng.uniform(1.2, 2.2) - image)
    if rng.random() < 0.25:
        large = contrast.blobs(rng, shape, inside, 1, (12, 35), VOXEL_MM)
        field = 1 + 0.4 * space.smooth_field(rng, shape, 12, VOXEL_MM)
        image += large * (rng.uniform(0.2, 2.4) * np.clip(field, 0.2, 2) - image)


def _add_flow(rng: Rng, image: NDArray[np.float32], labels: NDArray[np.uint16]) -> None:
    """Let flowing CSF be bright in some heads."""
    if rng.random() < 0.4:
        fluid = labels == lb.CSF[0]
        flow = contrast.blobs(rng, image.shape, fluid, int(rng.integers(1, 6)), (3, 12), VOXEL_MM)
        image += flow * fluid * (rng.uniform(0.4, 1.5) - image)


def _strip_or_deface(rng: Rng, image: NDArray[np.float32], classes: NDArray[np.uint8]) -> None:
    draw = rng.random()
    if draw < 0.12:  # stripped by another tool, with a margin or biting into the brain
        distance = ndimage.distance_transform_edt(classes == 0) - ndimage.distance_transform_edt(
            classes > 0
        )
        wobble = space.smooth_field(rng, image.shape, 25, VOXEL_MM)
        image[distance > rng.uniform(-0.5, 2.5) + 0.6 * wobble] = 0
        return
    if draw < 0.22:  # face removed by a slanted plane
        grid = np.ogrid[tuple(slice(0, n) for n in image.shape)]
        slope = rng.uniform(0.2, 1.0)
        front = np.flatnonzero((classes > 0).any((0, 2)))
        if len(front):
            plane = grid[1] - slope * grid[2] > front[-1] - slope * image.shape[2] * 0.4
            image[plane & (classes == 0)] = 0


def _cut(rng: Rng, shape: Shape, axis: int) -> NDArray[np.bool_]:
    """Voxels outside a field of view that ends somewhere in the head."""
    outside = np.zeros(shape, bool)
    if rng.random() < 0.5:
        low, high = rng.uniform(0, 0.30), rng.uniform(0.74, 1.0)
        size = shape[axis]
        index = np.arange(size)
        cut = (index < low * size) | (index > high * size)
        outside |= np.expand_dims(cut, tuple(a for a in range(3) if a != axis))
    return outside


def _scale(rng: Rng, image: NDArray[np.float32], classes: NDArray[np.uint8]) -> NDArray[np.float32]:
    inside = image[classes > 0]
    top = float(np.percentile(inside, 99)) if inside.size > 100 else float(image.max())
    spread = 0.12 if rng.random() < 0.6 else 0.6
    return np.asarray(np.clip(image / max(top, 1e-6) * np.exp(rng.uniform(-spread, spread)), 0, 6))

"""Synthetic brain-only FLAIRs with lesions."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.noise import normalise_noisy
from bids_flairseg.train.store import zero_outside
from bids_flairseg.train.synthesis import acquisition, atrophy, contrast, healthy, space
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis.kinds import Lesions, draw_lesions, push
from bids_flairseg.train.synthesis.outline import rated, visible
from bids_flairseg.train.synthesis.painting import add_lesions, hollow, middle_and_spread
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.shapes import LesionShapes
from bids_flairseg.train.synthesis.space import Rng, Shape

VOXEL_MM = 1.0
SHAPE: Shape = (152, 184, 152)
NORMALISATION = "robust"
_POSE = space.PoseConfig(
    rotation_deg=10, nod_deg=22, scale=0.1, shear=0.04, shift_mm=3, bend_mm=2.5
)
#: Share of scans whose slices are thicker than their voxels.
SLICED = 0.5
#: Noise in a voxel, in units of the spread of tissue: of 3D scans, and of thicker slices.
NOISE_THIN, NOISE_THICK = (0.2, 1.3), (0.05, 0.5)
#: Voxels over which neighbours in a slice have their noise in common, where they have.
COMMON = (0.3, 0.65)
_THIN_MM = 1.6  # a scan with such slices is a 3D one, with more noise in a voxel


def lesion_example(
    rng: Rng,
    places: Places,
    real: LesionShapes | None,
    *,
    kind: str | None = None,
    shape: Shape = SHAPE,
) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Synthesise a normalised brain-only FLAIR at 1 mm and its lesion mask.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    places : Places
        The head.
    real : LesionShapes or None
        Shapes outlined by raters.
    kind : str or None
        Kind of lesion; None draws one.
    shape : tuple of int
        Shape (X, Y, Z) of the example.

    Returns
    -------
    image : ndarray of float16, shape (X, Y, Z)
        Normalised, and smoothed where noisy, as in the main job; zero outside the brain alone.
    target : ndarray of uint8, shape (X, Y, Z)
        1 in lesions, as a rater would outline them: see the module ``outline``.
    """
    lesions = draw_lesions(rng, places, real, kind)
    where = _move(rng, places, lesions, shape)
    head = places.sulci.draw(rng, where, VOXEL_MM)
    moved = head.labels
    soft, core = (space.sample(each, where) for each in (lesions.mask, lesions.core))
    soft = np.maximum(soft * (1 - head.fluid), core)  # a mass fills the sulci
    image = contrast.paint(rng, head, VOXEL_MM, wide=rng.random() < 0.1)
    to_surface = _to_surface(moved)
    coarse = space.sample(np.minimum(places.to_ventricles, 30), where[:, ::2, ::2, ::2])
    to_ventricles = space.stretch(coarse, shape)
    healthy.add_normal_brightness(rng, image, moved, to_ventricles)
    healthy.add_sinuses(rng, image, moved, to_surface)
    for brighten in (healthy.add_caps, healthy.add_tracts_and_limbic):
        brighten(rng, image, moved, where, places.landmarks)
    envelope = _rough_brain(rng, moved, to_surface)
    painted = add_lesions(rng, image, (soft, core, envelope), kind=lesions.kind, voxel_mm=VOXEL_MM)
    change = np.abs(painted - image)
    if lesions.hole.any():
        hole = space.sample(lesions.hole, where)
        painted = hollow(rng, painted, hole, moved)
        change *= 1 - hole
    image, target, change = _acquire(rng, painted, [soft, change], envelope)
    if rng.random() < 0.2:  # a field of view that ends within the brain
        envelope &= _field_of_view(rng, shape)
    inside = cc3d.largest_k(envelope, k=1, connectivity=6) > 0
    image[~inside] = 0
    normalised, _ = normalise_noisy(image, inside, kind=NORMALISATION)
    unit = _middle_half(image[inside]) / max(_middle_half(normalised[inside]), 1e-6)
    outlined = visible(normalised, rated(target, core, change / unit) & inside)
    return zero_outside(normalised, inside).astype(np.float16), outlined.astype(np.uint8)


def _move(rng: Rng, places: Places, lesions: Lesions, shape: Shape) -> NDArray[np.float32]:
    """Return where each voxel lies in the label map: pose, age, and the space a mass takes."""
    centre = (np.array(places.labels.shape) - 1) / 2
    where = space.random_coordinates(rng, shape, VOXEL_MM, centre, _POSE)
    atrophy.change_ventricles(rng, places.labels, where)
    push(rng, where, lesions)
    return where


def _middle_half(values: NDArray[np.float32]) -> float:
    """Width of the middle half of the values."""
    return float(np.subtract(*np.percentile(values[::5], [75, 25])))


def _to_surface(labels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Distance in mm to the surface of the brain, negative inside."""
    envelope = lb.brain_envelope(labels[::2, ::2, ::2], 2.0)
    signed = ndimage.distance_transform_edt(~envelope) - ndimage.distance_transform_edt(envelope)
    return space.stretch((signed * 2).astype(np.float32), labels.shape)


def _rough_brain(
    rng: Rng, labels: NDArray[np.uint16], distance: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return a brain mask with the faults of skull stripping."""
    wobble = space.smooth_field(rng, labels.shape, rng.uniform(12, 30), VOXEL_MM)
    limit = rng.uniform(-1.5, 2.5) + rng.uniform(0.2, 1.5) * wobble
    if rng.random() < 0.3:  # pieces of skull, scalp and orbits left over
        leak = space.smooth_field(rng, labels.shape, 18, VOXEL_MM)
        limit = limit + rng.uniform(4, 12) * np.clip(leak - 0.8, 0, 1.5)
    if rng.random() < 0.15:  # fat behind the eyes taken for brain
        behind = contrast.near_eyes(labels, VOXEL_MM, rng.uniform(15, 30))
        limit = limit + rng.uniform(4, 18) * behind
    mask = distance < limit
    if rng.random() < 0.06:  # tools that leave outer CSF out
        mask &= labels != lb.CSF[0]
    return np.asarray(mask)


def _field_of_view(rng: Rng, shape: Shape) -> NDArray[np.bool_]:
    """Slices from somewhere in the lower third to somewhere in the upper third."""
    height = np.arange(shape[2]) / shape[2]
    return (height > rng.uniform(0, 0.35)) & (height < rng.uniform(0.7, 1.0))


def _acquire(
    rng: Rng,
    image: NDArray[np.float32],
    lesions: list[NDArray[np.float32]],
    brain: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Acquire the image; what lies where, and what lesions changed, in the same slices."""
    image = acquisition.bias(rng, image, VOXEL_MM, coil=0.3)
    sliced, thickness = rng.random() < SLICED, VOXEL_MM
    if sliced:
        thickness = float(rng.choice([rng.uniform(1.5, 3.2), rng.uniform(2.5, 6.5)]))
    _, spread = middle_and_spread(image[brain])
    usual = rng.uniform(*(NOISE_THIN if thickness < _THIN_MM else NOISE_THICK))
    share = rng.uniform(0.7, 1.2) if rng.random() < 0.08 else usual
    axis = int(rng.choice([2, 2, 2, 2, 0, 1]))
    common = rng.uniform(*COMMON) if rng.random() < 0.75 else 0.0
    in_plane = [not (sliced and axis == along) for along in range(3)]
    sigma = share * max(spread, 0.03)

    def spoil(sampled: NDArray[np.float32]) -> NDArray[np.float32]:
        sharp = acquisition.sharpen(rng, sampled, in_plane)
        return acquisition.noise(rng, sharp, sigma=sigma, spread=[common * a for a in in_plane])

    voxel = float(rng.uniform(1.0, 1.5)) if rng.random() < 0.25 else VOXEL_MM
    steps = acquisition.steps(axis, thickness if sliced else voxel, voxel)
    image, soft, change = acquisition.slices(
        rng, [image, *lesions], VOXEL_MM, steps_mm=steps, spoil=spoil
    )
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 0.7), truncate=2.5)
    return acquisition.numbers(rng, image), soft, change

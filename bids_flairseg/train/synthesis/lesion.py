"""Synthetic brain-only FLAIRs with lesions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.preprocess.noise import normalise_noisy
from bids_flairseg.train.synthesis import acquisition, atrophy, contrast, healthy, space
from bids_flairseg.train.synthesis import labels as lb
from bids_flairseg.train.synthesis import shapes as sh
from bids_flairseg.train.synthesis.outline import rated, visible
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.shapes import LesionShapes
from bids_flairseg.train.synthesis.space import Rng, Shape

VOXEL_MM = 1.0
SHAPE: Shape = (152, 184, 152)
NORMALISATION = "robust"
_POSE = space.PoseConfig(
    rotation_deg=10, nod_deg=22, scale=0.1, shear=0.04, shift_mm=3, bend_mm=2.5
)
KINDS = ("none", "real", "demyelination", "small vessel", "tumour", "stroke")
# Contrast above healthy tissue, in units of its spread: most kinds, and two of their own.
_LEVEL, _LEVELS = (1.5, 2.7, 5.0), {"tumour": (2.0, 3.6, 6.5), "stroke": (1.8, 3.2, 6.0)}
_SHARES = (0.25, 0.30, 0.17, 0.13, 0.09, 0.06)
_THIN_MM = 1.6  # a scan with such slices is a 3D one, with more noise in a voxel
_LEAST_VOXELS = 4  # fewer are nothing that a rater would outline


@dataclass(frozen=True)
class Lesions:
    """Lesions of one head in its label space.

    Parameters
    ----------
    mask : ndarray of float32, shape (X, Y, Z)
        1 in lesions.
    core : ndarray of float32, shape (X, Y, Z)
        1 in the mass of a tumour.
    kind : str
        One of ``none``, ``real``, ``demyelination``, ``small vessel``,
        ``tumour``, ``stroke``.
    """

    mask: NDArray[np.float32]
    core: NDArray[np.float32]
    kind: str


def draw_lesions(
    rng: Rng, places: Places, real: LesionShapes | None, kind: str | None = None
) -> Lesions:
    """Draw the lesions of a head.

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

    Returns
    -------
    lesions : Lesions
        In the label space of the head.
    """
    kind = kind or str(rng.choice(KINDS, p=_SHARES))
    mask, core = _draw_kind(rng, places, real, kind)
    if kind in ("tumour", "stroke", "real") and rng.random() < 0.25:
        mask = mask | sh.demyelination(rng, places)
    if kind != "none" and rng.random() < 0.3:
        mask = mask | sh.punctate(rng, places)
    old = np.isin(places.labels, (25, 57))  # white-matter lesions of the person scanned
    if kind != "none" and old.any() and rng.random() < 0.6:
        mask = mask | old
    mask = cc3d.dust(mask, threshold=_LEAST_VOXELS, connectivity=26) > 0
    return Lesions(mask.astype(np.float32), core.astype(np.float32), kind)


def _draw_kind(
    rng: Rng, places: Places, real: LesionShapes | None, kind: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return all of the lesion and, for tumours, its core."""
    nothing = np.zeros(places.labels.shape, bool)
    if kind == "none":
        return nothing, nothing
    if kind == "tumour":
        return sh.tumour(rng, places)
    if kind == "real" and real is not None:
        return real.draw(rng, places), nothing
    generators = {"small vessel": sh.small_vessel, "stroke": sh.stroke}
    return generators.get(kind, sh.demyelination)(rng, places), nothing


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
        Normalised, and smoothed where it is noisy, as in the main job; zero outside the brain.
    target : ndarray of uint8, shape (X, Y, Z)
        1 in lesions, as a rater would outline them: see the module ``outline``.
    """
    lesions = draw_lesions(rng, places, real, kind)
    where = _move(rng, places, lesions, shape)
    moved = space.sample_labels(places.labels, where)
    moved = atrophy.change_sulci(rng, moved, VOXEL_MM, young=0.45)
    soft = _sample(lesions.mask, where) if lesions.mask.any() else np.zeros(shape, np.float32)
    core = _sample(lesions.core, where) if lesions.core.any() else np.zeros(shape, np.float32)
    image = contrast.paint(rng, moved, VOXEL_MM, wide=rng.random() < 0.1)
    to_surface = _to_surface(moved)
    to_ventricles = _sample(np.minimum(places.to_ventricles, 30), where)
    healthy.add_normal_brightness(rng, image, moved, to_ventricles)
    healthy.add_sinuses(rng, image, moved, to_surface)
    healthy.add_caps(rng, image, moved, where, places.landmarks)
    envelope = _rough_brain(rng, moved, to_surface)
    painted = _add_lesions(rng, image, soft, core, envelope, kind=lesions.kind)
    image, target, change = _acquire(rng, painted, [soft, np.abs(painted - image)], envelope)
    if rng.random() < 0.2:  # a field of view that ends within the brain
        envelope &= _field_of_view(rng, shape)
    image[~envelope] = 0
    inside = envelope & (image > 0)
    normalised, _ = normalise_noisy(image, inside, kind=NORMALISATION)
    unit = _middle_half(image[inside]) / max(_middle_half(normalised[inside]), 1e-6)
    outlined = visible(normalised, rated(target, core, change / unit) & inside)
    return normalised.astype(np.float16), outlined.astype(np.uint8)


def _move(rng: Rng, places: Places, lesions: Lesions, shape: Shape) -> NDArray[np.float32]:
    """Return where each voxel lies in the label map: pose, age, and the space a mass takes."""
    centre = (np.array(places.labels.shape) - 1) / 2
    where = space.random_coordinates(rng, shape, VOXEL_MM, centre, _POSE)
    atrophy.change_ventricles(rng, places.labels, where)
    if lesions.core.any() and rng.random() < 0.7:
        mass = np.argwhere(lesions.core[::2, ::2, ::2] > 0).mean(0) * 2
        amount = rng.uniform(0.1, 0.45)
        space.magnify(where, mass, radius_mm=rng.uniform(14, 32), amount=amount)
    return where


def _middle_and_spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return what ``preprocess.normalise`` shifts and scales by, of the brain's values."""
    values = values[::7]
    median, upper = np.percentile(values, [50, 75])
    tissue = values[values > median - 3 * (upper - median)]
    low, middle, high = np.percentile(tissue, [25, 50, 75])
    return float(middle), float(high - low) / 1.349


def _middle_half(values: NDArray[np.float32]) -> float:
    """Width of the middle half of the values."""
    return float(np.subtract(*np.percentile(values[::5], [75, 25])))


def _sample(array: NDArray[np.float32], where: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(ndimage.map_coordinates(array, where, order=1, mode="nearest"))


def _add_lesions(
    rng: Rng,
    image: NDArray[np.float32],
    soft: NDArray[np.float32],
    core: NDArray[np.float32],
    brain: NDArray[np.bool_],
    *,
    kind: str,
) -> NDArray[np.float32]:
    """Raise the signal in lesions, by a contrast measured in the brain's own spread.

    In real FLAIRs lesions lie, in units of the normalised image, at 0.5 to 1 (5th
    and 10th centile), 1.4 (quartile), 2.1 (median), 3 (quartile) and 3.7.
    """
    if not soft.any():
        return image
    middle, spread = _middle_and_spread(image[brain])
    spread = max(spread, 0.03)
    level = rng.triangular(*_LEVELS.get(kind, _LEVEL)) * _own_levels(rng, soft)
    plateau = middle + spread * level * (
        1 + rng.uniform(0.1, 0.4) * space.smooth_field(rng, image.shape, rng.uniform(6, 18), 1)
    )
    blurred = ndimage.gaussian_filter(soft, rng.uniform(0.3, 0.8), truncate=2.5)
    # raters take in the faint border: what they outline begins below half of the contrast
    weight = np.clip(blurred * rng.uniform(1.1, 1.5) - rng.uniform(0, 0.4), 0, 1)
    if rng.random() < 0.3:  # a faint halo that nobody outlines
        weight = np.maximum(weight, 0.2 * ndimage.gaussian_filter(soft, 2.5, truncate=2))
    # added to the tissue, not put in its place: a lesion without the tissue's grain would be
    # known by its smoothness, which real ones do not show
    below = np.maximum(ndimage.gaussian_filter(image, 2.0, truncate=2), middle - 1.5 * spread)
    image = image + weight * np.maximum(plateau - below, 0.3 * spread)
    if core.any():
        image = _add_core(rng, image, core, (middle, spread))
    elif rng.random() < 0.2:  # dark centres: black holes, lacunes, old infarcts
        wide = ndimage.gaussian_filter(soft, 2.5, truncate=2)
        holes = np.clip((wide - 0.8) / 0.15, 0, 1) * (
            space.smooth_field(rng, image.shape, 8, 1) > rng.uniform(0.3, 1.5)
        )
        image = image + holes * (middle * rng.uniform(0.3, 0.9) - image)
    return np.asarray(image, dtype=np.float32)


def _own_levels(rng: Rng, soft: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how bright each lesion and what lies around it is, next to the others of the head."""
    parts, count = cc3d.connected_components(soft > 0.3, connectivity=26, return_N=True)
    around = ndimage.maximum_filter(parts, 7)
    own = np.exp(0.25 * rng.standard_normal(count + 1, np.float32))
    return np.asarray(own[np.where(parts > 0, parts, around)])


def _add_core(
    rng: Rng,
    image: NDArray[np.float32],
    core: NDArray[np.float32],
    scale: tuple[float, float],
) -> NDArray[np.float32]:
    """Mass of a tumour: patchy, often with a necrotic middle."""
    middle, spread = scale
    edge = np.clip(ndimage.gaussian_filter(core, 1.5, truncate=2) * 1.2, 0, 1)
    patchy = middle + spread * (
        rng.uniform(1.0, 4.5)
        + rng.uniform(0.2, 1.5) * space.smooth_field(rng, image.shape, rng.uniform(5, 14), 1)
    )
    image = image + edge * (patchy - ndimage.gaussian_filter(image, 2.0, truncate=2))  # keeps grain
    if rng.random() < 0.4:
        necrosis = np.clip(
            (ndimage.gaussian_filter(core, rng.uniform(3, 6), truncate=2) - 0.75) / 0.2, 0, 1
        )
        image = image + necrosis * (middle * rng.uniform(0.2, 1.3) - image)
    return np.maximum(image, 0.01)


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
    if rng.random() < 0.12:  # tools that leave outer CSF out
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
    sliced, thickness = rng.random() < 0.6, VOXEL_MM
    if sliced:
        thickness = float(rng.choice([rng.uniform(1.5, 3.2), rng.uniform(2.5, 6.5)]))
    _, spread = _middle_and_spread(image[brain])
    usual = rng.uniform(0.15, 0.85) if thickness < _THIN_MM else rng.uniform(0.05, 0.55)
    share = rng.uniform(0.7, 1.2) if rng.random() < 0.08 else usual
    spoil = partial(acquisition.noise, rng, sigma=share * max(spread, 0.03))
    if sliced:
        image, *lesions = acquisition.slices(
            rng, [image, *lesions], VOXEL_MM, axis=int(rng.choice([2, 2, 2, 2, 0, 1])),
            thickness_mm=thickness, spoil=spoil,
        )  # fmt: skip
    else:
        image = spoil(image)
    soft, change = lesions
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 0.7), truncate=2.5)
    return acquisition.numbers(rng, image), soft, change

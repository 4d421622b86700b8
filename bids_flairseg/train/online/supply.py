"""Heads and lesions in the memory of the device, lesions arriving while it trains."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Collection, Sequence
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bids_flairseg.train.online.anatomy import anatomy_example
from bids_flairseg.train.online.heads import Head, LesionMap, draw_map, pack_head, pad
from bids_flairseg.train.online.lesion import lesion_example
from bids_flairseg.train.synthesis.labels import read_labels
from bids_flairseg.train.synthesis.places import Places
from bids_flairseg.train.synthesis.shapes import LesionShapes

_AHEAD = 64


class AnatomySupply:
    """Whole heads, drawn anew for each step.

    Parameters
    ----------
    heads : sequence of Path
        Label maps.
    """

    def __init__(self, heads: Sequence[Path]) -> None:
        with multiprocessing.get_context("spawn").Pool() as workers:
            packed = workers.map(_read_whole, heads)
        self._heads = _stack(packed)

    def draw(self, seed: int, step: int, batch: int) -> tuple[Array, Array]:
        """Return the examples of a step: (N, X, Y, Z, 1) float32 and uint8."""
        rng = np.random.default_rng((seed, step))
        examples = []
        for _ in range(batch):
            place = int(rng.integers(len(self._heads.words)))
            examples.append(_draw_anatomy(_key(rng), self._heads, place))
        return _batch(examples)

    def expect(self, batch: int) -> tuple[Any, Any]:
        """Return shapes and types of what will be drawn, without drawing it."""
        key = np.zeros(2, np.uint32)
        return _expect(_draw_anatomy, (key, self._heads, 0), batch)

    def stop(self) -> None:
        """Nothing runs beside this."""


class LesionSupply:
    """Brains with lesions that other processes draw meanwhile.

    Which of them have arrived by a step depends on how fast the processes are, so that two runs
    with one seed differ; a pool on disk (``bids_flairseg.train.pool``) does not.

    Parameters
    ----------
    heads : sequence of Path
        Label maps.
    shapes : Path or None
        Folder of real lesion masks.
    seed : int
        Of the lesions.
    workers : int
        Processes.
    room : int
        Lesion maps that are kept; from then on the oldest ones give way.
    leave_out : collection of str
        Patients whose lesion masks are not used, with or without ``sub-``.

    Raises
    ------
    MissingInputError
        See ``synthesis.shapes.LesionShapes.read``; before any process is started.
    """

    def __init__(
        self,
        heads: Sequence[Path],
        shapes: Path | None,
        *,
        seed: int,
        workers: int,
        room: int,
        leave_out: Collection[str] = (),
    ) -> None:
        if shapes:  # a mistyped patient is told here and now, not by a process that ends
            LesionShapes.find(shapes, leave_out=leave_out)
        context = multiprocessing.get_context("spawn")
        self._queue: Queue[Any] = context.Queue(_AHEAD)
        workers = min(workers, len(heads))
        self._workers = [
            context.Process(
                target=_supply, daemon=True,
                args=(self._queue, list(enumerate(heads))[first::workers], shapes,
                      tuple(leave_out), (seed, first)),
            )
            for first in range(workers)
        ]  # fmt: skip
        for worker in self._workers:
            worker.start()
        packed: dict[int, Head] = {}
        waiting = []
        while len(packed) < len(heads):
            index, found = self._queue.get(timeout=600)
            if isinstance(found, Head):
                packed[index] = found
            else:
                waiting.append((index, found))
        self._heads = _stack([packed[index] for index in range(len(heads))])
        self._codes = jnp.zeros((room, *self._heads.words.shape[1:]), jnp.uint16)
        self._about: list[tuple[int, Any, int]] = []
        self.count = 0
        for index, found in waiting or [self._queue.get(timeout=600)]:
            self._keep(index, found)

    def draw(self, seed: int, step: int, batch: int) -> tuple[Array, Array]:
        """Return the examples of a step: (N, X, Y, Z, 1) float32 and uint8."""
        for _ in range(4):  # no more, so that the device does not wait
            try:
                self._keep(*self._queue.get_nowait())
            except queue.Empty:
                break
        rng = np.random.default_rng((seed, step))
        examples = []
        for _ in range(batch):
            place = int(rng.integers(len(self._about)))
            about = (place, *self._about[place])
            examples.append(_draw_lesions(_key(rng), self._heads, self._codes, about))
        return _batch(examples)

    def expect(self, batch: int) -> tuple[Any, Any]:
        """Return shapes and types of what will be drawn, without drawing it."""
        key, about = np.zeros(2, np.uint32), (0, *self._about[0])
        return _expect(_draw_lesions, (key, self._heads, self._codes, about), batch)

    def stop(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.terminate()

    def _keep(self, index: int, found: Any) -> None:
        start, codes, mass, level = found
        place = self.count % len(self._codes)
        whole = np.zeros(self._codes.shape[1:], np.uint16)
        whole[tuple(slice(a, a + n) for a, n in zip(start, codes.shape, strict=True))] = codes
        self._codes = _put(self._codes, whole, place)
        row = (index, mass, level)
        if place < len(self._about):
            self._about[place] = row
        else:
            self._about.append(row)
        self.count += 1


def _read_whole(path: Path) -> Head:
    labels = read_labels(path)
    return pack_head(labels, Places.of(labels).to_ventricles)


def _supply(
    found: Queue[Any],
    heads: list[tuple[int, Path]],
    shapes: Path | None,
    leave_out: tuple[str, ...],
    seed: tuple[int, int],
) -> None:
    """Send the heads, and then their lesions without end, cropped to where there are any."""
    threadpool_limits(1)  # of this process: there are as many of them as cores
    real = LesionShapes.read(shapes, leave_out=leave_out) if shapes else None
    places = []
    for index, path in heads:
        place = Places.of_head(read_labels(path))
        places.append((index, place))
        found.put((index, pack_head(place.labels, place.to_ventricles)))
    rng = np.random.default_rng(seed)
    while True:
        index, place = places[int(rng.integers(len(places)))]
        lesions = draw_map(rng, place, real)
        inside = [np.flatnonzero(lesions.codes.any(axis)) for axis in ((1, 2), (0, 2), (0, 1))]
        start = tuple(int(where[0]) if len(where) else 0 for where in inside)
        stop = tuple(int(where[-1]) + 1 if len(where) else 1 for where in inside)
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        found.put((index, (start, lesions.codes[box].copy(), lesions.mass, lesions.level)))


def _stack(heads: Sequence[Head]) -> Head:
    x, y, z = (max(edges) for edges in zip(*(head.words.shape for head in heads), strict=True))
    same = [
        head._replace(
            words=pad(head.words, (x, y, z)),
            depth=pad(head.depth, (x, y, z)),
            classes=pad(head.classes, (x, y, z)),
        )
        for head in heads
    ]
    return Head(*(jnp.asarray(np.stack(group)) for group in zip(*same, strict=True)))


def _key(rng: np.random.Generator) -> NDArray[np.uint32]:
    return rng.integers(0, 2**32, 2, dtype=np.uint32)


@partial(jax.jit, donate_argnums=0)
def _put(codes: Array, whole: Array, place: Array) -> Array:
    return codes.at[place].set(whole)


def _lesions(
    key: Array, heads: Head, codes: Array, about: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    place, owner, mass, level = about
    lesions = LesionMap(codes[place], mass, level)
    return lesion_example(jax.random.wrap_key_data(key), _one(heads, owner), lesions)


def _anatomy(key: Array, heads: Head, place: Array) -> tuple[Array, Array]:
    return anatomy_example(jax.random.wrap_key_data(key), _one(heads, place))


def _one(heads: Head, place: Array) -> Head:
    return Head(*(group[place] for group in heads))


def _expect(draw: Callable[..., Any], arguments: tuple[Any, ...], batch: int) -> tuple[Any, Any]:
    image, target = (
        jax.ShapeDtypeStruct((batch, *one.shape, 1), one.dtype)
        for one in jax.eval_shape(draw, *arguments)
    )
    return image, target


def _batch(examples: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    images, targets = zip(*examples, strict=True)
    return jnp.stack(images)[..., None], jnp.stack(targets)[..., None]


_draw_lesions: Callable[..., tuple[Array, Array]] = jax.jit(_lesions)
_draw_anatomy: Callable[..., tuple[Array, Array]] = jax.jit(_anatomy)

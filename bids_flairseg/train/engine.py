"""Training on the cases of a site: resumable, stoppable, and safe from NaN and full disks.

Only Keras's own interface is used, so TensorFlow and JAX both do. Every epoch is one ``fit``
over patches whose draws depend on seed, case and epoch; between two rounds the state can be
written and, by the same command, gone on with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import keras
import numpy as np
from numpy.typing import NDArray

from bids_flairseg.model.predict import mirrored
from bids_flairseg.model.runtime import applied, set_up
from bids_flairseg.train.checkpoint import Keeper
from bids_flairseg.train.cursor import CaseScore, Cursor, Progress, mean_dice
from bids_flairseg.train.feed import choose_micro_batch, naming_memory, open_epoch
from bids_flairseg.train.job import DivergedError, FitResult, StoppedError, TrainingJob
from bids_flairseg.train.journal import Journal
from bids_flairseg.train.network import build, compile_model, published, training_precision
from bids_flairseg.train.pace import Pace
from bids_flairseg.train.parallel import share_batches, share_out, spread, synchronise
from bids_flairseg.train.signals import Signals
from bids_flairseg.train.state import restore
from bids_flairseg.train.store import StoredCase
from bids_flairseg.train.validation import (
    AFTER,
    BEFORE,
    at_threshold,
    pick_threshold,
    score_cases,
)

_MOST_SETBACKS = 3


def fit(job: TrainingJob, *, report: Callable[[Progress], None] | None = None) -> FitResult:
    """Train, or go on where an earlier process stopped.

    Parameters
    ----------
    job : TrainingJob
        What is trained, on what, and how.
    report : callable, optional
        Gets the progress every now and then.

    Returns
    -------
    result : FitResult
        The network with the weights that are kept, and what it scores on held-out cases.

    Raises
    ------
    UsageError
        The folder holds another training, the bundle is no lesion model, or the batch does
        not fit into memory.
    StoppedError
        A signal came; says from where the same command goes on.
    DivergedError
        The loss became NaN again and again.
    """
    with Signals() as signals:
        training = _Training(job, Journal(job.folder, report), signals)
        training.run()
        return training.finish()


class _Training:
    """One process's part of a training."""

    def __init__(self, job: TrainingJob, journal: Journal, signals: Signals) -> None:
        self.job, self.recipe, self.journal, self.signals = job, job.recipe, journal, signals
        self.keeper = Keeper(job)
        self.config = job.bundle_config()
        state = self.keeper.load()
        self.cursor = state[1] if state else Cursor()
        self.pace = Pace(self.cursor.seconds)
        self.halt, self.saved = "", time.monotonic()

        device = set_up(job.nthreads, job.device)
        precision = training_precision(self.recipe, self.config, device)
        self._plan(device, itemsize=2 if precision == "bfloat16" else 4)
        self.scope = partial(spread, self.devices, device)
        with self.scope():
            self.model = build(job, precision)
        self.parent: list[NDArray[np.float32]] | None = None
        if job.parent:
            self.parent = [np.array(value) for value in self.model.get_weights()]
        self.trained = sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)
        synchronise(self.model)
        self._compile()
        if state:
            restore(state[0], self.model)
            # whoever wrote the state may have been killed before it wrote the table
            journal.redraw(self.cursor.rows, self._kept_epoch())
            journal.say(f"going on after epoch {self.cursor.epoch}, round {self.cursor.step}")
        apply = applied(self.model)
        self.apply = mirrored(apply) if job.flip else apply
        self._greet(device, precision)

    def run(self) -> None:
        """Train to the last epoch, or until held-out cases gain no more."""
        if not self.cursor.rows and not self.cursor.step:
            self._begin()
        self.keeper.save(self.model, self.cursor)
        while self.cursor.epoch < self.recipe.epochs and not self._exhausted():
            self._train_epoch()
            if self.halt == "nan":
                self._step_back()
            else:
                self._close_epoch()

    def finish(self) -> FitResult:
        """Put the weights in place that are kept, score them, and choose the threshold."""
        self._place_kept()
        self.journal.say("predicting the held-out cases with the weights that are kept")
        scores = self._score(AFTER)
        threshold, reason = pick_threshold(scores, self.recipe, self.config.inference.threshold)
        if scores:
            self._note(reason)
        return FitResult(
            model=self.model,
            config=self.job.bundle_config(threshold),
            trained_parameters=self.trained,
            best_epoch=self._kept_epoch(),
            history=tuple(self.cursor.rows),
            before=tuple(self.cursor.before),
            after=tuple(at_threshold(scores, threshold)),
            notes=tuple(self.cursor.notes),
            seconds=self.pace.seconds,
        )

    def after_round(self, mean: float, count: int, first: int, loss_before: float) -> None:
        """Note the mean loss of `count` rounds after the first ones, and whether to leave."""
        cursor = self.cursor
        cursor.step, cursor.loss_sum = first + count, loss_before + mean * count
        self.pace.count_round()
        if not math.isfinite(mean):
            self.halt = "nan"
        elif self.signals.received:
            self.halt = "stop"
        elif time.monotonic() - self.saved > 60 * self.job.checkpoint_minutes:
            self.checkpoint()
        if not self.halt:
            self.journal.progress(self._progress())

    def checkpoint(self) -> None:
        """Write the state, unless it is spoilt."""
        self.cursor.seconds = self.pace.seconds
        if not self.keeper.save(self.model, self.cursor):
            self.halt = "nan"
        self.saved = time.monotonic()

    def _plan(self, device: str, *, itemsize: int) -> None:
        """Fix the rounds of an epoch, as the first process could afford them."""
        cursor, recipe = self.cursor, self.recipe
        choose = partial(choose_micro_batch, recipe, self.config.architecture, device=device,
                         itemsize=itemsize, memory_mb=self.job.memory_mb)  # fmt: skip
        self.devices, cursor.micro_batch = share_out(recipe, cursor.micro_batch, device, choose)
        self.accumulated = recipe.batch // cursor.micro_batch
        if not cursor.rounds:
            cursor.rounds = len(open_epoch(self.job, 0, 0, cursor.micro_batch))

    def _compile(self) -> None:
        steps = math.ceil(self.recipe.epochs * self.cursor.rounds / self.accumulated)
        with self.scope():
            compile_model(self.model, self.recipe, rounds=self.accumulated, steps=steps,
                          factor=self.cursor.factor)  # fmt: skip

    def _greet(self, device: str, precision: str) -> None:
        total = sum(int(np.prod(v.shape)) for v in self.model.weights)
        self.journal.say(
            f"training {self.trained:,} of {total:,} parameters (layers: {self.job.trained}) on "
            f"{len(self.job.train)} cases, {len(self.job.validation)} held out; "
            f"{self.recipe.batch} patches a step, {self.cursor.micro_batch} at once; {device}"
            f"{f' x {self.devices}' if self.devices > 1 else ''}, {precision}"
        )

    def _begin(self) -> None:
        """Score what training begins with: it is kept unless something does better."""
        if self.parent is None or not self.job.validation:
            return
        self.journal.say("predicting the held-out cases before training")
        scores = self._score(BEFORE)
        self.cursor.before = scores
        self.cursor.dice = self.cursor.best_dice = mean_dice(scores) or 0.0
        self.cursor.rows.append({"epoch": 0, "steps": 0, "validation_dice": self.cursor.dice,
                                 "best_epoch": 0, "minutes": self.pace.seconds / 60})  # fmt: skip

    def _train_epoch(self) -> None:
        """Do the rounds of the current epoch that are left."""
        cursor, self.halt = self.cursor, ""
        first = cursor.step
        data = open_epoch(self.job, cursor.epoch, first, cursor.micro_batch)
        if len(data):
            with naming_memory(cursor.micro_batch):
                self.model.fit(
                    share_batches(data, self.devices), epochs=1, shuffle=False, verbose=0,
                    callbacks=[_Watch(self, first, cursor.loss_sum)],
                )  # fmt: skip
        if self.halt != "nan" and (self.halt == "stop" or self._look_due(cursor.epoch + 1)):
            self.checkpoint()
        if self.halt == "stop":
            self._stop()

    def _close_epoch(self) -> None:
        """Look at the held-out cases, write history and checkpoint."""
        cursor = self.cursor
        loss = cursor.loss_sum / max(cursor.step, 1)
        looked = self._look_due(cursor.epoch + 1)
        if looked:
            self._look(cursor.epoch + 1)
        cursor.epoch += 1
        cursor.rows.append(
            {
                "epoch": cursor.epoch,
                "steps": cursor.epoch * cursor.rounds // self.accumulated,
                "loss": loss,
                "learning_rate": float(self.model.optimizer.learning_rate),
                "validation_dice": cursor.dice if looked else None,
                "best_epoch": cursor.best_epoch if self.job.validation else cursor.epoch,
                "minutes": self.pace.seconds / 60,
            }
        )
        self.journal.progress(self._progress(loss), due=True)
        cursor.step, cursor.loss_sum = 0, 0.0
        self.checkpoint()
        if self.halt == "nan":
            self._step_back()
        else:
            self.journal.epoch(cursor.rows, self._kept_epoch())

    def _look(self, epoch: int) -> None:
        """Score the weights that would be kept now, and keep them if they are the best."""
        cursor = self.cursor
        with published(self.model, self.parent, self.recipe.parent_share):
            cursor.dice = mean_dice(self._score()) or 0.0
            margin = 0.0 if cursor.best_epoch or not self.parent else self.recipe.least_gain
            if cursor.dice > cursor.best_dice + margin:
                cursor.best_dice, cursor.best_epoch, cursor.stale = cursor.dice, epoch, 0
                self.keeper.save_best(self.model.get_weights(), epoch)
            else:
                cursor.stale += 1

    def _place_kept(self) -> None:
        """Put the weights in place that come out: the best ones, or the last ones."""
        cursor, weights = self.cursor, None
        if self._chooses():
            weights = self.parent if not cursor.best_epoch else self.keeper.best(cursor.best_epoch)
            if weights is None:
                self._note(f"The weights of epoch {cursor.best_epoch}, the best, are not in the "
                           "folder of the training: the last ones are kept.")  # fmt: skip
                cursor.best_epoch = cursor.epoch
            elif not cursor.best_epoch:
                self._note(
                    "No epoch did better on the held-out cases than the bundle that training "
                    f"began with (by more than {self.recipe.least_gain:g}): its weights are kept."
                )
        if weights is None:
            with published(self.model, self.parent, self.recipe.parent_share):
                weights = self.model.get_weights()
        self.model.set_weights(weights)

    def _step_back(self) -> None:
        """Go back to the last good state, and on from there with a lower rate."""
        setbacks, factor = self.cursor.setbacks + 1, self.cursor.factor / 2
        notes = self.cursor.notes
        rate = self.recipe.learning_rate * factor
        if setbacks > _MOST_SETBACKS:
            raise DivergedError(
                f"{self.job.folder}: expected a finite loss, found NaN for the {setbacks}th time, "
                f"at a learning rate of {2 * rate:.2g}. The last good state is kept. Begin anew "
                "with learning_rate a tenth, clip_norm=1 or precision=float32."
            )
        self.cursor.factor = factor
        self._compile()
        good = self.keeper.step_back(self.model)
        self.cursor = replace(good, notes=notes, setbacks=setbacks, factor=factor)
        self._note(
            f"The loss became NaN: back to epoch {self.cursor.epoch}, round {self.cursor.step}, "
            f"and on with the learning rate {rate:.2g}."
        )
        self.checkpoint()

    def _stop(self) -> None:
        outlook = self.keeper.outlook(self.cursor)
        self.journal.say(f"{self.signals.received}: training ends. {outlook}")
        raise StoppedError(
            f"{self.job.folder}: stopped by {self.signals.received} after epoch "
            f"{self.cursor.epoch}, round {self.cursor.step} of {self.cursor.rounds}. {outlook}"
        )

    def _score(self, keep: str = "") -> list[CaseScore]:
        return score_cases(
            self.apply, self._held_out(), self.config, min_lesion_ml=self.job.min_lesion_ml,
            keep=self.job.folder / keep if keep else None, memory_mb=self.job.memory_mb,
        )  # fmt: skip

    def _held_out(self) -> Iterator[StoredCase]:
        """Give the held-out cases one by one, as long as no signal ends it."""
        for case in self.job.validation:
            if self.signals.received:
                self._stop()
            yield case

    def _note(self, text: str) -> None:
        if text not in self.cursor.notes:
            self.cursor.notes.append(text)
        self.journal.say(text)

    def _look_due(self, epoch: int) -> bool:
        last = epoch == self.recipe.epochs
        return bool(self.job.validation) and (last or epoch % self.recipe.validate_every == 0)

    def _exhausted(self) -> bool:
        patience = self.recipe.early_stopping
        return bool(patience) and self.cursor.stale >= patience

    def _chooses(self) -> bool:
        return self.recipe.keep_best and self.cursor.best_dice >= 0

    def _kept_epoch(self) -> int:
        return self.cursor.best_epoch if self._chooses() else self.cursor.epoch

    def _progress(self, loss: float | None = None) -> Progress:
        return self.pace.progress(
            self.cursor, epochs=self.recipe.epochs, accumulated=self.accumulated, loss=loss
        )


class _Watch(keras.callbacks.Callback):
    """Tells a training of every round."""

    def __init__(self, training: _Training, first: int, loss_before: float) -> None:
        super().__init__()
        self.training, self.first, self.loss_before = training, first, loss_before

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Pass the mean loss on; leave the epoch when told so."""
        mean = float((logs or {})["loss"])
        self.training.after_round(mean, batch + 1, self.first, self.loss_before)
        if self.training.halt:
            self.model.stop_training = True

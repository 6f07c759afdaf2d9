"""Training: epochs of steps in a deterministic order, watched, stopped, kept and resumed.

Layer: nn. Invariant: where a training is, is told by arrays and a few numbers alone; a training that was interrupted
and resumed has the bits of one that was not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType, f32
from loom.core.errors import ArgumentError, CheckpointError, NotFinite, StateError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.kernels.precisions import FULL
from loom.nn.base.wrongwork import WrongWorkError
from loom.nn.spec import Snapshot
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.checkpoints import read_checkpoint, require_arrays, require_folder, write_checkpoint
from loom.nn.train.loop.history import History
from loom.nn.train.loop.interrupts import stop_on_interrupt
from loom.nn.train.plan import EpochPlan, PlannedBatch, order_of_epoch
from loom.nn.train.programs import Trainable
from loom.nn.train.samples import Samples, batches, check_samples
from loom.nn.train.schedules import Constant

if TYPE_CHECKING:
    from loom.nn.train.measures import Evaluation
    from loom.nn.train.parallel.crew import Crew

__all__ = ["Progress", "Trainer", "settings_of"]

Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is, told after every batch; ``validation_loss`` once an epoch is over."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    validation_loss: float | None = None


class Trainer:
    """Trains a model; ``fit`` may be called again to go on for more epochs with another config's number of them.

    ``frozen``: names of weights that stay as they are; ``rates``: name -> rate of weights that have their own.
    ``x_type``: the type of the network's input, of several by name; ``y_type``: that of targets that are no classes;
    ``outputs``: the names of several outputs, each of which the config has a loss for. ``after``: a training of the
    model that is over, whose programs are taken if they are the same. ``crew``: who computes the micro-batches of
    ``config.micro_batch`` (``nn.train.parallel``); None: this device alone. ``has_run``: ``fit`` has come to its first
    step; ``kept``: where it ended, None if an error ended it.

    Args:
        model: Model with weights: a network's ``model``.
        config: Settings.
        frozen: Names of weights that stay as they are.
        rates: Factors of the learning rate by names of weights; None: 1.
        x_type: Dtype of the input, of several by name.
        y_type: Dtype of targets that are no classes.
        outputs: Names of several outputs, each of which the config has a loss for.
        after: Training of the model that is over, whose programs are taken if they are the same; None: none.
        crew: Computers of the micro-batches of ``config.micro_batch`` (``nn.train.parallel``); None: this device alone.
    """

    def __init__(
        self,
        model: Trainable,
        config: TrainConfig,
        *,
        frozen: Collection[str] = (),
        rates: Mapping[str, float] | None = None,
        x_type: DType | Mapping[str, DType] = f32,
        y_type: DType = f32,
        outputs: Sequence[str] = (),
        after: Trainer | None = None,
        crew: Crew | None = None,
    ) -> None:
        self.model, self.config = model, config
        self.x_type, self.y_type, self.outputs = x_type, y_type, tuple(outputs)
        is_same = after is not None and after.model is model and after.programs.suit(config, frozen, rates or {})
        if after is not None and is_same and after.programs.crew is crew is None:
            self.programs = after.programs
            self.programs.restart(config)
        else:
            from loom.nn.train.parallel.crew import programs_for

            inputs = x_type if isinstance(x_type, Mapping) else ()
            self.programs = programs_for(crew, model, config, frozen, rates or {}, inputs, outputs)
        self.history = History()
        self.epoch = 0
        self._at = 0  # batches of this epoch that are done
        self._total = 0.0  # of loss times samples, this epoch
        self._best = float("inf")
        self._stale = 0  # epochs since the best
        self._best_weights: Arrays = {}
        self._last_good: Arrays = {}
        self._is_stopping = False
        self._data: dict[str, Any] = {}  # what tells the data of ``fit`` from others
        self.kept: Snapshot | None = None
        self.has_run = False

    def _check(self, x: Any, y: Any, where: str = "train") -> Samples:
        told = getattr(getattr(self.model, "network", self.model), "vocabularies", None)  # of a document, of a graph
        return check_samples(
            x, y, self.config.loss, self.x_type, where, y_type=self.y_type, outputs=self.outputs,
            rows=None if told is None else told(),
        )  # fmt: skip

    def stop(self) -> None:
        """Have ``fit`` end after the batch at hand, or those that workers have begun; a checkpoint is written if there
        is a folder for it."""
        self._is_stopping = True

    def fit(
        self,
        x: Any,
        y: Any,
        validation: tuple[Any, Any] | None = None,
        *,
        resume: bool | Snapshot = False,
        report: Callable[[Progress], None] | None = None,
    ) -> History:
        """Train with samples and targets; return its history.

        Args:
            x: Samples (n, ...), of several inputs by name.
            y: Targets (n, ...), of several outputs by name.
            validation: Pair of samples and targets that are measured after each epoch; None: none.
            resume: Whether it goes on from the config's checkpoint, if there is one; or a snapshot (``kept``) to go on
                from.
            report: Function of a ``Progress``, called after each batch; None: none.

        Returns:
            History: losses, rates and measures of each epoch. After Ctrl-C KeyboardInterrupt, the checkpoint written.

        Raises:
            ArgumentError: ``evaluate_every`` without validation; the memory budget is too small; a class outside.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples and targets differ in number, or from the shapes of the network.
            EmptyError: No samples.
            NotFinite: The data, the loss or a weight is NaN or infinite; weights are then the last good ones.
            CheckpointError: The folder cannot be written, or what it holds is of another training.
        """
        data = self._check(x, y)
        held_out = None
        if validation is not None:
            held_out = self._check(*validation, "train, validation")
        elif self.config.evaluate_every is not None:
            raise ArgumentError("train, evaluate_every", "has no effect alone", expected="validation=(x, y) as well",
                                got="no validation", remedy="Pass validation, or leave it out")  # fmt: skip
        self._data = _describe(data, held_out)
        if self.config.checkpoint is not None:
            require_folder(Path(self.config.checkpoint))
        self._prepare(data, held_out)
        if resume:
            self._resume(resume)
        self._is_stopping = False
        self.has_run = True
        try:
            with stop_on_interrupt(self.stop) as interrupted:
                self.kept = self._run(data, held_out, report or (lambda _progress: None))
        finally:
            self.programs.release()
        if self.config.checkpoint is not None:
            write_checkpoint(Path(self.config.checkpoint), self.kept)
        if interrupted:
            raise KeyboardInterrupt
        if self._best_weights and not self._is_stopping:
            self.model.load(self._best_weights)
        return self.history

    def _prepare(self, data: Samples, held_out: Samples | None) -> None:
        size = self.config.batch_size
        sizes = {s.stop - s.start for s in batches(len(data), size)}
        self._require_several({*sizes, self.config.micro_batch or size})
        others = {s.stop - s.start for s in batches(0 if held_out is None else len(held_out), size)}
        self.programs.prepare(data, sorted(sizes, reverse=True), held_out, sorted(others, reverse=True))

    def _require_several(self, sizes: Collection[int]) -> None:
        network = getattr(self.model, "network", None)  # other models have no document
        if network is not None:
            remedy = "Choose a batch_size that leaves no sample over, leave one out"
            network.require_several(sizes, "train, batch_size", remedy)

    # epochs

    def _run(self, data: Samples, held_out: Samples | None, report: Callable[[Progress], None]) -> Snapshot:
        """Run all epochs; return where they ended. Work of a worker that was wrong is done again from the start."""
        first = None if self.programs.crew is None else self._snapshot()
        while True:
            try:
                while self.epoch < self.config.epochs and not self.history.stopped and not self._is_stopping:
                    self._run_epoch(data, held_out, report)
                return self._snapshot()
            except WrongWorkError:
                assert first is not None
                self._begin_again(first)

    def _begin_again(self, first: Snapshot) -> None:
        """Put back what there was before anything that cannot be trusted, in the folder of checkpoints too."""
        self.programs.put(first.arrays)
        self._last_good = {}
        self._restore(first, "what the training began with")
        if self.config.checkpoint is not None:
            write_checkpoint(Path(self.config.checkpoint), first)

    def _run_epoch(self, data: Samples, held_out: Samples | None, report: Callable[[Progress], None]) -> None:
        config, n = self.config, len(data)
        order = order_of_epoch(n, config.seed, self.epoch) if config.shuffle else np.arange(n)
        plan = EpochPlan(config, n, self.epoch)
        count = len(plan.cuts)
        if not self._last_good:
            self.keep()
        self.programs.begin(order, self._at * config.batch_size, self.epoch)
        self.programs.foresee(plan.since(self._at))
        while self._at < count and not (self._is_stopping and self.programs.is_at_rest):
            batch = plan.batch(self._at)
            loss = self._run_batch(batch)
            self._total += loss * (batch.cut.stop - batch.cut.start)
            self._at += 1
            report(Progress(self.epoch, config.epochs, self._at, count, loss))
        if self._at == count:
            self._close_epoch(n, count, held_out, plan.last_rate, report)

    def _run_batch(self, batch: PlannedBatch) -> float:
        if batch.share is None:
            loss = self.programs.run(batch.cut, batch.rate)
        else:
            loss = self.programs.add(batch.cut, batch.share)
        if not math.isfinite(loss):
            raise self._not_finite(loss)
        if batch.ends:
            self.programs.update(batch.rate)
        return loss

    def _close_epoch(
        self, n: int, count: int, held_out: Samples | None, rate: float, report: Callable[[Progress], None]
    ) -> None:
        self.keep()
        self._count_skipped(-(-count // self.config.accumulate))
        history, mean = self.history, self._total / n
        history.loss.append(mean)
        history.rate.append(rate)
        watched = mean
        if held_out is not None:
            every = self.config.evaluate_every
            is_due = every is not None and (self.epoch + 1) % every == 0
            outputs: list[list[Array]] | None = [] if is_due else None
            watched, accuracy = self.validate(held_out, outputs)
            if outputs is not None:
                has_nan = any(bool(np.isnan(o).any()) for batch in outputs for o in batch)
                found = {"samples": len(held_out), "loss": None} if has_nan else self._evaluate(
                    held_out, outputs, watched
                ).brief()  # fmt: skip
                history.evaluations.append({"epoch": self.epoch + 1, **found})
            history.validation_loss.append(watched)
            if accuracy is not None:
                history.validation_accuracy.append(accuracy)
        self.epoch, self._at, self._total = self.epoch + 1, 0, 0.0
        self._watch(watched)
        if self.config.checkpoint is not None and self.epoch % self.config.checkpoint_every == 0:
            write_checkpoint(Path(self.config.checkpoint), self._snapshot())
        report(Progress(self.epoch - 1, self.config.epochs, count, count, mean, watched if held_out else None))

    def _count_skipped(self, updates: int) -> None:
        """Note how many of an epoch's updates were skipped in f16; NotFinite if all were and no scale helps."""
        scaling = self.programs.scaling
        if scaling is None:
            return
        self.history.skipped.append(scaling.skipped - sum(self.history.skipped))
        if self.history.skipped[-1] == updates and scaling.is_least:
            raise NotFinite("train, compute", "no update of this epoch has gradients that f16 holds",
                            expected="finite gradients", got=f"{updates} updates skipped, the loss scale down to 1",
                            remedy='Train with compute="bf16", or bring inputs and targets near 0')  # fmt: skip

    def train_batch(self, x: Array, y: Array) -> float:
        """Make one update of one batch, whatever epoch it is of, at the config's rate; return its loss.

        Args:
            x: Samples of the batch.
            y: Their targets.

        Returns:
            Loss of the batch, before the update.

        Raises:
            ArgumentError: More samples than a batch that is cut into micro-batches has; a class outside.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples and targets differ in number, or from the shapes of the network.
            NotFinite: The data, the loss or a weight is NaN or infinite.
            StateError: Gradients of several batches make an update (``accumulate``).
        """
        if self.config.accumulate > 1:
            raise StateError("train_batch", "an update takes several batches", expected="accumulate=1",
                             got=self.config.accumulate, remedy="Use fit")  # fmt: skip
        data = self._check(x, y)
        if self.config.micro_batch is not None and len(data) > self.config.batch_size:
            raise ArgumentError("train_batch", "more samples than a batch that is cut into micro-batches has",
                                expected=f"at most {self.config.batch_size}", got=len(data),
                                remedy="Use a larger batch_size")  # fmt: skip
        self._require_several({len(data), self.config.micro_batch or len(data)})
        if not self._last_good:
            self.keep()
        schedule = self.config.schedule or Constant(self.config.learning_rate)
        loss = self.programs.train(data, schedule.at(self._steps_done()))
        if not np.isfinite(loss):
            raise self._not_finite(loss)
        return loss

    def validate(self, data: Samples, made: list[list[Array]] | None = None) -> tuple[float, float | None]:
        """Return the mean loss over samples, and the accuracy of all targets that are classes (or of the only output's
        truths).

        Args:
            data: Samples, checked.
            made: List that is given the outputs of each batch; None: none.
        """
        from loom.nn.train.measures import classes_said

        total, right, count = 0.0, 0, 0
        self.programs.sync()
        for cut in batches(len(data), self.config.batch_size):
            loss, outputs = self.programs.loss(data, cut)
            total += loss * (cut.stop - cut.start)
            if made is not None:
                made.append(outputs)
            for output, y in zip(outputs, data.y, strict=True):
                loss = None if self.outputs else self.config.loss
                told = classes_said(output, y[cut], loss, probabilities=bool(self.config.probabilities))
                if told is not None:
                    right += int((told[0] == told[1]).sum())
                    count += told[1].size
        return total / len(data), right / count if count else None

    def _evaluate(self, data: Samples, made: list[list[Array]], value: float) -> Evaluation:
        """Return what the outputs of batches are worth; of several outputs the loss is that of all."""
        from loom.nn.train.measures import Evaluation, evaluation_of

        each: dict[str, Evaluation] = {}
        for n, name in enumerate(self.outputs or ("",)):
            losses = cast("Any", self.config.loss)
            chances = cast("Any", self.config.probabilities)
            loss = losses[name] if is_mapping(losses) else losses
            chance = chances[name] if is_mapping(chances) else chances
            output = np.concatenate([batch[n] for batch in made])
            own = math.nan if self.outputs else value  # of several they were added up
            each[name] = evaluation_of(output, data.y[n], own, loss, probabilities=bool(chance))
        if not self.outputs:
            return each[""]
        return Evaluation(len(data), value, None, None, None, each)

    def _watch(self, loss: float) -> None:
        """Keep the best weights and stop when patience is over; a loss that is NaN is never the best."""
        if self.config.patience is None:
            return
        if loss < self._best - self.config.least_gain or not self._best_weights:
            self._best, self._stale, self._best_weights = loss, 0, self.model.weights()
            return
        self._stale += 1
        if self._stale >= self.config.patience:
            self.history.stopped = f"no gain for {self._stale} epoch{'s' * (self._stale > 1)}"

    # what is not finite

    def keep(self) -> None:
        """Have the state as it is be the one put back if a weight becomes NaN or infinite; NotFinite if one is.

        Raises:
            NotFinite: A weight is NaN or infinite.
        """
        found = self.arrays()
        if any(not _is_finite(a) for a in found.values()):
            raise self._not_finite(None)
        self._last_good = found

    def _not_finite(self, loss: float | None) -> NotFinite:
        """Return the error of a loss or weight that is not finite; the step changed nothing, unless a weight is so."""
        step = self._steps_done()
        faulty = [name for name, a in self.arrays().items() if not _is_finite(a)]
        kept = "The weights are those before this step"
        if faulty:
            self.programs.put(self._last_good)
            kept = "The weights are those at the start of the epoch"
        name = faulty[0].partition("/")[2] if faulty else "loss"
        parts = [] if loss is None else [f"the loss is {'NaN' if np.isnan(loss) else 'infinite'}"]
        parts += [f"weight {name!r} is not finite"] if faulty else ["all weights are finite"]
        error = NotFinite(f"train, step {step}", " and ".join(parts), expected="finite numbers",
                          remedy=f"{kept}. Lower the learning rate, or clip gradients with clip_norm")  # fmt: skip
        error.step, error.tensor = step, name
        return error

    def _steps_done(self) -> int:
        self.programs.sync()
        return int(self.programs.step.item())

    # state

    def arrays(self) -> Arrays:
        """Return copies of all that training changes, by name: ``weights/...`` and ``state/...``."""
        self.programs.sync()
        return self.programs.arrays()

    def _snapshot(self) -> Snapshot:
        facts = {
            "config": settings_of(self.config, self.programs.model), **self._data, "epoch": self.epoch,
            "at": self._at, "total": self._total,
            "best": None if self._best == float("inf") else self._best, "stale": self._stale,
            "history": self.history.to_dict(),
        }  # fmt: skip
        best = {f"best/{name}": a for name, a in self._best_weights.items()}
        return Snapshot(facts, self.arrays() | best)

    def _resume(self, resume: bool | Snapshot) -> None:
        if isinstance(resume, Snapshot):
            self._restore(resume, "what is kept of the training")
            return
        if self.config.checkpoint is None:
            raise ArgumentError("train, resume", "there is no folder to resume from", expected="checkpoint=...",
                                got=None, remedy="Name the folder, or train first")  # fmt: skip
        folder = Path(self.config.checkpoint)
        if not (folder / "manifest.json").exists():
            return
        self._restore(read_checkpoint(folder), f"the checkpoint in {str(folder)!r}")

    def _restore(self, snapshot: Snapshot, what: str) -> None:
        require_arrays(snapshot, self.arrays(), what)
        facts, arrays = snapshot.facts, snapshot.arrays
        try:
            self._require_same(facts)
            best = float("inf") if facts["best"] is None else float(facts["best"])
            epoch, at, stale, total = (*(int(facts[k]) for k in ("epoch", "at", "stale")), float(facts["total"]))
            history = History.from_dict(facts["history"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("train, resume", f"{what} is broken ({error!r})",
                                  remedy="Train from the start") from None  # fmt: skip
        self.programs.put(arrays)
        self._best_weights = {k.removeprefix("best/"): a for k, a in arrays.items() if k.startswith("best/")}
        self._best, self._stale, self.history = best, stale, history
        self.epoch, self._at, self._total = epoch, at, total

    def _require_same(self, facts: Mapping[str, Any]) -> None:
        settings = settings_of(self.config, self.programs.model)
        mine = {**dict.fromkeys(facts["config"]), **settings, **self._data}
        told = {name: facts[name] for name in self._data if name in facts or name == "samples"}
        theirs = {**facts["config"], **told}
        for name, value in mine.items():
            if name in _DATA and name not in theirs:  # kept before these were told
                continue
            if theirs.get(name) != value:
                raise CheckpointError(
                    "train, resume",
                    f"the checkpoint was made with {_DATA.get(name, f'another {name}')}",
                    expected=value,
                    got=theirs.get(name),
                    remedy=_remedy(name, value, theirs.get(name)),
                )


def settings_of(config: TrainConfig, model: Trainable) -> dict[str, str]:
    """Return what a training that goes on must have in common, the precision in which its products are too."""
    found = config.facts()
    network = getattr(model, "network", None)  # other models have no document
    name = config.precision or (FULL if network is None else network.precision.value)
    return {n: v for n, v in found.items() if n != "precision"} | ({} if name == FULL else {"precision": name})


_DATA = {"data": "other data than these of as many samples", "held_out": "other data for validation"}
"""What a snapshot tells of data, besides their number, in words."""


_LENGTHS = re.compile(r"\b(?:steps|period|every|decay_steps)=\d+")
"""What of a schedule's text tells how long it is."""


def _remedy(name: str, mine: object, theirs: object) -> str:
    """Return what to do about a setting that differs; two schedules may differ in their lengths alone."""
    shapes = {_LENGTHS.sub("", str(schedule)) for schedule in (mine, theirs)}
    if name == "schedule" and len(shapes) == 1:
        return (
            "A schedule that is called by its name is as long as epochs and samples make it. Train from the start with "
            f"schedule={mine}, of loom.nn.train, which stays the same for any epochs, or go on with as many epochs"
        )
    return f"Use the same {'data' if name in _DATA else 'settings'}, or train from the start"


def _describe(data: Samples, held_out: Samples | None) -> dict[str, Any]:
    """Return what a snapshot tells of the data: how many samples, and digests."""
    return {"samples": len(data), "data": data.digest(), "held_out": None if held_out is None else held_out.digest()}


def _is_finite(array: Array) -> bool:
    """Tell whether all elements are; uint16 are the bits of bf16."""
    if array.dtype == np.uint16:
        return bool(((array & 0x7F80) != 0x7F80).all())
    return bool(np.isfinite(array).all())

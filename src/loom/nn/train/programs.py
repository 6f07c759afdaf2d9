"""The programs of a training: forward, loss, backward, clipping and update as one, for each size of batch.

Layer: nn. A device with memory of its own keeps the samples, and steps pick theirs by the epoch's order; elsewhere
the host picks them. Invariant: a step whose loss is NaN or infinite changes nothing: what was before it is still there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from typing import Any, Protocol

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import DType, f32
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.kernels.precisions import FULL, check_precision
from loom.nn.base.watch import TapLayout, Viewers, lay_out
from loom.nn.train.config import TrainConfig
from loom.nn.train.losses import Loss
from loom.nn.train.lossscale import LossScale, are_finite, require_masters
from loom.nn.train.optimizers import number_type, starting_state
from loom.nn.train.plan import PlannedBatch
from loom.nn.train.samples import Samples
from loom.nn.train.updates import Pairs, as_type_of, next_values, wide
from loom.runtime.port.device import Device
from loom.tensor import Tensor, TensorProgram

__all__ = ["BatchShape", "Key", "Programs", "Trainable", "feeds_of"]

_MOST_HELD_NBYTES = 1 << 30
"""Samples of so many bytes are kept by a device with memory of its own."""
_MOST_PROGRAMS = 8
"""Programs that are kept, if no training needs more at a time."""

Shape = tuple[int, ...]


class Trainable(Protocol):
    """What is trained: ``loom.nn.weights.model.Model``, or anything that has as much of it."""

    parameters: dict[str, Tensor]
    state_updates: list[tuple[Tensor, Tensor]]

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while a program of the model is recorded, or runs and is read: between steps others may use it."""
        ...

    def apply(self, x: Any, *, training: bool, step: Tensor | None = None) -> Tensor:
        """Record the forward pass on a tensor; of several inputs a mapping by name."""
        ...

    def apply_all(self, x: Any, *, training: bool, step: Tensor | None = None) -> dict[str, Tensor]:
        """Record the same and return several outputs by name; asked only if there are several."""
        ...

    def load(self, weights: dict[str, Array]) -> None:
        """Write weights."""
        ...

    def weights(self) -> dict[str, Array]:
        """Return copies of parameters and state."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class HeldSamples:
    """Samples on the device, their ``order`` in the epoch (u32), and how many of it are ``done``."""

    x: tuple[Tensor, ...]
    y: tuple[Tensor, ...]
    order: Tensor
    done: Tensor

    def pick(self, samples: int, at: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Record the next samples, or those from place ``at`` of the order on, and their targets."""
        begin = self.done if at is None else at
        chosen = tensor.gather(self.order, begin + tensor.arange(samples, dtype="u32"))
        return [tensor.gather(x, chosen) for x in self.x], [tensor.gather(y, chosen) for y in self.y]


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Shapes and dtypes of one sample and its targets, and where samples are if they lie on the device."""

    x: tuple[tuple[Shape, DType], ...]
    y: tuple[tuple[Shape, DType], ...]
    held: HeldSamples | None = None

    @classmethod
    def of(cls, data: Samples, held: HeldSamples | None = None) -> BatchShape:
        """Return what batches of these samples are like."""
        x, y = zip(data.x, data.x_types, strict=True), zip(data.y, data.y_types, strict=True)
        return cls(tuple((a.shape[1:], t) for a, t in x), tuple((a.shape[1:], t) for a, t in y), held)

    def inputs(self, samples: int, at: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Return inputs and targets of a program for so many samples: those picked (``at`` a place), or fed."""
        if self.held is not None:
            return self.held.pick(samples, at)

        def inputs_of(name: str, arrays: tuple[tuple[Shape, DType], ...]) -> list[Tensor]:
            return [tensor.input(f"{name}{i}", (samples, *shape), t) for i, (shape, t) in enumerate(arrays)]

        return inputs_of("x", self.x), inputs_of("y", self.y)


Key = tuple[Any, ...]
"""What a program does, with how many samples, like what; and what of layers is watched, if anything."""
_UPDATE: Key = ("update", 0, None)


class Programs:
    """Compiled steps, and what they keep: ``state`` of the optimiser, ``sums`` of gradients, ``step``.

    ``crew``: who computes besides this device, if anybody does.
    """

    crew: Any = None

    def __init__(
        self, model: Trainable, config: TrainConfig, frozen: Collection[str], rates: Mapping[str, float],
        inputs: Collection[str] = (), outputs: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.model, self.config, self.rates = model, config, dict(rates)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.trained = {name: w for name, w in model.parameters.items() if name not in frozen}
        if not self.trained:
            raise ArgumentError("train", "nothing can be trained", expected="at least one weight that is not frozen",
                                got=f"{len(model.parameters)} weights", remedy="Unfreeze a layer")  # fmt: skip
        self.number = number_type(self.trained)
        self.where = next(iter(self.trained.values())).device
        self.state = starting_state(config.optimizer, self.trained)
        self.step = tensor.parameter(np.zeros((), np.uint32), name="step", on=self.where)
        self.sums = self._zeros() if config.accumulate > 1 else {}
        first = config.first_loss_scale
        self.scaling = None if first is None else LossScale(first, self.where)
        self._precision: dict[str, Any] = {}
        if config.compute is not None:
            for w in self.trained.values():
                self._precision = {"compute": require_masters(w.dtype, config.compute)}
        if config.precision is not None:
            computed = self._precision.get("compute", next(iter(self.trained.values())).dtype)
            self._precision["precision"] = check_precision(config.precision, computed, "train") or FULL
        self._frozen = frozenset(frozen)
        self._made: dict[Key, TensorProgram] = {}
        self._steps: dict[int, TensorProgram] = {}
        self._losses: dict[int, TensorProgram] = {}
        self._numbers: dict[TensorProgram, dict[str, float]] = {}
        self._layouts: dict[TensorProgram, TapLayout] = {}
        self._seen: tuple[TapLayout, list[Tensor]] = TapLayout({}, {}), []
        """What the last step recorded is watched of."""
        self._held: HeldSamples | None = None
        self._data: Samples | None = None
        self._order, self._epoch = np.empty(0, np.int64), -1

    def suit(self, config: TrainConfig, frozen: Collection[str], rates: Mapping[str, float]) -> bool:
        """Tell whether these programs are those of another training of the same model."""
        return (
            _settings_of(config) == _settings_of(self.config)
            and frozenset(frozen) == self._frozen
            and rates == self.rates
        )

    def restart(self, config: TrainConfig) -> None:
        """Begin another training, which they ``suit``: all they keep is as at the start."""
        self.config = config
        for name, first in starting_state(config.optimizer, self.trained).items():
            self.state[name].assign(first.numpy())
        if self.scaling is not None:
            self.scaling.restart()
        for kept in (*self.sums.values(), self.step):
            kept.assign(np.zeros(kept.shape, kept.dtype.numpy))

    def _zeros(self) -> dict[str, Tensor]:
        return {
            name: tensor.parameter(np.zeros(w.shape, _sum_type(w).numpy), name=f"sum.{name}", on=self.where)
            for name, w in self.trained.items()
        }

    @property
    def kept(self) -> dict[str, Tensor]:
        """Name -> parameter of all that a step changes besides the model's own."""
        scaling = {} if self.scaling is None else self.scaling.state
        return {**self.state, **{f"sum.{n}": s for n, s in self.sums.items()}, **scaling, "step": self.step}

    @property
    def nbytes(self) -> int:
        """Bytes of weights, state and programs."""
        arrays = sum(t.nbytes for t in (*self.model.parameters.values(), *self.kept.values()))
        return arrays + sum(p.peak_nbytes for p in self._made.values())

    def prepare(self, data: Samples, sizes: Collection[int], held_out: Samples | None, others: Collection[int]) -> None:
        """Compile for batches of these sizes of samples, and of others held out, before anything runs.

        ArgumentError beyond the budget.
        """
        self._data, self._held = data, self._holding(data)
        batch, kind = BatchShape.of(data, self._held), "sum" if self.sums else "step"
        wanted = [self._key(kind, samples, batch) for samples in sizes]
        self._compile(sizes, [*wanted, *([_UPDATE] if self.sums else [])], held_out, others)

    def _compile(
        self, sizes: Collection[int], wanted: Sequence[Key], held_out: Samples | None, others: Collection[int]
    ) -> None:
        """Have programs for batches of these sizes, the first of those ``wanted``, and for others held out."""
        losses: list[Key] = []
        if held_out is not None:
            losses = [("loss", samples, BatchShape.of(held_out)) for samples in others]
        made = [self._program(key) for key in (*wanted, *losses)]
        self._forget([*wanted, *losses])
        self._steps = dict(zip(sizes, made, strict=False))
        self._losses = dict(zip(others, made[len(made) - len(losses) :], strict=True))

    def _holding(self, data: Samples) -> HeldSamples | None:
        """Return samples put on the device, in the place of those before if they are alike; None if they are fed."""
        nbytes, types = data.nbytes, (*data.x_types, *data.y_types)
        arrays = (*data.x, *data.y)
        is_free = self.config.budget_nbytes is None and not any(t.storage_only for t in types)
        if not _is_apart(self.where) or nbytes > _MOST_HELD_NBYTES or not is_free:
            return None
        held = self._held
        kinds = [(a.shape, t) for a, t in zip(arrays, types, strict=True)]
        if held is not None and [(t.shape, t.dtype) for t in (*held.x, *held.y)] == kinds:
            for there, new in zip((*held.x, *held.y), arrays, strict=True):
                there.assign(new)
            return held
        made = tuple(tensor.parameter(a, t, on=self.where) for a, t in zip(arrays, types, strict=True))
        order = tensor.parameter(np.zeros(len(data), np.uint32), on=self.where)
        done = tensor.parameter(np.zeros((), np.uint32), on=self.where)
        return HeldSamples(made[: len(data.x)], made[len(data.x) :], order, done)

    def _forget(self, wanted: Collection[Key]) -> None:
        """Free the oldest programs but those wanted, if there are many."""
        for key in wanted:
            self._made[key] = self._made.pop(key)
        while len(self._made) > max(_MOST_PROGRAMS, len(wanted)):
            oldest = self._made.pop(next(iter(self._made)))
            self._numbers.pop(oldest, None)
            self._layouts.pop(oldest, None)
            oldest.free()

    # running

    def begin(self, order: Array, done: int, epoch: int = 0) -> None:
        """Have steps take the samples prepared for in an epoch's order (int64), from number ``done`` of it on."""
        self._order, self._epoch = order, epoch
        if self._held is not None:
            self._held.order.assign(order)
            self._held.done.assign(done)

    def run(self, cut: slice, rate: float) -> float:
        """Train with one batch of the order, the next one, at a rate; return its loss."""
        return self._train_next(cut, rate=rate)

    def add(self, cut: slice, share: float) -> float:
        """Add the gradient of the next batch, which has ``share`` of the samples of an update; return its loss."""
        return self._train_next(cut, share=share)

    def _train_next(self, cut: slice, **numbers: float) -> float:
        feeds: dict[str, Any] = {}
        if self._held is None:
            assert self._data is not None
            feeds = feeds_of(self._data, self._order[cut])
        return self._execute(self._steps[cut.stop - cut.start], feeds, numbers)

    def update(self, rate: float) -> None:
        """Move the weights along the gradients added, and forget those."""
        with self.model.lock:
            self._made[_UPDATE].run(rate=np.asarray(rate, self.number.numpy))

    def train(self, data: Samples, rate: float) -> float:
        """Train with one batch, whatever was prepared; return its loss."""
        key = self._key("step", len(data), BatchShape.of(data))
        program = self._program(key)
        self._forget([key])
        return self._execute(program, feeds_of(data, slice(None)), {"rate": rate})

    def _execute(self, program: TensorProgram, feeds: dict[str, Any], numbers: dict[str, float]) -> float:
        """Run a program; return its loss. Numbers that it has already are not written again."""
        if self._numbers.get(program) != numbers:
            feeds |= {name: np.asarray(value, self.number.numpy) for name, value in numbers.items()}
            self._numbers[program] = numbers
        with self.model.lock:
            program.run(**feeds)
            loss, *seen = program.read()
        if seen:
            self._show(program, seen)
        return float(loss)

    def _show(self, program: TensorProgram, arrays: list[Array], ahead: int = 0) -> None:
        """Show what layers did in a step to who watches still; ``ahead``: steps that are not counted yet."""
        watch = self._watch()
        if watch is None or watch.is_showing:
            return
        forward, backward = self._layouts[program].read(arrays)
        step = int(self.step.item()) + ahead
        watch.show("normal", "forward", forward, step)
        watch.show("normal", "backward", backward, step)

    def loss(self, data: Samples, cut: slice) -> tuple[float, list[Array]]:
        """Return the loss of one batch and the network's outputs, nothing being trained."""
        program = self._losses[cut.stop - cut.start]
        with self.model.lock:
            program.run(**feeds_of(data, cut))
            loss, *outputs = program.read()
        return float(loss), outputs

    # state

    def arrays(self) -> dict[str, Array]:
        """Return copies of all that training changes, by name: ``weights/...`` and ``state/...``."""
        with self.model.lock:
            weights = {f"weights/{n}": a for n, a in self.model.weights().items()}
            return weights | {f"state/{n}": t.numpy() for n, t in self.kept.items()}

    def put(self, arrays: Mapping[str, Array]) -> None:
        """Write what ``arrays`` gave; others may be among them."""
        with self.model.lock:
            self.model.load({n.removeprefix("weights/"): a for n, a in arrays.items() if n.startswith("weights/")})
            for name, t in self.kept.items():
                t.assign(arrays[f"state/{name}"])

    def foresee(self, planned: Iterator[PlannedBatch]) -> None:
        """Take it that these batches are to come in this epoch, for those who can use that."""

    @property
    def is_at_rest(self) -> bool:
        """Whether a training can stop here: nobody is ahead of it."""
        return True

    def sync(self) -> None:
        """Have the model be as the training is by now: nothing is to be done where it is what is trained."""

    def release(self) -> None:
        """Give up what only a training that runs needs, besides memory of this device."""

    # compiling

    def _watch(self) -> Viewers | None:
        """Return who is shown what layers do; models of others may have none."""
        return getattr(self.model, "watch", None)

    def _key(self, kind: str, samples: int, batch: BatchShape) -> Key:
        watch = self._watch()
        return (kind, samples, batch) if watch is None else (kind, samples, batch, watch.names)

    def _program(self, key: Key) -> TensorProgram:
        if key not in self._made:
            kind, samples, batch, *watched = key
            outputs, updates = self.record(kind, samples, batch)
            layout, seen = self._seen
            budget = self.config.budget_nbytes
            left = None if budget is None else self._left_of(budget)
            ends = [*outputs, *seen] if watched else outputs
            made = tensor.compile(ends, updates, on=self.where, budget_nbytes=left, name=f"train, {kind}")
            self._made[key] = made
            if watched:
                self._layouts[made] = layout
        return self._made[key]

    def record(self, kind: str, samples: int, batch: BatchShape | None) -> tuple[list[Tensor], Pairs]:
        """Return outputs and updates of a program: ``step``, ``sum`` or ``loss`` of a batch, or ``update``."""
        with self.model.lock:
            if batch is None:
                return self._update()
            return {"step": self._step, "sum": self._sum, "loss": self._loss}[kind](batch, samples)

    def _left_of(self, budget: int) -> int:
        """Return the bytes that weights and state leave for programs; ArgumentError for none."""
        if budget <= self.nbytes:
            raise ArgumentError("train, budget_nbytes", "weights and what the optimiser keeps need more than all of it",
                                expected=f"at most {budget} bytes", got=f"{self.nbytes} bytes",
                                remedy="Allow more; nothing was run")  # fmt: skip
        return budget - self.nbytes

    def _step(self, batch: BatchShape, samples: int) -> tuple[list[Tensor], Pairs]:
        loss, grads, moved = self._backward(batch, samples)
        is_sound = tensor.isfinite(loss)
        updates = [*self._take(grads), *moved, *self._count(batch, samples)]
        return [loss], [(old, tensor.where(is_sound, new, old)) for old, new in updates]

    def _sum(self, batch: BatchShape, samples: int) -> tuple[list[Tensor], Pairs]:
        loss, grads, moved = self._backward(batch, samples)
        share = tensor.input("share", (), self.number)
        is_sound = tensor.isfinite(loss)
        updates = [(s, s + grads[n] * as_type_of(share, s)) for n, s in self.sums.items()]
        updates += [*moved, *self._count(batch, samples)]
        return [loss], [(old, tensor.where(is_sound, new, old)) for old, new in updates]

    def _count(self, batch: BatchShape, samples: int) -> Pairs:
        held = batch.held
        return [(self.step, self.step + 1), *([] if held is None else [(held.done, held.done + samples)])]

    def _update(self) -> tuple[list[Tensor], Pairs]:
        return [], [*self._take(dict(self.sums)), *((s, tensor.zeros(s.shape, s.dtype)) for s in self.sums.values())]

    def _loss(self, batch: BatchShape, samples: int) -> tuple[list[Tensor], Pairs]:
        x, y = batch.inputs(samples)
        outputs = self._apply(x, training=False)
        return [self._total(outputs, y), *outputs], []

    def _apply(self, x: list[Tensor], *, training: bool, step: Tensor | None = None, **told: Any) -> list[Tensor]:
        """Record the network; return its outputs, narrow ones as f32. Samples held out are measured in its own type.

        ``told``: what else the model is told of the pass.
        """
        told |= self._precision if training else {}
        given = dict(zip(self.inputs, x, strict=True)) if self.inputs else x[0]
        if not self.outputs:
            return [wide(self.model.apply(given, training=training, step=step, **told))]
        made = self.model.apply_all(given, training=training, step=step, **told)
        return [wide(made[name]) for name in self.outputs]

    def _total(self, outputs: list[Tensor], y: list[Tensor]) -> Tensor:
        """Return the sum of the outputs' losses."""
        functions = self.config.loss_functions(self.outputs)
        losses = [as_type_of(_number_of(f, x, t), outputs[0]) for f, x, t in zip(functions, outputs, y, strict=True)]
        return reduce(lambda a, b: a + b, losses)

    def _backward(
        self, batch: BatchShape, samples: int, at: Tensor | None = None, **told: Any
    ) -> tuple[Tensor, dict[str, Tensor], Pairs]:
        x, y = batch.inputs(samples, at)
        outputs = self._apply(x, training=True, step=self.step, **told)
        moved = list(self.model.state_updates)
        loss, trained = self._total(outputs, y), list(self.trained.values())
        of = loss if self.scaling is None else self.scaling.scale(loss)
        grads: list[Tensor] = []

        def differentiate(taps: list[Tensor]) -> list[Tensor]:
            grads[:] = tensor.grad(of, [*trained, *taps])
            if self.scaling is not None:
                grads[:] = self.scaling.unscale([wide(g) for g in grads])
            return grads[len(trained) :]

        if self._watch() is None:
            differentiate([])
        else:
            self._seen = lay_out(getattr(self.model, "taps", {}), differentiate)
        return loss, {n: wide(g) for n, g in zip(self.trained, grads, strict=False)}, moved

    def _take(self, grads: dict[str, Tensor]) -> Pairs:
        """Return what an update changes; in f16 nothing but the loss scale, if a gradient is not finite."""
        moved = self._move(grads)
        if self.scaling is None:
            return moved
        is_taken = are_finite(grads)
        return [*((old, tensor.where(is_taken, new, old)) for old, new in moved), *self.scaling.next(is_taken)]

    def _move(self, grads: dict[str, Tensor]) -> Pairs:
        """Return the new values of trained weights and of the optimiser's state."""
        rate = tensor.input("rate", (), self.number)
        return next_values(self.config.optimizer, self.trained, self._clip(grads), self.state, rate, self.rates)

    def _clip(self, grads: dict[str, Tensor]) -> dict[str, Tensor]:
        value, norm = self.config.clip_value, self.config.clip_norm
        if value is not None:
            grads = {n: tensor.clip(g, -value, value) for n, g in grads.items()}
        if norm is not None:
            squares = [as_type_of((g * g).sum(), grads[next(iter(grads))]) for g in grads.values()]
            total = squares[0]
            for square in squares[1:]:
                total = total + square
            scale = tensor.minimum(norm / total.sqrt(), 1)
            grads = {n: g * as_type_of(scale, g) for n, g in grads.items()}
        return grads


def feeds_of(data: Samples, chosen: Any) -> dict[str, Array]:
    """Return the chosen samples by the names of a program's inputs."""
    x = {f"x{i}": a[chosen] for i, a in enumerate(data.x)}
    return x | {f"y{i}": a[chosen] for i, a in enumerate(data.y)}


def _is_apart(where: Device | None) -> bool:
    """Tell whether the device has memory of its own, so that samples fed by the host travel."""
    return where is not None and not where.caps.unified_memory


def _number_of(loss: Loss, output: Tensor, target: Tensor) -> Tensor:
    """Return a loss; ArgumentError if the function gives no tensor."""
    found: object = loss(output, target)
    if not isinstance(found, Tensor):
        raise ArgumentError("train, loss", "the function gives no tensor", expected="one number made of its arguments",
                            got=repr(found)[:200],
                            remedy="Return for example ((output - target) ** 2).mean()")  # fmt: skip
    return found


def _settings_of(config: TrainConfig) -> tuple[Any, ...]:
    """Return the settings that programs are made of."""
    return (
        config.optimizer, config.loss, config.probabilities, config.clip_value, config.clip_norm,
        config.accumulate > 1, config.budget_nbytes, config.compute, config.first_loss_scale, config.precision,
        config.micro_batch, config.micro_batch is not None and config.micro_batch < config.batch_size,
    )  # fmt: skip


def _sum_type(w: Tensor) -> DType:
    return f32 if w.dtype.storage_only else w.dtype

"""The programs of a training: forward, loss, backward, clipping and update as one, for each size of batch.

Layer: nn. Invariant: a step whose loss is NaN or infinite changes nothing, so that what was before it is still there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from loom import tensor
from loom.core.dtype import DType, f32
from loom.core.errors import ArgumentError
from loom.nn.train.config import TrainConfig
from loom.nn.train.optimizers import starting_state
from loom.tensor import Tensor, TensorProgram

__all__ = ["Batch", "Programs", "Trainable"]

Pairs = list[tuple[Tensor, Tensor]]
Shape = tuple[int, ...]


class Trainable(Protocol):
    """What is trained: ``loom.nn.model.Model``, or anything that has as much of it."""

    parameters: dict[str, Tensor]
    state_updates: list[tuple[Tensor, Tensor]]

    def apply(self, x: Tensor, *, training: bool, step: Tensor | None = None) -> Tensor:
        """Record the forward pass."""
        ...

    def load(self, weights: dict[str, np.ndarray[Any, Any]]) -> None:
        """Write weights."""
        ...

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of parameters and state."""
        ...


class Batch:
    """Shapes and dtypes of one sample and its target."""

    def __init__(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], x_type: DType, y_type: DType) -> None:
        self.x_shape, self.y_shape = x.shape[1:], y.shape[1:]
        self.x_type, self.y_type = x_type, y_type

    def inputs(self, samples: int) -> tuple[Tensor, Tensor]:
        """Return the inputs ``x`` and ``y`` of a program for so many samples."""
        return (
            tensor.input("x", (samples, *self.x_shape), self.x_type),
            tensor.input("y", (samples, *self.y_shape), self.y_type),
        )


class Programs:
    """Compiled steps, and what they keep: ``state`` of the optimiser, ``sums`` of gradients, ``step``."""

    def __init__(
        self, model: Trainable, config: TrainConfig, frozen: Collection[str], rates: Mapping[str, float]
    ) -> None:
        self.model, self.config, self.rates = model, config, rates
        self.trained = {name: w for name, w in model.parameters.items() if name not in frozen}
        if not self.trained:
            raise ArgumentError("train", "nothing can be trained", expected="at least one weight that is not frozen",
                                got=f"{len(model.parameters)} weights", remedy="Unfreeze a layer")  # fmt: skip
        self.where = next(iter(self.trained.values())).device
        self.state = starting_state(config.optimizer, self.trained)
        self.step = tensor.parameter(np.zeros((), np.uint32), name="step", on=self.where)
        self.sums = self._zeros() if config.accumulate > 1 else {}
        self._made: dict[Any, TensorProgram] = {}

    def _zeros(self) -> dict[str, Tensor]:
        return {
            name: tensor.parameter(np.zeros(w.shape, _held(w).numpy), name=f"sum.{name}", on=self.where)
            for name, w in self.trained.items()
        }

    @property
    def kept(self) -> dict[str, Tensor]:
        """Name -> parameter of all that a step changes besides the model's own."""
        return {**self.state, **{f"sum.{n}": s for n, s in self.sums.items()}, "step": self.step}

    @property
    def nbytes(self) -> int:
        """Bytes of weights, state and programs."""
        arrays = sum(t.nbytes for t in (*self.model.parameters.values(), *self.kept.values()))
        return arrays + sum(p.peak_nbytes for p in self._made.values())

    def prepare(self, batch: Batch, sizes: Collection[int], validation_sizes: Collection[int]) -> None:
        """Compile for batches of these sizes, before anything runs; ArgumentError beyond the budget."""
        for samples in sizes:
            self._program("sum" if self.sums else "step", batch, samples)
        if self.sums:
            self._program("update", batch, 0)
        for samples in validation_sizes:
            self._program("loss", batch, samples)

    # running

    def run(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], rate: float) -> float:
        """Train with one batch at a rate; return its loss."""
        program = self._made["step", len(x)]
        program.run(x=x, y=y, rate=np.asarray(rate, np.float32))
        return float(program.read()[0])

    def add(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], share: float) -> float:
        """Add the gradient of one batch, which has ``share`` of the samples of an update; return its loss."""
        program = self._made["sum", len(x)]
        program.run(x=x, y=y, share=np.asarray(share, np.float32))
        return float(program.read()[0])

    def update(self, rate: float) -> None:
        """Move the weights along the gradients added, and forget those."""
        self._made["update", 0].run(rate=np.asarray(rate, np.float32))

    def loss(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        """Return the loss of one batch and the network's output, nothing being trained."""
        program = self._made["loss", len(x)]
        program.run(x=x, y=y)
        loss, output = program.read()
        return float(loss), output

    # compiling

    def _program(self, kind: str, batch: Batch, samples: int) -> TensorProgram:
        key = kind, samples
        if key not in self._made:
            record = {"step": self._step, "sum": self._sum, "update": self._update, "loss": self._loss}[kind]
            outputs, updates = record(batch, samples)
            budget = self.config.budget_nbytes
            left = None if budget is None else max(0, budget - self.nbytes)
            self._made[key] = tensor.compile(outputs, updates, on=self.where, budget_nbytes=left, name=f"train, {kind}")
        return self._made[key]

    def _step(self, batch: Batch, samples: int) -> tuple[list[Tensor], Pairs]:
        loss, grads, moved = self._backward(batch, samples)
        is_sound = (loss - loss) == 0
        updates = [*self._moved(grads), *moved, (self.step, self.step + 1)]
        return [loss], [(old, tensor.where(is_sound, new, old)) for old, new in updates]

    def _sum(self, batch: Batch, samples: int) -> tuple[list[Tensor], Pairs]:
        loss, grads, moved = self._backward(batch, samples)
        share = tensor.input("share", (), f32)
        is_sound = (loss - loss) == 0
        updates = [(s, s + grads[n] * _as(share, s)) for n, s in self.sums.items()]
        updates += [*moved, (self.step, self.step + 1)]
        return [loss], [(old, tensor.where(is_sound, new, old)) for old, new in updates]

    def _update(self, batch: Batch, samples: int) -> tuple[list[Tensor], Pairs]:
        del batch, samples
        return [], [*self._moved(dict(self.sums)), *((s, tensor.zeros(s.shape, s.dtype)) for s in self.sums.values())]

    def _loss(self, batch: Batch, samples: int) -> tuple[list[Tensor], Pairs]:
        x, y = batch.inputs(samples)
        output = _wide(self.model.apply(x, training=False))
        return [self.config.loss_function()(output, y), output], []

    def _backward(self, batch: Batch, samples: int) -> tuple[Tensor, dict[str, Tensor], Pairs]:
        x, y = batch.inputs(samples)
        output = _wide(self.model.apply(x, training=True, step=self.step))
        moved = list(self.model.state_updates)
        loss = self.config.loss_function()(output, y)
        grads = tensor.grad(loss, list(self.trained.values()))
        return loss, {n: _wide(g) for n, g in zip(self.trained, grads, strict=True)}, moved

    def _moved(self, grads: dict[str, Tensor]) -> Pairs:
        """Return the new values of trained weights and of the optimiser's state."""
        optimizer, grads = self.config.optimizer, self._clipped(grads)
        rate = tensor.input("rate", (), f32)
        powers = {key: self.state[f"power.{key}"] * base for key, base in optimizer.powers.items()}
        updates = [(self.state[f"power.{key}"], power) for key, power in powers.items()]
        for name, w in self.trained.items():
            wide = _wide(w)
            kept = {key: self.state[f"{key}.{name}"] for key in optimizer.kept}
            near = {key: _as(power, wide) for key, power in powers.items()}
            own = self.rates.get(name)
            speed = _as(rate, wide) if own is None else tensor.full((), own, wide.dtype)
            new, found = optimizer.update(wide, grads[name], speed, kept, near)
            updates += [(w, new.astype(w.dtype) if new.dtype != w.dtype else new)]
            updates += [(kept[key], value) for key, value in found.items()]
        return updates

    def _clipped(self, grads: dict[str, Tensor]) -> dict[str, Tensor]:
        value, norm = self.config.clip_value, self.config.clip_norm
        if value is not None:
            grads = {n: tensor.clip(g, -value, value) for n, g in grads.items()}
        if norm is not None:
            squares = [_as((g * g).sum(), grads[next(iter(grads))]) for g in grads.values()]
            total = squares[0]
            for square in squares[1:]:
                total = total + square
            scale = tensor.minimum(norm / total.sqrt(), 1)
            grads = {n: g * _as(scale, g) for n, g in grads.items()}
        return grads


def _held(w: Tensor) -> DType:
    return f32 if w.dtype.storage_only else w.dtype


def _wide(x: Tensor) -> Tensor:
    """Return narrow floats as f32."""
    return x.astype(f32) if x.dtype.storage_only else x


def _as(x: Tensor, like: Tensor) -> Tensor:
    return x if x.dtype == like.dtype else x.astype(like.dtype)

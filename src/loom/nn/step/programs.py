"""The compiled programs of a step state: ticks, gradients, updates; and the memory that they share.

Layer: nn. Invariant: all state is in parameters of the tensor layer: what a run of any program leaves there is what the
next one begins with, whoever compiled it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.errors import ArgumentError, StateError
from loom.nn.layers import Carried
from loom.nn.step.gradients import (
    Gradients,
    Past,
    record_gradient_now,
    record_gradient_then,
    rescale,
    spread,
)
from loom.nn.step.record import Tick, record_node, record_tick
from loom.nn.step.wiring import Wiring
from loom.nn.train.optimizers import Optimizer, number_type, starting_state
from loom.nn.train.updates import Pairs, next_values, wide
from loom.nn.weights.model import Model
from loom.tensor import Tensor, TensorProgram

__all__ = ["StepPrograms"]

_MOST_PROGRAMS = 24


class StepPrograms:
    """Programs of ``batch`` samples, made when first asked for, and their memory.

    ``tensors``: name -> what a buffer holds, and what recurrent layers carry; ``history``: name -> (rows, batch, ...)
    of what the last ticks read, the last one first; ``gradients``: weight -> its gradient; ``number``: of ticks.
    """

    def __init__(self, model: Model, wiring: Wiring, batch: int, gradient: str | None, horizon: int | None, *,
                 training: bool) -> None:  # fmt: skip
        self.model, self.wiring, self.batch, self.gradient = model, wiring, batch, gradient
        self.horizon = wiring.depth if horizon is None else horizon
        self.training = training
        self.number = self._parameter("tick", (), "u32")
        self.tensors = {
            i.name: self._parameter(f"buffer.{i.name}", (batch, *i.shape), i.dtype) for i in wiring.spec.inputs
        }
        self._find_buffers()
        rows = wiring.rows(horizon) if gradient == "true" else {}
        self.history = {
            n: self._parameter(f"history.{n}", (k, *self.tensors[n].shape), self.tensors[n].dtype)
            for n, k in rows.items()
        }
        self.gradients: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._kept: dict[Optimizer, dict[str, Tensor]] = {}
        self._made: OrderedDict[Hashable, TensorProgram] = OrderedDict()

    @property
    def trained(self) -> dict[str, Tensor]:
        """The weights that are not frozen, by name."""
        return {n: w for n, w in self.model.parameters.items() if n not in self.model.frozen}

    def require_way(self, where: str) -> None:
        """See that gradients are to be computed, and that there is a weight to compute one for."""
        if self.gradient is None:
            raise StateError(where, "the state was made without gradients", expected='gradient="true", or another way',
                             got="None", remedy="Make it with network.step()")  # fmt: skip
        self.require_weights(where)

    def require_weights(self, where: str) -> None:
        """See that there is a weight that is not frozen."""
        if not self.trained:
            raise ArgumentError(where, "nothing can be trained", expected="at least one weight that is not frozen",
                                got="none", remedy="Unfreeze a layer")  # fmt: skip

    def _parameter(self, name: str, shape: tuple[int, ...], dtype: Any) -> Tensor:
        held = tensor.zeros(shape, dtype).dtype
        return tensor.parameter(np.zeros(shape, held.numpy), held, name=name, on=self.model.device)

    def _find_buffers(self) -> None:
        """Record an ordinary pass to find every node's shape and type, and what it carries."""
        values: dict[str, Tensor] = dict(self.tensors)
        for name in self.wiring.nodes:
            carried = Carried()
            made = record_node(self.model, self.wiring, name, values, training=self.training, number=self.number,
                               carried=carried)  # fmt: skip
            x = values[name] = made.made[name]
            self.tensors[name] = self._parameter(f"buffer.{name}", x.shape, x.dtype)
            for key, old in carried.old.items():
                self.tensors[key] = self._parameter(f"state.{key}", old.shape, old.dtype)
            if carried.old:
                self.wiring.carried[name] = tuple(carried.old)

    # programs

    def program(self, key: Hashable, record: Callable[[], tuple[list[Tensor], Pairs]]) -> TensorProgram:
        """Return the program known by a key, recorded and compiled if it is not there."""
        found = self._made.get(key)
        if found is None:
            outputs, updates = record()
            found = self._made[key] = tensor.compile(outputs, updates, on=self.model.device, name=f"step, {key}"[:60])
            if len(self._made) > _MOST_PROGRAMS:
                self._made.popitem(last=False)[1].free()
        self._made.move_to_end(key)
        return found

    @cached_property
    def every(self) -> TensorProgram:
        """The program that advances all nodes at once."""
        return tensor.compile([], self.record_tick(self.wiring.nodes), on=self.model.device, name="step, tick")

    def tick(self, nodes: tuple[str, ...]) -> TensorProgram:
        """Return the program that advances nodes, all at once."""
        return self.program(("tick", nodes), lambda: ([], self.record_tick(nodes)))

    def through(self) -> TensorProgram:
        """Return the program that advances all nodes one after the other, each a tick."""
        return self.program("through", lambda: ([], self._record_through()))

    def _record_through(self) -> Pairs:
        assert not self.history, "it would have to be told of each tick"
        buffers, made = dict(self.tensors), Tick()
        for number, name in enumerate(self.wiring.nodes):
            record_node(self.model, self.wiring, name, buffers, training=self.training, number=self.number + number,
                        into=made)  # fmt: skip
            buffers |= {**made.made, **made.carried}
        found = [(self.tensors[n], x) for n, x in (made.made | made.carried).items()]
        return [*found, *made.updates.items(), (self.number, self.number + len(self.wiring.nodes))]

    def record_tick(self, nodes: Sequence[str]) -> Pairs:
        """Return the parameters that a tick of ``nodes`` changes and their new values."""
        return self.pairs_of(self.make_tick(nodes, self.tensors), self.tensors)

    def make_tick(self, nodes: Sequence[str], buffers: Mapping[str, Tensor]) -> Tick:
        """Record a tick on buffers."""
        return record_tick(self.model, self.wiring, buffers, nodes=nodes, training=self.training, number=self.number)

    def pairs_of(self, made: Tick, buffers: Mapping[str, Tensor]) -> Pairs:
        """Return the parameters that a tick changes, and their new values; ``buffers``: what it read."""
        found = [(self.tensors[n], x) for n, x in (made.made | made.carried).items()]
        found += [(self.history[n], rows) for n, rows in self.next_history(buffers).items()]
        return [*found, *made.updates.items(), (self.number, self.number + 1)]

    def next_history(self, buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the history after a tick that read ``buffers``."""
        found: dict[str, Tensor] = {}
        for name, rows in self.history.items():
            read = tensor.expand_dims(buffers[name], 0)
            found[name] = read if rows.shape[0] == 1 else tensor.concat([read, rows[:-1]], 0)
        return found

    def back(self, past: tuple[Past, ...] | None) -> TensorProgram:
        """Return the program that writes the gradients: it is fed g0, g1, .. of the outputs."""
        trained = self.trained
        if self.gradients.keys() != trained.keys():
            for n, w in trained.items():
                if n not in self._gradients:  # programs go on writing there when it was frozen meanwhile
                    self._gradients[n] = self._parameter(f"gradient.{n}", w.shape, wide(w).dtype)
            self.gradients = {n: self._gradients[n] for n in trained}
        return self.program(("back", past, self.model.frozen), lambda: self._record_back(past))

    def _record_back(self, past: tuple[Past, ...] | None) -> tuple[list[Tensor], Pairs]:
        shown = [self.tensors[n] for n in self.wiring.spec.outputs]
        given = {
            name: tensor.input(f"g{i}", x.shape, x.dtype)
            for i, (name, x) in enumerate(zip(self.wiring.spec.outputs, shown, strict=True))
        }
        found = self.record_gradient(given, past)
        for i in self.wiring.spec.inputs:
            if i.dtype.is_float and i.name not in found.inputs:  # no way of these ticks leads there
                found.inputs[i.name] = tensor.zeros(self.tensors[i.name].shape, i.dtype)
        ends = {**found.weights, **{f"input {n}": wide(g) for n, g in found.inputs.items()}}
        floats = [i.name for i in self.wiring.spec.inputs if i.dtype.is_float]
        return [spread(ends), *(found.inputs[n] for n in floats)], [
            (self.gradients[n], g) for n, g in found.weights.items()
        ]

    def record_gradient(self, given: dict[str, Tensor], past: tuple[Past, ...] | None = None) -> Gradients:
        """Record the gradients of weights and inputs of those of the outputs, in the way of this state."""
        if self.gradient == "true":
            return record_gradient_then(self.model, self.wiring, self.trained, self.history, given, self.number,
                                        self.horizon, training=self.training, past=past)  # fmt: skip
        return self.record_now(given, self.tensors, self.number)

    def record_now(self, given: Mapping[str, Tensor], buffers: Mapping[str, Tensor], number: Tensor) -> Gradients:
        """Record the gradients at what buffers hold after ``number`` ticks."""
        found = record_gradient_now(self.model, self.wiring, self.trained, buffers, given, number,
                                    training=self.training)  # fmt: skip
        if self.gradient == "rescaled":
            found.weights = {n: rescale(g) for n, g in found.weights.items()}
        return found

    def move(self, optimizer: Optimizer) -> TensorProgram:
        """Return the program that moves the weights: it is fed the rate."""
        return self.program(("move", optimizer, frozenset(self._movable())), lambda: ([], self.record_move(optimizer)))

    def _movable(self) -> dict[str, Tensor]:
        """Return the weights that there are gradients of and that were not frozen since."""
        return {n: w for n, w in self.trained.items() if n in self.gradients}

    def record_move(self, optimizer: Optimizer) -> Pairs:
        """Return weights and what the optimiser keeps, with their new values, at the rate that is fed as ``rate``."""
        trained = self._movable()
        rate = tensor.input("rate", (), number_type(trained))
        return next_values(optimizer, trained, {n: self.gradients[n] for n in trained}, self.state_of(optimizer), rate,
                           self.model.learning_rates)  # fmt: skip

    def state_of(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Return what an optimiser keeps, from its first use on."""
        known = self._kept.setdefault(optimizer, {})
        for name, start in starting_state(optimizer, self.trained).items():
            known.setdefault(name, start)
        return known

    def put_back(self, kept: Mapping[Optimizer, Mapping[str, Array]]) -> None:
        """Have each optimiser keep these arrays, by names of ``starting_state``, and else what it began with."""
        for optimizer in {**self._kept, **kept}:
            known, given = self._kept.setdefault(optimizer, {}), kept.get(optimizer, {})
            for name, start in starting_state(optimizer, self.model.parameters).items():
                if name in given:
                    known.setdefault(name, start).write_elements(given[name])
                elif name in known:
                    known[name].write_elements(start.host_elements()[0])

    @property
    def optimizers(self) -> dict[Optimizer, dict[str, Tensor]]:
        """What each optimiser that was used keeps."""
        return self._kept

"""Back-propagation through ticks: the model as ticks show it to a training's programs.

Layer: nn. What the output shows was made of what layers read some ticks ago, which a history keeps; the gradient is
the derivative of that, at the weights of now. Invariant: nothing is handed to what was there before the first tick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from loom import tensor
from loom.core.arrays import Array
from loom.core.given import is_mapping
from loom.nn.layers import Context, ForwardPass
from loom.nn.spec import NetworkSpec, NodeSpec
from loom.nn.step import Wiring
from loom.nn.tween.recording import loss_or_nan, number_type
from loom.nn.weights.model import Model
from loom.tensor import Tensor

__all__ = ["Ticking", "rows_of_history"]

_DRAWS = 1 << 16
"""Random sequences that each node and age has for its own."""


def rows_of_history(network: NetworkSpec) -> dict[str, int]:
    """Return name of a node or input -> how many older ticks' values the gradient reads.

    A node met at an age reads its sources of that age; what made those is met one tick before.
    """
    sources = Wiring(network).sources
    rows: dict[str, int] = {}
    waiting = {(name, 0) for name in network.outputs}
    while waiting:
        name, age = waiting.pop()
        for source in sources[name]:
            rows[source] = max(rows.get(source, 0), age)
            if source in sources:
                waiting.add((source, age + 1))
    return rows


class Ticking:
    """A model whose pass is a tick: what ``loom.nn.train.programs`` asks of a model.

    ``buffers``: node -> what it gave at the tick before; ``history``: (name, age from 1) -> what was read so many ticks
    before this one; ``ticks``: how many were made.
    """

    def __init__(
        self, model: Model, buffers: Mapping[str, Tensor], history: Mapping[tuple[str, int], Tensor], ticks: Tensor
    ) -> None:
        self.model, self.buffers, self.history, self.ticks = model, buffers, history, ticks
        self.parameters = model.parameters
        self.state_updates: list[tuple[Tensor, Tensor]] = []

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The model's."""
        return self.model.lock

    def load(self, weights: dict[str, Array]) -> None:
        """Write the model's weights."""
        self.model.load(weights)

    def weights(self) -> dict[str, Array]:
        """Return copies of the model's weights."""
        return self.model.weights()

    def apply(self, x: Any, *, training: bool, step: Tensor | None = None) -> Tensor:
        """Record a tick; return its output."""
        return next(iter(self.apply_all(x, training=training, step=step).values()))

    def apply_all(self, x: Any, *, training: bool, step: Tensor | None = None) -> dict[str, Tensor]:
        """Record a tick; return its outputs by name, as made of what the ticks before made.

        They are NaN, which no training takes, if a buffer would hold what is no finite number.
        """
        del step  # noise goes by ticks
        network = self.model.network
        inputs: dict[str, Tensor] = dict(x) if is_mapping(x) else {network.inputs[0].name: x}
        record = self.model.begin_pass(inputs, training=training, step=self.ticks)
        found = _Past(self, record, inputs)
        made = {n.name: found.node(n.name, 0) if n.name in network.outputs else found.plain(n) for n in network.nodes}
        self.state_updates = [*record.updates.items()]
        self.state_updates += [(b, tensor.detach(made[n]).astype(b.dtype)) for n, b in self.buffers.items()]
        fault = tensor.detach(loss_or_nan(tensor.zeros((), number_type(self.model)), self.state_updates))
        self.state_updates += [*self.shift_history(inputs), (self.ticks, self.ticks + 1)]
        return {name: made[name] + fault.astype(made[name].dtype) for name in network.outputs}

    def shift_history(self, inputs: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return the history after a tick that read ``inputs`` and the buffers."""
        now = {**self.buffers, **inputs}
        return [(h, now[n] if age == 1 else self.history[n, age - 1]) for (n, age), h in self.history.items()]


class _Past:
    """Values as they were made, node by node and age by age, each once."""

    def __init__(self, ticking: Ticking, record: ForwardPass, inputs: Mapping[str, Tensor]) -> None:
        self.ticking, self.record, self.inputs = ticking, record, inputs
        self.nodes = {n.name: n for n in ticking.model.network.nodes}
        self.known: dict[tuple[str, int], Tensor] = {}

    def plain(self, node: NodeSpec) -> Tensor:
        """Return what a node gives at this tick, which no gradient asks for."""
        given = [self.inputs[n] if n in self.inputs else self.ticking.buffers[n] for n in node.inputs]
        return self._run(node, given, self.record)

    def node(self, name: str, age: int) -> Tensor:
        """Return what a node gave ``age`` ticks before this one."""
        if (name, age) not in self.known:
            node = self.nodes[name]
            given = [self.read(source, age) for source in node.inputs]
            self.known[name, age] = self._run(node, given, self.record if age == 0 else self._older(age))
        return self.known[name, age]

    def _run(self, node: NodeSpec, given: list[Tensor], record: ForwardPass) -> Tensor:
        record.draws = list(self.nodes).index(node.name) * _DRAWS
        return Context(node.name, record).run(node.layer, given if node.layer.takes_many else given[0])

    def _older(self, age: int) -> ForwardPass:
        """Return a pass of ``age`` ticks before, whose running means nobody moves again."""
        inputs = {n: self.ticking.history.get((n, age), x) for n, x in self.inputs.items()}
        return self.ticking.model.begin_pass(inputs, training=self.record.training, step=self.ticking.ticks - age)

    def read(self, name: str, age: int) -> Tensor:
        """Return what was read of a node or input, whose gradient goes to what made it the tick before."""
        if age == 0:
            held = self.inputs[name] if name in self.inputs else self.ticking.buffers[name]
        else:
            held = self.ticking.history[name, age]
        if name in self.inputs:
            return held
        return tensor.routed(held, [self.node(name, age + 1)], _since(self.ticking.ticks, age))


def _since(ticks: Tensor, age: int) -> Callable[[Tensor, Tensor], list[Tensor]]:
    """Return the derivative of a buffer by what filled it: none before there was such a tick."""
    return lambda _node, g: [tensor.where(ticks > age, g, 0)]

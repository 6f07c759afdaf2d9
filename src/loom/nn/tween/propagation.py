"""Back-propagation through step buffers: the model as its tick shows it to a training's programs.

Layer: nn. Invariant: a buffer's value is that of the tick before, its gradient goes to what fills it in this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from loom import tensor
from loom.core.arrays import Array
from loom.nn.layers import Context
from loom.nn.model import Model
from loom.tensor import Tensor

__all__ = ["Ticking"]


class Ticking:
    """A model whose pass is a tick: what ``loom.nn.train.programs`` asks of a model."""

    def __init__(self, model: Model, buffers: Mapping[str, Tensor]) -> None:
        self.model, self.buffers = model, buffers
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
        """Record a tick; return its outputs by name."""
        network = self.model.network
        inputs: dict[str, Tensor] = dict(x) if isinstance(x, Mapping) else {network.inputs[0].name: x}
        record = self.model.begin_pass(inputs, training=training, step=step)
        made: dict[str, Tensor] = {}
        for node in network.nodes:
            given = [inputs[n] if n in inputs else _lagging(self.buffers[n], made[n]) for n in node.inputs]
            made[node.name] = Context(node.name, record).run(node.layer, given if node.layer.takes_many else given[0])
        self.state_updates = [*record.updates.items()]
        self.state_updates += [(b, tensor.detach(made[name]).astype(b.dtype)) for name, b in self.buffers.items()]
        return {name: made[name] for name in network.outputs}


def _lagging(buffer: Tensor, made: Tensor) -> Tensor:
    """Return the buffer, whose gradient is that of what it is filled with."""
    return tensor.routed(buffer, [made], lambda _node, g: [g])

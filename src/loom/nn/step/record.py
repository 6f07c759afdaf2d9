"""A tick as it is recorded: every node made of what the buffers hold, and the gradient of what ticks made.

Layer: nn. All functions record on tensors that they are given, so that others compile them into programs of their own.
Invariant: of what a tick reads nothing is of the same tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from loom import tensor
from loom.core.late.dataclass import dataclass
from loom.nn.layers import Carried, Context
from loom.nn.step.wiring import Wiring
from loom.nn.weights.model import Model
from loom.tensor import Tensor

__all__ = ["Tick", "record_back", "record_node", "record_tick"]

_DRAWS = 1 << 16
"""Random sequences that each node has for its own."""


@dataclass(slots=True)
class Tick:
    """What a tick makes. ``made``: node -> its new value; ``carried``: key -> state after; ``updates``: running means
    and their new values."""

    made: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    carried: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    updates: dict[Tensor, Tensor] = field(default_factory=dict[Tensor, Tensor])


def record_node(
    model: Model, wiring: Wiring, name: str, read: Mapping[str, Tensor], *, training: bool = False,
    number: Tensor | None = None, into: Tick | None = None, carried: Carried | None = None,
) -> Tick:  # fmt: skip
    """Record one node on what it reads.

    Args:
        model: Model of the network.
        wiring: Its graph.
        name: Name of the node.
        read: Tensors by the names that ``wiring.reads`` gives.
        training: Whether it is a tick of training.
        number: Number of the tick, which noise depends on; None: 0.
        into: Tick that the node's part is added to; None: a new one.
        carried: Tensors where what it carries is found and noted; None: in ``read``.

    Returns:
        The tick.
    """
    found = Tick() if into is None else into
    at = wiring.nodes.index(name)
    node = wiring.spec.nodes[at]
    record = model.begin_pass(
        {n: read[n] for n in wiring.sources[name] if n in wiring.inputs}, training=training, step=number
    )
    record.draws, record.updates = at * _DRAWS, found.updates
    record.carried = carried or Carried({key: read[key] for key in wiring.carried.get(name, ())})
    given = [read[n] for n in node.inputs]
    found.made[name] = Context(name, record).run(node.layer, given if node.layer.takes_many else given[0])
    found.carried |= record.carried.new
    return found


def record_tick(
    model: Model, wiring: Wiring, buffers: Mapping[str, Tensor], *, nodes: Iterable[str] | None = None,
    training: bool = False, number: Tensor | None = None,
) -> Tick:  # fmt: skip
    """Record a tick: nodes made of buffers, all at once.

    Args:
        model: Model of the network.
        wiring: Its graph.
        buffers: Tensors by name: inputs, nodes, and what nodes carry (``wiring.carried``).
        nodes: Names of nodes; None: all.
        training: Whether it is a tick of training.
        number: Number of the tick, which noise depends on; None: 0.

    Returns:
        The tick.
    """
    found = Tick()
    for name in wiring.nodes if nodes is None else nodes:
        record_node(model, wiring, name, buffers, training=training, number=number, into=found)
    return found


def record_back(
    model: Model, wiring: Wiring, name: str, read: Mapping[str, Tensor], cotangents: Mapping[str, Tensor],
    weights: Mapping[str, Tensor], *, training: bool, number: Tensor | None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Record the gradients by what a node read and by ``weights``, of those of its value and of what it carried on.

    Args:
        model: Model of the network.
        wiring: Its graph.
        name: Name of the node.
        read: Tensors by the names that ``wiring.reads`` gives.
        cotangents: Gradients by the node's name and by keys of ``wiring.carried``.
        weights: Weights by name.
        training: Whether it is a tick of training.
        number: Number of the tick, which noise depends on; None: 0.

    Returns:
        Gradients of what was read, of floats, and of the weights, by name.
    """
    made = record_node(model, wiring, name, read, training=training, number=number)
    values = {**made.made, **made.carried}
    wanted = {n: t for n, t in read.items() if t.dtype.is_float}
    ends = [*wanted.values(), *weights.values()]
    if not ends:
        return {}, {}
    total: list[Tensor] = []
    for key, g in cotangents.items():
        found = tensor.grad(values[key], ends, seed=g)
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
    return dict(zip(wanted, total, strict=False)), dict(zip(weights, total[len(wanted) :], strict=True))

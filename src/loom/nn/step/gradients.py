"""The gradient of what ticks made: of the reads that a history kept, or of what the buffers hold now.

Layer: nn. A node's value of age a was made a ticks before the last one, of what it read then. Invariant: contributions
are added age by age, and within one in the order of the nodes: bits depend on network and ticks alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field

from loom import tensor
from loom.core.late.dataclass import dataclass
from loom.nn.spec import Shared
from loom.nn.step.record import record_back
from loom.nn.step.wiring import Wiring
from loom.nn.train.updates import as_type_of, wide
from loom.nn.weights.model import Model
from loom.tensor import Tensor

__all__ = ["Gradients", "Past", "record_gradient_now", "record_gradient_then", "rescale", "spread", "unseen",
           "weights_of"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Past:
    """One tick of the past: the nodes that ``moved``, and the buffers ``given`` by hand after it."""

    moved: frozenset[str]
    given: frozenset[str] = frozenset()


@dataclass(slots=True)
class Gradients:
    """``weights``: by name, wide; ``inputs``: by name, those of floats, summed over the ticks that read them."""

    weights: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    inputs: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


def weights_of(wiring: Wiring, trained: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return node -> those of ``trained`` that it computes with, shared ones included."""
    found: dict[str, dict[str, Tensor]] = {}
    shapes = wiring.spec.shapes()
    for node in wiring.spec.nodes:
        parts = list(node.layer.walk(shapes[node.inputs[0]], node.name))
        places = {p.layer.target if isinstance(p.layer, Shared) else p.name for p in parts}
        borrowed = {name for p in parts for name in p.layer.keys_elsewhere()}
        found[node.name] = {
            n: w for n, w in trained.items()
            if any(n.startswith(f"{p}.") for p in places) or n.rpartition(".")[0] in borrowed
        }  # fmt: skip
    return found


@dataclass(slots=True)
class _Sums:
    """What is added up on the way back."""

    model: Model
    wiring: Wiring
    trained: Mapping[str, Tensor]
    training: bool
    found: Gradients = field(default_factory=Gradients)
    own: dict[str, dict[str, Tensor]] = field(default_factory=dict[str, dict[str, Tensor]])

    def __post_init__(self) -> None:
        self.own = weights_of(self.wiring, self.trained)

    def go_back(
        self, name: str, read: Mapping[str, Tensor], given: Mapping[str, Tensor], number: Tensor
    ) -> dict[str, Tensor]:
        """Add a node's share to the weights' gradients; return those of what it read."""
        behind, weights = record_back(self.model, self.wiring, name, read, given, self.own[name],
                                      training=self.training, number=number)  # fmt: skip
        for key, g in weights.items():
            _add(self.found.weights, key, wide(g))
        for key in [k for k in behind if k in self.wiring.inputs]:
            _add(self.found.inputs, key, behind.pop(key))
        return behind

    def finish(self, inputs: Mapping[str, Tensor]) -> Gradients:
        """Return all sums, zeros where nothing led."""
        for name, w in self.trained.items():
            if name not in self.found.weights:
                self.found.weights[name] = tensor.zeros(w.shape, wide(w).dtype)
        for name, x in inputs.items():
            if name not in self.found.inputs:
                self.found.inputs[name] = tensor.zeros(x.shape, x.dtype)
        self.found.inputs = {name: self.found.inputs[name] for name in self.wiring.inputs if name in inputs}
        self.found.weights = {name: self.found.weights[name] for name in self.trained}
        return self.found


def _add(sums: dict[str, Tensor], key: str, g: Tensor) -> None:
    sums[key] = sums[key] + g if key in sums else g


def record_gradient_then(
    model: Model, wiring: Wiring, trained: Mapping[str, Tensor], history: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor], number: Tensor, horizon: int, *, training: bool = False,
    past: Sequence[Past] | None = None, begins: bool = False,
) -> Gradients:  # fmt: skip
    """Record the derivative of what the ticks computed: each node at what it read when it made what led here.

    Args:
        model: Model of the network.
        wiring: Its graph.
        trained: Weights by name.
        history: Tensors (rows, batch, ...) by name: reads of the last tick, the one before, ...
        outputs: Gradients of what the outputs show.
        number: Number of ticks done.
        horizon: Most ticks back.
        training: Whether ticks are those of training.
        past: Ticks from the last on to the first; None: there were ``horizon``, and each moved all nodes.
        begins: Whether there may have been fewer, as ``number`` tells when the program runs.

    Returns:
        Gradients of weights and inputs.
    """
    sums = _Sums(model, wiring, trained, training)
    reached = dict(outputs)
    count = horizon if past is None else min(horizon, len(past))
    for age in range(count):
        moved = frozenset(wiring.nodes) if past is None else past[age].moved
        reached = {k: g for k, g in reached.items() if past is None or k not in past[age].given}
        behind: dict[str, Tensor] = {k: g for k, g in reached.items() if _owner(wiring, k) not in moved}
        for name in wiring.nodes:
            keys = [k for k in (name, *wiring.carried.get(name, ())) if k in reached]
            if name not in moved or not keys:
                continue
            read = {k: history[k][age] for k in wiring.reads(name)}
            cotangents = {k: reached[k] for k in keys}
            if begins:
                there = number > age + (wiring.delays[name] - 1 if wiring.carried.get(name) else 0)
                cotangents = {k: tensor.where(there, g, 0) for k, g in cotangents.items()}
            for key, g in sums.go_back(name, read, cotangents, number - (age + 1)).items():
                _add(behind, key, g)
        reached = behind
    return sums.finish({n: history[n][0] for n in wiring.inputs if n in history and history[n].dtype.is_float})


def _owner(wiring: Wiring, key: str) -> str:
    return key if key in wiring.sources else wiring.owner(key)


def record_gradient_now(
    model: Model, wiring: Wiring, trained: Mapping[str, Tensor], buffers: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor], number: Tensor, *, training: bool = False,
) -> Gradients:  # fmt: skip
    """Record one pass back through the layers, each at what its sources hold now; what nodes carry counts as given.

    Args:
        model: Model of the network.
        wiring: Its graph.
        trained: Weights by name.
        buffers: Tensors by name: inputs, nodes, and what nodes carry.
        outputs: Gradients of what the outputs show.
        number: Number of ticks done.
        training: Whether ticks are those of training.

    Returns:
        Gradients of weights and inputs.
    """
    sums = _Sums(model, wiring, trained, training)
    reached = dict(outputs)
    for name in reversed(wiring.nodes):
        if name not in reached:
            continue
        read = {k: buffers[k] for k in wiring.reads(name)}
        found = sums.go_back(name, read, {name: reached[name]}, number - 1)
        for key in (k for k in wiring.sources[name] if k in found):
            _add(reached, key, found[key])
    return sums.finish({n: buffers[n] for n in wiring.inputs if buffers[n].dtype.is_float})


def unseen(wiring: Wiring, rows: Mapping[str, int], past: Sequence[Past]) -> set[str] | None:
    """Return what the outputs are made of before the ticks of ``past``; None if a read is asked for without a row."""
    reached = set(wiring.spec.outputs)
    for age, tick in enumerate(past):
        reached -= tick.given
        moved = [n for n in wiring.nodes if n in tick.moved and reached & {n, *wiring.carried.get(n, ())}]
        read = {k for n in moved for k in wiring.reads(n)}
        if any(rows.get(k, 0) <= age for k in read):
            return None
        made = {k for n in moved for k in (n, *wiring.carried.get(n, ()))}
        reached = (reached - made) | (read - set(wiring.inputs))
    return reached


def rescale(g: Tensor) -> Tensor:
    """Record ``n softmax(|g|) g`` over all n elements: the older generation's rescaling of a gradient.

    Args:
        g: Gradient, a tensor of any shape.

    Returns:
        Tensor of the shape of ``g``.
    """
    flat = tensor.reshape(abs(g), (-1,))
    return g * tensor.reshape(tensor.softmax(flat) * math.prod(g.shape), g.shape)


def spread(grads: Mapping[str, Tensor]) -> Tensor:
    """Record a number that is 0 if all gradients are finite, else NaN."""
    total = tensor.zeros((), next(iter(grads.values())).dtype)
    for g in grads.values():
        total = total + as_type_of((g - g).sum(), total)
    return total

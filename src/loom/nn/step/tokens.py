"""Networks with recurrent layers in step mode: a tick takes one token, and the state is carried to the next.

Layer: nn. A document declares how many tokens an input has; stepped, it has one. That is the same network only if, from
the input to the recurrent layers and on, no layer looks at several tokens. Invariant: one that does is refused, by name
and type, before anything is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loom.core.errors import ArgumentError, SpecError
from loom.nn.spec import Layer, NetworkSpec, Shape, Shared
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.dense import Dense, Stitch
from loom.nn.spec.layers.embedding import Embedding, Unembedding
from loom.nn.spec.layers.nested import Residual, Sequential
from loom.nn.spec.layers.norm import LayerNorm, Normalize, RMSNorm
from loom.nn.spec.layers.parallel import Parallel, ParallelMode
from loom.nn.spec.layers.recurrent import GRU, LSTM, RNN, States
from loom.nn.spec.layers.shaping import ActivationLayer, Dropout
from loom.nn.spec.layers.softmax import Softmax
from loom.nn.spec.layers.swiglu import SwiGLU

__all__ = ["EACH_TOKEN", "Forms", "bare_shapes", "one_token"]

Forms = dict[Shape, tuple[bool, bool]]
"""Shapes that are taken, and what each leaves out."""
_RECURRENT = (RNN, LSTM, GRU)
EACH_TOKEN = (
    Dense,
    Stitch,
    Embedding,
    LayerNorm,
    RMSNorm,
    ActivationLayer,
    Dropout,
    Softmax,
    SwiGLU,
    Normalize,
    Unembedding,
)
"""Layers that do the same to each token."""


def one_token(network: NetworkSpec) -> tuple[NetworkSpec, frozenset[str]]:
    """Return the network with one token in place of several, and the names of inputs and nodes that have that axis.

    Of a network without recurrent layers it is the network itself, and none. ArgumentError for a layer that looks at
    several tokens, and for weights whose shapes depend on their number.
    """
    recurrent = {node.name for node in network.nodes if _holds_state(node.layer)}
    if not recurrent:
        return network, frozenset()
    leading = _leading(network, recurrent)
    inputs = tuple(replace(i, shape=(1, *i.shape[1:])) if i.name in leading else i for i in network.inputs)
    found = replace(network, inputs=inputs)
    timed = {i.name for i in network.inputs if i.name in leading}
    for node in network.nodes:
        if timed.isdisjoint(node.inputs):
            continue
        if not timed.issuperset(node.inputs):
            raise _refusal(node.name, node.layer, "joins what has tokens with what has none")
        if _follow(node.layer, node.name):
            timed.add(node.name)
    try:
        is_same = found.parameters() == network.parameters() and found.state() == network.state()
    except SpecError as error:
        raise _refusal(network.name or "network", None, "does not fit one token") from error
    if not is_same:
        raise _refusal(network.name or "network", None, "has weights whose shapes depend on the number of tokens")
    return found, frozenset(timed)


def _leading(network: NetworkSpec, ends: set[str]) -> set[str]:
    """Return the names of nodes and inputs from which a way leads to one of ``ends``."""
    found = set(ends)
    for node in reversed(network.nodes):
        if node.name in found:
            found.update(node.inputs)
    return found


def _holds_state(layer: Layer) -> bool:
    inner = layer.layer if isinstance(layer, Shared) else layer
    return isinstance(inner, _RECURRENT) or any(_holds_state(each) for each in _inner_layers(inner))


def _inner_layers(layer: Layer) -> Sequence[Layer]:
    if isinstance(layer, (Sequential, Residual)):
        return layer.layers
    if isinstance(layer, Parallel):
        return (*layer.branches, *([] if layer.gate is None else [layer.gate]))
    attached: Layer | None = getattr(layer, "attached_layer", None)
    return [] if attached is None else [attached]


def _follow(layer: Layer, name: str) -> bool:
    """Tell whether the output of a layer whose input has tokens has them; ArgumentError for one that mixes them."""
    layer = layer.layer if isinstance(layer, Shared) else layer
    if isinstance(layer, _RECURRENT):
        return layer.output is States.SEQUENCE
    if isinstance(layer, EACH_TOKEN):
        return True
    if isinstance(layer, Merge):
        _require_features(name, layer, is_concat=layer.combine_mode is Combine.CONCAT)
        return True
    if isinstance(layer, (Sequential, Residual)):
        has_tokens = True
        for i, each in enumerate(layer.layers):
            has_tokens = has_tokens and _follow(each, f"{name}.layers.{i}")
        return has_tokens
    if isinstance(layer, Parallel) and layer.combine_mode is not ParallelMode.GRID_SCATTER:
        _require_features(name, layer, is_concat=layer.combine_mode is ParallelMode.CONCAT)
        kept = [_follow(each, f"{name}.branches.{i}") for i, each in enumerate(layer.branches)]
        if layer.gate is not None:
            _follow(layer.gate, f"{name}.gate")
        return all(kept)
    raise _refusal(name, layer, "looks at several tokens")


def _require_features(name: str, layer: Merge | Parallel, *, is_concat: bool) -> None:
    if is_concat and layer.axis != -1:
        raise _refusal(name, layer, f"concatenates along axis {layer.axis}, which may be that of tokens")


def _refusal(name: str, layer: Layer | None, why: str) -> ArgumentError:
    kind = "" if layer is None else f" ({layer.kind})"
    return ArgumentError(
        f"loom.Network.step, {name!r}{kind}", f"in step mode, with a token a tick, it cannot be computed: it {why}",
        expected="layers that do the same to each token", got=name if layer is None else layer.kind,
        remedy="Use network.forward, or take the recurrent layers without it",
    )  # fmt: skip


def bare_shapes(batch: int, shape: Shape, *, has_tokens: bool) -> Forms:
    """Return the shapes that an input of one sample's ``shape`` may be given in.

    Each maps to what is left out: whether the axis of samples (of a batch of 1), and whether that of tokens.
    """
    found: Forms = {(batch, *shape): (False, False)}
    if has_tokens:
        found.setdefault((batch, *shape[1:]), (False, True))
    if batch == 1:
        found.setdefault(shape, (True, False))
        if has_tokens:
            found.setdefault(shape[1:], (True, True))
    return found

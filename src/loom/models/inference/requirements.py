"""Which networks can be computed token by token: those where only causal attention looks at several tokens.

Layer: models. Invariant: a network that would compute something else with kept keys and values is refused, by the name
of the layer.
"""

from __future__ import annotations

from collections.abc import Mapping

from loom.core.dtype import f32
from loom.core.errors import ArgumentError, LoomError
from loom.core.late.dataclass import dataclass
from loom.nn.spec import Layer, NetworkSpec, Shared
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.embedding import PositionEmbedding, Unembedding
from loom.nn.spec.layers.nested import Residual, Sequential
from loom.nn.spec.layers.parallel import Parallel, ParallelMode
from loom.nn.step.tokens import EACH_TOKEN

__all__ = ["CausalNetwork", "inspect_network"]

_WHERE = "loom.models.inference.InferenceEngine"


@dataclass(frozen=True, slots=True)
class CausalNetwork:
    """What an engine must know of a network.

    ``vocabulary_size``: logits of a token; ``last``: the number of the last node with attention in it, -1 for none;
    ``kept_features``: of keys and values together, of all layers, of one position; ``positions``: that it has tables
    for, None: any number.
    """

    vocabulary_size: int
    last: int
    kept_features: int
    positions: int | None


def inspect_network(spec: NetworkSpec) -> CausalNetwork:
    """Return what an engine must know; ArgumentError for a network that it cannot compute token by token."""
    if len(spec.inputs) != 1 or len(spec.inputs[0].shape) != 1 or len(spec.outputs) != 1:
        raise _refuse(spec.name or "network", "has not one input of token ids (tokens,) and one output")
    if spec.dtype != f32:
        raise _refuse(spec.name or "network", f"is of {spec.dtype}: keys and values are kept for networks of f32")
    kept, positions = 0, [spec.inputs[0].shape[0]] if spec.inputs[0].variable_length else []
    numbers, last = {node.name: n for n, node in enumerate(spec.nodes)}, -1
    for part in spec.walk():
        layer = _own(part.layer)
        _require(part.name, layer)
        if isinstance(layer, MultiHeadAttention):
            last = max(last, _node_of(part.name, numbers))
            kept += 2 * layer.kv_heads * layer.head_size(part.shape[-1])
        elif isinstance(layer, PositionEmbedding):
            positions.append(part.layer.own_weights(part.shape)["weight"][0])
    shape = spec.shapes()[spec.outputs[0]]
    if len(shape) != 2 or shape[0] != spec.inputs[0].shape[0]:
        raise _refuse(spec.outputs[0], f"gives {shape}, no logits for each token")
    return CausalNetwork(shape[1], last, kept, min(positions, default=None))


def _own(layer: Layer) -> Layer:
    return layer.layer if isinstance(layer, Shared) else layer


def _node_of(name: str, numbers: Mapping[str, int]) -> int:
    """Return the number of the node that a layer is, or is held by."""
    while name not in numbers:
        name = name.rpartition(".")[0]
    return numbers[name]


def _require(name: str, layer: Layer) -> None:
    if isinstance(layer, MultiHeadAttention):
        if not layer.causal:
            raise _refuse(name, "lets a token look at later ones")
        if layer.relative_buckets is not None:
            raise _refuse(name, "adds a bias by distance to its scores")
        if layer.padding_mask is not None:
            raise _refuse(name, "asks for a padding mask")
    elif isinstance(layer, Merge):
        if layer.combine_mode is Combine.CONCAT and layer.axis != -1:
            raise _refuse(name, f"concatenates along axis {layer.axis}")
    elif isinstance(layer, Parallel):
        is_concat = layer.combine_mode is ParallelMode.CONCAT and layer.axis != -1
        if is_concat or layer.combine_mode is ParallelMode.GRID_SCATTER:
            raise _refuse(name, "may join different tokens")
    elif not isinstance(layer, (*EACH_TOKEN, PositionEmbedding, Unembedding, Residual, Sequential)):
        raise _refuse(name, f"is of a kind ({layer.kind}) that may look at several tokens")


def _refuse(name: str, why: str) -> LoomError:
    return ArgumentError(_WHERE, f"{name!r} {why}", expected="a causal language model: token ids to logits",
                         got=name, remedy="Use network.forward on whole sequences")  # fmt: skip

"""Two networks compared: what a document of ours says, and what its older form would be read as.

Layer: nn. Invariant: networks without a difference compute the same from the same weights; sizes that follow from the
input, changes of shape and biases (which ``match_weights`` has) are no difference.
"""

from __future__ import annotations

from typing import Any

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.activations import Activation
from loom.nn.spec.base.fields import write_object
from loom.nn.spec.base.layer import Layer, Shape
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.nested import Residual, Sequential
from loom.nn.spec.layers.shaping import ActivationLayer, Flatten, Reshape
from loom.nn.spec.network import NetworkSpec

__all__ = ["Difference", "changes_nothing", "find_difference", "match_weights"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first layer that would be another: its name, what it is, and what it would be."""

    name: str
    ours: str
    theirs: str


def changes_nothing(layer: Layer) -> bool:
    """Tell whether a layer changes shapes alone."""
    is_identity = isinstance(layer, ActivationLayer) and layer.function is Activation.LINEAR
    return is_identity or isinstance(layer, (Flatten, Reshape))


def find_difference(network: NetworkSpec, again: NetworkSpec) -> Difference | None:
    """Return the first layer in which ``again`` does not do what ``network`` does: another layer, or other inputs."""
    ours, theirs = _graph(network), _graph(again)
    for (name, one), (_, other) in zip(ours, theirs, strict=False):
        if one != other:
            return Difference(name, _text(one), _text(other))
    if len(ours) == len(theirs):
        return None
    name = ours[min(len(theirs), len(ours) - 1)][0]
    return Difference(name, f"{len(ours)} layers", f"{len(theirs)} layers, with what it adds unsaid")


def match_weights(network: NetworkSpec, again: NetworkSpec) -> dict[str, str] | None:
    """Return the names of ``again``'s weights with ours, those of biases that we have not left out.

    None if a layer's weights are others.
    """
    ours, theirs = _groups(network), _groups(again)
    if len(ours) != len(theirs):
        return None
    names: dict[str, str] = {}
    for (mine, own), (other, held) in zip(ours.items(), theirs.items(), strict=True):
        for name, shape in held.items():
            if name in own and own[name] == shape:
                names[f"{other}.{name}"] = f"{mine}.{name}"
            elif name in own or "bias" not in name:
                return None
        if any(name not in held and "bias" not in name for name in own):
            return None
    return names


def _groups(network: NetworkSpec) -> dict[str, dict[str, Shape]]:
    """Return the weights of each layer, by its name, in the network's order."""
    found: dict[str, dict[str, Shape]] = {}
    for name, shape in network.parameters().items():
        layer, _, own = name.rpartition(".")
        found.setdefault(layer, {})[own] = shape
    return found


def _text(each: Any) -> str:
    return str(each)[:200]


def _graph(network: NetworkSpec) -> list[tuple[str, Any]]:
    """Return each node that computes: its name, what it is, and the numbers of those that it reads."""
    shapes = network.shapes()
    made: list[tuple[str, Any]] = []
    places: dict[str, int] = {i.name: -1 for i in network.inputs}
    for node in network.nodes:
        reads = sorted(places[name] for name in node.inputs)
        first = reads[0]
        inner = node.layer.parts(shapes[node.inputs[0]]) if isinstance(node.layer, Residual) else None
        whats = _whats(node.layer, shapes[node.inputs[0]]) if inner is None else _flat_whats(inner)
        if inner is None and not whats:
            places[node.name] = first
        for what in whats:
            made.append((node.name, (what, reads)))
            places[node.name], reads = len(made) - 1, [len(made) - 1]
        if inner is not None:  # what it holds, and a sum with its input
            made.append((node.name, (_sum(shapes[node.name]), sorted([reads[0], first]))))
            places[node.name] = len(made) - 1
    return made


def _sum(shape: Shape) -> Any:
    return _whats(Merge(combine_mode=Combine.ADD), shape)[0]


def _flat_whats(parts: Any) -> list[Any]:
    return [each for part in parts for each in _whats(part.layer, part.shape)]


def _whats(layer: Layer, shape: Shape) -> list[Any]:
    """Return what a layer is, without sizes that follow and changes of shape; a sequence is what it holds."""
    if changes_nothing(layer):
        return []
    if isinstance(layer, (Sequential, Residual)):
        flat = _flat_whats(layer.parts(shape))
        return flat if isinstance(layer, Sequential) else [(layer.kind, flat, _squeeze(shape))]
    parts = [_whats(p.layer, p.shape) for p in layer.parts(shape)]
    fields = {k: v for k, v in write_object(layer).items() if k not in _FOLLOWING}
    if isinstance(layer, MultiHeadAttention):
        fields |= {"num_kv_heads": layer.kv_heads, "head_dim": layer.head_size(shape[-1])}
    output = layer.infer(shape, Place(Reading())) if parts else None
    return [(layer.kind, fields, _squeeze(shape), parts, None if output is None else _squeeze(output))]


def _squeeze(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)


_FOLLOWING = ("input_size", "norm_size", "d_model", "cluster_dim", "input_channels", "frozen", "branches",
              "attached_layer", "axis", "bias", "gate")  # fmt: skip
"""Keys that follow from the input, change nothing that is computed, or are compared by themselves."""

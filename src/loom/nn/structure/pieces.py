"""What a graft takes of a network: layers as a document has them, and where their weights go.

Layer: nn. Invariant: every weight of a layer that is taken has one new name, and every ``$ref`` names its target anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_int, is_list, is_mapping, is_tuple
from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonObject
from loom.nn.spec import NetworkSpec, to_document
from loom.nn.spec.base.layer import Shape, keys_of_names
from loom.nn.spec.keys import chain_of, node_at
from loom.nn.spec.layers.parallel import Parallel
from loom.nn.spec.layers.scale import Scale

__all__ = ["Scion", "is_chain", "move_names", "new_name", "pick", "unfold_branches"]

_PLACES = ("name", "cell", "inputs")
"""Keys of a node that its layer has not."""


@dataclass(frozen=True, slots=True)
class Scion:
    """What is grafted: layers of donor number ``donor``, one after another, with their keys there.

    ``shape`` is what they take, ``made`` what they give.
    """

    donor: int
    layers: tuple[JsonObject, ...]
    keys: tuple[str, ...]
    shape: Shape
    made: Shape


def is_chain(spec: NetworkSpec) -> bool:
    """Tell whether a network is a list of layers that may stand anywhere: no graph, and no layer only for an input."""
    try:
        chain_of(spec, "")
    except ArgumentError:
        return False
    return not any(isinstance(node.layer, Scale) for node in spec.nodes)


def pick(spec: NetworkSpec, donor: int, layers: Any, where: str) -> Scion:
    """Return layers of a network: all (None), one by name or number, or those from one to another (a pair)."""
    chain_of(spec, f"{where}, networks[{donor}]")
    names = [n.name for n in spec.nodes]
    if layers is None:
        first, last = 0, len(names) - 1
    else:
        ends = layers if (is_tuple(layers) or is_list(layers)) and len(layers) == 2 else (layers, layers)
        first, last = (names.index(node_at(spec, end, f"{where}, networks[{donor}]")) for end in ends)
    if first > last:
        raise ArgumentError(f"{where}, layers", "the first layer is after the last", expected="first, last",
                            got=repr(layers)[:100], remedy="Turn them around")  # fmt: skip
    listed = to_document(spec)["layers"][first : last + 1]
    shapes = spec.shapes()
    keys = tuple(names[first : last + 1])
    return Scion(donor, tuple(map(bare, listed)), keys, shapes[spec.nodes[first].inputs[0]], shapes[names[last]])


def bare(value: JsonObject) -> JsonObject:
    """Return a node's object without its name, place and inputs."""
    return {key: each for key, each in value.items() if key not in _PLACES}


def unfold_branches(spec: NetworkSpec, piece: Scion) -> list[Scion]:
    """Return a piece for each branch of a piece that is one parallel layer; others alone."""
    key = piece.keys[0]
    layer = spec.node(key).layer
    branches: Any = piece.layers[0].get("branches")
    if len(piece.keys) != 1 or not isinstance(layer, Parallel):
        return [piece]
    made = [part.layer.output_shape(piece.shape) for part in layer.parts(piece.shape)]
    return [
        Scion(piece.donor, (branch,), (f"{key}.branches.{i}",), piece.shape, shape)
        for i, (branch, shape) in enumerate(zip(branches, made, strict=False))
    ]  # fmt: skip


def new_name(name: str, moves: Sequence[tuple[str, str]]) -> str | None:
    """Return a weight's or layer's new name, by pairs of an old key and its new one; None if it does not move."""
    for old, new in moves:
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return None


def move_names(value: Any, moves: Sequence[tuple[str, str]], where: str, *, frozen: bool = False) -> Any:
    """Return a layer's object with all that names other layers named anew, frozen if asked for."""
    if is_mapping(value):
        if "$ref" in value:
            return {**value, "$ref": _require_new_name(str(value["$ref"]), moves, where)}
        names = keys_of_names() if "type" in value else frozenset[str]()
        kept = {
            str(key): _require_new_name(each, moves, where)
            if key in names and isinstance(each, str)
            else move_names(each, moves, where)
            for key, each in value.items()
        }
        return {**kept, "frozen": True} if frozen else kept
    if is_list(value) and value and not is_int(value[0]):
        return [move_names(each, moves, where) for each in value]
    return value


def _require_new_name(name: str, moves: Sequence[tuple[str, str]], where: str) -> str:
    target = new_name(name, moves)
    if target is None:
        raise ArgumentError(where, f"a layer shares the weights of {name!r}, which is not taken",
                            expected="both", got="one", remedy="Take it as well")  # fmt: skip
    return target

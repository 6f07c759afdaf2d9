"""Layers written in Python: ``dense(8, activation="relu")``, by the same tables of fields as documents.

Layer: nn. Invariant: what a document may say is accepted and nothing else: every value goes through the rule of its
field, and the errors are those of a document.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, near_matches
from loom.core.given import is_array, is_list, is_mapping, is_scalar, is_tuple
from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonObject, JsonValue
from loom.nn.spec.base.fields import Config, value_fields, write_object
from loom.nn.spec.base.layer import LAYERS, NODE_KEYS, Layer, read_layer, write_layer
from loom.nn.spec.base.limits import MOST_DEPTH
from loom.nn.spec.base.problems import Place, Reading

__all__ = ["LayerLike", "OpenLayer", "as_json", "constructor", "has_reference", "layer", "layer_json", "shared"]


_OF_NODES = {
    "name": 'Name it where it stands: ("name", layer) in a list, or graph.add(layer, port, name=...)',
    "inputs": "Say what it reads where it stands: graph.add(layer, port, ...)",
    "cell": "Set it in a grid: grid[row, column] = layer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenLayer:
    """A layer that shares weights, or holds one that does: whether it fits is known once its network is."""

    value: JsonObject


LayerLike = Layer | OpenLayer | Mapping[str, Any]
"""A layer: of a function of this module, a config of ``loom.nn.spec``, or a document's object."""


def layer(kind: str, *required: Any, **fields: Any) -> Layer | OpenLayer:
    """Return a layer of a type by its fields: those of its JSON object.

    Args:
        kind: Type of the layer.
        *required: Keys that must be given, in their order; of a layer that has none its first key.
        **fields: Keys of its JSON object.

    Raises:
        ArgumentError: No layer type is called so; too many keys, or one twice.
        SpecError: Keys are missing, unknown or unusable, all of them listed.

    >>> layer("dense", 8, activation="relu").output_shape((4,))
    (8,)
    """
    where = f"loom.nn.structure.{kind}"
    if not isinstance(kind, str) or kind not in LAYERS:
        raise ArgumentError("loom.nn.structure.layer", f"no layer type is called {kind!r}",
                            remedy=near_matches(str(kind), LAYERS))  # fmt: skip
    value: JsonObject = {"type": kind, **_fields_by_key(kind, required, fields, where)}
    if has_reference(value):
        return OpenLayer(value)
    return read_one(value, where)


def read_one(value: JsonObject, where: str) -> Layer:
    """Return the layer of an object; SpecError lists every problem."""
    reading = Reading()
    found = read_layer(value, Place(reading))
    reading.check(where, "layer")
    return found


def _fields_by_key(kind: str, required: tuple[Any, ...], fields: Mapping[str, Any], where: str) -> JsonObject:
    """Return all values by their keys, as JSON has them."""
    known = value_fields(LAYERS[kind])
    order = [f.name for f in known if f.is_required] or [f.name for f in known if f.name != "frozen"][:1]
    if len(required) > len(order):
        raise ArgumentError(where, "too many values without a name", expected=", ".join(order) or "none",
                            got=f"{len(required)}", remedy="Give the others by their keys: key=value")  # fmt: skip
    named = dict(zip(order, required, strict=False))
    twice = [name for name in named if name in fields]
    if twice:
        raise ArgumentError(where, f"{twice[0]!r} is given twice", expected="one value", got="by place and by name",
                            remedy="Leave one out")  # fmt: skip
    for name in NODE_KEYS:
        if name in fields:
            raise ArgumentError(where, f"{name!r} is of a node, not of its layer",
                                expected=", ".join(keys_of_type(kind)), got=f"{name}={fields[name]!r}"[:100],
                                remedy=_OF_NODES[name])  # fmt: skip
    return {name: _shallow(value, f"{where}, {name}") for name, value in {**named, **fields}.items()}


def keys_of_type(kind: str) -> list[str]:
    """Return the keys of a type's layers."""
    return [f.name for f in value_fields(LAYERS[kind])]


def _shallow(value: Any, where: str) -> JsonValue:
    """Return a value as JSON; ArgumentError if it is nested deeper than a document may be."""
    found = as_json(value, where)
    level, depth = [found], 0
    while level:
        level = [v for each in level if isinstance(each, (dict, list))
                 for v in (each.values() if isinstance(each, dict) else each)]  # fmt: skip
        depth += 1
        if depth > MOST_DEPTH:
            raise _too_deep(where)
    return found


def _too_deep(where: str) -> ArgumentError:
    return ArgumentError(where, "nested too deeply", expected=f"at most {MOST_DEPTH} levels", got="more",
                         remedy="Put layers one after another, not within one another")  # fmt: skip


def as_json(value: Any, where: str, depth: int = 0) -> JsonValue:
    """Return what a document has for a value: of layers, enums, dtypes and numpy's numbers too."""
    if depth > MOST_DEPTH:
        raise _too_deep(where)
    if isinstance(value, OpenLayer):
        return value.value
    if isinstance(value, Layer):
        return write_layer(value)
    if isinstance(value, Config):
        return write_object(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, DType):
        return value.name
    if is_mapping(value):
        return {str(name): as_json(each, where, depth + 1) for name, each in value.items()}
    if is_scalar(value) or is_array(value):
        return value.tolist()
    if is_list(value) or is_tuple(value):
        return [as_json(each, where, depth + 1) for each in value]
    return value


def layer_json(given: Any, where: str) -> JsonObject:
    """Return the document's object of a layer; ArgumentError for what is none."""
    value = as_json(given, where)
    if isinstance(given, (str, bytes)) or not isinstance(value, dict):
        remedy = "Pass for example structure.dense(8)"
        raise ArgumentError(where, "not a layer", expected="a layer", got=type(given).__name__, remedy=remedy)
    return value


def shared(target: str) -> OpenLayer:
    """Return a layer once more, with the same weights (``$ref`` in a document).

    Args:
        target: Name of a node, or a key such as ``layers.0.branches.1``.

    Raises:
        ArgumentError: Not a name.
    """
    if not isinstance(target, str):
        raise ArgumentError("loom.nn.structure.shared", "not a name", expected="the name of a layer",
                            got=repr(target)[:100], remedy='Pass for example "layers.0"')  # fmt: skip
    return OpenLayer({"$ref": target})


def has_reference(value: JsonValue) -> bool:
    """Tell whether a value holds a ``$ref`` at any depth."""
    if isinstance(value, dict):
        return "$ref" in value or any(has_reference(v) for v in value.values())
    return isinstance(value, list) and any(isinstance(v, (dict, list)) and has_reference(v) for v in value)


def constructor(kind: str) -> Callable[..., Any]:
    """Return the function that makes layers of a type."""

    def construct(*required: Any, **fields: Any) -> Any:
        return layer(kind, *required, **fields)

    construct.__name__ = construct.__qualname__ = kind
    keys = ", ".join(f.name for f in value_fields(LAYERS[kind]))
    construct.__doc__ = f"{LAYERS[kind].__doc__}\n\n    Keys: {keys}.\n    "
    return construct

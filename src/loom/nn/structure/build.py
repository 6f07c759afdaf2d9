"""Networks built in Python: a list of layers, or a graph of named nodes.

Layer: nn. Invariant: what is built is the document that would be written by hand: ``loom.nn.spec`` reads it, and says
what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_int, is_list, is_mapping, is_tuple
from loom.formats.json_text import JsonObject
from loom.nn.network import Network
from loom.nn.spec.reader import FORMAT
from loom.nn.structure.layers import LayerLike, as_json, layer_json
from loom.runtime.port.device import Device

__all__ = ["Layers", "document", "input_json", "network", "require_keys", "require_network"]

Layers = Sequence[LayerLike | tuple[str, LayerLike]] | Mapping[str, LayerLike]
"""Layers one after another: alone, as pairs (name, layer), or a mapping of names to layers."""


def network(layers: Layers, *, input: Any, on: str | Device | None = None, **keys: Any) -> Network:  # noqa: A002
    """Return a network of layers one after another, with weights drawn by its seed.

    Args:
        layers: Layers of ``nn.structure``, or one.
        input: Shape of one sample, or ``{"shape": ..., "dtype": ...}``.
        on: Device, or its name; None: the default device.
        **keys: Keys of a document (``seed``, ``dtype``, ``name``, ``batch_size``, ``classes``, ``grid``, ``metadata``).

    Raises:
        ArgumentError: Not layers; not a shape; a key that it has itself.
        SpecError: The document has problems, all of them listed.

    >>> from loom.nn import structure
    >>> net = structure.network([structure.dense(8, activation="relu"), structure.dense(3)], input=4, seed=7)
    >>> net.spec.outputs, sorted(net.weights())[0]
    (('layers.1',), 'layers.0.bias')
    """
    return Network.from_json(document(layers, input=input, **keys), on=on)


def document(layers: Layers, *, input: Any, **keys: Any) -> dict[str, Any]:  # noqa: A002
    """Return the ``loom/1`` document of layers one after another.

    Args:
        layers: Layers of ``nn.structure``, or one.
        input: Shape of one sample, or ``{"shape": ..., "dtype": ...}``.
        **keys: Keys of a document (``seed``, ``dtype``, ``name``, ...).

    Raises:
        ArgumentError: Not layers; not a shape; a key that it has itself.
    """
    where = "loom.nn.structure.network"
    require_keys(keys, ("format", "inputs", "nodes"), where)
    listed: list[Any] = [_layer_object(each, f"{where}, layers[{i}]") for i, each in enumerate(_each(layers, where))]
    head = {name: as_json(value, f"{where}, {name}") for name, value in keys.items()}
    return {"format": FORMAT, **head, "input": input_json(input, where), "layers": listed}


def require_keys(keys: Mapping[str, Any], taken: Sequence[str], where: str) -> None:
    """See that no key of a document is given that the builder itself writes; ArgumentError if one is."""
    for name in taken:
        if name in keys:
            raise ArgumentError(f"{where}, {name}", "is written by the builder", expected="keys such as seed or dtype",
                                got=f"{name}={keys[name]!r}"[:100], remedy="Leave it out")  # fmt: skip


def require_network(given: Any, where: str) -> None:
    """See that something is a network; ArgumentError if it is not."""
    if not isinstance(given, Network):
        raise ArgumentError(where, "not a network", expected="a loom.Network", got=repr(given)[:100],
                            remedy="Make one with structure.network")  # fmt: skip


def _each(layers: Any, where: str) -> list[Any]:
    if is_mapping(layers) and "type" not in layers:
        return list(layers.items())
    if not (is_list(layers) or is_tuple(layers)):
        raise ArgumentError(where, "not a list of layers", expected="layers, first to last",
                            got=type(layers).__name__, remedy="Pass [structure.dense(8)]")  # fmt: skip
    return list(layers)


def _layer_object(given: Any, where: str) -> JsonObject:
    """Return the object of a layer, or of a pair of its name and it."""
    if is_tuple(given) and len(given) == 2 and isinstance(given[0], str):
        return {**layer_json(given[1], where), "name": given[0]}
    return layer_json(given, where)


def input_json(given: Any, where: str) -> JsonObject:
    """Return a document's object of an input: of a shape, one size, or such an object."""
    if is_mapping(given):
        return {str(name): as_json(value, where) for name, value in given.items()}
    value = as_json(given, where)
    if is_int(value):
        return {"shape": [value]}
    if not isinstance(value, list):
        raise ArgumentError(f"{where}, input", "not the shape of a sample", expected="sizes of its axes, as (4,)",
                            got=repr(given)[:100], remedy="The batch is no axis of it")  # fmt: skip
    return {"shape": value}

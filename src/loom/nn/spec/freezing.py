"""Layers whose weights training leaves as they are.

Layer: nn. Invariant: what is frozen stands in the document, so that it is saved; no optimiser changes a bit of it, nor
does a batch change what it has measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.nn.spec.base.layer import Shared, keys_of_layers
from loom.nn.spec.document import parse, to_document
from loom.nn.spec.keys import keys_of, object_at
from loom.nn.spec.layers.lora import Adaptable
from loom.nn.spec.network import NetworkSpec

__all__ = ["adapters_of", "require_no_adapters", "with_frozen"]


def with_frozen(spec: NetworkSpec, layers: Sequence[str | int], frozen: bool, where: str) -> NetworkSpec:
    """Return a network with layers frozen, or thawed with all within them; ArgumentError for what it has not."""
    keys = keys_of(spec, layers, where)
    configs = {part.name: part.layer for part in spec.walk()}
    document = to_document(spec)
    for key in keys:
        layer = configs[key]
        if isinstance(layer, Shared) and key in layers:
            raise ArgumentError(where, f"{key!r} has the weights of another layer", expected="the layer itself",
                                got="a $ref", remedy=f"Name {layer.target!r}")  # fmt: skip
        if not isinstance(layer, Shared):
            _write(object_at(document, spec, key), frozen)
    if not frozen:
        _require_outside(keys, {k for k, c in configs.items() if c.frozen}, where)
    return parse(document)


def _write(value: dict[str, Any], frozen: bool) -> None:
    """Write the key of a layer's object; thawed, of those within as well."""
    if frozen:
        value["frozen"] = True
        return
    value.pop("frozen", None)
    for name in (*keys_of_layers(), "gate_softmax"):
        held: Any = value.get(name)
        listed = cast("list[Any]", held) if isinstance(held, list) else [held]
        for each in listed:
            if isinstance(each, dict):
                _write(cast("dict[str, Any]", each), frozen)


def _require_outside(keys: Sequence[str], frozen: set[str], where: str) -> None:
    """See that no layer is within a frozen one that stays so."""
    for key in keys:
        outer = next((f for f in frozen if key.startswith(f"{f}.") and f not in keys), None)
        if outer is not None:
            raise ArgumentError(where, f"{key!r} is within a frozen layer", expected="a layer that holds no frozen one",
                                got=repr(outer), remedy=f"Thaw {outer!r}, then freeze others within it")  # fmt: skip


def adapters_of(spec: NetworkSpec) -> dict[str, Adaptable]:
    """Return the layers of a network that have adapters, by their keys; shared ones once."""
    return {p.name: p.layer for p in spec.walk() if isinstance(p.layer, Adaptable) and p.layer.lora is not None}


def require_no_adapters(spec: NetworkSpec, where: str) -> None:
    """See that no layer of a network has adapters, for what has no rule for them."""
    found = adapters_of(spec)
    if found:
        raise ArgumentError(where, f"the layer {next(iter(found))!r} has adapters (lora)", expected="weights alone",
                            got=f"{len(found)} layers with adapters",
                            remedy="Merge them first: structure.merge_lora(network)")  # fmt: skip

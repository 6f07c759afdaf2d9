"""The JSON Schema of ``loom/1``, made of the configs themselves.

Layer: nn. Invariant: ``docs/formats/network.schema.json`` is what ``json_schema`` returns (a test compares them);
what a schema cannot say (shapes that fit, names that exist) is checked by ``parse`` alone.
"""

from __future__ import annotations

from typing import Any

from loom.nn.spec.base.fields import IGNORED, Record, object_schema
from loom.nn.spec.base.layer import LAYERS, layer_schema
from loom.nn.spec.base.rules import Name, Several
from loom.nn.spec.layers.parallel import GridCell
from loom.nn.spec.network import Input, NetworkSpec
from loom.nn.spec.reader import FORMAT

__all__ = ["json_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``loom/1`` documents.

    >>> json_schema()["properties"]["format"]
    {'const': 'loom/1'}
    """
    network = object_schema(NetworkSpec)
    listed = {"name": Name().schema(), "cell": Record(GridCell).schema()}
    graphed = {"inputs": Several(Name(), 1).schema(), "cell": Record(GridCell).schema()}
    return {
        "$schema": _DIALECT,
        "title": "Loom network, format loom/1",
        "type": "object",
        "properties": {
            "format": {"const": FORMAT},
            "$schema": {"type": "string"},
            **network["properties"],
            "input": {"$ref": "#/$defs/input"},
            "inputs": _object_of({"$ref": "#/$defs/input"}),
            "layers": {"type": "array", "minItems": 1, "items": _node(listed, [])},
            "nodes": _object_of(_node(graphed, ["inputs"])),
            "output": Name(dotted=True).schema(),
            "outputs": Several(Name(dotted=True), 1).schema(),
        },
        "required": ["format"],
        "allOf": [_one_of("input", "inputs"), _one_of("layers", "nodes")],
        "additionalProperties": False,
        "$defs": {
            **{kind: layer_schema(config) for kind, config in sorted(LAYERS.items())},
            "shared": _reference(),
            "any": {"anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in (*sorted(LAYERS), "shared")]},
            "layer": {"$ref": "#/$defs/any", "unevaluatedProperties": False},
            "input": object_schema(Input),
        },
    }


def _object_of(each: dict[str, Any]) -> dict[str, Any]:
    names = Name().schema()
    return {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": each}


def _reference() -> dict[str, Any]:
    return {
        "description": "The layer of that name once more, with the same weights.",
        "type": "object",
        "properties": {"$ref": Name(dotted=True).schema(), **{name: {} for name in IGNORED}},
        "required": ["$ref"],
    }


def _one_of(*names: str) -> dict[str, Any]:
    return {"oneOf": [{"required": [name]} for name in names]}


def _node(more: dict[str, Any], required: list[str]) -> dict[str, Any]:
    node = {"$ref": "#/$defs/any", "properties": more, "unevaluatedProperties": False}
    return node | ({"required": required} if required else {})

"""Layers of experts: branches brought to one width, and weighed by a gate.

Layer: nn. Invariant: they are layers ``parallel`` and ``stitch`` of documents, nothing more.

Source: Jacobs, Jordan, Nowlan and Hinton, "Adaptive mixtures of local experts" (1991).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_list, is_tuple
from loom.formats.json_text import JsonObject
from loom.nn.structure.layers import LayerLike, OpenLayer, as_json, layer, layer_json

__all__ = ["gate_json", "mixture", "softmax_json", "stitched"]


def stitched(given: LayerLike, width: int) -> Any:
    """Return a layer, and after it the linear map that brings its last axis to a width.

    Args:
        given: Layer.
        width: Length of the last axis.

    Raises:
        ArgumentError: Not a layer.
        SpecError: The width is below 1 or no whole number.

    >>> from loom.nn import structure
    >>> structure.stitched(structure.dense(5), 10).output_shape((3,))
    (10,)
    """
    stitch = layer("stitch", width)
    return layer("sequential", [_require_layer(given, "loom.nn.structure.stitched"), stitch])


def mixture(
    experts: Sequence[LayerLike],
    gate: LayerLike | None = None,
    *,
    softmax: str | LayerLike = "standard",
    temperature: float | None = None,
    width: int | None = None,
) -> Any:
    """Return a layer of experts, whose outputs are added, each times its weight for the sample at hand.

    Experts that are ``frozen`` stay: then the gate alone learns.

    Args:
        experts: Layers.
        gate: Layer that gives a number for each expert; None: a dense one.
        softmax: Variant's name, or a softmax layer, that makes weights of them.
        temperature: Temperature of that softmax; None: its own.
        width: Width that a stitch brings each expert's output to; None: shorter ones are padded with zeros.

    Raises:
        ArgumentError: No experts, or not layers; the gate is no layer.
        SpecError: A layer cannot be read.

    >>> from loom.nn import structure
    >>> structure.mixture([structure.dense(3), structure.dense(3)], softmax="sparse").output_shape((4,))
    (3,)
    """
    where = "loom.nn.structure.mixture"
    if not (is_list(experts) or is_tuple(experts)) or not experts:
        raise ArgumentError(where, "no experts", expected="a list of layers", got=repr(experts)[:100],
                            remedy="Pass [structure.dense(3), structure.dense(3)]")  # fmt: skip
    kept = [_require_layer(each, where) for each in experts]
    return layer(
        "parallel", [each if width is None else stitched(each, width) for each in kept], combine_mode="filter",
        gate=gate_json(gate, len(kept), where), gate_softmax=softmax_json(softmax, temperature, where),
    )  # fmt: skip


def gate_json(gate: LayerLike | None, experts: int, where: str) -> JsonObject:
    """Return the object of a gate: that given, or a dense layer of one number for each expert."""
    return {"type": "dense", "output_size": experts} if gate is None else layer_json(gate, f"{where}, gate")


def softmax_json(softmax: str | LayerLike, temperature: float | None, where: str) -> JsonObject:
    """Return the object of a softmax layer, of a variant's name or a layer, with its temperature."""
    found: JsonObject = {"type": "softmax", "variant": softmax} if isinstance(softmax, str) else {}
    if not isinstance(softmax, str):
        found = layer_json(softmax, f"{where}, softmax")
    return found if temperature is None else {**found, "temperature": as_json(temperature, where)}


def _require_layer(given: Any, where: str) -> LayerLike:
    """Return a layer as it was given, if it is one."""
    value = layer_json(given, where)
    return given if not isinstance(given, dict) else OpenLayer(value)

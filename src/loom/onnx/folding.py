"""Arithmetic of shapes on the host: whole numbers that the host knows stay arrays.

Layer: onnx. Invariant: what is folded is exact (integers and bools), so that folding changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.onnx.registry import NodeCall

__all__ = ["fold"]

_MOST = 4096
"""Elements of an array that is folded; larger ones are tensors."""


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Equal": np.equal, "Less": np.less,
    "LessOrEqual": np.less_equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "And": np.logical_and,
    "Or": np.logical_or, "Xor": np.logical_xor, "Max": np.maximum, "Min": np.minimum,
}  # fmt: skip


def fold(call: NodeCall) -> np.ndarray[Any, Any] | None:
    """Return the result of a node over few whole numbers, None for what is recorded instead."""
    found: list[np.ndarray[Any, Any]] = []
    for value in call.inputs:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iub" or value.size > _MOST:
            return None
        found.append(value)
    if call.name in _BINARY and len(found) == 2 and call.opset >= 7 and not call.node.attribute:
        with np.errstate(all="ignore"):
            return np.asarray(_BINARY[call.name](*found))
    if call.name == "Gather" and len(found) == 2 and found[0].ndim == 1 and set(call.unread) <= {"axis"}:
        return _gather(call, *found)
    if call.name == "Concat" and found and all(a.ndim == 1 for a in found):
        call.integer("axis")
        return np.concatenate(found)
    return None


def _gather(call: NodeCall, table: np.ndarray[Any, Any], at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    n = len(table)
    if at.dtype.kind not in "iu" or (at.size and (at.min() < -n or at.max() >= n)):
        return None
    call.axis(call.integer("axis", 0), 1)
    return np.asarray(table[at])

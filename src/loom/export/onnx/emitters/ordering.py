"""Rows in order, the first few, running sums.

Layer: export. Invariant: equal elements stay as they were, and NaN is the largest, as Loom reads TopK.
"""

from __future__ import annotations

from loom.core.dtype import i64
from loom.export.onnx.emitters.registry import emits, refusal
from loom.export.onnx.writing.records import RecordedValue
from loom.export.onnx.writing.writer import GraphWriter
from loom.tensor.ops.ordering import FIRST, SCAN, SORT

__all__: list[str] = []


def _first(w: GraphWriter, value: RecordedValue, place: int) -> str:
    """Write TopK and return its values or positions."""
    x = value.inputs[0]
    name, k = w.use(x), w.sizes([value.shape[-1]])
    return w.pair("TopK", [name, k], (x.dtype, i64), axis=-1, largest=int(value.attributes[0]), sorted=1)[place]


@emits(SORT)
def _sort(w: GraphWriter, value: RecordedValue) -> str:
    return _first(w, value, 0)


@emits(FIRST)
def _positions(w: GraphWriter, value: RecordedValue) -> str:
    return _first(w, value, 1)


@emits(SCAN)
def _scan(w: GraphWriter, value: RecordedValue) -> str:
    axis, scanning = value.attributes
    if scanning.name != "sum":
        raise refusal(value, f"ONNX has no running {scanning.name}", expected="running sums", got=scanning.name,
                      remedy="Export to C: loom export --to c")  # fmt: skip
    name = w.cast(w.use(value.inputs[0]), scanning.accumulator)
    found = w.node("CumSum", [name, w.constant(_axis(axis))], exclusive=int(scanning.exclusive))
    return w.cast(found, value.dtype)


def _axis(axis: int) -> object:
    import numpy as np

    return np.int64(axis)

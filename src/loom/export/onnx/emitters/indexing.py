"""Elements by index, and elements joined by index.

Layer: export. ONNX leaves open what an index outside gives; Loom gives zeros. Invariant: an index that may lie outside
is written with the zeros, so that every runtime gives them.
"""

from __future__ import annotations

import numpy as np

from loom.core.dtype import bool_, i64
from loom.export.onnx.emitters.registry import emits, refusal, resolve_alias, unwrap
from loom.export.onnx.writing.lengths import Length, Size
from loom.export.onnx.writing.records import OpenNumber, RecordedValue
from loom.export.onnx.writing.writer import GraphWriter
from loom.tensor.ops.elementwise import CONVERT, COORDINATE, NUMBER
from loom.tensor.ops.indexing import FOLD, TAKE
from loom.tensor.ops.ordering import FIRST
from loom.tensor.ops.reductions import ARG
from loom.tensor.ops.views import PERMUTE, RESHAPE, SLICE

__all__ = ["emit_take"]

_PASSING = (RESHAPE, PERMUTE, SLICE, CONVERT)


def _is_within(at: RecordedValue, n: Size) -> bool:
    """Return whether every index is known to be below ``n``."""
    at = unwrap(at)
    while at.op in _PASSING and not at.is_known and at.inputs[0].dtype.is_integer:
        at = unwrap(at.inputs[0])
    if isinstance(n, Length):
        return False
    if at.is_known and not at.op.is_written:
        found = at.array()
        return not found.size or bool(int(found.max()) < n and int(found.min()) >= 0)
    if at.op is COORDINATE:
        axis: int = at.attributes[0]
        length = at.shape[axis]
        return isinstance(length, int) and length <= n
    if at.op is NUMBER:
        number = at.attributes[0]
        return not isinstance(number, OpenNumber) and 0 <= number.value < n
    if at.op is ARG:
        along: int = at.attributes[0]
        length = at.inputs[0].shape[along]
        return isinstance(length, int) and length <= n
    if at.op is FIRST:
        length = at.inputs[0].shape[-1]
        return isinstance(length, int) and length <= n
    return False


@emits(TAKE)
def _take(w: GraphWriter, value: RecordedValue) -> str:
    axis, shared = value.attributes
    table, at = value.inputs
    found, at_axis = w.use(table), int(axis)
    w.use(resolve_alias(at))
    return emit_take(w, value, found, table.shape[at_axis], at, at_axis, shared=shared)


def emit_take(
    w: GraphWriter, value: RecordedValue, table: str, n: Size, at: RecordedValue, axis: int, *, shared: bool = True
) -> str:  # fmt: skip
    """Write elements of a table of ``n`` along an axis by indices; ``shared``: the same ones for all other axes."""
    kind, index = "Gather" if shared else "GatherElements", w.cast(w.use(resolve_alias(at)), i64)
    if shared and at.ndim != 1:
        index = w.reshape(index, [value.shape[axis]])
    if _is_within(at, n):
        return w.node(kind, [table, index], value.dtype, axis=axis)
    if n == 0:
        raise refusal(value, "a table without rows", expected="at least 1 row", got=0,
                      remedy="Export a table that has rows")  # fmt: skip
    inside = w.node("Less", [index, w.node("Reshape", [w.sizes([n]), w.whole()])], bool_)
    safe = w.node("Where", [inside, index, w.constant(np.int64(0))], i64)
    picked = w.node(kind, [table, safe], value.dtype, axis=axis)
    if shared:
        inside = w.reshape(inside, [value.shape[axis] if a == axis else 1 for a in range(value.ndim)])
    zero = w.constant(np.array(0, value.dtype.numpy), value.dtype)
    return w.node("Where", [inside, picked, zero], value.dtype)


@emits(FOLD)
def _fold(w: GraphWriter, value: RecordedValue) -> str:
    del w
    raise refusal(value, "ONNX leaves open in which order elements are added by index", expected="gathered elements",
                  got="a fold by index", remedy="Leave it out, or export to C: loom export --to c")  # fmt: skip

"""Rows in order: their elements, the positions that put them there, the first few; and running folds.

Layer: tensor. The order of floats is that of ``kernels.sort.keys``, running folds are those of ``kernels.scan``. All go
along the last axis (folds along any). Invariant: a stable order is unique, and so are the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.core.dtype import DType, i64
from loom.kernels.sort.keys import Order, Records
from loom.kernels.sort.search import SEARCH_LANES, search
from loom.schedules.axis import rows_along
from loom.schedules.histogram import record_histogram
from loom.schedules.scan import Scanning, record_scan
from loom.schedules.sorting.select import record_first
from loom.schedules.sorting.sort import plan_sort
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make

__all__ = [
    "COUNTS",
    "FIRST",
    "SCAN",
    "SEARCH",
    "SORT",
    "counts_between",
    "find_places",
    "first_of",
    "running",
    "sort_last",
]


def _record_sort(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    if node.size:
        n, records = node.shape[-1], Records(Order(node.dtype, node.attributes[0]))
        plan = plan_sort(records, node.size // n, n, keys_out=True, caps=draft.device.caps, where=node.op.name)
        room = [draft.device.allocate(nbytes) for nbytes in plan.sizes]
        plan.record(draft, operands[0].buffer, None, out, None, room)


def _record_first(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    x, k = node.inputs[0], node.shape[-1]
    if node.size:
        n = x.shape[-1]
        order = Order(x.dtype, node.attributes[0])
        record_first(draft, operands[0].buffer, out, order, (x.size // n, n, k), node.op.name)


def _record_scan(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    axis, scanning = node.attributes
    if node.size:
        record_scan(draft, operands[0].buffer, out, rows_along(node.shape, axis, axis + 1), scanning)


def _record_search(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    in_order, right = node.inputs[0], node.attributes[0]
    n, per = in_order.shape[-1], node.size // max(1, in_order.size // max(1, in_order.shape[-1]))
    if node.size:
        kernel = search(Order(in_order.dtype), right=right, rows=True)
        buffers = [operands[0].buffer, operands[1].buffer, out]
        draft.dispatch(kernel, buffers, [n, node.size, per], -(-node.size // SEARCH_LANES))


def _record_counts(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (scale,), (x, edges) = node.attributes, node.inputs
    sizes, types = (x.size, node.size), (x.dtype, edges.dtype)
    record_histogram(draft, operands[0].buffer, operands[1].buffer, out, sizes, types, scale)


SORT = TensorOp("sort", NodeKind.KERNEL, record=_record_sort)
FIRST = TensorOp("argsort", NodeKind.KERNEL, record=_record_first)
SCAN = TensorOp("cumulative", NodeKind.KERNEL, record=_record_scan)
SEARCH = TensorOp("searchsorted", NodeKind.KERNEL, record=_record_search)
COUNTS = TensorOp("histogram", NodeKind.KERNEL, record=_record_counts)


def sort_last(x: NodeT, *, descending: bool) -> NodeT:
    """Return the elements in order along the last axis."""
    return make(SORT, [x], x.shape, x.dtype, (descending,))


def first_of(x: NodeT, k: int, *, descending: bool) -> NodeT:
    """Return the positions (i64) of the first ``k`` in that order, equal ones as they were."""
    return make(FIRST, [x], (*x.shape[:-1], k), i64, (descending,))


def running(x: NodeT, axis: int, scanning: Scanning, dtype: DType) -> NodeT:
    """Return the running folds along an axis."""
    return make(SCAN, [x], x.shape, dtype, (axis, scanning))


def find_places(in_order: NodeT, values: NodeT, *, right: bool) -> NodeT:
    """Return how many elements of a row, which has some, come before each value of its row (of the only one)."""
    return make(SEARCH, [in_order, values], values.shape, i64, (right,))


def counts_between(x: NodeT, edges: NodeT, scale: float | None) -> NodeT:
    """Return how many elements lie in each bin (i64); ``scale``: bins to one, of evenly spaced edges."""
    return make(COUNTS, [x, edges], (edges.shape[0] - 1,), i64, (scale,))

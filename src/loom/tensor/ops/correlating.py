"""Products of rows or columns that are views, such as the windows of images: nothing is copied where a device reads
them so.

Layer: tensor. Invariant: the bits are those of the product of the copied rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import f32, f64
from loom.kernels.maps.nest import number
from loom.kernels.types import PRODUCTS, product_types
from loom.schedules.matmul import Multiplication, is_better_turned, record_gathered, record_matmul
from loom.schedules.products.viewed import record_viewed
from loom.schedules.products.views import OperandView
from loom.tensor.ops.joining import copy_into, fill
from loom.tensor.ops.precision import precision_of
from loom.tensor.ops.products import matmul, record_product
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make

__all__ = ["COLUMNS", "ROWS", "product_of_columns", "product_of_rows"]

_WORTH_TABLES = 64**3
"""Products from which two tables cost less than the copy they save."""
_LEAST_SUMMED = 64
"""Columns of windows' sums over places from which packing them from where they lie pays."""
_LEAST_COLUMNS = 5
"""Columns of a result from which its rows are packed from where they lie: fewer are multiplied without packing."""


def product_of_rows(rows: NodeT, weight: NodeT, axes: int) -> NodeT:
    """Return ``rows`` (*places, *inner) times ``weight`` (k, columns): (*places, columns).

    The first ``axes`` axes of ``rows`` count rows, the others, k elements in all, are summed over in row-major order.
    """
    places, k = rows.shape[:axes], math.prod(rows.shape[axes:])
    size = math.prod(places) * k * weight.shape[1]
    if rows.dtype not in (f32, f64) or size < _WORTH_TABLES:
        wide = PRODUCTS.get(rows.dtype, (rows.dtype,))[0]
        flat = matmul(reshape(rows, (math.prod(places), k)), weight, out_dtype=wide)
        return reshape(flat, (*places, weight.shape[1]))
    precision = precision_of(None, rows.dtype, "product_of_rows")
    return make(ROWS, [rows, weight], (*places, weight.shape[1]), rows.dtype, (axes, precision))


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (axes, precision), dtype = node.attributes, node.dtype
    shape = node.inputs[0].shape
    m, k, n = math.prod(shape[:axes]), math.prod(shape[axes:]), node.shape[-1]
    what = Multiplication(m, n, k, product_types(dtype, dtype, precision=precision))
    access, weight = operands[0].access, _pack(draft, operands[1], dtype)
    if min(access.strides) >= 0:
        rows_at = access.offset + _distances(shape[:axes], access.strides[:axes])
        k_at, buffer = _distances(shape[axes:], access.strides[axes:]), operands[0].buffer
        if what.types.order_free is None and record_gathered(draft, buffer, rows_at, k_at, weight, out, what):
            return
        columns = OperandView.of_strides(weight, (n, k), (1, n))
        if n >= _LEAST_COLUMNS and record_viewed(draft, OperandView(buffer, rows_at, k_at), columns, out, what):
            return
    record_matmul(draft, _pack(draft, operands[0], dtype), weight, out, what)


def _distances(shape: Sequence[int], strides: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return how far each index lies from the first, in row-major order."""
    found = np.zeros((), np.int64)
    for n, stride in zip(shape, strides, strict=True):
        found = np.add.outer(found, np.arange(n, dtype=np.int64) * stride)
    return found.reshape(-1)


def _pack(draft: Draft, operand: BufferView, dtype: Any) -> Any:
    """Return a buffer with the elements in row-major order, a copy if they do not lie so."""
    access = operand.access
    if access.is_packed:
        return operand.buffer
    size = math.prod(access.shape)
    copy = draft.device.allocate(size * dtype.nbytes)
    flat = len(access.shape)
    copy_into(draft, operand, copy, access.shape, (0,) * flat, (1,) * flat, dtype)
    return copy


ROWS = TensorOp("product_of_rows", NodeKind.KERNEL, record=_record, accepts=lambda _: True)
"""Its first input's rows, however they lie, times its second."""


def product_of_columns(left: NodeT, columns: NodeT, axes: int, *, transposed: bool = False) -> NodeT:
    """Return ``left`` (m, k) times ``columns`` (*inner, *places): (m, *places).

    The first ``axes`` axes of ``columns``, k elements in all, are summed over in row-major order. ``transposed``:
    ``left`` is (m, places), and the others are summed over: (m, *inner).
    """
    inner, places = columns.shape[:axes], columns.shape[axes:]
    precision = precision_of(None, left.dtype, "product_of_columns")
    shape = (left.shape[0], *(inner if transposed else places))
    return make(COLUMNS, [left, columns], shape, left.dtype, (axes, precision, transposed))


def _record_columns(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (axes, precision, transposed), dtype = node.attributes, node.dtype
    shape = node.inputs[1].shape
    inner, places = math.prod(shape[:axes]), math.prod(shape[axes:])
    n, k = (inner, places) if transposed else (places, inner)
    m = node.shape[0]
    if node.size == 0:
        return
    if k == 0:
        fill(draft, out, node.size, number(0, dtype))
        return
    what = Multiplication(m, n, k, product_types(dtype, dtype, precision=precision), transpose_b=transposed)
    access = operands[1].access
    is_worth = m * n * k >= _WORTH_TABLES and not (transposed and n < _LEAST_SUMMED)
    if is_worth and min(access.strides) >= 0 and not is_better_turned(draft.device.caps, what):
        by_inner = _distances(shape[:axes], access.strides[:axes])
        by_place = access.offset + _distances(shape[axes:], access.strides[axes:])
        columns = OperandView(operands[1].buffer, *((by_inner, by_place) if transposed else (by_place, by_inner)))
        if record_viewed(draft, _rows_of(draft, operands[0], dtype), columns, out, what):
            return
    record_product(draft, _pack(draft, operands[0], dtype), _pack(draft, operands[1], dtype), out, what)


def _rows_of(draft: Draft, operand: BufferView, dtype: Any) -> OperandView:
    """Return the view that a matrix is, turned or not; a copy of one that goes back."""
    access, shape = operand.access, (operand.access.shape[0], operand.access.shape[1])
    if min(access.strides) < 0:
        return OperandView.of_strides(_pack(draft, operand, dtype), shape, (shape[1], 1))
    return OperandView.of_strides(operand.buffer, shape, (access.strides[0], access.strides[1]), access.offset)


COLUMNS = TensorOp("product_of_columns", NodeKind.KERNEL, record=_record_columns, accepts=lambda _: True)
"""Its first input times its second's columns, however they lie."""

"""Rows picked by indices that are a tensor (embedding), and sums of rows by index.

Layer: tensor. Each is the derivative of the other. Invariant: rows are added in the order of their positions
(``kernels.move.gather``), never scattered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loom.core.dtype import u32, u64
from loom.core.errors import DTypeError, ShapeError
from loom.core.numbers import whole
from loom.kernels.maps.nest import number
from loom.kernels.move.gather import LANES, ROWS, start_rows, sum_rows, take_rows
from loom.kernels.sort.keys import DIGIT_BITS, Order, Records
from loom.schedules.sort import plan_sort
from loom.tensor.draft import BufferView, Draft
from loom.tensor.graph import Node, NodeKind, NodeT, TensorOp, make, require_tensor
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.joining import fill
from loom.tensor.ops.views import reshape

__all__ = ["GATHER", "SUM_BY_INDEX", "gather", "pick_rows", "sum_by_index", "sum_rows_by"]

_NOWHERE = 0xFFFF_FFFF
"""An index that no table has."""


def _inner(shape: Sequence[int]) -> int:
    return math.prod(shape[1:])


def _record_gather(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    table, at = node.inputs
    inner = _inner(table.shape)
    if node.size == 0:
        return
    groups = (-(-inner // LANES), -(-at.size // ROWS))
    buffers = [operands[0].buffer, operands[1].buffer, out]
    draft.dispatch(take_rows(node.dtype), buffers, [at.size, table.shape[0], inner], groups)


def _record_sums(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    x, at = node.inputs
    rows, inner, n = node.shape[0], _inner(node.shape), at.size
    if node.size == 0:
        return
    if n == 0:
        fill(draft, out, node.size, number(0, node.dtype))
        return
    digits = max(1, -(-(rows - 1).bit_length() // DIGIT_BITS))
    plan = plan_sort(Records(Order(u32), "index"), 1, n, keys_out=True, caps=draft.device.caps, where="sum_by_index",
                     digits=digits)  # fmt: skip
    sizes = n * u32.nbytes, n * u64.nbytes, (rows + 1) * u32.nbytes, *plan.sizes
    ordered, order, starts, *room = (draft.device.allocate(nbytes) for nbytes in sizes)
    plan.record(draft, operands[1].buffer, None, ordered, order, room)
    draft.dispatch(start_rows(), [ordered, starts], [n, rows], rows // LANES + 1)
    groups = (-(-inner // LANES), -(-rows // ROWS))
    draft.dispatch(sum_rows(x.dtype, node.dtype), [operands[0].buffer, order, starts, out], [rows, inner], groups)


GATHER = TensorOp("gather", NodeKind.KERNEL, record=_record_gather)
SUM_BY_INDEX = TensorOp("sum_by_index", NodeKind.KERNEL, record=_record_sums)


def pick_rows(table: NodeT, at: NodeT) -> NodeT:
    """Return rows by indices that are u32."""
    return make(GATHER, [table, at], (*at.shape, *table.shape[1:]), table.dtype)


def sum_rows_by(x: NodeT, at: NodeT, shape: tuple[int, ...]) -> NodeT:
    """Return the sums of rows by indices that are u32."""
    return make(SUM_BY_INDEX, [x, at], shape, x.dtype)


def _check_indices(indices: NodeT, name: str, rows: int) -> NodeT:
    """Return indices as u32, those that it lacks as one that no row has."""
    require_tensor(indices, name)
    if not indices.dtype.is_integer:
        raise DTypeError(name, "indices are no integers", expected="an integer type", got=indices.dtype,
                         remedy="Convert with astype")  # fmt: skip
    if indices.dtype.bits == 64 or (indices.dtype.is_signed and rows > 1 << 31):
        inside = apply("lt", indices, _NOWHERE) if indices.dtype.bits > 32 else apply("ge", indices, 0)
        inside = apply("and", inside, apply("ge", indices, 0)) if indices.dtype.is_signed else inside
        return where(inside, cast(indices, u32), _NOWHERE)
    return cast(indices, u32)


def gather(table: NodeT, indices: NodeT) -> NodeT:
    """Return rows of ``table`` (first axis) by ``indices``: shape (*indices.shape, *table.shape[1:]).

    An index outside the table, a negative one too, gives zeros and has no gradient.
    """
    require_tensor(table, "gather")
    if not table.ndim:
        raise ShapeError("gather", "the table has no rows", expected="at least 1 dimension", got=table.shape,
                         remedy="Reshape it")  # fmt: skip
    return pick_rows(table, _check_indices(indices, "gather", table.shape[0]))


def sum_by_index(x: NodeT, indices: NodeT, rows: int) -> NodeT:
    """Return (rows, ..): row r is the sum of the rows of ``x`` whose index is r, in the order of their positions.

    A row whose index is outside, a negative one too, counts nowhere.
    """
    require_tensor(x, "sum_by_index")
    rows = whole(rows, "sum_by_index, rows", least=0, most=_NOWHERE)
    at = _check_indices(indices, "sum_by_index", rows)
    if x.shape[: at.ndim] != at.shape:
        raise ShapeError("sum_by_index", "the indices do not fit", expected=f"{at.shape} first", got=x.shape,
                         remedy="One index for each row")  # fmt: skip
    inner = x.shape[at.ndim :]
    return sum_rows_by(reshape(x, (at.size, *inner)), reshape(at, (at.size,)), (rows, *inner))

"""Elements picked along an axis by indices that are a tensor (embedding), and elements folded there by index.

Layer: tensor. Each is the derivative of the other. Invariant: elements of one place are folded in the order of their
positions (``kernels.move.along``), never scattered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loom.core.dtype import i32, i64, u32
from loom.core.errors import DTypeError, ShapeError
from loom.core.numbers import whole
from loom.kernels.maps.nest import number
from loom.kernels.move.along import JOINS
from loom.kernels.types import compute_type
from loom.schedules.axis import Rows, rows_along
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.joining import fill
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make, require_tensor

if TYPE_CHECKING:
    from loom.schedules.sorting.along import Picking

__all__ = [
    "FOLD", "TAKE", "fold_by", "gather", "pick", "positions_of", "sum_by_index", "sum_rows_by", "wrap_positions",
]  # fmt: skip

_NOWHERE = 0xFFFF_FFFF
"""An index that no table has."""


def _picking(table: Rows, count: int, shared: bool) -> Picking:
    """Return how elements are picked along an axis; it sorts where they are folded, which first sums do without."""
    from loom.schedules.sorting.along import Picking

    return Picking(table, count, shared)


def _record_take(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    axis, shared = node.attributes
    table, at = node.inputs
    if node.size == 0:
        return
    what = _picking(rows_along(table.shape, axis, axis + 1), at.size if shared else at.shape[axis], shared)
    what.record_take(draft, operands[0].buffer, operands[1].buffer, out, node.dtype)


def _record_fold(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    axis, shared, operation = node.attributes
    x = node.inputs[0]
    if node.size == 0:
        return
    if x.size == 0:
        fill(draft, out, node.size, number(JOINS[operation][1](node.dtype), node.dtype))
        return
    what = _picking(rows_along(node.shape, axis, axis + 1), x.shape[axis], shared)
    buffers = operands[0].buffer, operands[1].buffer, out
    what.record_fold(draft, *buffers, operation, x.dtype, node.dtype, node.op.name)


TAKE = TensorOp("gather", NodeKind.KERNEL, record=_record_take, by_parts=True)
FOLD = TensorOp("sum_by_index", NodeKind.KERNEL, record=_record_fold, by_parts=True)


def pick(x: NodeT, at: NodeT, axis: int, *, shared: bool) -> NodeT:
    """Return elements along an axis by indices that are u32, those outside as zeros.

    ``shared``: one row of indices for all; else ``at`` has the shape of ``x`` but for the axis.
    """
    shape = (*x.shape[:axis], at.size, *x.shape[axis + 1 :]) if shared else at.shape
    return make(TAKE, [x, at], shape, x.dtype, (axis, shared))


def fold_by(x: NodeT, at: NodeT, axis: int, n: int, *, shared: bool, operation: str = "sum") -> NodeT:
    """Return ``n`` places along an axis, each the fold of the elements with its index (u32) in their order."""
    held = compute_type(x.dtype)
    if held.is_complex and operation != "sum":
        raise DTypeError(f"fold by index, {operation}", "complex numbers", expected="real numbers, or sums", got=held,
                         remedy="Fold tensor.real(x), tensor.imag(x) or abs(x)")  # fmt: skip
    shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
    return cast(make(FOLD, [x, at], shape, held, (axis, shared, operation)), x.dtype)


def sum_rows_by(x: NodeT, at: NodeT, shape: tuple[int, ...]) -> NodeT:
    """Return the sums of rows by a row of indices that are u32."""
    return reshape(fold_by(x, at, 0, shape[0], shared=True), shape)


def wrap_positions(indices: NodeT, name: str, n: int) -> NodeT:
    """Return indices as u32: -n to -1 count from the end, and those outside become one that no axis has."""
    require_tensor(indices, name)
    kind = indices.dtype
    if not (kind.is_integer and kind.is_signed):
        return positions_of(indices, name, n)
    wide = i32 if kind.bits <= i32.bits and n < i32.maximum else i64
    at = cast(indices, wide)
    return positions_of(where(apply("lt", at, 0), apply("add", at, n), at), name, n)


def positions_of(indices: NodeT, name: str, rows: int) -> NodeT:
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
    at = positions_of(indices, "gather", table.shape[0])
    found = pick(table, reshape(at, (at.size,)), 0, shared=True)
    return reshape(found, (*at.shape, *table.shape[1:]))


def sum_by_index(x: NodeT, indices: NodeT, rows: int) -> NodeT:
    """Return (rows, ..): row r is the sum of the rows of ``x`` whose index is r, in the order of their positions.

    A row whose index is outside, a negative one too, counts nowhere.

    Args:
        x: Tensor (n, ..).
        indices: Tensor (n,) of integers.
        rows: Number of rows of the result.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor.
        ShapeError: Not one element; the indices do not fit.
    """
    require_tensor(x, "sum_by_index")
    rows = whole(rows, "sum_by_index, rows", least=0, most=_NOWHERE)
    at = positions_of(indices, "sum_by_index", rows)
    if x.shape[: at.ndim] != at.shape:
        raise ShapeError("sum_by_index", "the indices do not fit", expected=f"{at.shape} first", got=x.shape,
                         remedy="One index for each row")  # fmt: skip
    inner = x.shape[at.ndim :]
    return sum_rows_by(reshape(x, (at.size, *inner)), reshape(at, (at.size,)), (rows, *inner))

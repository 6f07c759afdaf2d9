"""Factorisations as single operations of the record: what ``schedules.linalg`` does to a batch of matrices.

Layer: tensor. A factorisation of several parts is one tensor of shape (*batch, elements), its parts one after the other
in row-major order; ``part`` takes one out. These have no derivative: what calls them routes gradients around them.
Invariant: operands are f32 or f64 and packed, and no size is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.kernel import Access
from loom.kernels.linalg.lu import PANEL, row_order
from loom.kernels.maps.nest import Apply, Load, LoopNest, Store
from loom.schedules.linalg.elimination import (
    Columns,
    record_basis,
    record_cholesky,
    record_determinants,
    record_factors,
    record_reflections,
    record_solution,
)
from loom.schedules.linalg.small import is_small, record_small_factors, record_small_solution
from loom.schedules.linalg.spectral import record_eigen, record_singular, record_zeros
from loom.tensor.ops.views import reshape, take_slices
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make
from loom.tensor.record.layout import row_major

__all__ = [
    "cholesky_node", "det_node", "eigen_node", "lu_node", "order_node", "part", "put", "qr_node", "singular_node",
    "solve_node",
]  # fmt: skip


def part(x: Any, first: int, shape: Sequence[int]) -> Any:
    """Return elements ``first`` on of the last axis, seen in a shape."""
    starts = [0] * (x.ndim - 1) + [first]
    found = take_slices(x, starts, [1] * x.ndim, (*x.shape[:-1], math.prod(shape)))
    return reshape(found, (*x.shape[:-1], *shape))


def put(draft: Draft, source: Any, held: DType, out: Any, node: Node, first: int, size: int) -> None:
    """Record ``size`` elements a matrix becoming those from ``first`` on of each row of ``out``, converted."""
    batch, whole = math.prod(node.shape[:-1]), node.shape[-1]
    place = row_major((batch, whole)).slice((0, first), (1, 1), (batch, size))
    values: tuple[Any, ...] = (Load(0, 0, row_major((batch, size)).strides),)
    if held != node.dtype:
        values = (*values, Apply("convert", (0,), node.dtype))
    stores = (Store(len(values) - 1, 1, place.offset, place.strides),)
    buffers = ((held, Access.READ), (node.dtype, Access.WRITE))
    draft.strided(LoopNest((batch, size), values, stores, buffers), [source, out])


def _batch(x: Node) -> int:
    return math.prod(x.shape[:-2])


def _record_lu(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n, batch, dtype = node.inputs[0].shape[-1], _batch(node.inputs[0]), node.dtype
    factors, pivots = (draft.device.allocate(batch * size) for size in (n * n * dtype.nbytes, n * u32.nbytes))
    work = Columns(draft, dtype, batch, n, n)
    work.load(operands[0].buffer, n, 0)
    record_factors(work, factors, pivots)
    put(draft, factors, dtype, out, node, 0, n * n)
    put(draft, pivots, u32, out, node, n * n, n)


def _record_order(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n = node.shape[-1]
    matrices = node.size // n
    kernel = row_order(node.inputs[0].dtype)
    draft.dispatch(kernel, [operands[0].buffer, out], [n, matrices], groups=-(-matrices // PANEL))


def _record_solve(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n, batch, dtype = node.inputs[0].shape[-1], _batch(node.inputs[0]), node.dtype
    m = (node.shape[-1] - 1) // n
    if len(operands) > 1 and is_small(n, m):
        left, right = (operand.buffer for operand in operands)
        record_small_solution(draft, left, right, out, dtype, batch, n, m)
        return
    work = Columns(draft, dtype, batch, n, n + m)
    info, found = _info(work), draft.device.allocate(batch * n * m * dtype.nbytes)
    work.load(operands[0].buffer, n, 0)
    if len(operands) > 1:
        work.load(operands[1].buffer, m, n)
    else:
        work.identity(m, n)
    record_solution(work, info, m)
    work.store(found, n, m, n)
    put(draft, found, dtype, out, node, 0, n * m)
    put(draft, info, u32, out, node, n * m, 1)


def _info(work: Columns) -> Any:
    """Return where a factorisation tells the column it failed in."""
    info = work.words(1)
    record_zeros(work.chain, info, u32, work.batch)
    return info


def _record_det(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n = node.inputs[0].shape[-1]
    work = Columns(draft, node.dtype, _batch(node.inputs[0]), n, n)
    work.load(operands[0].buffer, n, 0)
    record_determinants(work, out)


def _record_cholesky(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n, batch, dtype = node.inputs[0].shape[-1], _batch(node.inputs[0]), node.dtype
    work = Columns(draft, dtype, batch, n, n)
    info, found = _info(work), draft.device.allocate(batch * n * n * dtype.nbytes)
    work.load(operands[0].buffer, n, 0)
    record_cholesky(work, found, info)
    put(draft, found, dtype, out, node, 0, n * n)
    put(draft, info, u32, out, node, n * n, 1)


def _record_qr(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (m, n), (columns,) = node.inputs[0].shape[-2:], node.attributes
    k, batch, dtype = min(m, n), _batch(node.inputs[0]), node.dtype
    if is_small(m, n):
        record_small_factors(draft, operands[0].buffer, out, dtype, batch, m, n, columns)
        return
    allocate = draft.device.allocate
    factors, q, r = (allocate(batch * size * dtype.nbytes) for size in (k, m * columns, columns * n))
    work, basis = Columns(draft, dtype, batch, m, n), Columns(draft, dtype, batch, m, columns)
    work.load(operands[0].buffer, n, 0)
    record_reflections(draft, work, factors, k, n)
    work.store(r, columns, n, 0, upper=True)
    basis.identity(columns, 0)
    record_basis(draft, work, basis, factors, k, columns)
    basis.store(q, m, columns, 0)
    put(draft, q, dtype, out, node, 0, m * columns)
    put(draft, r, dtype, out, node, m * columns, columns * n)


def _record_eigen(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    x, (vectors,) = node.inputs[0], node.attributes
    record_eigen(draft, operands[0].buffer, out, node.dtype, _batch(x), x.shape[-1], vectors=vectors)


def _record_singular(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    x, (vectors,) = node.inputs[0], node.attributes
    record_singular(draft, operands[0].buffer, out, node.dtype, _batch(x), x.shape[-1], vectors=vectors)


_LU = TensorOp("lu", NodeKind.KERNEL, record=_record_lu)
_ORDER = TensorOp("row_order", NodeKind.KERNEL, record=_record_order)
_DET = TensorOp("det", NodeKind.KERNEL, record=_record_det)
_SOLVE = TensorOp("solve", NodeKind.KERNEL, record=_record_solve)
_CHOLESKY = TensorOp("cholesky", NodeKind.KERNEL, record=_record_cholesky)
_QR = TensorOp("qr", NodeKind.KERNEL, record=_record_qr)
_EIGEN = TensorOp("eigh", NodeKind.KERNEL, record=_record_eigen)
_SINGULAR = TensorOp("svd", NodeKind.KERNEL, record=_record_singular)


def lu_node(x: Any) -> Any:
    """Return n n factors of square matrices, then n pivots, as floats."""
    n = x.shape[-1]
    return make(_LU, [x], (*x.shape[:-2], n * n + n), x.dtype)


def order_node(pivots: Any) -> Any:
    """Return the rows, as u32, after the exchanges that pivots tell."""
    return make(_ORDER, [pivots], pivots.shape, u32)


def solve_node(a: Any, b: Any = None) -> Any:
    """Return n m elements of the solution, then 0 or 1 + the first column without a pivot; None: of the identity.

    The batches are the same.
    """
    n, m = a.shape[-1], a.shape[-1] if b is None else b.shape[-1]
    return make(_SOLVE, [a] if b is None else [a, b], (*a.shape[:-2], n * m + 1), a.dtype)


def det_node(x: Any) -> Any:
    """Return determinants."""
    return make(_DET, [x], x.shape[:-2], x.dtype)


def cholesky_node(x: Any) -> Any:
    """Return n n elements of the lower triangular factors, then 0 or 1 + the first column without a root."""
    n = x.shape[-1]
    return make(_CHOLESKY, [x], (*x.shape[:-2], n * n + 1), x.dtype)


def qr_node(x: Any, columns: int) -> Any:
    """Return m ``columns`` elements of Q, then ``columns`` n of R."""
    m, n = x.shape[-2:]
    return make(_QR, [x], (*x.shape[:-2], m * columns + columns * n), x.dtype, (columns,))


def eigen_node(x: Any, *, vectors: bool) -> Any:
    """Return n eigenvalues of symmetric matrices, ascending, then n n elements of the vectors."""
    n = x.shape[-1]
    return make(_EIGEN, [x], (*x.shape[:-2], n + (n * n if vectors else 0)), x.dtype, (vectors,))


def singular_node(x: Any, *, vectors: bool) -> Any:
    """Return n singular values of square matrices, descending, then n n elements of U, then of V transposed."""
    n = x.shape[-1]
    return make(_SINGULAR, [x], (*x.shape[:-2], n + (2 * n * n if vectors else 0)), x.dtype, (vectors,))

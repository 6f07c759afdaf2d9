"""``qr``: orthogonal factors by Householder's reflections.

Layer: patterns. Invariant: a column's reflection depends on the columns before it alone (``kernels.linalg.qr``).
"""

from __future__ import annotations

import math
from typing import Any

from loom import tensor
from loom.core.dtype import FLOATS
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.linalg.elimination import Columns, record_basis, record_reflections
from loom.tensor import Tensor
from loom.tensor.linalg.operands import matrices
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["qr"]


def _record(draft: Draft, node: Node, x: Any, q: Any, r: Any) -> None:
    shape, dtype = node.inputs[0].shape, node.inputs[0].dtype
    (m, n), batch = shape[-2:], math.prod(shape[:-2])
    k = min(m, n)
    work, basis = Columns(draft, dtype, batch, m, n), Columns(draft, dtype, batch, m, k)
    factors = draft.device.allocate(batch * k * dtype.nbytes)
    work.load(x, n, 0)
    record_reflections(draft, work, factors, k, n)
    work.store(r, k, n, 0, upper=True)
    basis.identity(k, 0)
    record_basis(draft, work, basis, factors, k)
    basis.store(q, m, k, 0)


_QR = Operation("linalg.qr", _record)


def _qr(x: Tensor) -> tuple[Tensor, ...]:
    matrices(x, "linalg.qr")
    if x.dtype not in FLOATS or not x.size:
        return tuple(tensor.linalg.qr(x))
    (m, n), k = x.shape[-2:], min(x.shape[-2:])
    return tuple(_QR.several([x], [((*x.shape[:-2], m, k), x.dtype), ((*x.shape[:-2], k, n), x.dtype)]))


@row(_qr, where="linalg.qr", floats=True, complexes=True)
def qr(a: Any, *, on: str | Device | None = None) -> Any:
    """Return q (..., m, k) with orthonormal columns and upper triangular r (..., k, n), a = q r, k = min(m, n).

    ``a`` (..., m, n): f32 or f64. Reflections by columns, with the signs of LAPACK: the diagonal of r has the sign
    opposite to the element it replaces (so r[0, 0] = -|a[:, 0]| for a[0, 0] >= 0), unless the column is already zero
    below it. Sums over a column are made by 64 lanes and a halving tree; squares are not scaled, so that elements
    beyond 1e19 (f32) or 1e154 (f64) overflow. ShapeError, DTypeError.

    >>> q, r = qr([[3.0, 1.0], [4.0, 2.0]])
    >>> r.round(12).tolist()
    [[-5.0, -2.2], [0.0, 0.4]]
    """

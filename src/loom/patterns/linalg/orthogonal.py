"""``qr``: orthogonal factors by Householder's reflections.

Layer: patterns. Invariant: a column's reflection depends on the columns before it alone (``kernels.linalg.qr``).
"""

from __future__ import annotations

from typing import Any

from loom.patterns.calling.call import Call
from loom.patterns.calling.fallback import falls_back
from loom.patterns.linalg.matrices import batch_of, matrices
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.linalg.elimination import Columns, record_basis, record_reflections

__all__ = ["qr"]


@falls_back("linalg.qr", floats=True)
def qr(a: Any, *, on: str | Device | None = None) -> tuple[Any, Any]:
    """Return q (..., m, k) with orthonormal columns and upper triangular r (..., k, n), a = q r, k = min(m, n).

    ``a`` (..., m, n): f32 or f64. Reflections by columns, with the signs of LAPACK: the diagonal of r has the sign
    opposite to the element it replaces (so r[0, 0] = -|a[:, 0]| for a[0, 0] >= 0), unless the column is already zero
    below it. Sums over a column are made by 64 lanes and a halving tree; squares are not scaled, so that elements
    beyond 1e19 (f32) or 1e154 (f64) overflow. ShapeError, DTypeError.

    >>> q, r = qr([[3.0, 1.0], [4.0, 2.0]])
    >>> r.round(12).tolist()
    [[-5.0, -2.2], [0.0, 0.4]]
    """
    call = Call("linalg.qr", on)
    x = matrices(call, a, "a")
    m, n = x.shape[-2:]
    k, batch = min(m, n), batch_of(x.shape)
    q, r = call.output((*x.shape[:-1], k), x.dtype), call.output((*x.shape[:-2], k, n), x.dtype)

    def record(chain: Chain, *slots: HostSlot) -> None:
        work = Columns(chain, x.dtype, batch, m, n)
        factors = chain.device.allocate(batch * k * x.dtype.nbytes)
        work.load(slots[0], n, 0)
        record_reflections(chain, work, factors, k, n)
        work.store(slots[2], k, n, 0, upper=True)
        basis = Columns(chain, x.dtype, batch, m, k)
        basis.identity(k, 0)
        record_basis(chain, work, basis, factors, k)
        basis.store(slots[1], m, k, 0)

    if x.size:
        call.run(("linalg.qr", x.dtype, batch, m, n), record, x, q, r)
    return call.result(q), call.result(r)

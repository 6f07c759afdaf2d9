"""``solve``, ``inv``, ``det``, ``lu``, ``cholesky``: elimination by columns.

Layer: patterns. The order of operations is the plain right-looking one (``kernels.linalg.lu``,
``kernels.linalg.cholesky``); complex matrices go to ``tensor.linalg``. Invariant: panels, batches and threads change no
bit.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import FLOATS, u32
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.linalg.elimination import Columns, record_factors
from loom.tensor import Tensor
from loom.tensor.linalg.operands import square
from loom.tensor.linalg.triangles import lu_factor
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["cholesky", "det", "inv", "lu", "solve"]


def _record(draft: Draft, node: Node, x: Any, factors: Any, pivots: Any) -> None:
    shape = node.inputs[0].shape
    work = Columns(draft, node.inputs[0].dtype, math.prod(shape[:-2]), shape[-1], shape[-1])
    work.load(x, shape[-1], 0)
    record_factors(work, factors, pivots)


_LU = Operation("linalg.lu", _record)


def _lu(x: Tensor) -> tuple[Tensor, ...]:
    square(x, "linalg.lu")
    if x.dtype in FLOATS and x.size:
        return tuple(_LU.several([x], [(x.shape, x.dtype), (x.shape[:-1], u32)]))
    factors, pivots = lu_factor(x)
    return factors, pivots.astype(u32)


@row("linalg.solve", 2, floats=True, complexes=True)
def solve(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return x with a x = b, by elimination with partial pivoting.

    ``a`` (..., n, n) and ``b`` (..., n, m), or ``b`` (n,) for one ``a``, of one dtype, f32 or f64; leading dimensions
    are a batch, the same for both. The pivot of a column is its element of largest magnitude, the highest row on ties;
    element (i, j) of the factors is a[i, j] minus l[i, k] u[k, j], k ascending, and x is found from the last row up,
    subtracting u[i, k] x[k], k descending. The result has the shape of ``b``. LinAlgError for a singular matrix names
    the column without a pivot; ShapeError, DTypeError.

    >>> solve([[2.0, 1.0], [1.0, 3.0]], [3.0, 5.0]).round(12).tolist()
    [0.8, 1.4]
    """


@row("linalg.inv", floats=True, complexes=True)
def inv(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the inverse of square matrices (..., n, n), f32 or f64: ``solve`` with the identity on the right.

    LinAlgError for a singular matrix; ShapeError, DTypeError.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """


@row("linalg.det", floats=True, complexes=True)
def det(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the determinants (...) of square matrices (..., n, n), f32 or f64: the product of the pivots, in order.

    0 for a singular matrix, 1 for one of no rows. ShapeError, DTypeError.

    >>> det([[0.0, 2.0], [3.0, 0.0]]).item()
    -6.0
    """


@row(_lu, where="linalg.lu", floats=True, complexes=True)
def lu(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the factors of square matrices (..., n, n) in one array, and the pivots (..., n) as uint32.

    u is the upper triangle, l the part below it with ones on its diagonal; row j was swapped with row pivots[j], j
    ascending, as in ``scipy.linalg.lu_factor``. A column without a pivot is left as it is, its u[j, j] being 0.
    ShapeError, DTypeError.

    >>> factors, pivots = lu([[1.0, 2.0], [2.0, 8.0]])
    >>> factors.tolist(), pivots.tolist()
    ([[2.0, 8.0], [0.5, -2.0]], [1, 1])
    """


@row("linalg.cholesky", floats=True, complexes=True)
def cholesky(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the lower triangular l with l l^T = a, for symmetric positive definite matrices (..., n, n), f32 or f64.

    Only the lower triangle of ``a`` is read. Element (i, j) has l[i, k] l[j, k] subtracted for k ascending; then a
    square root or a division. ArgumentError names the column at which a matrix is found not to be positive definite;
    ShapeError, DTypeError.

    >>> cholesky([[4.0, 0.0], [2.0, 5.0]]).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """

"""``solve``, ``inv``, ``det``, ``lu``, ``cholesky``: elimination by columns.

Layer: patterns. The order of operations is the plain right-looking one (``kernels.linalg.lu``,
``kernels.linalg.cholesky``); complex matrices go to ``tensor.linalg``. Invariant: panels, batches and threads change no
bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.dtype import u32
from loom.core.errors import ShapeError
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.fallback import falls_back
from loom.patterns.linalg.matrices import as_floats, batch_of, raise_failure, same_dtype, square, status
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.linalg.elimination import (
    Columns,
    record_cholesky,
    record_determinants,
    record_factors,
    record_solution,
)
from loom.tensor import Tensor
from loom.tensor.linalg.triangles import lu_factor

__all__ = ["cholesky", "det", "inv", "lu", "solve"]

_SINGULAR = "the matrix is singular"
_PIVOT = "a pivot other than 0 in every column"


def _factors(a: Tensor) -> tuple[Tensor, Tensor]:
    factors, pivots = lu_factor(a)
    return factors, pivots.astype(u32)


@falls_back("linalg.solve", 2, floats=True)
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
    call = Call("linalg.solve", on)
    x = square(call, a, "a")
    y = as_floats(call, b, "b", dtype=x.dtype)
    same_dtype(call, x, y, "b")
    is_vector = len(y.shape) == 1
    wanted = x.shape[:-1]
    if y.shape != wanted if is_vector else y.shape[:-1] != wanted:
        raise ShapeError(
            "linalg.solve, b", "right-hand sides that do not fit", expected=_fitting(wanted),
            got=f"{y.shape} for a of shape {x.shape}", remedy="Match rows and leading dimensions",
        )  # fmt: skip
    out = call.output(y.shape, x.dtype)
    n, m = x.shape[-1], 1 if is_vector else y.shape[-1]
    info = status(batch_of(x.shape))

    def record(work: Columns, right: HostSlot, found: HostSlot, failed: HostSlot) -> None:
        work.load(right, m, n)
        record_solution(work, failed, m)
        work.store(found, n, m, n)

    if x.size and out.size:
        _run(call, x, n + m, record, y, out, info)
    raise_failure(call, info, x.shape, _SINGULAR, _PIVOT, "Check the matrix, or use least squares")
    return call.result(out)


@falls_back("linalg.inv", floats=True)
def inv(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the inverse of square matrices (..., n, n), f32 or f64: ``solve`` with the identity on the right.

    LinAlgError for a singular matrix; ShapeError, DTypeError.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    call = Call("linalg.inv", on)
    x = square(call, a, "a")
    n = x.shape[-1]

    def record(work: Columns, found: HostSlot, failed: HostSlot) -> None:
        work.identity(n, n)
        record_solution(work, failed, n)
        work.store(found, n, n, n)

    out, info = _run_square(call, x, 2 * n, record)
    raise_failure(call, info, x.shape, _SINGULAR, _PIVOT, "Check the matrix")
    return call.result(out)


@falls_back("linalg.det", floats=True)
def det(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the determinants (...) of square matrices (..., n, n), f32 or f64: the product of the pivots, in order.

    0 for a singular matrix, 1 for one of no rows. ShapeError, DTypeError.

    >>> det([[0.0, 2.0], [3.0, 0.0]]).item()
    -6.0
    """
    call = Call("linalg.det", on)
    x = square(call, a, "a")
    out = call.output(x.shape[:-2], x.dtype)
    if x.size:
        _run(call, x, x.shape[-1], record_determinants, out)
    else:
        out.write(1)
    return call.result(out)


@falls_back(_factors, where="linalg.lu", floats=True)
def lu(a: Any, *, on: str | Device | None = None) -> tuple[Any, Any]:
    """Return the factors of square matrices (..., n, n) in one array, and the pivots (..., n) as uint32.

    u is the upper triangle, l the part below it with ones on its diagonal; row j was swapped with row pivots[j], j
    ascending, as in ``scipy.linalg.lu_factor``. A column without a pivot is left as it is, its u[j, j] being 0.
    ShapeError, DTypeError.

    >>> factors, pivots = lu([[1.0, 2.0], [2.0, 8.0]])
    >>> factors.tolist(), pivots.tolist()
    ([[2.0, 8.0], [0.5, -2.0]], [1, 1])
    """
    call = Call("linalg.lu", on)
    x = square(call, a, "a")
    out, chosen = call.output(x.shape, x.dtype), call.output(x.shape[:-1], u32)
    if x.size:
        _run(call, x, x.shape[-1], record_factors, out, chosen)
    return call.result(out), call.result(chosen)


@falls_back("linalg.cholesky", floats=True)
def cholesky(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the lower triangular l with l l^T = a, for symmetric positive definite matrices (..., n, n), f32 or f64.

    Only the lower triangle of ``a`` is read. Element (i, j) has l[i, k] l[j, k] subtracted for k ascending; then a
    square root or a division. ArgumentError names the column at which a matrix is found not to be positive definite;
    ShapeError, DTypeError.

    >>> cholesky([[4.0, 0.0], [2.0, 5.0]]).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    call = Call("linalg.cholesky", on)
    x = square(call, a, "a")
    out, info = _run_square(call, x, x.shape[-1], record_cholesky)
    raise_failure(
        call, info, x.shape, "the matrix is not positive definite", "a diagonal above 0 left in every column",
        "Check the matrix, or use solve",
    )  # fmt: skip
    return call.result(out)


def _fitting(shape: tuple[int, ...]) -> str:
    """Describe the right-hand sides for matrices whose rows have a shape."""
    columns = f"shape ({', '.join(map(str, shape))}, m)"
    return f"{columns} or ({shape[0]},)" if len(shape) == 1 else columns


def _run_square(call: Call, x: Operand, columns: int, record: Callable[..., None]) -> tuple[Operand, Operand]:
    """Return what ``record`` makes of square matrices, as many of the same size, and the columns that failed."""
    out, info = call.output(x.shape, x.dtype), status(batch_of(x.shape))
    if x.size:
        _run(call, x, columns, record, out, info)
    return out, info


def _run(call: Call, x: Operand, columns: int, record: Callable[..., None], *others: Operand) -> None:
    """Run what ``record`` makes of matrices in the first of so many columns, and of the slots of other operands."""
    n, batch = x.shape[-1], batch_of(x.shape)

    def whole(chain: Chain, source: HostSlot, *slots: HostSlot) -> None:
        work = Columns(chain, x.dtype, batch, n, columns)
        work.load(source, n, 0)
        record(work, *slots)

    call.run((call.name, x.dtype, batch, n, columns), whole, x, *others)

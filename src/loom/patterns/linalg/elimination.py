"""``solve``, ``inv``, ``det``, ``lu``, ``cholesky``: elimination by columns.

Layer: patterns. The order of operations is the plain right-looking one (``kernels.linalg.lu``,
``kernels.linalg.cholesky``). Invariant: panels, batches and threads change no bit.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import u32
from loom.core.errors import ShapeError
from loom.kernels.linalg import lu as kernels
from loom.kernels.linalg.cholesky import cholesky_panel, lower_triangle
from loom.kernels.linalg.lu import COLUMNS, PANEL, PANEL_THREADS
from loom.patterns.calling.call import Call
from loom.patterns.linalg.matrices import Columns, as_floats, batch_of, raise_failure, same_dtype, square, status
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot, Storage

__all__ = ["cholesky", "det", "inv", "lu", "solve"]

_SINGULAR = "the matrix is singular"
_PIVOT = "a pivot other than 0 in every column"


def solve(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return x with a x = b, by elimination with partial pivoting.

    ``a`` (..., n, n) and ``b`` (..., n, m), or ``b`` (n,) for one ``a``, of one dtype, f32 or f64; leading dimensions
    are a batch, the same for both. The pivot of a column is its element of largest magnitude, the highest row on ties;
    element (i, j) of the factors is a[i, j] minus l[i, k] u[k, j], k ascending, and x is found from the last row up,
    subtracting u[i, k] x[k], k descending. The result has the shape of ``b``. ArgumentError for a singular matrix names
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
    n, m, batch = x.shape[-1], 1 if is_vector else y.shape[-1], batch_of(x.shape)
    info = status(batch)

    def record(chain: Chain) -> tuple[list[HostSlot], Any]:
        slots = [HostSlot(o.nbytes) for o in (x, y, out, info)]
        work = Columns(chain, x.dtype, batch, n, n + m)
        work.load(slots[0], n, 0)
        work.load(slots[1], m, n)
        kept = _record_solution(work, slots[3], m)
        work.store(slots[2], n, m, n)
        return slots, (work, kept)

    if x.size and out.size:
        call.run(("linalg.solve", x.dtype, batch, n, m), record, x, y, out, info)
    raise_failure(call, info, x.shape, _SINGULAR, _PIVOT, "Check the matrix, or use least squares")
    return call.result(out)


def inv(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the inverse of square matrices (..., n, n), f32 or f64: ``solve`` with the identity on the right.

    ArgumentError for a singular matrix; ShapeError, DTypeError.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    call = Call("linalg.inv", on)
    x = square(call, a, "a")
    out = call.output(x.shape, x.dtype)
    n, batch = x.shape[-1], batch_of(x.shape)
    info = status(batch)

    def record(chain: Chain) -> tuple[list[HostSlot], Any]:
        slots = [HostSlot(o.nbytes) for o in (x, out, info)]
        work = Columns(chain, x.dtype, batch, n, 2 * n)
        work.load(slots[0], n, 0)
        work.identity(n, n)
        kept = _record_solution(work, slots[2], n)
        work.store(slots[1], n, n, n)
        return slots, (work, kept)

    if x.size:
        call.run(("linalg.inv", x.dtype, batch, n), record, x, out, info)
    raise_failure(call, info, x.shape, _SINGULAR, _PIVOT, "Check the matrix")
    return call.result(out)


def det(a: Any, *, on: str | Device | None = None) -> Any:
    """Return the determinants (...) of square matrices (..., n, n), f32 or f64: the product of the pivots, in order.

    0 for a singular matrix, 1 for one of no rows. ShapeError, DTypeError.

    >>> det([[0.0, 2.0], [3.0, 0.0]]).item()
    -6.0
    """
    call = Call("linalg.det", on)
    x = square(call, a, "a")
    out = call.output(x.shape[:-2], x.dtype)
    n, batch = x.shape[-1], batch_of(x.shape)

    def record(chain: Chain) -> tuple[list[HostSlot], Any]:
        slots = [HostSlot(x.nbytes), HostSlot(out.nbytes)]
        work = Columns(chain, x.dtype, batch, n, n)
        work.load(slots[0], n, 0)
        info = chain.device.allocate(batch * u32.nbytes)
        pivots = _record_elimination(work, info)
        params = [n, work.rows, work.columns, batch]
        kernel = kernels.determinant(x.dtype)
        chain.dispatch(kernel, [work.memory, pivots, slots[1]], params, groups=-(-batch // PANEL))
        return slots, (work, pivots, info)

    if x.size:
        call.run(("linalg.det", x.dtype, batch, n), record, x, out)
    else:
        out.write(1)
    return call.result(out)


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
    n, batch = x.shape[-1], batch_of(x.shape)
    out, chosen = call.output(x.shape, x.dtype), call.output(x.shape[:-1], u32)

    def record(chain: Chain) -> tuple[list[HostSlot], Any]:
        slots = [HostSlot(o.nbytes) for o in (x, out, chosen)]
        work = Columns(chain, x.dtype, batch, n, n)
        work.load(slots[0], n, 0)
        info = chain.device.allocate(batch * u32.nbytes)
        _record_elimination(work, info, slots[2])
        kernel = kernels.swap_rows(x.dtype)
        params = [n, work.rows, work.columns]
        chain.dispatch(kernel, [work.memory, slots[2]], params, groups=(-(-n // PANEL), batch))
        work.store(slots[1], n, n, 0)
        return slots, (work, info)

    if x.size:
        call.run(("linalg.lu", x.dtype, batch, n), record, x, out, chosen)
    return call.result(out), call.result(chosen)


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
    out = call.output(x.shape, x.dtype)
    n, batch = x.shape[-1], batch_of(x.shape)
    info = status(batch)

    def record(chain: Chain) -> tuple[list[HostSlot], Any]:
        slots = [HostSlot(o.nbytes) for o in (x, out, info)]
        work = Columns(chain, x.dtype, batch, n, n)
        work.load(slots[0], n, 0)
        for first in range(0, n, PANEL):
            end = min(first + PANEL, n)
            sizes = [first, end, work.rows, work.columns]
            kernel = cholesky_panel(x.dtype, _panel_lanes(chain))
            chain.dispatch(kernel, [work.memory, slots[2]], sizes, groups=batch)
            _record_rest(work, sizes, symmetric=True)
        groups = -(-n // PANEL), n, batch
        chain.dispatch(lower_triangle(x.dtype), [work.memory, slots[1]], [n, work.rows, work.columns], groups=groups)
        return slots, work

    if x.size:
        call.run(("linalg.cholesky", x.dtype, batch, n), record, x, out, info)
    raise_failure(
        call, info, x.shape, "the matrix is not positive definite", "a diagonal above 0 left in every column",
        "Check the matrix, or use solve",
    )  # fmt: skip
    return call.result(out)


def _fitting(shape: tuple[int, ...]) -> str:
    """Describe the right-hand sides for matrices whose rows have a shape."""
    columns = f"shape ({', '.join(map(str, shape))}, m)"
    return f"{columns} or ({shape[0]},)" if len(shape) == 1 else columns


def _panel_lanes(chain: Chain) -> int:
    """Return the lanes of a group that works alone."""
    return PANEL_THREADS if chain.device.caps.threads else PANEL


def _record_elimination(work: Columns, info: Storage, pivots: Storage | None = None) -> Storage:
    """Record the elimination of the n first columns, done to the others too; return where the pivots are."""
    n, element, chain = work.n, work.element, work.chain
    if pivots is None:
        pivots = chain.device.allocate(work.batch * n * u32.nbytes)
    for first in range(0, n, PANEL):
        end = min(first + PANEL, n)
        params = [first, end, n, work.rows, work.columns]
        panel = kernels.eliminate_panel(element, _panel_lanes(chain))
        chain.dispatch(panel, [work.memory, pivots, info], params, groups=work.batch)
        if end < work.columns:
            groups = -(-(work.columns - end) // PANEL), work.batch
            chain.dispatch(kernels.eliminate_rows(element), [work.memory, pivots], params, groups=groups)
            _record_rest(work, [first, end, work.rows, work.columns], symmetric=False)
    return pivots


def _record_rest(work: Columns, sizes: list[int], *, symmetric: bool) -> None:
    """Record what a panel does to the rows and columns beyond it, if there are rows."""
    end = sizes[1]
    if end % PANEL or end == work.rows:
        return
    groups = (work.rows - end) // PANEL, -(-(work.columns - end) // COLUMNS), work.batch
    kernel = kernels.eliminate_rest(work.element, symmetric=symmetric)
    work.chain.dispatch(kernel, [work.memory], sizes, groups=groups)


def _record_solution(work: Columns, info: Storage, m: int) -> Storage:
    pivots = _record_elimination(work, info)
    params = [work.n, work.rows, work.columns]
    kernel = kernels.back_substitution(work.element, _panel_lanes(work.chain))
    work.chain.dispatch(kernel, [work.memory], params, groups=(m, work.batch))
    return pivots

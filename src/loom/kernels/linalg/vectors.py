"""Small products and movements of vectors and matrices.

Layer: kernels. Invariant: an element of a result is one fixed expression, or a copy.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, f32, f64, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, global_id, group_id, local_id, select, shared, sqrt

__all__ = [
    "TILE",
    "columns_to_rows",
    "cross_product",
    "identity_columns",
    "normalize_rows",
    "outer_product",
    "rows_to_columns",
    "scale_rows",
    "transpose_tiles",
]  # fmt: skip

TILE = 16
"""Side of the squares a transposition moves."""
_LANES = 64


@cache
def transpose_tiles(element: DType) -> KernelFunction:
    """Return the kernel (x, out, rows, columns): out[j, i] = x[i, j] for every matrix.

    Groups: tiles of 16 columns, of 16 rows, matrices.
    """

    @kernel(workgroup=(TILE, TILE), trusted=True)
    def transpose(x: In[element], out: Out[element], rows: u32, columns: u32):  # type: ignore[valid-type]
        tile = shared(element, TILE * (TILE + 1))
        i, j = local_id(0), local_id(1)
        base = group_id(2) * rows * columns
        column, row = group_id(0) * TILE + i, group_id(1) * TILE + j
        if row < rows and column < columns:
            tile[j * (TILE + 1) + i] = x[base + row * columns + column]
        barrier()
        column, row = group_id(1) * TILE + i, group_id(0) * TILE + j
        if row < columns and column < rows:
            out[base + row * rows + column] = tile[i * (TILE + 1) + j]

    transpose.name = f"transposed_{element}"
    return transpose


@cache
def rows_to_columns(element: DType) -> KernelFunction:
    """Return the kernel (x, out, n, m, length, columns, first): n by m matrices, laid in columns of ``length``.

    Column j goes to column ``first`` + j of ``columns``; zeros are written from row n on. Groups: tiles of 16 of the m
    columns, of 16 of ``length``, matrices.
    """

    @kernel(workgroup=(TILE, TILE), trusted=True)
    def transpose(x: In[element], out: Out[element], n: u32, m: u32, length: u32, columns: u32, first: u32):  # type: ignore[valid-type]
        tile = shared(element, TILE * (TILE + 1))
        a, b, matrix = local_id(0), local_id(1), group_id(2)
        column, row = group_id(0) * TILE, group_id(1) * TILE
        value = element(0)
        if row + b < n and column + a < m:
            value = x[(matrix * n + row + b) * m + column + a]
        tile[b * (TILE + 1) + a] = value
        barrier()
        if row + a < length and column + b < m:
            out[(matrix * columns + first + column + b) * length + row + a] = tile[a * (TILE + 1) + b]

    transpose.name = f"rows_to_columns_{element}"
    return transpose


@cache
def columns_to_rows(element: DType, *, upper: bool = False) -> KernelFunction:
    """Return the kernel (x, out, n, m, length, columns, first), the reverse of ``rows_to_columns``.

    ``upper``: zeros below the diagonal. Groups: tiles of 16 of the m columns, of 16 of the n rows, matrices.
    """

    @kernel(workgroup=(TILE, TILE), trusted=True)
    def transpose(x: In[element], out: Out[element], n: u32, m: u32, length: u32, columns: u32, first: u32):  # type: ignore[valid-type]
        tile = shared(element, TILE * (TILE + 1))
        a, b, matrix = local_id(0), local_id(1), group_id(2)
        column, row = group_id(0) * TILE, group_id(1) * TILE
        if row + a < n and column + b < m:
            tile[b * (TILE + 1) + a] = x[(matrix * columns + first + column + b) * length + row + a]
        barrier()
        if row + b < n and column + a < m:
            value = tile[a * (TILE + 1) + b]
            if upper:
                value = select(row + b > column + a, element(0), value)
            out[(matrix * n + row + b) * m + column + a] = value

    transpose.name = f"columns_to_rows_{element}" + "_upper" * upper
    return transpose


@cache
def identity_columns(element: DType) -> KernelFunction:
    """Return the kernel (out, length, columns, first): ones on the diagonal of columns from ``first`` on, else zeros.

    Groups: tiles of 64 rows, columns, matrices.
    """

    @kernel(workgroup=_LANES, trusted=True)
    def ones(out: Out[element], length: u32, columns: u32, first: u32):  # type: ignore[valid-type]
        i, j = global_id(0), group_id(1)
        if i < length:
            at = (group_id(2) * columns + first + j) * length + i
            out[at] = select(i == j, element(1), element(0))

    ones.name = f"identity_columns_{element}"
    return ones


@cache
def cross_product(element: DType) -> KernelFunction:
    """Return the kernel (a, b, out, count, a_count, b_count): vectors of 3; an operand of one serves for all."""

    @kernel(workgroup=_LANES, trusted=True)
    def cross(a: In[element], b: In[element], out: Out[element], count: u32, a_count: u32, b_count: u32):  # type: ignore[valid-type]
        v = global_id()
        if v < count:
            i, j = 3 * select(a_count == 1, u32(0), v), 3 * select(b_count == 1, u32(0), v)
            ax, ay, az = a[i], a[i + 1], a[i + 2]
            bx, by, bz = b[j], b[j + 1], b[j + 2]
            out[3 * v] = ay * bz - az * by
            out[3 * v + 1] = az * bx - ax * bz
            out[3 * v + 2] = ax * by - ay * bx

    cross.name = f"cross_{element}"
    return cross


@cache
def outer_product(element: DType) -> KernelFunction:
    """Return the kernel (a, b, out, n): out[i, j] = a[i] b[j], j below n. Groups: tiles of columns, rows."""

    @kernel(workgroup=_LANES, trusted=True)
    def product(a: In[element], b: In[element], out: Out[element], n: u32):  # type: ignore[valid-type]
        j, i = global_id(0), group_id(1)
        if j < n:
            out[i * n + j] = a[i] * b[j]

    product.name = f"outer_{element}"
    return product


@cache
def normalize_rows(element: DType) -> KernelFunction:
    """Return the kernel (x, squares, out, size, n, inner): x divided by the root of its row's sum of squares.

    Row r along an axis of n, ``inner`` elements after it, has squares[r]; elements of rows whose sum is 0 are kept.
    """

    @kernel(workgroup=_LANES, trusted=True)
    def divide(x: In[element], squares: In[element], out: Out[element], size: u32, n: u32, inner: u32):  # type: ignore[valid-type]
        at = global_id()
        if at < size:
            norm = sqrt(squares[at // (n * inner) * inner + at % inner])
            out[at] = select(norm == 0, x[at], x[at] / norm)

    divide.name = f"normalize_rows_{element}"
    return divide


_SCALES: dict[DType, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    f32: ((2.0**40, 2.0**-40, 2.0**-100), (2.0**-80, 2.0**64, 2.0**120)),
    f64: ((2.0**400, 2.0**-400, 2.0**-800), (2.0**-600, 2.0**600, 2.0**900)),
}
"""Above the first bound, below the second or the third a row is multiplied by these, and its squares are in range."""


@cache
def scale_rows(element: DType) -> KernelFunction:
    """Return the kernel (x, largest, out, size, n, inner): x times a power of two that its row's squares allow.

    Row r along an axis of n, ``inner`` elements after it, has largest[r], the largest magnitude; the power is 1 unless
    squares of such a size would overflow, or lose digits below the normal numbers.
    """
    (above, below, far_below), (less, more, much_more) = _SCALES[element]

    @kernel(workgroup=_LANES, trusted=True)
    def scale(x: In[element], largest: In[element], out: Out[element], size: u32, n: u32, inner: u32):  # type: ignore[valid-type]
        at = global_id()
        if at < size:
            most = largest[at // (n * inner) * inner + at % inner]
            up = select(most < far_below, element(much_more), select(most < below, element(more), element(1.0)))
            out[at] = x[at] * select(most > above, element(less), up)

    scale.name = f"scale_rows_{element}"
    return scale

"""Elimination by columns with partial pivoting, and back substitution.

Layer: kernels. A matrix lies in columns ``rows`` long, a multiple of 64, zeros below its n rows; right-hand sides are
further columns. Columns are eliminated in panels of 64: the panel itself by one group, then the rows of the panel in
the columns to its right, then all other rows there. Whatever the panels, element (i, j) is a[i, j] minus
l[i, k] u[k, j] for k ascending, one product and one difference at a time. Invariant: l and u are those of the
plain right-looking algorithm, bit for bit.

Source: Golub and Van Loan, "Matrix Computations", algorithms 3.4.1 and 3.1.2.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, global_id, group_id, local_id, private, shared, static_range

__all__ = [
    "COLUMNS", "PANEL", "PANEL_THREADS", "back_substitution", "determinant", "eliminate_panel", "eliminate_rest",
    "eliminate_rows", "row_order", "swap_rows",
]  # fmt: skip

PANEL = 64
"""Columns of a panel, and lanes of every group: one vector on a CPU."""
PANEL_THREADS = 256
"""Lanes of the only group of a panel or column where they are threads; no element's order depends on it."""
COLUMNS = 8
"""Columns that ``eliminate_rest`` takes at a time."""


def _find_pivot(x: Any, column: Any, j: Any, n: Any, magnitudes: Any, places: Any, lanes: Any, halves: Any) -> None:
    """Put the row of the largest element of a column, on or below j, into places[0]; every lane calls it."""
    lane = local_id()
    best, place = magnitudes.dtype(-1), u32(j)
    for tile in range(j // PANEL * PANEL, n, lanes):
        i = tile + lane
        if i >= j and i < n:
            v = abs(x[column + i])
            if v > best:
                best, place = v, i
    magnitudes[lane], places[lane] = best, place
    barrier()
    for half in static_range(len(halves)):
        if lane < halves[half]:
            v, i = magnitudes[lane + halves[half]], places[lane + halves[half]]
            if v > magnitudes[lane] or (v == magnitudes[lane] and i < places[lane]):
                magnitudes[lane], places[lane] = v, i
        barrier()


def _swap(x: Any, a: Any, b: Any) -> None:
    """Exchange two elements of one lane's column, which may be the same."""
    first, second = x[a], x[b]
    x[a] = second
    if a != b:
        x[b] = first


def _scale_and_subtract(x: Any, base: Any, j: Any, end: Any, rows: Any, pivot: Any, lanes: Any) -> None:
    """Divide a column by its pivot and subtract its products from the rest of the panel, a lane taking a row."""
    column = base + j * rows
    for tile in range((j + 1) // PANEL * PANEL, rows, lanes):
        i = tile + local_id()
        if i > j and i < rows:
            factor = x[column + i] / pivot
            x[column + i] = factor
            for c in range(j + 1, end):
                at = base + c * rows
                x[at + i] = x[at + i] - factor * x[at + j]


@cache
def eliminate_panel(element: DType, lanes: int = PANEL) -> KernelFunction:
    """Return the kernel (x, pivots, info, first, end, n, rows, columns) that eliminates columns first .. end.

    The pivot of a column is its element of largest magnitude on or below the diagonal, the highest such row on ties.
    ``pivots[j]`` is the row it came from; ``info`` becomes 1 + the first column all of whose candidates are zero,
    which is left as it is. One group per matrix, of at least ``PANEL`` lanes.
    """
    halves = tuple(lanes >> k for k in range(1, lanes.bit_length()))

    @kernel(workgroup=lanes, trusted=True)
    def panel(
        x: InOut[element], pivots: Out[u32], info: InOut[u32],  # type: ignore[valid-type]
        first: u32, end: u32, n: u32, rows: u32, columns: u32,
    ):  # fmt: skip
        lane, matrix = local_id(), group_id()
        base = matrix * rows * columns
        magnitudes, places = shared(element, lanes), shared(u32, lanes)
        for j in range(first, end):
            _find_pivot(x, base + j * rows, j, n, magnitudes, places, lanes, halves)
            found = places[0]
            if lane == 0:
                pivots[matrix * n + j] = found
            if first + lane < end:
                at = base + (first + lane) * rows
                _swap(x, at + j, at + found)
            barrier()
            pivot = x[base + j * rows + j]
            if pivot != 0:
                _scale_and_subtract(x, base, j, end, rows, pivot, lanes)
            elif lane == 0 and info[matrix] == 0:
                info[matrix] = j + 1
            barrier()

    panel.name = f"lu_panel_{element}" + "_threads" * (lanes != PANEL)
    return panel


@cache
def eliminate_rows(element: DType) -> KernelFunction:
    """Return the kernel (x, pivots, first, end, n, rows, columns): the panel's rows in the columns from ``end`` on.

    A lane takes a column: it swaps the rows as the panel did, then subtracts. Groups: tiles of columns, matrices.
    """

    @kernel(workgroup=PANEL, trusted=True)
    def panel_rows(
        x: InOut[element], pivots: In[u32], first: u32, end: u32, n: u32, rows: u32, columns: u32  # type: ignore[valid-type]
    ):  # fmt: skip
        column, matrix = end + global_id(0), group_id(1)
        base = matrix * rows * columns
        if column < columns:
            at = base + column * rows
            for k in range(first, end):
                _swap(x, at + k, at + pivots[matrix * n + k])
            for k in range(first, end):
                u = x[at + k]
                for i in range(k + 1, end):
                    x[at + i] = x[at + i] - x[base + k * rows + i] * u

    panel_rows.name = f"lu_rows_{element}"
    return panel_rows


@cache
def eliminate_rest(element: DType, *, symmetric: bool = False) -> KernelFunction:
    """Return the kernel (x, first, end, rows, columns): subtracts the panel's products from the rows below ``end``.

    A lane takes a row and 8 columns. Groups: tiles of 64 rows, of 8 columns, matrices, all from ``end`` on, a
    multiple of 64. ``symmetric``: the factor of column j is l[j, k] (Cholesky) and tiles above the diagonal are
    left as they are.
    """

    @kernel(workgroup=PANEL, trusted=True)
    def rest(x: InOut[element], first: u32, end: u32, rows: u32, columns: u32):  # type: ignore[valid-type]
        base = group_id(2) * rows * columns
        i, column = end + global_id(0), end + group_id(1) * COLUMNS
        if not symmetric or end + (group_id(0) + 1) * PANEL > column:
            at = base + column * rows
            sums = private(element, COLUMNS)
            for c in static_range(COLUMNS):
                sums[c] = x[at + c * rows + i]
            for k in range(first, end):
                factor = x[base + k * rows + i]
                for c in static_range(COLUMNS):
                    other = x[base + k * rows + column + c] if symmetric else x[at + c * rows + k]
                    sums[c] = sums[c] - factor * other
            for c in static_range(COLUMNS):
                x[at + c * rows + i] = sums[c]

    rest.name = f"{'cholesky' if symmetric else 'lu'}_rest_{element}"
    return rest


@cache
def swap_rows(element: DType) -> KernelFunction:
    """Return the kernel (x, pivots, n, rows, columns): swaps made after a column's panel, done in the column too."""

    @kernel(workgroup=PANEL, trusted=True)
    def swaps(x: InOut[element], pivots: In[u32], n: u32, rows: u32, columns: u32):  # type: ignore[valid-type]
        column, matrix = global_id(0), group_id(1)
        if column < n:
            at = matrix * rows * columns + column * rows
            for k in range((column // PANEL + 1) * PANEL, n):
                _swap(x, at + k, at + pivots[matrix * n + k])

    swaps.name = f"lu_swaps_{element}"
    return swaps


@cache
def back_substitution(element: DType, lanes: int = PANEL) -> KernelFunction:
    """Return the kernel (x, n, rows, columns): solves u z = y for the columns from n on, in place.

    z[k] = y[k] / u[k, k], then y[i] = y[i] - u[i, k] z[k] for i < k, with k descending. Groups: columns, matrices.
    """

    @kernel(workgroup=lanes, trusted=True)
    def back(x: InOut[element], n: u32, rows: u32, columns: u32):  # type: ignore[valid-type]
        lane = local_id()
        base = group_id(1) * rows * columns
        at = base + (n + group_id(0)) * rows
        for turn in range(n):
            k = n - 1 - turn
            column = base + k * rows
            z = x[at + k] / x[column + k]
            barrier()
            if lane == 0:
                x[at + k] = z
            for tile in range(0, k, lanes):
                i = tile + lane
                if i < k:
                    x[at + i] = x[at + i] - x[column + i] * z
            barrier()

    back.name = f"lu_back_{element}" + "_threads" * (lanes != PANEL)
    return back


@cache
def determinant(element: DType) -> KernelFunction:
    """Return the kernel (x, pivots, out, n, rows, columns, matrices): the product of the pivots, k ascending.

    It starts from 1; a swap of rows changes its sign.
    """

    @kernel(workgroup=PANEL, trusted=True)
    def product(
        x: In[element], pivots: In[u32], out: Out[element], n: u32, rows: u32, columns: u32, matrices: u32  # type: ignore[valid-type]
    ):  # fmt: skip
        matrix = global_id()
        if matrix < matrices:
            base = matrix * rows * columns
            total = element(1)
            for k in range(n):
                pivot = x[base + k * rows + k]
                if pivots[matrix * n + k] != k:
                    pivot = -pivot
                total = total * pivot
            out[matrix] = total

    product.name = f"lu_determinant_{element}"
    return product


@cache
def row_order(element: DType) -> KernelFunction:
    """Return the kernel (pivots, out, n, matrices): the rows 0 .. after every exchange; pivots are whole floats."""

    @kernel(workgroup=PANEL, trusted=True)
    def order(pivots: In[element], out: InOut[u32], n: u32, matrices: u32):  # type: ignore[valid-type]
        matrix = global_id()
        if matrix < matrices:
            base = matrix * n
            for k in range(n):
                out[base + k] = k
            for k in range(n):
                _swap(out, base + k, base + u32(pivots[base + k]))

    order.name = f"lu_row_order_{element}"
    return order

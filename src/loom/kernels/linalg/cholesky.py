"""Cholesky's factor of a symmetric matrix, in panels of 64 columns.

Layer: kernels. The layout is that of ``kernels.linalg.lu``, and ``eliminate_rest`` there does the columns right of a
panel. l[k, k] = sqrt(a[k, k]), l[i, k] = a[i, k] / l[k, k], then a[i, j] = a[i, j] - l[i, k] l[j, k], k ascending, one
product and one difference at a time. Invariant: only the lower triangle is read.

Source: Golub and Van Loan, "Matrix Computations", algorithm 4.2.2 in its right-looking form.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, global_id, group_id, local_id, sqrt
from loom.kernels.linalg.lu import PANEL

__all__ = ["cholesky_panel", "lower_triangle"]


@cache
def cholesky_panel(element: DType, lanes: int = PANEL) -> KernelFunction:
    """Return the kernel (x, info, first, end, rows, columns) that factors columns first .. end.

    ``info`` becomes 1 + the first column whose remaining diagonal element is not above zero (or NaN); what is
    computed from there on means nothing. One group per matrix.
    """

    @kernel(workgroup=lanes, trusted=True)
    def panel(x: InOut[element], info: InOut[u32], first: u32, end: u32, rows: u32, columns: u32):  # type: ignore[valid-type]
        lane, matrix = local_id(), group_id()
        base = matrix * rows * columns
        for j in range(first, end):
            column = base + j * rows
            square = x[column + j]
            root = sqrt(square)
            barrier()
            if lane == 0:
                if not (square > 0) and info[matrix] == 0:
                    info[matrix] = j + 1
                x[column + j] = root
            for tile in range((j + 1) // PANEL * PANEL, rows, lanes):
                i = tile + lane
                if i > j and i < rows:
                    x[column + i] = x[column + i] / root
            barrier()
            for tile in range((j + 1) // PANEL * PANEL, rows, lanes):
                i = tile + lane
                if i > j and i < rows:
                    factor = x[column + i]
                    for c in range(j + 1, end):
                        x[base + c * rows + i] = x[base + c * rows + i] - factor * x[column + c]
            barrier()

    panel.name = f"cholesky_panel_{element}" + "_threads" * (lanes != PANEL)
    return panel


@cache
def lower_triangle(element: DType) -> KernelFunction:
    """Return the kernel (x, out, n, rows, columns): columns to rows, zeros above the diagonal.

    Groups: tiles of columns, rows, matrices.
    """

    @kernel(workgroup=PANEL, trusted=True)
    def lower(x: In[element], out: Out[element], n: u32, rows: u32, columns: u32):  # type: ignore[valid-type]
        j, i, matrix = global_id(0), group_id(1), group_id(2)
        if j < n:
            value = element(0)
            if j <= i:
                value = x[matrix * rows * columns + j * rows + i]
            out[(matrix * n + i) * n + j] = value

    lower.name = f"lower_triangle_{element}"
    return lower

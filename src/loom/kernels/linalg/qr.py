"""Householder reflections: their vectors, and applying them to columns.

Layer: kernels. A matrix lies in columns ``rows`` long, a multiple of 64, zeros below its m rows. Sums over a column:
lane l of 64 adds the elements of rows 64 t + l, t ascending from +0, then lane l + lane l + 32, 16, 8, 4, 2, 1.
Invariant: the order depends on m and the step alone.

Source: Golub and Van Loan, "Matrix Computations", algorithms 5.1.1 and 5.2.1, with the signs of LAPACK's xLARFG: the
diagonal of r has the sign opposite to the element it replaces, and a column already zero below is left as it is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, select, shared, sqrt
from loom.kernels.group.join import add, join_lanes

__all__ = ["apply_reflection", "lifts", "make_reflection"]

_LANES = 64


def lifts(element: DType) -> tuple[float, float]:
    """Return below which sum of squares a column is multiplied by a power of two first, so that none vanishes; and it.

    What is largest in the matrix being about 1, the squares of a column below 2^-40 are no longer exact in f32.
    """
    return (2.0**-80, 2.0**100) if element == f32 else (2.0**-700, 2.0**800)


@cache
def make_reflection(element: DType) -> KernelFunction:
    """Return the kernel (x, factors, k, count, rows, columns) that makes the reflection of column k, in place.

    With a = x[k] and s the sum of squares below it: b = -sign(a) sqrt(a a + s), v = x / (a - b) below, and factor
    (b - a) / b; where s is 0 the factor is 0. x[k] becomes b. ``count`` factors a matrix; one group per matrix. What is
    largest is to be about 1; columns far below it are lifted (``lifts``).
    """
    least, up = lifts(element)

    @kernel(workgroup=_LANES, trusted=True)
    def reflection(x: InOut[element], factors: Out[element], k: u32, count: u32, rows: u32, columns: u32):  # type: ignore[valid-type]
        lane, matrix = local_id(), group_id()
        column = matrix * rows * columns + k * rows
        total, lifted = element(0), element(0)
        for tile in range((k + 1) // _LANES * _LANES, rows, _LANES):
            i = tile + lane
            if i > k:
                total = total + x[column + i] * x[column + i]
                y = x[column + i] * up
                lifted = lifted + y * y
        sums, lifted_sums = shared(element, _LANES), shared(element, _LANES)
        join_lanes(sums, lane, total, add)
        join_lanes(lifted_sums, lane, lifted, add)
        a = x[column + k]
        low = a * a + sums[0] < least
        lift, lower = select(low, element(up), element(1)), select(low, element(1 / up), element(1))
        square = select(low, lifted_sums[0], sums[0])
        a = a * lift
        length = sqrt(a * a + square)
        b = select(a < 0, length, -length)
        some = square != 0
        barrier()
        if lane == 0:
            factors[matrix * count + k] = select(some, (b - a) / b, element(0))
            x[column + k] = select(some, b, a) * lower
        if some:
            for tile in range((k + 1) // _LANES * _LANES, rows, _LANES):
                i = tile + lane
                if i > k:
                    x[column + i] = x[column + i] * lift / (a - b)

    reflection.name = f"qr_reflection_{element}"
    return reflection


@cache
def apply_reflection(element: DType, *, apart: bool) -> KernelFunction:
    """Return the kernel (v, factors, y, k, first, count, rows, v_columns, y_columns): y - factor v (v . y) by columns.

    v is column k of ``v``, with 1 at row k and nothing above; columns of y from ``first`` on. Without ``apart`` there
    is no ``y``: the columns are those of ``v`` itself. Groups: columns, matrices.
    """

    def reflect(v: Any, y: Any, here: Any, at: Any, k: Any, rows: Any, factor: Any) -> None:
        lane = local_id()
        total = element(0)
        begin = k // _LANES * _LANES
        for tile in range(begin, rows, _LANES):
            i = tile + lane
            if i > k:
                total = total + v[here + i] * y[at + i]
            elif i == k:
                total = total + y[at + i]
        sums = shared(element, _LANES)
        join_lanes(sums, lane, total, add)
        scaled = factor * sums[0]
        for tile in range(begin, rows, _LANES):
            i = tile + lane
            if i > k:
                y[at + i] = y[at + i] - v[here + i] * scaled
            elif i == k:
                y[at + i] = y[at + i] - scaled

    if apart:

        @kernel(workgroup=_LANES, trusted=True)
        def apply(
            v: In[element], factors: In[element], y: InOut[element],  # type: ignore[valid-type]
            k: u32, first: u32, count: u32, rows: u32, v_columns: u32, y_columns: u32,
        ):  # fmt: skip
            matrix = group_id(1)
            here = matrix * rows * v_columns + k * rows
            at = matrix * rows * y_columns + (first + group_id(0)) * rows
            reflect(v, y, here, at, k, rows, factors[matrix * count + k])

    else:

        @kernel(workgroup=_LANES, trusted=True)
        def apply(
            y: InOut[element], factors: In[element], k: u32, first: u32, count: u32, rows: u32, columns: u32  # type: ignore[valid-type]
        ):  # fmt: skip
            matrix = group_id(1)
            here = matrix * rows * columns + k * rows
            at = matrix * rows * columns + (first + group_id(0)) * rows
            reflect(y, y, here, at, k, rows, factors[matrix * count + k])

    apply.name = f"qr_apply_{element}" + "_apart" * apart
    return apply

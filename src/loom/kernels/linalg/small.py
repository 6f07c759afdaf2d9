"""Systems and reflections of small matrices, a lane each, the elements of all matrices side by side.

Layer: kernels. Element k of matrix b of ``count`` is number k count + b. Invariant: every element has the order of
operations of ``kernels.linalg.lu`` and ``kernels.linalg.qr``, bit for bit; sums over a column are their halving tree.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, private, select, sqrt, static_range
from loom.kernels.linalg.qr import lifts

__all__ = ["SMALL", "SMALL_LANES", "reflect_small", "solve_small"]

SMALL = 16
"""Rows and columns up to which a lane takes a whole matrix."""
SMALL_LANES = 16


@cache
def solve_small(element: DType) -> KernelFunction:
    """Return the kernel (x, y, out, n, m, count): n by n matrices x (lost) and m right-hand sides y (lost).

    ``out``: n m elements of the solution, then 0, or 1 + the first column without a pivot.
    """

    @kernel(workgroup=SMALL_LANES, trusted=True)
    def solve(x: InOut[element], y: InOut[element], out: Out[element], n: u32, m: u32, count: u32):  # type: ignore[valid-type]
        b = global_id()
        if b < count:
            failed = u32(0)
            for j in range(n):
                best, place = element(-1), u32(j)
                for i in range(j, n):
                    size = abs(x[(i * n + j) * count + b])
                    if size > best:
                        best, place = size, i
                _swap_rows(x, place, j, n, count, b)
                _swap_rows(y, place, j, m, count, b)
                pivot = x[(j * n + j) * count + b]
                if pivot == 0:
                    failed = select(failed == 0, j + 1, failed)
                if pivot != 0:
                    for i in range(j + 1, n):
                        factor = x[(i * n + j) * count + b] / pivot
                        for c in range(j + 1, n):
                            at = (i * n + c) * count + b
                            x[at] = x[at] - factor * x[(j * n + c) * count + b]
                        for c in range(m):
                            at = (i * m + c) * count + b
                            y[at] = y[at] - factor * y[(j * m + c) * count + b]
            for turn in range(n):
                k = n - 1 - turn
                for c in range(m):
                    z = y[(k * m + c) * count + b] / x[(k * n + k) * count + b]
                    out[(k * m + c) * count + b] = z
                    for i in range(k):
                        at = (i * m + c) * count + b
                        y[at] = y[at] - x[(i * n + k) * count + b] * z
            out[n * m * count + b] = element(failed)

    solve.name = f"solve_small_{element}"
    return solve


def _swap_rows(x: Any, first: Any, second: Any, columns: Any, count: Any, b: Any) -> None:
    """Exchange two rows, which may be the same."""
    for c in range(columns):
        i, j = (first * columns + c) * count + b, (second * columns + c) * count + b
        one, other = x[i], x[j]
        x[i] = other
        x[j] = one


def _tree(sums: Any) -> Any:
    """Return what the halving tree makes of 16 values."""
    for half in static_range(4):
        for lane in static_range(8 >> half):
            sums[lane] = sums[lane] + sums[lane + (8 >> half)]
    return sums[0]


def _squares(x: Any, k: Any, m: Any, n: Any, count: Any, b: Any, lift: Any) -> Any:
    """Return the sum of squares of column k below row k, times a factor."""
    sums = private(x.dtype, SMALL)
    for i in static_range(SMALL):
        total = x.dtype(0)
        if i < m and i > k:
            y = x[(i * n + k) * count + b] * lift
            total = total + y * y
        sums[i] = total
    return _tree(sums)


def _reflect(v: Any, x: Any, k: Any, m: Any, vn: Any, xn: Any, j: Any, count: Any, b: Any, factor: Any) -> None:
    """Apply the reflection in column k of v to column j of x."""
    sums = private(x.dtype, SMALL)
    for i in static_range(SMALL):
        total = x.dtype(0)
        if i < m:
            if i > k:
                total = total + v[(i * vn + k) * count + b] * x[(i * xn + j) * count + b]
            elif i == k:
                total = total + x[(i * xn + j) * count + b]
        sums[i] = total
    scaled = factor * _tree(sums)
    for i in range(k, m):
        at = (i * xn + j) * count + b
        if i > k:
            x[at] = x[at] - v[(i * vn + k) * count + b] * scaled
        else:
            x[at] = x[at] - scaled


@cache
def reflect_small(element: DType) -> KernelFunction:
    """Return the kernel (x, factors, q, out, m, n, columns, count): QR factors of m by n matrices x, which are lost.

    ``q`` is scratch of m ``columns``. ``out``: m ``columns`` elements of Q, then ``columns`` n of R. What is largest is
    to be about 1; columns far below it are lifted (``lifts``).
    """
    least, up = lifts(element)

    @kernel(workgroup=SMALL_LANES, trusted=True)
    def reflect(
        x: InOut[element], factors: InOut[element], q: InOut[element], out: Out[element],  # type: ignore[valid-type]
        m: u32, n: u32, columns: u32, count: u32,
    ):  # fmt: skip
        b = global_id()
        if b < count:
            for k in range(min(m, n)):
                corner = (k * n + k) * count + b
                a, square = x[corner], _squares(x, k, m, n, count, b, element(1))
                lift, lower = element(1), element(1)
                if a * a + square < least:
                    lift, lower = element(up), element(1 / up)
                    a, square = a * up, _squares(x, k, m, n, count, b, lift)
                length = sqrt(a * a + square)
                some = square != 0
                r = select(a < 0, length, -length)
                factor = select(some, (r - a) / r, element(0))
                factors[k * count + b] = factor
                x[corner] = select(some, r, a) * lower
                if some:
                    for i in range(k + 1, m):
                        at = (i * n + k) * count + b
                        x[at] = x[at] * lift / (a - r)
                for j in range(k + 1, n):
                    _reflect(x, x, k, m, n, n, j, count, b, factor)
            for i in range(m):
                for j in range(columns):
                    q[(i * columns + j) * count + b] = select(i == j, element(1), element(0))
            for turn in range(min(m, n)):
                k = min(m, n) - 1 - turn
                for j in range(k, columns):
                    _reflect(x, q, k, m, n, columns, j, count, b, factors[k * count + b])
            for k in range(m * columns):
                out[k * count + b] = q[k * count + b]
            for i in range(columns):
                for j in range(n):
                    value = x[(i * n + j) * count + b]
                    out[(m * columns + i * n + j) * count + b] = select(i > j, element(0), value)

    reflect.name = f"reflect_small_{element}"
    return reflect

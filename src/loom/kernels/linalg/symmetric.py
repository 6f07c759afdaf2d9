"""Eigenvalues and eigenvectors of symmetric matrices: to tridiagonal form, then implicit QL.

Layer: kernels. Householder's reflections make a tridiagonal matrix; QL steps with Wilkinson's shift make that diagonal.
A step ends where an element beside the diagonal is at most epsilon times its neighbours, or epsilon squared, the
largest element of the matrix being near 1. Small matrices are one lane's each, elements of all of them side by side;
large ones are a group's or several. Invariant: the order of every sum follows from the size of the matrix alone.

Source: Golub and Van Loan, "Matrix Computations", 8.3.1 and 8.3.3; A. Dubrulle, R. S. Martin and J. H. Wilkinson, "The
implicit QL algorithm", Handbook for Automatic Computation II/4 (1971).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, global_id, group_id, local_id, select, shared, sqrt
from loom.kernels.group.join import add, join_lanes
from loom.kernels.linalg.rotations import (
    LANES,
    STEPS,
    epsilon,
    hypot,
    largest_of,
    list_rotation,
    negligible,
    power_of_two,
    rotate_none,
    rotate_rows,
    sign_of_column,
    tiniest,
    wide,
)

__all__ = [
    "diagonalize", "eigen_small", "multiply_symmetric", "tridiagonal_column", "write_vectors",
]  # fmt: skip


def _is_split(d: Any, e: Any, at: Any, step: Any, m: Any, eps: Any, tiny: Any) -> Any:
    """Tell whether element m beside the diagonal is nothing."""
    size = abs(e[at + m * step])
    return size <= eps * (abs(d[at + m * step]) + abs(d[at + (m + 1) * step])) or size <= tiny


def _end_of_block(d: Any, e: Any, at: Any, step: Any, first: Any, n: Any, eps: Any, tiny: Any) -> Any:
    """Return the last row of the block that begins with row ``first``."""
    m = first
    while m + 1 < n and not _is_split(d, e, at, step, m, eps, tiny):
        m = m + 1
    return m


def _ql_step(d: Any, e: Any, at: Any, step: Any, first: Any, last: Any, rotate: Any, out: Any) -> None:
    """Make one QL step on rows ``first`` to ``last`` of a tridiagonal matrix."""
    element = d.dtype
    low = at + first * step
    g = (d[low + step] - d[low]) / (2 * e[low])
    r = hypot(g, element(1))
    g = d[at + last * step] - d[low] + e[low] / (g + select(g < 0, -r, r))
    s, c, p = element(1), element(1), element(0)
    i = last
    goes = True
    while goes and i > first:
        i = i - 1
        here = at + i * step
        f, b = s * e[here], c * e[here]
        r = hypot(f, g)
        r = select(g < 0, -r, r)
        e[here + step] = r
        if r == 0:
            d[here + step] = d[here + step] - p
            goes = False
        else:
            s, c = f / r, g / r
            g = d[here + step] - p
            r = (d[here] - g) * s + 2 * c * b
            p = s * r
            d[here + step] = g + p
            g = c * r - b
            rotate(out, i, i + 1, c, -s)
    if goes:
        d[low] = d[low] - p
        e[low] = g
    e[at + last * step] = element(0)


def _house(v: Any, d: Any, e: Any, at: Any, step: Any, n: Any, i: Any) -> None:
    """Reflect row i of a matrix to its last element, from the left and right; d has the row (EISPACK's tred2)."""
    element = v.dtype
    scale = element(0)
    for k in range(i):
        scale = scale + abs(d[at + k * step])
    if scale == 0 or i == 1:
        e[at + i * step] = d[at + (i - 1) * step]
        for j in range(i):
            d[at + j * step] = v[at + ((i - 1) * n + j) * step]
            v[at + (i * n + j) * step] = element(0)
            v[at + (j * n + i) * step] = element(0)
        d[at + i * step] = element(0)
    else:
        h = element(0)
        for k in range(i):
            x = d[at + k * step] / scale
            d[at + k * step] = x
            h = h + x * x
        f = d[at + (i - 1) * step]
        g = select(f > 0, -sqrt(h), sqrt(h))
        e[at + i * step] = scale * g
        h = h - f * g
        d[at + (i - 1) * step] = f - g
        _reflect_both(v, d, e, at, step, n, i, h)
        d[at + i * step] = h


def _reflect_both(v: Any, d: Any, e: Any, at: Any, step: Any, n: Any, i: Any, h: Any) -> None:
    """Apply the reflection in d, of norm 2 h, to both sides of the first i rows and columns; d becomes row i - 1."""
    element = v.dtype
    for j in range(i):
        v[at + (j * n + i) * step] = d[at + j * step]
        total = element(0)
        for k in range(i):
            below = v[at + (max(j, k) * n + min(j, k)) * step]
            total = total + below * d[at + k * step]
        e[at + j * step] = total / h
    f = element(0)
    for j in range(i):
        f = f + e[at + j * step] * d[at + j * step]
    half = f / (h + h)
    for j in range(i):
        e[at + j * step] = e[at + j * step] - half * d[at + j * step]
    for j in range(i):
        f, g = d[at + j * step], e[at + j * step]
        for k in range(j, i):
            place = at + (k * n + j) * step
            v[place] = v[place] - (f * e[at + k * step] + g * d[at + k * step])
    for j in range(i):
        d[at + j * step] = v[at + ((i - 1) * n + j) * step]
        v[at + (i * n + j) * step] = element(0)


def _accumulate(v: Any, d: Any, at: Any, step: Any, n: Any) -> None:
    """Make the product of the reflections in v, and put the diagonal of the tridiagonal matrix into d."""
    element = v.dtype
    for i in range(n - 1):
        v[at + ((n - 1) * n + i) * step] = v[at + (i * n + i) * step]
        v[at + (i * n + i) * step] = element(1)
        h = d[at + (i + 1) * step]
        if h != 0:
            for j in range(i + 1):
                g = element(0)
                for k in range(i + 1):
                    g = g + v[at + (k * n + i + 1) * step] * v[at + (k * n + j) * step]
                g = g / h
                for k in range(i + 1):
                    place = at + (k * n + j) * step
                    v[place] = v[place] - g * v[at + (k * n + i + 1) * step]
        for k in range(i + 1):
            v[at + (k * n + i + 1) * step] = element(0)
    for j in range(n):
        d[at + j * step] = v[at + ((n - 1) * n + j) * step]
        v[at + ((n - 1) * n + j) * step] = element(0)
    v[at + (n * n - 1) * step] = element(1)


@cache
def eigen_small(element: DType) -> KernelFunction:
    """Return the kernel (v, d, e, out, n, count): eigenvalues and vectors of ``count`` symmetric matrices, a lane each.

    Element k of matrix b is number k count + b, of ``v`` (n n elements, lost), ``d`` and ``e`` (scratch of n) and
    ``out``: n eigenvalues ascending, then rows of the eigenvectors, which are its columns.
    """
    eps, tiny = epsilon(element), tiniest(element)

    @kernel(workgroup=16, trusted=True)
    def eigen(v: InOut[element], d: InOut[element], e: InOut[element], out: Out[element], n: u32, count: u32):  # type: ignore[valid-type]
        b = global_id()
        if b < count:
            top = largest_of(v, b, count, n * n)
            is_finite = top - top == 0
            factor, back = power_of_two(element, select(is_finite and top > 0, top, element(1)))
            for k in range(n * n):
                v[b + k * count] = select(is_finite, v[b + k * count] * factor, element(0))
            for j in range(n):
                d[b + j * count] = v[b + ((n - 1) * n + j) * count]
            for turn in range(n - 1):
                _house(v, d, e, b, count, n, n - 1 - turn)
            _accumulate(v, d, b, count, n)
            for j in range(n - 1):
                e[b + j * count] = e[b + (j + 1) * count]
            left = STEPS * n
            first = u32(0)
            while first < n:
                last = _end_of_block(d, e, b, count, first, n, eps, tiny)
                if last == first or left == 0:
                    first = first + 1
                else:
                    left = left - 1
                    _ql_step(d, e, b, count, first, last, rotate_rows, (v, b, count, n))
            gone = select(is_finite and left > 0, element(0), top - top + element(float("nan")))
            for j in range(n):
                own = d[b + j * count]
                rank = u32(0)
                for k in range(n):
                    other = d[b + k * count]
                    if other < own or (other == own and k < j):
                        rank = rank + 1
                out[b + rank * count] = own * back + gone
                most, sign = element(0), element(1)
                for k in range(n):
                    x = v[b + (k * n + j) * count]
                    if abs(x) > most:
                        most, sign = abs(x), select(x < 0, element(-1), element(1))
                for k in range(n):
                    out[b + ((k + 1) * n + rank) * count] = v[b + (k * n + j) * count] * sign + gone

    eigen.name = f"eigen_small_{element}"
    return eigen


@cache
def tridiagonal_column(element: DType) -> KernelFunction:
    """Return the kernel (x, v, w, p, factors, d, e, k, n, rows) that finishes column k and makes its reflection.

    ``p`` is the last reflection's matrix times vector, from which ``w`` is made; column k of x takes the update of
    both. The reflection of rows k + 2 .. to row k + 1 becomes column k + 1 of v, with its factor. One group per matrix.
    """

    held = wide(element)

    @kernel(workgroup=LANES, trusted=True)
    def column(
        x: InOut[element], v: InOut[element], w: InOut[element], p: In[element], factors: InOut[element],  # type: ignore[valid-type]
        d: Out[held], e: Out[held], k: u32, n: u32, rows: u32,
    ):  # fmt: skip
        lane, matrix = local_id(), group_id()
        own, line = matrix * rows * rows, matrix * rows
        last = own + k * rows
        here = own + k * rows
        begin = k // LANES * LANES
        total = element(0)
        for tile in range(begin, rows, LANES):
            i = tile + lane
            total = total + p[line + i] * v[last + i]
        sums = shared(element, LANES)
        join_lanes(sums, lane, total, add)
        half = factors[line + k] * sums[0] / 2
        for tile in range(begin, rows, LANES):
            i = tile + lane
            w[line + i] = p[line + i] - half * v[last + i]
        barrier()
        vk, wk = v[last + k], w[line + k]
        total = element(0)
        for tile in range(begin, rows, LANES):
            i = tile + lane
            y = x[here + i] - (v[last + i] * wk + w[line + i] * vk)
            x[here + i] = y
            if i > k + 1:
                total = total + y * y
        join_lanes(sums, lane, total, add)
        if lane == 0:
            d[line + k] = held(x[here + k])
        if k + 1 < n:
            a, square = x[here + k + 1], sums[0]
            length = sqrt(a * a + square)
            some = square != 0
            b = select(some, select(a < 0, length, -length), a)
            if lane == 0:
                e[line + k] = held(b)
                factors[line + k + 1] = select(some, (b - a) / b, element(0))
            for tile in range(0, rows, LANES):
                i = tile + lane
                y = select(some and i > k + 1, x[here + i] / (a - b), element(0))
                v[here + rows + i] = select(i == k + 1, element(1), y)

    column.name = f"tridiagonal_column_{element}"
    return column


@cache
def multiply_symmetric(element: DType) -> KernelFunction:
    """Return the kernel (x, v, w, factors, p, k, n, rows): columns right of k take the last update, then p = x v.

    The update is that of column k of v and of w; v of the product is column k + 1, p being multiplied by its factor.
    Groups: tiles of 64 rows, matrices.
    """

    @kernel(workgroup=LANES, trusted=True)
    def product(
        x: InOut[element], v: In[element], w: In[element], factors: In[element], p: Out[element],  # type: ignore[valid-type]
        k: u32, n: u32, rows: u32,
    ):  # fmt: skip
        i, matrix = group_id(0) * LANES + local_id(), group_id(1)
        own, line = matrix * rows * rows, matrix * rows
        last, here = own + k * rows, own + (k + 1) * rows
        if group_id(0) >= (k + 1) // LANES and k + 1 < n:
            vi, wi = v[last + i], w[line + i]
            total = element(0)
            for j in range(k + 1, n):
                place = own + j * rows + i
                y = x[place] - (vi * w[line + j] + wi * v[last + j])
                x[place] = y
                total = total + y * v[here + j]
            p[line + i] = total * factors[line + k + 1]
        else:
            p[line + i] = element(0)

    product.name = f"multiply_symmetric_{element}"
    return product


@cache
def diagonalize(element: DType, *, vectors: bool) -> KernelFunction:
    """Return the kernel (d, e, turns, places, counts, back, room, n, rows): QL steps until the list is full.

    ``counts`` has 8 numbers a matrix: rotations in the list, the row at work, steps done. Without ``vectors`` nothing
    is listed. One lane per matrix, a group each.
    """
    held, (eps, tiny) = wide(element), negligible(element)
    rotate = list_rotation if vectors else rotate_none

    @kernel(workgroup=1, trusted=True)
    def diagonal(
        d: InOut[held], e: InOut[held], turns: Out[element], places: Out[u32], counts: InOut[u32],  # type: ignore[valid-type]
        back: InOut[element], room: u32, n: u32, rows: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        matrix = group_id()
        at, state = matrix * rows, matrix * 8
        first, steps = counts[state + 1], counts[state + 2]
        counts[state] = 0
        if back[matrix] != back[matrix]:
            first = n
        goes = True
        while first < n and goes:
            last = _end_of_block(d, e, at, u32(1), first, n, eps, tiny)
            if last == first:
                first = first + 1
            elif counts[state] + (last - first) > room:
                goes = False
            elif steps >= STEPS * n:
                back[matrix] = element(float("nan"))
                first = n
            else:
                steps = steps + 1
                _ql_step(d, e, at, u32(1), first, last, rotate, (turns, places, counts, matrix * room, state))
        counts[state + 1] = first
        counts[state + 2] = steps

    diagonal.name = f"diagonalize_{element}" + "_vectors" * vectors
    return diagonal


@cache
def write_vectors(element: DType) -> KernelFunction:
    """Return the kernel (z, back, ranks, out, n, rows, first, step): column j of z as column ranks[j] of n by n rows.

    Its element of largest magnitude, the first of several, becomes positive. The rows of a matrix begin at ``first``
    of every ``step``. Groups: columns, matrices.
    """

    @kernel(workgroup=LANES, trusted=True)
    def write(
        z: In[element], back: In[element], ranks: In[u32], out: Out[element],  # type: ignore[valid-type]
        n: u32, rows: u32, first: u32, step: u32,
    ):  # fmt: skip
        lane, j, matrix = local_id(), group_id(0), group_id(1)
        column = (matrix * rows + j) * rows
        sign = sign_of_column(z, column, n, lane)
        gone = select(back[matrix] == back[matrix], element(0), back[matrix])
        target = matrix * step + first + ranks[matrix * rows + j]
        for tile in range(0, n, LANES):
            i = tile + lane
            if i < n:
                out[target + i * n] = z[column + i] * sign + gone

    write.name = f"write_vectors_{element}"
    return write

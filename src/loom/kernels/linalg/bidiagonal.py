"""Singular values and vectors of square matrices: to bidiagonal form, then implicit QR.

Layer: kernels. Householder's reflections from the left and right make an upper bidiagonal matrix; QR steps of Golub and
Kahan, with splitting at negligible diagonal elements, make that diagonal. What is at most epsilon times its neighbours
is negligible, or epsilon squared, the largest element of the matrix being near 1. Small matrices are one lane's each;
large ones are a group's or several. Invariant: the order of every sum follows from the size of the matrix alone.

Source: Golub and Van Loan, "Matrix Computations", 5.4.8 and 8.6.3; G. W. Stewart's dsvdc in "LINPACK Users' Guide"
(1979).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, i32, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, local_id, select, shared, sqrt
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

__all__ = ["diagonalize_bidiagonal", "reflect_row", "reflect_rows", "singular_small", "write_pair"]


def _turn(a: Any, b: Any) -> Any:
    """Return c, not below 0, s and r with c a + s b = r and c b - s a = 0."""
    r = hypot(a, b)
    r = select(a < 0, -r, r)
    is_none = r == 0
    below = select(is_none, r + 1, r)
    return select(is_none, below, a / below), b / below, r


def _find(d: Any, e: Any, at: Any, step: Any, p: Any, eps: Any, tiny: Any) -> Any:
    """Return where the last block of the first p rows begins, and what is to be done with it.

    0: its last value is found; 1: its last value is zero; 2: the row before the one told has the value zero; 3: a step.
    """
    k = p - 2
    goes = True
    while goes and k >= 0:
        here = at + u32(k) * step
        size = abs(e[here])
        if size <= tiny or size <= eps * (abs(d[here]) + abs(d[here + step])):
            e[here] = d.dtype(0)
            goes = False
        else:
            k = k - 1
    first = k + 1
    what = select(first == p - 1, i32(0), i32(3))
    if what == 3:
        k = p - 1
        goes = True
        while goes and k >= first:
            here = at + u32(k) * step
            near = d.dtype(0)
            if k != p - 1:
                near = near + abs(e[here])
            if k != first:
                near = near + abs(e[here - step])
            size = abs(d[here])
            if size <= tiny or size <= eps * near:
                d[here] = d.dtype(0)
                goes = False
            else:
                k = k - 1
        if not goes:
            what = select(k == p - 1, i32(1), i32(2))
            first = select(k == p - 1, first, k + 1)
    return first, what


def _deflate(d: Any, e: Any, at: Any, step: Any, first: Any, p: Any, rotate: Any, right: Any) -> None:
    """Turn away the element beside a last value of zero."""
    f = e[at + u32(p - 2) * step]
    e[at + u32(p - 2) * step] = d.dtype(0)
    j = p - 2
    while j >= first:
        here = at + u32(j) * step
        c, s, r = _turn(d[here], f)
        d[here] = r
        if j != first:
            f = -s * e[here - step]
            e[here - step] = c * e[here - step]
        rotate(right, u32(j), u32(p - 1), c, s)
        j = j - 1


def _split(d: Any, e: Any, at: Any, step: Any, first: Any, p: Any, rotate: Any, left: Any) -> None:
    """Turn away the element to the right of a value of zero, in row ``first`` - 1."""
    f = e[at + u32(first - 1) * step]
    e[at + u32(first - 1) * step] = d.dtype(0)
    j = first
    while j < p:
        here = at + u32(j) * step
        c, s, r = _turn(d[here], f)
        d[here] = r
        f = -s * e[here]
        e[here] = c * e[here]
        rotate(left, u32(j), u32(first - 1), c, s)
        j = j + 1


def _qr_step(d: Any, e: Any, at: Any, step: Any, first: Any, p: Any, rotate: Any, left: Any, right: Any) -> None:
    """Make one QR step on rows ``first`` to p - 1."""
    top, end = at + u32(first) * step, at + u32(p - 1) * step
    most = max(abs(d[end]), abs(d[end - step]))
    most = max(most, abs(e[end - step]))
    most = max(most, abs(d[top]))
    most = max(most, abs(e[top]))
    z, y, x = d[end] / most, d[end - step] / most, e[end - step] / most
    g, f = e[top] / most, d[top] / most
    b, c = ((y + z) * (y - z) + x * x) / 2, (z * x) * (z * x)
    shift = d.dtype(0)
    if b != 0 or c != 0:
        root = sqrt(b * b + c)
        shift = c / (b + select(b < 0, -root, root))
    g = f * g
    f = (f + z) * (f - z) + shift
    j = first
    while j < p - 1:
        here = at + u32(j) * step
        c, s, r = _turn(f, g)
        if j != first:
            e[here - step] = r
        f = c * d[here] + s * e[here]
        e[here] = c * e[here] - s * d[here]
        g = s * d[here + step]
        d[here + step] = c * d[here + step]
        rotate(right, u32(j), u32(j + 1), c, s)
        c, s, r = _turn(f, g)
        d[here] = r
        f = c * e[here] + s * d[here + step]
        d[here + step] = c * d[here + step] - s * e[here]
        g = s * e[here + step]
        e[here + step] = c * e[here + step]
        rotate(left, u32(j), u32(j + 1), c, s)
        j = j + 1
    e[end - step] = f


def _advance(
    d: Any, e: Any, at: Any, step: Any, first: Any, what: Any, p: Any, rotate: Any, left: Any, right: Any
) -> None:
    """Do what is to be done with a block."""
    if what == 1:
        _deflate(d, e, at, step, first, p, rotate, right)
    elif what == 2:
        _split(d, e, at, step, first, p, rotate, left)
    else:
        _qr_step(d, e, at, step, first, p, rotate, left, right)


@cache
def diagonalize_bidiagonal(element: DType, *, vectors: bool) -> KernelFunction:
    """Return the kernel (d, e, turns_l, places_l, turns_r, places_r, counts, back, room, n, rows), as ``diagonalize``.

    ``counts`` has 8 numbers a matrix: rotations in either list, rows not yet done (as n less them), steps done.
    """
    held, (eps, tiny) = wide(element), negligible(element)
    rotate = list_rotation if vectors else rotate_none

    @kernel(workgroup=1, trusted=True)
    def diagonal(
        d: InOut[held], e: InOut[held], turns_l: Out[element], places_l: Out[u32], turns_r: Out[element],  # type: ignore[valid-type]
        places_r: Out[u32], counts: InOut[u32], back: InOut[element], room: u32, n: u32, rows: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        matrix = group_id()
        at, state = matrix * rows, matrix * 8
        p, steps = i32(n - counts[state + 2]), counts[state + 3]
        counts[state] = 0
        counts[state + 1] = 0
        if back[matrix] != back[matrix]:
            p = i32(0)
        left = (turns_l, places_l, counts, matrix * room, state)
        right = (turns_r, places_r, counts, matrix * room, state + 1)
        goes = True
        while p > 0 and goes:
            first, what = _find(d, e, at, u32(1), p, eps, tiny)
            if what == 0:
                p = p - 1
            elif max(counts[state], counts[state + 1]) + n > room:
                goes = False
            elif steps >= STEPS * n:
                back[matrix] = element(float("nan"))
                p = i32(0)
            else:
                steps = steps + 1
                _advance(d, e, at, u32(1), first, what, p, rotate, left, right)
        counts[state + 2] = n - u32(p)
        counts[state + 3] = steps

    diagonal.name = f"diagonalize_bidiagonal_{element}" + "_vectors" * vectors
    return diagonal


@cache
def reflect_row(element: DType) -> KernelFunction:
    """Return the kernel (x, v, factors, d, e, k, n, rows) that makes the reflection of row k, columns k + 1 .. of x.

    It becomes column k + 1 of v, with 1 in row k + 1 and zeros above; d and e take x[k, k] and what x[k, k + 1]
    becomes. x lies in columns of ``rows``. One group per matrix.
    """

    held = wide(element)

    @kernel(workgroup=LANES, trusted=True)
    def reflection(
        x: In[element], v: Out[element], factors: Out[element], d: Out[held], e: Out[held],  # type: ignore[valid-type]
        k: u32, n: u32, rows: u32,
    ):  # fmt: skip
        lane, matrix = local_id(), group_id()
        own, line = matrix * rows * rows, matrix * rows
        total = element(0)
        for tile in range((k + 1) // LANES * LANES, n, LANES):
            j = tile + lane
            if j > k + 1 and j < n:
                y = x[own + j * rows + k]
                total = total + y * y
        sums = shared(element, LANES)
        join_lanes(sums, lane, total, add)
        if lane == 0:
            d[line + k] = held(x[own + k * rows + k])
        if k + 1 < n:
            a = x[own + (k + 1) * rows + k]
            length = sqrt(a * a + sums[0])
            some = sums[0] != 0
            b = select(some, select(a < 0, length, -length), a)
            if lane == 0:
                e[line + k] = held(b)
                factors[line + k + 1] = select(some, (b - a) / b, element(0))
            for tile in range(0, rows, LANES):
                j = tile + lane
                y = element(0)
                if some and j > k + 1 and j < n:
                    y = x[own + j * rows + k] / (a - b)
                v[own + (k + 1) * rows + j] = select(j == k + 1, element(1), y)

    reflection.name = f"reflect_row_{element}"
    return reflection


@cache
def reflect_rows(element: DType) -> KernelFunction:
    """Return the kernel (x, v, factors, k, n, rows): rows below k of x take the reflection in column k + 1 of v.

    Sums over a row are made from column k + 1 on. Groups: tiles of 64 rows, matrices.
    """

    @kernel(workgroup=LANES, trusted=True)
    def reflect(x: InOut[element], v: In[element], factors: In[element], k: u32, n: u32, rows: u32):  # type: ignore[valid-type]
        i, matrix = group_id(0) * LANES + local_id(), group_id(1)
        own = matrix * rows * rows
        here = own + (k + 1) * rows
        if group_id(0) >= (k + 1) // LANES and k + 1 < n:
            total = element(0)
            for j in range(k + 1, n):
                total = total + x[own + j * rows + i] * v[here + j]
            total = select(i > k, total * factors[matrix * rows + k + 1], element(0))
            for j in range(k + 1, n):
                place = own + j * rows + i
                x[place] = x[place] - total * v[here + j]

    reflect.name = f"reflect_rows_{element}"
    return reflect


@cache
def write_pair(element: DType) -> KernelFunction:
    """Return the kernel (u, v, d, back, ranks, out, n, rows, first, step): vectors in the order of ``ranks``.

    ``out`` of a matrix, from ``first`` of every ``step`` on: n by n elements with u as columns, then with v as rows.
    The element of largest magnitude of a column of u, the first of several, becomes positive; v follows, and takes the
    sign of d. Groups: columns, matrices.
    """

    held = wide(element)

    @kernel(workgroup=LANES, trusted=True)
    def write(
        u: In[element], v: In[element], d: In[held], back: In[element], ranks: In[u32], out: Out[element],  # type: ignore[valid-type]
        n: u32, rows: u32, first: u32, step: u32,
    ):  # fmt: skip
        lane, j, matrix = local_id(), group_id(0), group_id(1)
        column = (matrix * rows + j) * rows
        sign = sign_of_column(u, column, n, lane)
        other = select(d[matrix * rows + j] < 0, -sign, sign)
        gone = select(back[matrix] == back[matrix], element(0), back[matrix])
        target, rank = matrix * step + first, ranks[matrix * rows + j]
        for tile in range(0, n, LANES):
            i = tile + lane
            if i < n:
                out[target + i * n + rank] = u[column + i] * sign + gone
                out[target + (n + rank) * n + i] = v[column + i] * other + gone

    write.name = f"write_pair_{element}"
    return write


# one lane a matrix


def _reflect_left(x: Any, d: Any, at: Any, step: Any, n: Any, k: Any) -> None:
    """Make the reflection of column k below row k and apply it to the columns right of it; d[k] has its factor."""
    element = x.dtype
    total = element(0)
    for i in range(k + 1, n):
        y = x[at + (i * n + k) * step]
        total = total + y * y
    d[at + k * step] = element(0)
    if total != 0:
        corner = at + (k * n + k) * step
        a = x[corner]
        length = sqrt(a * a + total)
        b = select(a < 0, length, -length)
        for i in range(k + 1, n):
            x[at + (i * n + k) * step] = x[at + (i * n + k) * step] / (a - b)
        x[corner] = b
        factor = (b - a) / b
        d[at + k * step] = factor
        for j in range(k + 1, n):
            _reflect_column(x, x, at, step, n, k, k, j, factor)


def _reflect_column(v: Any, x: Any, at: Any, step: Any, n: Any, k: Any, row: Any, j: Any, factor: Any) -> None:
    """Apply the reflection in column k of v, with 1 in ``row``, to column j of x."""
    total = x[at + (row * n + j) * step]
    for i in range(row + 1, n):
        total = total + v[at + (i * n + k) * step] * x[at + (i * n + j) * step]
    total = total * factor
    x[at + (row * n + j) * step] = x[at + (row * n + j) * step] - total
    for i in range(row + 1, n):
        place = at + (i * n + j) * step
        x[place] = x[place] - v[at + (i * n + k) * step] * total


def _reflect_right(x: Any, e: Any, at: Any, step: Any, n: Any, k: Any) -> None:
    """Make the reflection of row k right of column k + 1 and apply it to the rows below; e[k + 1] has its factor."""
    element = x.dtype
    total = element(0)
    for j in range(k + 2, n):
        y = x[at + (k * n + j) * step]
        total = total + y * y
    e[at + (k + 1) * step] = element(0)
    if total != 0:
        corner = at + (k * n + k + 1) * step
        a = x[corner]
        length = sqrt(a * a + total)
        b = select(a < 0, length, -length)
        for j in range(k + 2, n):
            x[at + (k * n + j) * step] = x[at + (k * n + j) * step] / (a - b)
        x[corner] = b
        factor = (b - a) / b
        e[at + (k + 1) * step] = factor
        for i in range(k + 1, n):
            total = x[at + (i * n + k + 1) * step]
            for j in range(k + 2, n):
                total = total + x[at + (k * n + j) * step] * x[at + (i * n + j) * step]
            total = total * factor
            x[at + (i * n + k + 1) * step] = x[at + (i * n + k + 1) * step] - total
            for j in range(k + 2, n):
                place = at + (i * n + j) * step
                x[place] = x[place] - x[at + (k * n + j) * step] * total


def _make_bases(x: Any, u: Any, v: Any, d: Any, e: Any, at: Any, step: Any, n: Any) -> None:
    """Make the products of the left and right reflections."""
    element = x.dtype
    for k in range(n * n):
        one = select(k % (n + 1) == 0, element(1), element(0))
        u[at + k * step] = one
        v[at + k * step] = one
    for turn in range(n):
        k = n - 1 - turn
        for j in range(k, n):
            _reflect_column(x, u, at, step, n, k, k, j, d[at + k * step])
    for turn in range(1, n):
        k = n - 1 - turn  # row k's reflection, of columns k + 1 ..
        factor = e[at + (k + 1) * step]
        for j in range(k + 1, n):
            total = v[at + ((k + 1) * n + j) * step]
            for i in range(k + 2, n):
                total = total + x[at + (k * n + i) * step] * v[at + (i * n + j) * step]
            total = total * factor
            v[at + ((k + 1) * n + j) * step] = v[at + ((k + 1) * n + j) * step] - total
            for i in range(k + 2, n):
                place = at + (i * n + j) * step
                v[place] = v[place] - x[at + (k * n + i) * step] * total


@cache
def singular_small(element: DType, *, vectors: bool) -> KernelFunction:
    """Return the kernel (x, u, v, d, e, out, n, count): singular values and vectors of ``count`` matrices, a lane each.

    Element k of matrix b is number k count + b of all. ``x`` is lost, the rest but ``out`` is scratch. ``out``: n
    values descending, then n rows of the left vectors, which are its columns, then n rows that are the right vectors.
    """
    eps, tiny = epsilon(element), tiniest(element)
    rotate = rotate_rows if vectors else rotate_none

    @kernel(workgroup=16, trusted=True)
    def singular(
        x: InOut[element], u: InOut[element], v: InOut[element], d: InOut[element], e: InOut[element],  # type: ignore[valid-type]
        out: Out[element], n: u32, count: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        b = global_id()
        if b < count:
            top = largest_of(x, b, count, n * n)
            is_finite = top - top == 0
            factor, back = power_of_two(element, select(is_finite and top > 0, top, element(1)))
            for k in range(n * n):
                x[b + k * count] = select(is_finite, x[b + k * count] * factor, element(0))
            for k in range(n):
                _reflect_left(x, d, b, count, n, k)
                if k + 1 < n:
                    _reflect_right(x, e, b, count, n, k)
            if vectors:
                _make_bases(x, u, v, d, e, b, count, n)
            for k in range(n):
                d[b + k * count] = x[b + (k * n + k) * count]
                e[b + k * count] = element(0)
                if k + 1 < n:
                    e[b + k * count] = x[b + (k * n + k + 1) * count]
            left, p = STEPS * n, i32(n)
            while p > 0:
                first, what = _find(d, e, b, count, p, eps, tiny)
                if what == 0 or left == 0:
                    p = p - 1
                else:
                    left = left - 1
                    _advance(d, e, b, count, first, what, p, rotate, (u, b, count, n), (v, b, count, n))
            gone = select(is_finite and left > 0, element(0), element(float("nan")))
            for j in range(n):
                own, rank = abs(d[b + j * count]), u32(0)
                for k in range(n):
                    other = abs(d[b + k * count])
                    if other > own or (other == own and k < j):
                        rank = rank + 1
                out[b + rank * count] = own * back + gone
                if vectors:
                    _write_lane(u, v, out, b, count, n, j, rank, d[b + j * count] < 0, gone)

    singular.name = f"singular_small_{element}" + "_vectors" * vectors
    return singular


def _write_lane(
    u: Any, v: Any, out: Any, b: Any, count: Any, n: Any, j: Any, rank: Any, is_below: Any, gone: Any
) -> None:
    """Write a pair of singular vectors with their signs."""
    element = u.dtype
    most, sign = element(-1), element(1)
    for k in range(n):
        y = u[b + (k * n + j) * count]
        if abs(y) > most:
            most, sign = abs(y), select(y < 0, element(-1), element(1))
    other = select(is_below, -sign, sign)
    for k in range(n):
        out[b + (n + k * n + rank) * count] = u[b + (k * n + j) * count] * sign + gone
        out[b + (n + n * n + rank * n + k) * count] = v[b + (k * n + j) * count] * other + gone

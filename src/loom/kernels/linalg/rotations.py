"""Plane rotations: what makes them, the list that an iteration leaves behind, and applying such a list to columns.

Layer: kernels. A rotation (p, q, c, s) turns columns p and q of a matrix: p becomes c p + s q, q becomes c q - s p. It
is applied as p + s (q - t p), q - s (p + t q) with t = s / (1 + c), c not below 0 (H. Rutishauser, "The Jacobi method
for real symmetric matrices", 1966): where s is small its rounding is not that of c, and columns keep their length. The
iterations on two diagonals (``tridiagonal``, ``bidiagonal``) are sequential and cheap; the rotations they find are
applied by as many lanes as the matrix has rows. Invariant: a row sees the rotations in the order of the list, so that
tiles, batches and threads change no bit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, f64, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, global_id, group_id, local_id, select, shared, sqrt
from loom.kernels.group.join import join_lanes, larger

__all__ = [
    "LANES", "STEPS", "apply_rotations", "epsilon", "hypot", "largest_of", "list_rotation", "negligible",
    "power_of_two", "rotate_none", "rotate_rows", "scale_square", "sign_of_column", "tiniest", "wide", "write_sorted",
]  # fmt: skip

LANES = 64
STEPS = 50
"""Steps for each value, on the average, after which an iteration gives NaN; two are usual."""


def epsilon(element: DType) -> float:
    """Return the distance from 1 to the next number."""
    return 2.0**-52 if element == f64 else 2.0**-23


def tiniest(element: DType) -> float:
    """Return what is nothing beside elements of size 1: squares of epsilon."""
    return 2.0**-104 if element == f64 else 2.0**-46


def wide(element: DType) -> DType:
    """Return the type of the diagonals that an iteration works on: hundreds of steps in f32 would lose two digits."""
    return f64 if element == f32 else element


def negligible(element: DType) -> tuple[float, float]:
    """Return what is nothing in those diagonals: beside neighbours of size 1, and whatever they are."""
    return (2.0**-30, 2.0**-52) if element == f32 else (epsilon(element), tiniest(element))


def hypot(a: Any, b: Any) -> Any:
    """Return the root of a a + b b, without overflow or loss below the normal numbers."""
    x, y = abs(a), abs(b)
    big, small = max(x, y), min(x, y)
    q = select(big == 0, small, small / big)
    return big * sqrt(q * q + 1)


def power_of_two(element: Any, largest: Any) -> Any:
    """Return a power of two by which a number above 0 comes between 1 and 2 (near it at the ends of the range), and
    the power's reciprocal."""
    if element == f64:
        field = u64(2046) - (bitcast(u64, largest) >> 52)
        field = max(u64(1), min(u64(2045), field))
        return bitcast(element, field << 52), bitcast(element, (u64(2046) - field) << 52)
    short = u32(254) - (bitcast(u32, largest) >> 23)
    short = max(u32(1), min(u32(253), short))
    return bitcast(element, short << 23), bitcast(element, (u32(254) - short) << 23)


def largest_of(x: Any, first: Any, step: Any, count: Any) -> Any:
    """Return the largest magnitude of elements ``step`` apart; NaN wins."""
    most = x.dtype(0)
    for k in range(count):
        most = max(most, abs(x[first + k * step]))
    return most


def rotate_rows(out: Any, p: Any, q: Any, c: Any, s: Any) -> None:
    """Turn columns p and q of a matrix whose elements lie ``step`` apart."""
    x, at, step, n = out
    t = s / (1 + c)
    for k in range(n):
        i, j = at + (k * n + p) * step, at + (k * n + q) * step
        a, b = x[i], x[j]
        x[i] = a + s * (b - t * a)
        x[j] = b - s * (a + t * b)


def rotate_none(out: Any, p: Any, q: Any, c: Any, s: Any) -> None:
    """Turn nothing."""


def list_rotation(out: Any, p: Any, q: Any, c: Any, s: Any) -> None:
    """Add a rotation to a list."""
    turns, places, counts, first, place = out
    r = first + counts[place]
    turns[2 * r] = turns.dtype(s)
    turns[2 * r + 1] = turns.dtype(s / (1 + c))
    places[r] = p + (q << 16)
    counts[place] = counts[place] + 1


def sign_of_column(z: Any, column: Any, n: Any, lane: Any) -> Any:
    """Return the sign of a column's element of largest magnitude, the first of several; every lane calls it."""
    element = z.dtype
    most, place = element(-1), u32(0)
    for tile in range(0, n, LANES):
        i = tile + lane
        if i < n:
            x = abs(z[column + i])
            if x > most:
                most, place = x, i
    magnitudes, places = shared(element, LANES), shared(u32, LANES)
    magnitudes[lane], places[lane] = most, place
    barrier()
    half = u32(LANES // 2)
    while half > 0:
        if lane < half:
            x, i = magnitudes[lane + half], places[lane + half]
            if x > magnitudes[lane] or (x == magnitudes[lane] and i < places[lane]):
                magnitudes[lane], places[lane] = x, i
        barrier()
        half = half // 2
    return select(z[column + places[0]] < 0, element(-1), element(1))


@cache
def scale_square(element: DType) -> KernelFunction:
    """Return the kernel (x, back, rows, columns): each matrix times a power of two that brings its largest element
    near 1; ``back`` becomes the reciprocal, NaN for a matrix with an element that is not finite, 1 for one of zeros.

    One group per matrix, which lies in ``columns`` columns of ``rows``, a multiple of 64.
    """

    @kernel(workgroup=LANES, trusted=True)
    def scale(x: InOut[element], back: Out[element], rows: u32, columns: u32):  # type: ignore[valid-type]
        lane, matrix = local_id(), group_id()
        base = matrix * rows * columns
        most = element(0)
        for k in range(0, rows * columns, LANES):
            most = max(most, abs(x[base + k + lane]))
        held = shared(element, LANES)
        join_lanes(held, lane, most, larger)
        top = held[0]
        is_finite = top - top == 0
        factor, reciprocal = power_of_two(element, select(is_finite and top > 0, top, element(1)))
        if lane == 0:
            back[matrix] = select(is_finite, reciprocal, top - top)
        for k in range(0, rows * columns, LANES):
            x[base + k + lane] = x[base + k + lane] * factor
        barrier()

    scale.name = f"scale_square_{element}"
    return scale


@cache
def apply_rotations(element: DType) -> KernelFunction:
    """Return the kernel (x, turns, places, counts, which, room, rows, columns): the listed rotations, in order.

    Rotation r of a matrix has s and t at turns[2 r], p and q in the halves of places[r]; ``counts`` has 8 numbers for
    each matrix, number ``which`` of them telling how many there are. Groups: tiles of 64 rows, matrices.
    """

    @kernel(workgroup=LANES, trusted=True)
    def rotate(
        x: InOut[element], turns: In[element], places: In[u32], counts: In[u32],  # type: ignore[valid-type]
        which: u32, room: u32, rows: u32, columns: u32,
    ):  # fmt: skip
        matrix = group_id(1)
        base = matrix * rows * columns + group_id(0) * LANES + local_id()
        first = matrix * room
        for r in range(counts[matrix * 8 + which]):
            place = places[first + r]
            s, t = turns[2 * (first + r)], turns[2 * (first + r) + 1]
            p, q = base + (place & 0xFFFF) * rows, base + (place >> 16) * rows
            a, b = x[p], x[q]
            x[p] = a + s * (b - t * a)
            x[q] = b - s * (a + t * b)

    rotate.name = f"apply_rotations_{element}"
    return rotate


@cache
def write_sorted(element: DType, *, descending: bool = False) -> KernelFunction:
    """Return the kernel (d, back, ranks, out, n, rows, step): n values in order, times ``back``, and their ranks.

    ``descending``: their magnitudes in descending order. Values of a matrix begin ``step`` apart in ``out``. Equal
    values keep their order. Groups: tiles of 64, matrices.
    """

    held = wide(element)

    @kernel(workgroup=LANES, trusted=True)
    def write(
        d: In[held], back: In[element], ranks: Out[u32], out: Out[element], n: u32, rows: u32, step: u32  # type: ignore[valid-type]
    ):  # fmt: skip
        i, matrix = global_id(0), group_id(1)
        at = matrix * rows
        if i < n:
            own, rank = abs(d[at + i]) if descending else d[at + i], u32(0)
            is_lost = back[matrix] != back[matrix]
            for k in range(n):
                other = abs(d[at + k]) if descending else d[at + k]
                ahead = other > own if descending else other < own
                if ahead or (other == own and k < i):
                    rank = rank + 1
            rank = select(is_lost, i, rank)
            ranks[at + i] = rank
            out[matrix * step + rank] = select(is_lost, back[matrix], element(own) * back[matrix])

    write.name = f"write_sorted_{element}" + "_down" * descending
    return write

"""Operands of order-free products for units that multiply tiles of bytes: digits of whole numbers, in planes of words.

Layer: kernels. A row of ``a`` (column of ``b``) is its blocks of 128 k; a block is its planes, one after the other; a
plane is 32 words of four digits each, those of k, k + 32, k + 64 and k + 96. One pass over an operand makes both whole
numbers (see ``digits``) and planes, whichever way it lies. Invariant: both operands have their k in the same places,
so that sums of products, exact in any order, are those of the definition.

q8 has one plane, q12 three: of h, l and h + l, where a number is 64 h + l (Karatsuba); q24 has three digits of 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, i32, u32
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, private, select, shared, static_range
from loom.kernels.matmul.digits import INFINITE, MAGNITUDE, exponents_of, inverse_of, rounding_of, scale_of
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.precisions import Precision

__all__ = ["PLANE_WORDS", "groups_of_planes", "planes_by_k", "planes_by_row", "planes_of"]

PLANE_WORDS = BLOCK // 4
"""Words of a plane."""
_DOWN = 4
"""Rows of a group where k are neighbours: a lane for each word."""
_ROWS = 64
"""Rows of a group where rows are, a lane for each."""


def planes_of(precision: Precision) -> int:
    """Return the planes of a precision."""
    return 1 if precision.top < 1 << 7 else 3


def groups_of_planes(rows: int, k: int, matrices: int, *, by_k: bool) -> tuple[int, int, int]:
    """Return the groups that ``planes_by_k`` or ``planes_by_row`` takes."""
    return -(-rows // (_DOWN if by_k else _ROWS)), -(-k // BLOCK), matrices


def _single(v: Any) -> Any:
    return (v,)


def _halves(v: Any) -> Any:
    """Return h, l and h + l of 64 h + l, l from -32 to 31."""
    low = ((v + 32) & 63) - 32
    high = (v - low) >> 6
    return high, low, high + low


def _digits(v: Any) -> Any:
    """Return three digits from -128 to 127, the lowest first."""
    first = ((v + 128) & 255) - 128
    rest = (v - first) >> 8
    second = ((rest + 128) & 255) - 128
    return first, second, (rest - second) >> 8


def _words_of(precision: Precision) -> Callable[..., Any]:
    """Return what makes the words of four whole numbers, one of each plane."""
    split = _single if planes_of(precision) == 1 else _halves if precision.top < 1 << 12 else _digits
    count = planes_of(precision)

    def four(x: Any, y: Any, z: Any, w: Any) -> Any:
        return (x & 0xFF) | ((y & 0xFF) << 8) | ((z & 0xFF) << 16) | (w << 24)

    def words_of_one(x: Any, y: Any, z: Any, w: Any) -> Any:
        return (four(x, y, z, w),)

    def words_of_three(x: Any, y: Any, z: Any, w: Any) -> Any:
        a, b, c, d = split(x), split(y), split(z), split(w)
        return four(a[0], b[0], c[0], d[0]), four(a[1], b[1], c[1], d[1]), four(a[2], b[2], c[2], d[2])

    return words_of_one if count == 1 else words_of_three


@cache
def planes_by_k(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that makes planes and scales of ``x``, rows by k.

    Planes of (matrix, row, block) begin at word ``((matrix rows + row) blocks + block) planes 32``; the scale of
    (matrix, block, row) is at ``(matrix blocks + block) rows + row``, as everywhere.
    """
    exponent_of, whole_of = exponents_of(precision), rounding_of(precision)
    words_of, count = _words_of(precision), planes_of(precision)

    @kernel(workgroup=PLANE_WORDS, trusted=True)
    def planes(
        x: In[element],  # type: ignore[valid-type]
        out: Out[i32],
        scales: Out[f32],
        rows: u32,
        depth: u32,
    ):
        lane, first, block, matrix = local_id(), group_id(0) * _DOWN, group_id(1), group_id(2)
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin = block * BLOCK + lane
        largest_of = shared(u32, _DOWN * PLANE_WORDS)
        elements = private(f32, _DOWN * 4)
        for r in static_range(_DOWN):
            source = (matrix * rows + min(first + r, rows - 1)) * depth + begin
            for i in static_range(4):
                value = f32(0)
                if begin + i * PLANE_WORDS < depth:
                    value = f32(x[source + i * PLANE_WORDS])
                elements[r * 4 + i] = value
            largest = u32(0)
            for i in static_range(4):
                largest = max(largest, bitcast(u32, elements[r * 4 + i]) & MAGNITUDE)
            largest_of[r * PLANE_WORDS + lane] = largest
        barrier()
        for r in static_range(_DOWN):
            if first + r < rows:
                largest = u32(0)
                for n in static_range(PLANE_WORDS):
                    largest = max(largest, largest_of[r * PLANE_WORDS + n])
                exponent = exponent_of(largest)
                inverse, is_finite = inverse_of(exponent), largest < INFINITE
                whole = private(i32, 4)
                for i in static_range(4):
                    whole[i] = select(is_finite, whole_of(elements[r * 4 + i] * inverse), 0)
                words = words_of(whole[0], whole[1], whole[2], whole[3])
                target = ((matrix * rows + first + r) * blocks + block) * (count * PLANE_WORDS) + lane
                for p in static_range(count):
                    out[target + p * PLANE_WORDS] = words[p]
                if lane == 0:
                    scales[(matrix * blocks + block) * rows + first + r] = scale_of(exponent, largest)

    planes.name = f"planes_{precision.name}_{element}_by_k"
    return planes


@cache
def planes_by_row(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that does as ``planes_by_k`` for ``x``, k by rows: words change places in shared memory."""
    exponent_of, whole_of = exponents_of(precision), rounding_of(precision)
    words_of, count = _words_of(precision), planes_of(precision)
    pitch = PLANE_WORDS * count + 1

    @kernel(workgroup=_ROWS, trusted=True)
    def planes(
        x: In[element],  # type: ignore[valid-type]
        out: Out[i32],
        scales: Out[f32],
        rows: u32,
        depth: u32,
    ):
        lane, first, block, matrix = local_id(), group_id(0) * _ROWS, group_id(1), group_id(2)
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin, row = block * BLOCK, min(first + lane, rows - 1)
        depth_here = min(depth - begin, BLOCK)
        source = (matrix * depth + begin) * rows + row
        held = shared(i32, _ROWS * pitch)
        largest = u32(0)
        for k in range(depth_here):
            largest = max(largest, bitcast(u32, f32(x[source + k * rows])) & MAGNITUDE)
        exponent = exponent_of(largest)
        inverse, is_finite = inverse_of(exponent), largest < INFINITE
        if first + lane < rows:
            scales[(matrix * blocks + block) * rows + row] = scale_of(exponent, largest)
        for w in range(PLANE_WORDS):
            whole = private(i32, 4)
            for i in static_range(4):
                k = w + i * PLANE_WORDS
                value = i32(0)
                if k < depth_here:
                    value = select(is_finite, whole_of(f32(x[source + k * rows]) * inverse), 0)
                whole[i] = value
            words = words_of(whole[0], whole[1], whole[2], whole[3])
            for p in static_range(count):
                held[lane * pitch + p * PLANE_WORDS + w] = words[p]
        barrier()
        for number in range(lane, _ROWS * count * PLANE_WORDS, _ROWS):
            line, word = number // (count * PLANE_WORDS), number % (count * PLANE_WORDS)
            if first + line < rows:
                target = ((matrix * rows + first + line) * blocks + block) * (count * PLANE_WORDS)
                out[target + word] = held[line * pitch + word]

    planes.name = f"planes_{precision.name}_{element}"
    return planes

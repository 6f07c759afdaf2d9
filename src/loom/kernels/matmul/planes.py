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
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, private, select, shared, static_range
from loom.kernels.matmul.digits import INFINITE, MAGNITUDE, exponents_of, inverse_of, rounding_of, scale_of
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.precisions import Precision

__all__ = [
    "PLANE_WORDS", "PUT_LANES", "groups_of_planes", "planes_by_k", "planes_by_row", "planes_of", "planes_of_view",
    "put_stretch", "words_of",
]  # fmt: skip

PLANE_WORDS = BLOCK // 4
"""Words of a plane."""
PUT_LANES = 128
"""Columns of a group of ``put_stretch``."""
_ROWS, _PARTS = 32, 8
"""Rows of a group, and lanes that share a row of a block."""
_LANES, _EACH, _WORDS = _ROWS * _PARTS, BLOCK // _PARTS, PLANE_WORDS // _PARTS
"""Lanes of a group; elements, and words of each plane, of a lane."""


def planes_of(precision: Precision) -> int:
    """Return the planes of a precision."""
    return 1 if precision.top < 1 << 7 else 3


def groups_of_planes(rows: int, k: int, matrices: int = 1) -> tuple[int, int, int]:
    """Return the groups that ``planes_by_k``, ``planes_by_row`` or ``planes_of_view`` takes."""
    return -(-rows // _ROWS), -(-k // BLOCK), matrices


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


def words_of(precision: Precision) -> Callable[..., Any]:
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


def _sharing(precision: Precision, *, by_k: bool) -> Callable[..., None]:
    """Return what a group does with the elements of its lanes, sixteen of a block of one row each.

    Lane ``part`` of a row has words part, part + 8, .. of a plane. Lanes side by side have those where k neighbour,
    else rows; then words change places in shared memory, so that what is written are neighbours again.
    """
    exponent_of, whole_of = exponents_of(precision), rounding_of(precision)
    make, count = words_of(precision), planes_of(precision)
    pitch = PLANE_WORDS * count + 1
    row_step, part_step = (_PARTS, 1) if by_k else (1, _ROWS)

    def share(
        elements: Any, out: Any, scales: Any, lane: Any, row: Any, part: Any, first: Any, rows: Any, target: Any,
        step: Any, scale_at: Any,
    ) -> None:  # fmt: skip
        largest_of = shared(u32, _LANES)
        largest = u32(0)
        for i in static_range(_EACH):
            largest = max(largest, bitcast(u32, elements[i]) & MAGNITUDE)
        largest_of[row * row_step + part * part_step] = largest
        barrier()
        for n in static_range(_PARTS):
            largest = max(largest, largest_of[row * row_step + n * part_step])
        exponent = exponent_of(largest)
        inverse, is_finite = inverse_of(exponent), largest < INFINITE
        if part == 0 and first + row < rows:
            scales[scale_at + row] = scale_of(exponent, largest)
        held = shared(i32, 1 if by_k else _ROWS * pitch)
        for j in static_range(_WORDS):
            whole = private(i32, 4)
            for p in static_range(4):
                whole[p] = select(is_finite, whole_of(elements[j * 4 + p] * inverse), 0)
            words = make(whole[0], whole[1], whole[2], whole[3])
            for p in static_range(count):
                place = p * PLANE_WORDS + j * _PARTS + part
                if not by_k:
                    held[row * pitch + place] = words[p]
                elif first + row < rows:
                    out[target + row * step + place] = words[p]
        if not by_k:
            barrier()
            for t in static_range(_ROWS * count * PLANE_WORDS // _LANES):
                number = lane + t * _LANES
                line, word = number // (count * PLANE_WORDS), number % (count * PLANE_WORDS)
                if first + line < rows:
                    out[target + line * step + word] = held[line * pitch + word]

    return share


def _placing(*, by_k: bool) -> Callable[[Any], tuple[Any, Any]]:
    """Return what tells which row of its group a lane has, and which part of it."""
    if by_k:
        return lambda lane: (lane // _PARTS, lane % _PARTS)
    return lambda lane: (lane % _ROWS, lane // _ROWS)


def _planes(element: DType, precision: Precision, *, by_k: bool) -> KernelFunction:
    share, place, count = _sharing(precision, by_k=by_k), _placing(by_k=by_k), planes_of(precision)

    @kernel(workgroup=_LANES, trusted=True)
    def planes(
        x: In[element],  # type: ignore[valid-type]
        out: Out[i32],
        scales: Out[f32],
        rows: u32,
        depth: u32,
    ):
        lane, first, block, matrix = local_id(), group_id(0) * _ROWS, group_id(1), group_id(2)
        row, part = place(lane)
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin, own = block * BLOCK + part, min(first + row, rows - 1)
        start, step = matrix * depth * rows + own, rows
        if by_k:
            start, step = (matrix * rows + own) * depth, u32(1)
        elements = private(f32, _EACH)
        for i in static_range(_EACH):
            k = begin + (i // 4 * _PARTS + i % 4 * PLANE_WORDS)
            elements[i] = f32(0)
            if k < depth:
                elements[i] = f32(x[start + k * step])
        words = blocks * (count * PLANE_WORDS)
        target = (matrix * rows + first) * words + block * (count * PLANE_WORDS)
        scale_at = (matrix * blocks + block) * rows + first
        share(elements, out, scales, lane, row, part, first, rows, target, words, scale_at)

    planes.name = f"planes_{precision.name}_{element}{'_by_k' if by_k else ''}"
    return planes


@cache
def planes_by_k(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that makes planes and scales of ``x``, rows by k.

    Planes of (matrix, row, block) begin at word ``((matrix rows + row) blocks + block) planes 32``; the scale of
    (matrix, block, row) is at ``(matrix blocks + block) rows + row``, as everywhere.
    """
    return _planes(element, precision, by_k=True)


@cache
def planes_by_row(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that does as ``planes_by_k`` for ``x``, k by rows."""
    return _planes(element, precision, by_k=False)


@cache
def planes_of_view(element: DType, precision: Precision, *, by_k: bool) -> KernelFunction:
    """Return the kernel that does the same for a stretch of a view: ``rows`` from ``first`` on, ``depth`` k from
    ``begin`` on, a whole number of blocks before them.

    Element (i, k) is ``x[table[i] + table[count + k]]``. ``by_k``: neighbouring k are neighbours, else rows are.
    """
    share, place, planes_count = _sharing(precision, by_k=by_k), _placing(by_k=by_k), planes_of(precision)

    @kernel(workgroup=_LANES, trusted=True)
    def planes(
        x: In[element],  # type: ignore[valid-type]
        table: In[u32],
        out: Out[i32],
        scales: Out[f32],
        rows: u32,
        depth: u32,
        count: u32,
        first: u32,
        begin: u32,
    ):
        lane, own, block = local_id(), group_id(0) * _ROWS, group_id(1)
        row, part = place(lane)
        start, at = table[first + min(own + row, rows - 1)], block * BLOCK + part
        elements = private(f32, _EACH)
        for i in static_range(_EACH):
            k = at + (i // 4 * _PARTS + i % 4 * PLANE_WORDS)
            elements[i] = f32(0)
            if k < depth:
                elements[i] = f32(x[start + table[count + begin + k]])
        blocks = (depth + (BLOCK - 1)) // BLOCK
        words = blocks * (planes_count * PLANE_WORDS)
        target = own * words + block * (planes_count * PLANE_WORDS)
        share(elements, out, scales, lane, row, part, own, rows, target, words, block * rows + own)

    planes.name = f"planes_{precision.name}_{element}_of_view{'_by_k' if by_k else ''}"
    return planes


@cache
def put_stretch(element: DType) -> KernelFunction:
    """Return the kernel that puts ``x`` (parts, rows, columns) into parts of ``height`` by ``width`` from ``first`` on.

    Group (x, row, part) takes ``PUT_LANES`` columns of a row.
    """

    @kernel(workgroup=PUT_LANES, trusted=True)
    def put(
        x: In[element],  # type: ignore[valid-type]
        out: InOut[element],  # type: ignore[valid-type]
        rows: u32,
        columns: u32,
        height: u32,
        width: u32,
        first: u32,
    ):
        column = group_id(0) * PUT_LANES + local_id()
        if column < columns:
            row, part = group_id(1), group_id(2)
            out[first + (part * height + row) * width + column] = x[(part * rows + row) * columns + column]

    put.name = f"matmul_put_{element}"
    return put

"""Operands of order-free products: blocks of whole numbers and the power of two that each block is a multiple of.

Layer: kernels. Of each row of ``a`` (column of ``b``) and each block of 128 k: m is the largest magnitude, e the
smallest integer, at least -126, for which rint(x / 2^e) is at most the precision's ``top`` for all of them; an element
is that number, and 2^e is kept as a f32, NaN for a block that holds a NaN or an infinity, whose numbers are 0.
Invariant: a sum of 128 products of such numbers is exact in any order, which ``Precision.sum_bits`` bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, i32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    barrier,
    bitcast,
    group_id,
    local_id,
    private,
    rint,
    select,
    shared,
    static_range,
)
from loom.kernels.matmul.tiles import BLOCK
from loom.kernels.precisions import Precision

__all__ = [
    "INFINITE", "MAGNITUDE", "digits_by_k", "digits_by_row", "exponents_of", "groups_of_digits",
    "inverse_of", "rounding_of", "scale_of", "scale_total",
]  # fmt: skip

MAGNITUDE, INFINITE = 0x7FFF_FFFF, 0x7F80_0000
"""Of the bits of a f32: all but the sign; those from which on it is infinite or NaN."""
_NAN = 0x7FC0_0000
_FRACTION_BITS = 23
_SHIFTER, _SHIFTER_BITS = 1.5 * 2.0**_FRACTION_BITS, 0x4B40_0000
"""What rounds a f32 to a whole number when it is added, and its bits."""
_ROWS = 64
"""Rows of a group where k are far apart, one for each lane."""
_LANES, _DOWN = 32, 4
"""Lanes and rows of a group where k are neighbours: lanes share a row."""
_EACH = BLOCK // _LANES


def groups_of_digits(rows: int, k: int, matrices: int, *, by_k: bool) -> tuple[int, int, int]:
    """Return the groups that ``digits_by_k`` or ``digits_by_row`` takes."""
    return -(-rows // (_DOWN if by_k else _ROWS)), -(-k // BLOCK), matrices


def exponents_of(precision: Precision) -> Callable[[Any], Any]:
    """Return what gives the exponent of a block, with 127 added, from the bits of its largest magnitude."""
    step, limit = precision.step, precision.limit

    def exponent_of(largest: Any) -> Any:
        carry = select((largest & ((1 << _FRACTION_BITS) - 1)) >= limit, 1, 0)
        return max(i32(largest >> _FRACTION_BITS) - step + carry, 1)

    return exponent_of


def scale_of(exponent: Any, largest: Any) -> Any:
    """Return 2^e as f32, NaN where the largest magnitude is none or infinite."""
    return bitcast(f32, select(largest < INFINITE, u32(exponent) << _FRACTION_BITS, u32(_NAN)))


def rounding_of(precision: Precision) -> Callable[[Any], Any]:
    """Return what rounds a f32 of at most ``top`` to an i32, halves to even."""
    if precision.top >= 1 << (_FRACTION_BITS - 1):
        return lambda x: i32(rint(x))
    return lambda x: bitcast(i32, x + _SHIFTER) - _SHIFTER_BITS


def inverse_of(exponent: Any) -> Any:
    """Return 2^-e as f32."""
    return bitcast(f32, u32(254 - exponent) << _FRACTION_BITS)


def _writing(precision: Precision, *, fours: bool) -> Callable[..., None]:
    """Return what writes a block of whole numbers, filled up with 0, one in a word, or four neighbours along k."""
    held, whole_of = precision.held, rounding_of(precision)

    def write(x: Any, out: Any, source: Any, target: Any, rows: Any, count: Any, inverse: Any, is_finite: Any) -> None:
        for k in range(count):
            value = whole_of(f32(x[source + k * rows]) * inverse)
            out[target + k * rows] = held(select(is_finite, value, 0))
        for k in range(count, BLOCK):
            out[target + k * rows] = held(0)

    def write_fours(
        x: Any, out: Any, source: Any, target: Any, rows: Any, count: Any, inverse: Any, is_finite: Any
    ) -> None:
        for word in range(BLOCK // 4):
            packed = i32(0)
            for part in static_range(4):
                k = word * 4 + part
                if k < count:
                    value = whole_of(f32(x[source + k * rows]) * inverse)
                    packed = packed | ((select(is_finite, value, 0) & 0xFF) << (8 * part))
            out[target + word * rows] = packed

    return write_fours if fours else write


@cache
def digits_by_row(element: DType, precision: Precision, *, fours: bool = False) -> KernelFunction:
    """Return the kernel that turns ``x``, k by rows, into whole numbers and scales.

    ``out`` has k filled up with 0 to whole blocks and is else laid out as ``x``, or ``fours`` of 8 bits in a word,
    words by rows; the scale of (matrix, block, row) is at ``(matrix blocks + block) rows + row``.
    """
    held, exponent_of = i32 if fours else precision.held, exponents_of(precision)
    write = _writing(precision, fours=fours)

    @kernel(workgroup=_ROWS, trusted=True)
    def digits(
        x: In[element], out: Out[held], scales: Out[f32], rows: u32, depth: u32  # type: ignore[valid-type]
    ):  # fmt: skip
        row, block, matrix = group_id(0) * _ROWS + local_id(), group_id(1), group_id(2)
        if row < rows:
            blocks = (depth + (BLOCK - 1)) // BLOCK
            begin = block * BLOCK
            count = min(depth - begin, BLOCK)
            source = (matrix * depth + begin) * rows + row
            first = (matrix * blocks + block) * (BLOCK // 4) if fours else matrix * blocks * BLOCK + begin
            largest = u32(0)
            for k in range(count):
                largest = max(largest, bitcast(u32, f32(x[source + k * rows])) & MAGNITUDE)
            exponent = exponent_of(largest)
            scales[(matrix * blocks + block) * rows + row] = scale_of(exponent, largest)
            write(x, out, source, first * rows + row, rows, count, inverse_of(exponent), largest < INFINITE)

    digits.name = f"{'fours' if fours else 'digits'}_{precision.name}_{element}"
    return digits


@cache
def digits_by_k(element: DType, precision: Precision) -> KernelFunction:
    """Return the kernel that does as ``digits_by_row`` for ``x``, rows by k."""
    held, exponent_of, whole_of = precision.held, exponents_of(precision), rounding_of(precision)

    @kernel(workgroup=_LANES, trusted=True)
    def digits(
        x: In[element],  # type: ignore[valid-type]
        out: Out[held],  # type: ignore[valid-type]
        scales: Out[f32],
        rows: u32,
        depth: u32,
    ):
        lane, first, block, matrix = local_id(), group_id(0) * _DOWN, group_id(1), group_id(2)
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin = block * BLOCK + lane
        largest_of = shared(u32, _DOWN * _LANES)
        elements = private(f32, _DOWN * _EACH)
        for r in static_range(_DOWN):
            source = (matrix * rows + min(first + r, rows - 1)) * depth + begin
            if block * BLOCK + BLOCK <= depth:
                for i in static_range(_EACH):
                    elements[r * _EACH + i] = f32(x[source + i * _LANES])
            else:
                for i in static_range(_EACH):
                    value = f32(0)
                    if begin + i * _LANES < depth:
                        value = f32(x[source + i * _LANES])
                    elements[r * _EACH + i] = value
            largest = u32(0)
            for i in static_range(_EACH):
                largest = max(largest, bitcast(u32, elements[r * _EACH + i]) & MAGNITUDE)
            largest_of[r * _LANES + lane] = largest
        barrier()
        for r in static_range(_DOWN):
            if first + r < rows:
                largest = u32(0)
                for n in static_range(_LANES):
                    largest = max(largest, largest_of[r * _LANES + n])
                exponent = exponent_of(largest)
                inverse, is_finite = inverse_of(exponent), largest < INFINITE
                target = (matrix * rows + first + r) * (blocks * BLOCK) + begin
                for i in static_range(_EACH):
                    whole = whole_of(elements[r * _EACH + i] * inverse)
                    out[target + i * _LANES] = held(select(is_finite, whole, 0))
                if lane == 0:
                    scales[(matrix * blocks + block) * rows + first + r] = scale_of(exponent, largest)

    digits.name = f"digits_{precision.name}_{element}_by_k"
    return digits


def scale_total(total: Any, a_scale: Any, b_scale: Any) -> Any:
    """Return the f32 that the exact sum of a block stands for.

    It is rounded to nearest once. The smaller scale is multiplied by first: that product is exact, as a sum that is not
    0 is at least 1 and a scale at least the least normal number, and the other rounds if it leaves the normal range.
    What it rounds to -0 becomes +0, so that blocks of zeros after it change nothing.
    """
    least = select(a_scale < b_scale, a_scale, b_scale)
    most = select(a_scale < b_scale, b_scale, a_scale)
    return f32(total) * least * most + 0.0

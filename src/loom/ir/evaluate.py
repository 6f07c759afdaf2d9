"""What each pure operation means, as numpy functions over the lanes of a workgroup.

Layer: ir. These functions are the definition the targets are judged against (bits as integers), so
they favour the obvious over the fast. Invariant: arguments are arrays of the operand type's numpy
dtype, results have the result type's, and floating point is IEEE 754 round-to-nearest-even.

Sources: IEEE 754-2019 ``minimum``/``maximum`` for min and max; Hacker's Delight (Warren, 2nd ed.)
sections 5-1, 5-3 and 8-2 for popcount, leading zeros and the high half of a product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import DType

Array = np.ndarray[Any, Any]


def add(a: Array, b: Array) -> Array:
    return a + b


def sub(a: Array, b: Array) -> Array:
    return a - b


def mul(a: Array, b: Array) -> Array:
    return a * b


def fma(a: Array, b: Array, c: Array) -> Array:
    """``a b + c`` where ``a b`` is exact, so that it is the same rounded once or twice."""
    return a * b + c


def div(a: Array, b: Array) -> Array:
    return a / b


def idiv(a: Array, b: Array) -> Array:
    """Quotient truncated toward zero; x / 0 = 0; the smallest integer / -1 wraps to itself."""
    safe = np.where(b == 0, b.dtype.type(1), b)
    quotient = a // safe
    if a.dtype.kind == "i":
        inexact = quotient * safe != a
        quotient = quotient + (inexact & ((a < 0) != (safe < 0))).astype(a.dtype)
        quotient = np.where(safe == -1, np.negative(a), quotient)
    return np.where(b == 0, a.dtype.type(0), quotient)


def irem(a: Array, b: Array) -> Array:
    """Remainder with the sign of the dividend; x % 0 = x."""
    return a - idiv(a, b) * b


def neg(a: Array) -> Array:
    return np.negative(a)


def abs_(a: Array) -> Array:
    return np.absolute(a)


def minimum(a: Array, b: Array) -> Array:
    """The smaller operand; NaN wins over everything and -0 is smaller than +0."""
    if a.dtype.kind != "f":
        return np.minimum(a, b)
    tie = np.where(np.signbit(a), a, b)
    picked = np.where(a < b, a, np.where(b < a, b, tie))
    return np.where(np.isnan(a), a, np.where(np.isnan(b), b, picked))


def maximum(a: Array, b: Array) -> Array:
    """The larger operand; NaN wins over everything and +0 is larger than -0."""
    if a.dtype.kind != "f":
        return np.maximum(a, b)
    tie = np.where(np.signbit(a), b, a)
    picked = np.where(a > b, a, np.where(b > a, b, tie))
    return np.where(np.isnan(a), a, np.where(np.isnan(b), b, picked))


def floor(a: Array) -> Array:
    return np.floor(a)


def ceil(a: Array) -> Array:
    return np.ceil(a)


def rint(a: Array) -> Array:
    """Nearest integer, halves to even."""
    return np.rint(a)


def trunc(a: Array) -> Array:
    return np.trunc(a)


def sqrt(a: Array) -> Array:
    return np.sqrt(a)


def and_(a: Array, b: Array) -> Array:
    return a & b


def or_(a: Array, b: Array) -> Array:
    return a | b


def xor(a: Array, b: Array) -> Array:
    return a ^ b


def not_(a: Array) -> Array:
    return ~a


def _shift_count(a: Array, b: Array) -> Array:
    width = a.dtype.itemsize * 8
    return b & b.dtype.type(width - 1)


def shl(a: Array, b: Array) -> Array:
    """Shift left by ``b`` modulo the width."""
    return a << _shift_count(a, b)


def shr(a: Array, b: Array) -> Array:
    """Shift right by ``b`` modulo the width: arithmetic for signed types, logical for unsigned ones."""
    return a >> _shift_count(a, b)


def popcount(a: Array) -> Array:
    """Number of one bits, in the operand's type."""
    unsigned = a.view(f"u{a.dtype.itemsize}")
    count = np.zeros(unsigned.shape, unsigned.dtype)
    for bit in range(a.dtype.itemsize * 8):
        count = count + ((unsigned >> unsigned.dtype.type(bit)) & unsigned.dtype.type(1))
    return count.view(a.dtype)


def clz(a: Array) -> Array:
    """Number of leading zero bits (the width for 0), in the operand's type."""
    width = a.dtype.itemsize * 8
    unsigned = a.view(f"u{a.dtype.itemsize}")
    count = np.full(unsigned.shape, width, unsigned.dtype)
    for bit in range(width):
        has = (unsigned >> unsigned.dtype.type(bit)) & unsigned.dtype.type(1)
        count = np.where(has == 1, unsigned.dtype.type(width - 1 - bit), count)
    return count.view(a.dtype)


def mulhi(a: Array, b: Array) -> Array:
    """High half of the double-width product."""
    width = a.dtype.itemsize * 8
    if width < 64:
        wide = np.int64 if a.dtype.kind == "i" else np.uint64
        product = a.astype(wide) * b.astype(wide)
        return (product >> wide(width)).astype(a.dtype)
    high = _mulhi_u64(a.view(np.uint64), b.view(np.uint64))
    if a.dtype.kind == "i":  # signed from unsigned: subtract the other factor per negative one
        zero = np.uint64(0)
        high = high - np.where(a < 0, b.view(np.uint64), zero)
        high = high - np.where(b < 0, a.view(np.uint64), zero)
    return high.view(a.dtype)


def _mulhi_u64(a: Array, b: Array) -> Array:
    half, low_mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a_lo, a_hi = a & low_mask, a >> half
    b_lo, b_hi = b & low_mask, b >> half
    middle = a_hi * b_lo + ((a_lo * b_lo) >> half)
    cross = a_lo * b_hi + (middle & low_mask)
    return a_hi * b_hi + (middle >> half) + (cross >> half)


def _dot(bits: int, a: Array, b: Array, c: Array, *, unsigned: bool = False) -> Array:
    """``c`` plus the products of the parts of ``bits`` that two words are made of, lowest bits first."""
    total = c
    for at in range(0, 32, bits):
        left, right = ((w << w.dtype.type(32 - bits - at)) >> w.dtype.type(32 - bits) for w in (a, b))
        if unsigned:
            left = left & left.dtype.type((1 << bits) - 1)
        total = total + left * right
    return total


def dot4_i8(a: Array, b: Array, c: Array) -> Array:
    return _dot(8, a, b, c)


def dot4_u8i8(a: Array, b: Array, c: Array) -> Array:
    """The bytes of ``a`` from 0 to 255, those of ``b`` from -128 to 127."""
    return _dot(8, a, b, c, unsigned=True)


def dot2_i16(a: Array, b: Array, c: Array) -> Array:
    return _dot(16, a, b, c)


def eq(a: Array, b: Array) -> Array:
    return a == b


def ne(a: Array, b: Array) -> Array:
    return a != b


def lt(a: Array, b: Array) -> Array:
    return a < b


def le(a: Array, b: Array) -> Array:
    return a <= b


def gt(a: Array, b: Array) -> Array:
    return a > b


def ge(a: Array, b: Array) -> Array:
    return a >= b


def select(condition: Array, a: Array, b: Array) -> Array:
    """``a`` where the condition holds, else ``b``; bits are copied unchanged."""
    if condition.ndim < a.ndim:
        condition = condition[:, None]
    if a.dtype.kind == "f":
        carrier = f"u{a.dtype.itemsize}"
        return np.where(condition, a.view(carrier), b.view(carrier)).view(a.dtype)
    return np.where(condition, a, b)


def convert(a: Array, source: DType, target: DType) -> Array:
    """Change the type: integers wrap, floats to integers truncate and saturate (NaN gives 0),
    integers and floats to floats round to nearest even, anything to bool tests for non-zero."""
    if source.scalar.name == "bf16":
        a = (a.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if target.is_bool:
        return a != 0
    if target.scalar.name == "bf16":
        return _round_to_bf16(a)
    if source.is_float and target.is_integer:
        return _saturate(a, target)
    return a.astype(target.numpy)


def _saturate(a: Array, target: DType) -> Array:
    lowest, highest = target.minimum, target.maximum
    whole = np.trunc(a)
    # 2**(bits-1) and 2**bits are exact in every float type, so these comparisons are exact
    too_high = whole >= a.dtype.type(float(highest + 1))
    too_low = whole < a.dtype.type(float(lowest))
    safe = np.where(too_high | too_low | np.isnan(a), a.dtype.type(0), whole)
    result = safe.astype(target.numpy)
    result = np.where(too_high, target.numpy.type(highest), result)
    return np.where(too_low, target.numpy.type(lowest), result)


def _round_to_bf16(a: Array) -> Array:
    bits = a.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(a), np.uint16(0x7FC0), rounded)


def bitcast(a: Array, target: DType) -> Array:
    """Read the same bits as another type of the same width."""
    return a.view(target.numpy)

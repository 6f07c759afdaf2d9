"""Functions without an error: signs, neighbours, remainders of floats, and powers of integers.

Layer: kernels. Invariant: the result is the one number that mathematics, or IEEE 754, names; nothing is rounded.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import INTEGERS, f32, f64, i32, i64, u32, u64
from loom.ir.frontend.elementary import Elementary, elementary
from loom.ir.frontend.intrinsics import bitcast, select

__all__ = ["copysign", "fmod", "ipow", "nextafter"]


def _copysign(x: Any, y: Any) -> Any:
    return bitcast(f32, (bitcast(u32, x) & 0x7FFFFFFF) | (bitcast(u32, y) & 0x80000000))


def _copysign_f64(x: Any, y: Any) -> Any:
    sign = u64(0x8000000000000000)
    return bitcast(f64, (bitcast(u64, x) & u64(0x7FFFFFFFFFFFFFFF)) | (bitcast(u64, y) & sign))


@elementary(f32=(_copysign, 0.0), f64=(_copysign_f64, 0.0))
def copysign(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """The size of ``x`` with the sign of ``y``, those of zeros and NaNs too."""


def _nextafter(x: Any, y: Any) -> Any:
    bits = bitcast(i32, x)
    away = (y > x) == (bits >= 0)
    beside = bitcast(f32, select(away, bits + 1, bits - 1))
    least = bitcast(f32, (bitcast(u32, y) & 0x80000000) | u32(1))
    r = select(x == 0.0, least, beside)
    r = select(x == y, y, r)
    return select((x != x) | (y != y), f32(math.nan), r)  # noqa: PLR0124


def _nextafter_f64(x: Any, y: Any) -> Any:
    bits = bitcast(i64, x)
    away = (y > x) == (bits >= 0)
    beside = bitcast(f64, select(away, bits + 1, bits - 1))
    least = bitcast(f64, (bitcast(u64, y) & u64(0x8000000000000000)) | u64(1))
    r = select(x == 0.0, least, beside)
    r = select(x == y, y, r)
    return select((x != x) | (y != y), f64(math.nan), r)  # noqa: PLR0124


@elementary(f32=(_nextafter, 0.0), f64=(_nextafter_f64, 0.0))
def nextafter(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """The float beside ``x`` in the direction of ``y``, which equal ones are."""


def _fmod(x: Any, y: Any) -> Any:
    """Divide significands as integers, 2^40 of the quotient at a time."""
    a, b = bitcast(u32, abs(x)), bitcast(u32, abs(y))
    a_power, b_power = i32(max(a >> 23, u32(1))), i32(max(b >> 23, u32(1)))
    divisor = u64(select(b < 0x800000, b, (b & 0x7FFFFF) | 0x800000)) + u64(select(b == 0, u32(1), u32(0)))
    rest = u64(select(a < 0x800000, a, (a & 0x7FFFFF) | 0x800000))
    left = a_power - b_power
    inside = (left >= 0) & (a < 0x7F800000) & (b < 0x7F800000)
    left = select(inside, left, i32(0))
    rest = rest % divisor
    while left > 0:
        step = min(left, i32(40))
        rest = (rest << u64(step)) % divisor
        left = left - step
    small = b_power < 24
    one = bitcast(f32, u32(select(small, b_power + 126, b_power - 23)) << 23)
    r = f32(rest) * one * select(small, f32(2.0**-126), f32(1.0)) * select(small, f32(2.0**-23), f32(1.0))
    r = bitcast(f32, bitcast(u32, select(inside, r, abs(x))) | (bitcast(u32, x) & 0x80000000))
    wrong = (x != x) | (y != y) | (a == 0x7F800000) | (b == 0)  # noqa: PLR0124
    return select(wrong, f32(math.nan), r)


def _fmod_f64(x: Any, y: Any) -> Any:
    """The same, 2^11 of the quotient at a time."""
    a, b = bitcast(u64, abs(x)), bitcast(u64, abs(y))
    lead, infinite = u64(1 << 52), u64(0x7FF << 52)
    a_power, b_power = i32(max(a >> 52, u64(1))), i32(max(b >> 52, u64(1)))
    divisor = select(b < lead, b, (b & (lead - 1)) | lead) + select(b == 0, u64(1), u64(0))
    rest = select(a < lead, a, (a & (lead - 1)) | lead)
    left = a_power - b_power
    inside = (left >= 0) & (a < infinite) & (b < infinite)
    left = select(inside, left, i32(0))
    rest = rest % divisor
    while left > 0:
        step = min(left, i32(11))
        rest = (rest << u64(step)) % divisor
        left = left - step
    small = b_power < 53
    one = bitcast(f64, u64(select(small, b_power + 1022, b_power - 52)) << 52)
    r = f64(rest) * one * select(small, f64(2.0**-1022), f64(1.0)) * select(small, f64(2.0**-52), f64(1.0))
    r = bitcast(f64, bitcast(u64, select(inside, r, abs(x))) | (bitcast(u64, x) & u64(1 << 63)))
    wrong = (x != x) | (y != y) | (a == infinite) | (b == 0)  # noqa: PLR0124
    return select(wrong, f64(math.nan), r)


@elementary(f32=(_fmod, 0.0), f64=(_fmod_f64, 0.0))
def fmod(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """What is left of ``x`` by ``y``, exactly, with the sign of ``x``; NaN by 0 and of infinities."""


def _ipow(x: Any, y: Any) -> Any:
    """Multiply squares; a negative exponent leaves 1, -1 or 0."""
    zero = x - x
    one = zero + 1
    minus = zero - 1
    found = one
    square = x
    left = select(y < zero, zero, y)
    while left > zero:
        found = select((left & one) == one, found * square, found)
        square = square * square
        left = left >> one
    odd = (y & one) == one
    inverse = select((x == one) | ((x == minus) & (not odd)), one, select(x == minus, minus, zero))
    return select(y < zero, inverse, found)


def _stub(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """``x`` to the power ``y`` of integers, which wraps; negative powers are cut to whole numbers: 1, -1 or 0."""


_stub.__name__ = "ipow"
ipow = Elementary(_stub, dict.fromkeys(INTEGERS, (_ipow, 0.0)))

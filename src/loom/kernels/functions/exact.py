"""Functions without an error: signs, neighbours, remainders of floats, and powers of integers.

Layer: kernels. Invariant: the result is the one number that mathematics, or IEEE 754, names; nothing is rounded.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import INTEGERS, i32, u64
from loom.ir.frontend.elementary import Elementary, elementary
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.formats import format_of

__all__ = ["copysign", "fmod", "ipow", "nextafter"]


def _copysign(x: Any, y: Any) -> Any:
    form = format_of(x)
    return bitcast(x.dtype, (bitcast(form.bits, x) & (form.sign - 1)) | (bitcast(form.bits, y) & form.sign))


@elementary(f32=(_copysign, 0.0), f64=(_copysign, 0.0))
def copysign(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """The size of ``x`` with the sign of ``y``, those of zeros and NaNs too."""


def _nextafter(x: Any, y: Any) -> Any:
    real, form = x.dtype, format_of(x)
    bits = bitcast(form.signed, x)
    away = (y > x) == (bits >= 0)
    beside = bitcast(real, select(away, bits + 1, bits - 1))
    least = bitcast(real, (bitcast(form.bits, y) & form.sign) | form.bits(1))
    r = select(x == 0.0, least, beside)
    r = select(x == y, y, r)
    return select((x != x) | (y != y), real(math.nan), r)  # noqa: PLR0124


@elementary(f32=(_nextafter, 0.0), f64=(_nextafter, 0.0))
def nextafter(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """The float beside ``x`` in the direction of ``y``, which equal ones are."""


def _fmod(x: Any, y: Any) -> Any:
    """Divide significands as integers of 64 bits, 2^40 (f64: 2^11) of the quotient at a time."""
    real, form = x.dtype, format_of(x)
    word, lead, digits = form.bits, form.lead, form.digits
    a, b = bitcast(word, abs(x)), bitcast(word, abs(y))
    a_power, b_power = i32(max(a >> digits, word(1))), i32(max(b >> digits, word(1)))
    divisor = u64(select(b < lead, b, (b & (lead - 1)) | lead)) + u64(select(b == 0, word(1), word(0)))
    rest = u64(select(a < lead, a, (a & (lead - 1)) | lead))
    left = a_power - b_power
    inside = (left >= 0) & (a < form.infinite) & (b < form.infinite)
    left = select(inside, left, i32(0))
    rest = rest % divisor
    while left > 0:
        step = min(left, i32(63 - digits))
        rest = (rest << u64(step)) % divisor
        left = left - step
    small = b_power < digits + 1
    one = bitcast(real, word(select(small, b_power + (form.bias - 1), b_power - digits)) << digits)
    r = real(rest) * one * select(small, real(form.tiny), real(1.0)) * select(small, real(2.0**-digits), real(1.0))
    r = bitcast(real, bitcast(word, select(inside, r, abs(x))) | (bitcast(word, x) & form.sign))
    wrong = (x != x) | (y != y) | (a == form.infinite) | (b == 0)  # noqa: PLR0124
    return select(wrong, real(math.nan), r)


@elementary(f32=(_fmod, 0.0), f64=(_fmod, 0.0))
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

"""Reduction of an angle by quarter turns, exact for every f32: what sin, cos, tan and Bessel functions begin with.

Layer: kernels. Invariant: ``x = n pi/2 + high + low`` with ``abs(high) <= pi/4 (1 + 2^-20)`` and ``abs(low) <= 2^-24``,
and ``low`` is below ``high`` even for the x closest to a multiple of pi/2.

Sources: W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980 (pieces of pi/2 whose
multiples are exact); M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions", SIGNUM 18(1), 1983.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.intrinsics import bitcast, mulhi, rint, select, static_range
from loom.kernels.functions.coefficients.trigonometric import HALF_PI, PIECES, TURNS
from loom.kernels.functions.doubles import fast_two_sum, product, two_sum

__all__ = ["quarter_turns"]

_NEAR = 8192.0
"""Up to here n has 13 bits."""

_WHOLE = 12582912.0
"""2^23 + 2^22: a whole number below 2^22 added to it stands in the low bits of the sum, exactly."""

_LARGEST = float.fromhex("0x1.fffffep+127")

_INVERSE = (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB)
"""2 / pi: 32 zeros, then its first 224 binary digits after the point."""


def quarter_turns(x: Any) -> Any:
    """Return ``n mod 4`` (u32), ``high`` and ``low`` with ``x = n pi/2 + high + low``, for x of at least 0.

    Lanes beyond 8192 take the integer path, which is skipped when no lane needs it. Infinity and NaN give NaN.
    """
    n, high, low = _near(x)
    if x > _NEAR:
        if x <= _LARGEST:
            n, high, low = _far(x)
    return n, high, low


def _near(x: Any) -> Any:
    """Quotient by a product with 2/pi; the remainder by exact pieces of pi/2."""
    n = rint(x * TURNS[0])
    rest = (x - n * PIECES[0]) - n * PIECES[1]  # exact
    high, low = two_sum(rest, -(n * PIECES[2]))
    return bitcast(u32, n + _WHOLE) & 3, high, low - n * PIECES[3]


def _far(x: Any) -> Any:
    """Multiply x by the binary digits of 2/pi that matter, modulo 4; the fraction times pi/2 is the remainder."""
    upper, lower = _quarters(x)
    negative = (upper >> 29) & 1  # the fraction is at least a half: count from the next quarter
    n = (upper >> 30) + negative
    flip = u32(0) - negative
    upper = ((upper << 2 | lower >> 30) ^ flip) + (negative & u32(lower << 2 == 0))
    lower = ((lower << 2) ^ flip) + negative
    first = f32(upper >> 8) * 2.0**-24  # all three exact
    second = f32((upper & 0xFF) << 16 | lower >> 16) * 2.0**-48
    high, low = fast_two_sum(first, second)
    low = low + f32(lower & 0xFFFF) * 2.0**-64
    whole, rest = product(high, HALF_PI[0])
    high, low = fast_two_sum(whole, rest + (high * HALF_PI[1] + low * HALF_PI[0]))
    sign = negative << 31
    return n & 3, bitcast(f32, bitcast(u32, high) ^ sign), bitcast(f32, bitcast(u32, low) ^ sign)


def _quarters(x: Any) -> Any:
    """Return x * 2/pi modulo 4 as 2 + 62 binary digits in two words, for finite x beyond 8192."""
    bits = bitcast(u32, x)
    significand = (bits & 0x7FFFFF) | 0x800000
    place = (bits >> 23) - 120  # of the first digit whose product with the significand is not a multiple of 4
    word, shift = place >> 5, place & 31
    a, b, c, d = _digits(word, 0), _digits(word, 1), _digits(word, 2), _digits(word, 3)
    top, middle, bottom = _window(a, b, shift), _window(b, c, shift), _window(c, d, shift)
    part = significand * middle
    lower = mulhi(significand, bottom) + part
    carry = u32(lower < part)
    return mulhi(significand, middle) + significand * top + carry, lower


def _digits(word: Any, k: Any) -> Any:
    """Return word number ``word + k`` of 2/pi, ``word`` being 0 to 4."""
    found = u32(_INVERSE[k])
    for i in static_range(1, 5):
        found = select(word == i, u32(_INVERSE[k + i]), found)
    return found


def _window(word: Any, following: Any, shift: Any) -> Any:
    """Return 32 digits beginning ``shift`` digits into ``word``."""
    return word << shift | following >> 1 >> (31 - shift)

"""Reduction of an f64 angle by quarter turns, exact for every f64.

Layer: kernels. Invariant: ``x = n pi/2 + high + low`` with ``abs(high) <= pi/4 (1 + 2^-20)`` and ``low`` at most half a
unit in the last place of ``high``, off by less than 2^-65 of ``high`` even for the x closest to a multiple of pi/2.

Sources: W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980 (pieces of pi/2 whose
multiples are exact); M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions", SIGNUM 18(1), 1983.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, u32, u64
from loom.ir.frontend.intrinsics import bitcast, mulhi, rint, select, static_range
from loom.kernels.functions.coefficients.f64 import HALF_PI, PIECES, TURNS
from loom.kernels.functions.doubles import fast_two_sum, product_f64, two_sum

__all__ = ["quarter_turns"]

_NEAR = 2.0**20
"""Up to here n has 20 bits, and its products with pieces of 33 bits are exact."""

_WHOLE = 3 * 2.0**51
"""A whole number below 2^51 added to it stands in the low bits of the sum, exactly."""

_LARGEST = float.fromhex("0x1.fffffffffffffp+1023")

_INVERSE = (
    0, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0,
    0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4,
    0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
)  # fmt: skip
"""2 / pi: 64 zeros, then its first 1216 binary digits after the point."""


def quarter_turns(x: Any) -> Any:
    """Return ``n mod 4`` (u32), ``high`` and ``low`` with ``x = n pi/2 + high + low``, for x of at least 0.

    Lanes beyond 2^20 take the integer path, which is skipped when no lane needs it. Infinity and NaN give NaN.
    """
    n, high, low = _near(x)
    if x > _NEAR:
        if x <= _LARGEST:
            n, high, low = _far(x)
    return n, high, low


def _near(x: Any) -> Any:
    """Quotient by a product with 2/pi; the remainder by exact pieces of pi/2."""
    n = rint(x * TURNS[0])
    rest = x - n * PIECES[0]  # exact
    near, left = two_sum(rest, -(n * PIECES[1]))
    nearer, more = two_sum(near, -(n * PIECES[2]))  # if near has lost its upper bits, left is 0
    high, low = fast_two_sum(nearer, (more + left) - n * PIECES[3])
    return u32(bitcast(u64, n + _WHOLE)) & 3, high, low


def _far(x: Any) -> Any:
    """Multiply x by the binary digits of 2/pi that matter, modulo 4; the fraction times pi/2 is the remainder."""
    upper, middle, lower = _quarters(x)
    negative = (upper >> 61) & 1  # the fraction is at least a half: count from the next quarter
    n = u32((upper >> 62) + negative)
    flip = u64(0) - negative
    first, second = (upper << 2 | middle >> 62) ^ flip, (middle << 2 | lower >> 62) ^ flip
    a = f64(first >> 11) * 2.0**-53  # all three exact
    b = f64((first & 0x7FF) << 42 | second >> 22) * 2.0**-106
    c = f64(second & 0x3FFFFF) * 2.0**-128
    high, low = fast_two_sum(a, b)
    high, low = fast_two_sum(high, low + c)
    whole, rest = product_f64(high, f64(HALF_PI[0]))
    high, low = fast_two_sum(whole, rest + (high * HALF_PI[1] + low * HALF_PI[0]))
    sign = negative << 63
    return n & 3, bitcast(f64, bitcast(u64, high) ^ sign), bitcast(f64, bitcast(u64, low) ^ sign)


def _quarters(x: Any) -> Any:
    """Return x * 2/pi modulo 4 as 2 + 190 binary digits in three words, for finite x beyond 2^20."""
    bits = bitcast(u64, x)
    significand = (bits & 0xFFFFFFFFFFFFF) | 0x10000000000000
    place = (bits >> 52) - 1013  # of the first digit whose product with the significand is not a multiple of 4
    word, shift = place >> 6, place & 63
    a, b, c, d = _digits(word, 0), _digits(word, 1), _digits(word, 2), _digits(word, 3)
    top, middle, bottom = _window(a, b, shift), _window(b, c, shift), _window(c, d, shift)
    part = significand * middle
    second = mulhi(significand, bottom) + part
    upper = mulhi(significand, middle) + significand * top + u64(second < part)
    return upper, second, significand * bottom


def _digits(word: Any, k: Any) -> Any:
    """Return word number ``word + k`` of 2/pi, ``word`` being 0 to 16."""
    found = u64(_INVERSE[k])
    for i in static_range(1, 17):
        found = select(word == i, u64(_INVERSE[k + i]), found)
    return found


def _window(word: Any, following: Any, shift: Any) -> Any:
    """Return 64 digits beginning ``shift`` digits into ``word``."""
    return word << shift | following >> 1 >> (63 - shift)

"""Reduction of an angle by quarter turns, exact for every float: what sin, cos, tan and Bessel functions begin with.

Layer: kernels. Invariant: ``x = n pi/2 + high + low`` with ``abs(high) <= pi/4 (1 + 2^-20)``, even for the x closest to
a multiple of pi/2. Of f32 ``abs(low) <= 2^-24`` and below ``high``; of f64 ``low`` is at most half a unit in the last
place of ``high`` and off by less than 2^-65 of it.

Sources: W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980 (pieces of pi/2 whose
multiples are exact); M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions", SIGNUM 18(1), 1983.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64, u32, u64
from loom.ir.frontend.intrinsics import bitcast, mulhi, rint, select, static_range
from loom.kernels.functions.coefficients import f64 as circle_f64
from loom.kernels.functions.coefficients import trigonometric as circle
from loom.kernels.functions.doubles import fast_two_sum, product, two_sum
from loom.kernels.functions.formats import format_of

__all__ = ["quarter_turns"]

_NEAR = {f32: 8192.0, f64: 2.0**20}
"""Up to here n has 13 bits (f64: 20, and its products with pieces of 33 bits are exact)."""

_LARGEST = {f32: float.fromhex("0x1.fffffep+127"), f64: float.fromhex("0x1.fffffffffffffp+1023")}
_HALF_PI = {f32: circle.HALF_PI, f64: circle_f64.HALF_PI}

_INVERSE = {
    u32: (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB),
    u64: (
        0, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0,
        0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4,
        0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D,
        0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
    ),
}  # fmt: skip
"""2 / pi: a word of zeros, then its first 224 (f64: 1216) binary digits after the point."""


def quarter_turns(x: Any) -> Any:
    """Return ``n mod 4`` (u32), ``high`` and ``low`` with ``x = n pi/2 + high + low``, for x of at least 0.

    Lanes beyond 8192 (f64: 2^20) take the integer path, skipped when no lane needs it. Infinity and NaN give NaN.
    """
    real = x.dtype
    n, high, low = _near(x) if real == f32 else _near_f64(x)
    if x > _NEAR[real]:
        if x <= _LARGEST[real]:
            n, high, low = _far(x)
    return n, high, low


def _near(x: Any) -> Any:
    """Quotient by a product with 2/pi; the remainder by exact pieces of pi/2."""
    n = rint(x * circle.TURNS[0])
    rest = (x - n * circle.PIECES[0]) - n * circle.PIECES[1]  # exact
    high, low = two_sum(rest, -(n * circle.PIECES[2]))
    return bitcast(u32, n + format_of(n).whole) & 3, high, low - n * circle.PIECES[3]


def _near_f64(x: Any) -> Any:
    n = rint(x * circle_f64.TURNS[0])
    rest = x - n * circle_f64.PIECES[0]  # exact
    near, left = two_sum(rest, -(n * circle_f64.PIECES[1]))
    nearer, more = two_sum(near, -(n * circle_f64.PIECES[2]))  # if near has lost its upper bits, left is 0
    high, low = fast_two_sum(nearer, (more + left) - n * circle_f64.PIECES[3])
    return u32(bitcast(u64, n + format_of(n).whole)) & 3, high, low


def _far(x: Any) -> Any:
    """Multiply x by the binary digits of 2/pi that matter, modulo 4; the fraction times pi/2 is the remainder."""
    real, form, half_pi = x.dtype, format_of(x), _HALF_PI[x.dtype]
    significand, top, middle, bottom = _factors(x)
    part = significand * middle
    lower = mulhi(significand, bottom) + part
    upper = mulhi(significand, middle) + significand * top + form.bits(lower < part)
    negative = (upper >> form.bits.bits - 3) & 1  # the fraction is at least a half: count from the next quarter
    n = u32((upper >> form.bits.bits - 2) + negative)
    high, low = (
        _fraction(upper, lower, negative)
        if real == f32
        else _fraction_f64(upper, lower, significand * bottom, negative)
    )
    whole, rest = product(high, real(half_pi[0]))
    high, low = fast_two_sum(whole, rest + (high * half_pi[1] + low * half_pi[0]))
    sign = negative << form.bits.bits - 1
    return n & 3, bitcast(real, bitcast(form.bits, high) ^ sign), bitcast(real, bitcast(form.bits, low) ^ sign)


def _fraction(upper: Any, lower: Any, negative: Any) -> Any:
    """Return 62 binary digits after two as a pair of floats, counted from above if ``negative``."""
    flip = u32(0) - negative
    first = ((upper << 2 | lower >> 30) ^ flip) + (negative & u32(lower << 2 == 0))
    second = ((lower << 2) ^ flip) + negative
    high, low = fast_two_sum(f32(first >> 8) * 2.0**-24, f32((first & 0xFF) << 16 | second >> 16) * 2.0**-48)  # exact
    return high, low + f32(second & 0xFFFF) * 2.0**-64


def _fraction_f64(upper: Any, middle: Any, lower: Any, negative: Any) -> Any:
    """Return 128 of 190 binary digits after two as a pair of floats, counted from above if ``negative``."""
    flip = u64(0) - negative
    first, second = (upper << 2 | middle >> 62) ^ flip, (middle << 2 | lower >> 62) ^ flip
    high, low = fast_two_sum(f64(first >> 11) * 2.0**-53, f64((first & 0x7FF) << 42 | second >> 22) * 2.0**-106)
    return fast_two_sum(high, low + f64(second & 0x3FFFFF) * 2.0**-128)


def _factors(x: Any) -> Any:
    """Return the significand of a finite x beyond ``_NEAR``, and three words of 2/pi: x * 2/pi modulo 4."""
    form = format_of(x)
    bits = bitcast(form.bits, x)
    significand = (bits & (form.lead - 1)) | form.lead
    # of the first digit whose product with the significand is not a multiple of 4
    place = (bits >> form.digits) - (form.bias + form.digits - form.bits.bits + 2)
    word, shift = place >> form.bits.bits.bit_length() - 1, place & form.bits.bits - 1
    a, b, c, d = _digits(word, 0), _digits(word, 1), _digits(word, 2), _digits(word, 3)
    return significand, _window(a, b, shift), _window(b, c, shift), _window(c, d, shift)


def _digits(word: Any, k: Any) -> Any:
    """Return word number ``word + k`` of 2/pi, ``word`` being 0 to 4 (f64: 16)."""
    kind, words = word.dtype, _INVERSE[word.dtype]
    found = kind(words[k])
    for i in static_range(1, len(words) - 3):
        found = select(word == i, kind(words[k + i]), found)
    return found


def _window(word: Any, following: Any, shift: Any) -> Any:
    """Return a word of digits beginning ``shift`` digits into ``word``."""
    return word << shift | following >> 1 >> (word.dtype.bits - 1 - shift)

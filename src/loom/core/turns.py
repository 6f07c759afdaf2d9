"""Cosine and sine of fractions of a turn, correctly rounded, from additions and multiplications alone.

Layer: core. Twiddle factors, windows and filters are made here, on the host, without its libm: the angle is
reduced exactly, then Taylor series are summed in pairs of doubles (about 100 bits) and rounded once. Only
IEEE add, subtract, multiply and divide are used, in numpy, which never fuses them. Invariant: the same bits on
every machine; a value is correctly rounded unless it lies within 2^-75 ulp of a midpoint of two floats.

Source: Dekker, "A floating-point technique for extending the available precision" (1971); Knuth's TwoSum.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import Any, cast

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic

__all__ = ["cos_sin_of_ratio", "cos_sin_of_turns", "roots_of_unity", "round_pair"]

Floats = np.ndarray[Any, Any]
Pair = tuple[Any, Any]
"""A number as the unevaluated sum of two doubles, the second at most half an ulp of the first."""

_SPLITTER = 2.0**27 + 1
_TERMS = 14
_FINE = 2048
"""Consecutive angles whose pairs are kept: any further one is the product of one of them and a multiple of it."""
_ROWS = 16
"""Multiples taken at once, so that what is computed stays in the cache."""
_EIGHTH = Fraction(314159265358979323846264338327950288419716939937510582097494459, 4 * 10**62)
"""Pi / 4, the angle of an eighth of a turn."""


def _pair(value: Fraction) -> Pair:
    high = float(value)
    return high, float(value - Fraction(high))


_ANGLE = _pair(_EIGHTH)
_SINE = [_pair(Fraction((-1) ** k, factorial(2 * k + 1))) for k in range(_TERMS)]
_COSINE = [_pair(Fraction((-1) ** k, factorial(2 * k))) for k in range(_TERMS)]


def _two_sum(a: Any, b: Any) -> Pair:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _quick_sum(a: Any, b: Any) -> Pair:
    """Like ``_two_sum`` where ``a`` is the larger, or zero."""
    total = a + b
    return total, b - (total - a)


def _split(a: Any) -> Pair:
    scaled = a * _SPLITTER
    high = scaled - (scaled - a)
    return high, a - high


def _two_product(a: Any, b: Any) -> Pair:
    product = a * b
    a1, a2 = _split(a)
    b1, b2 = _split(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _add(a: Pair, b: Pair) -> Pair:
    high, low = _two_sum(a[0], b[0])
    other, rest = _two_sum(a[1], b[1])
    high, low = _quick_sum(high, low + other)
    return _quick_sum(high, low + rest)


def _multiply(a: Pair, b: Pair) -> Pair:
    high, low = _two_product(a[0], b[0])
    return _quick_sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def _divide(numerator: Any, denominator: Any) -> Pair:
    """Return the quotient of two doubles."""
    quotient = numerator / denominator
    product, error = _two_product(quotient, denominator)
    return _quick_sum(quotient, ((numerator - product) - error) / denominator)


def _series(z: Pair, coefficients: list[Pair]) -> Pair:
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = _add(_multiply(total, z), coefficient)
    return total


def _cos_sin_of_octant(fraction: Pair) -> tuple[Pair, Pair]:
    """Return cosine and sine of ``fraction`` (0 to 1) of an eighth of a turn."""
    angle = _multiply(fraction, _ANGLE)
    z = _multiply(angle, angle)
    return _series(z, _COSINE), _multiply(_series(z, _SINE), angle)


def _unfold(octant: Any, fraction: Pair) -> tuple[Pair, Pair]:
    """Return cosine and sine of ``octant`` + ``fraction`` eighths of a turn (octant 0 to 7)."""
    odd = octant % 2 == 1
    reflected = _add((np.ones_like(fraction[0]), np.zeros_like(fraction[0])), (-fraction[0], -fraction[1]))
    high, low = (cast("Any", np.where(odd, r, f)) for r, f in zip(reflected, fraction, strict=True))
    cosine, sine = _cos_sin_of_octant((high, low))
    swapped = (octant % 4 == 1) | (octant % 4 == 2)
    left, down = (octant >= 2) & (octant < 6), octant >= 4

    def choose(a: Pair, b: Pair, negative: Any) -> Pair:
        high, low = (cast("Any", np.where(swapped, q, p)) for p, q in zip(a, b, strict=True))
        # adding zero turns -0 into +0, so that signs of zeros never depend on the way an angle was written
        return cast("Any", np.where(negative, -high, high)) + 0.0, cast("Any", np.where(negative, -low, low)) + 0.0

    return choose(cosine, sine, left), choose(sine, cosine, down)


def round_pair(value: Pair, dtype: Any) -> Floats:
    """Return a pair rounded once to ``dtype`` (float32 or float64)."""
    high, low = np.atleast_1d(np.asarray(value[0], np.float64)), np.atleast_1d(np.asarray(value[1], np.float64))
    if np.dtype(dtype) == np.float64:
        return high.copy()
    bits = high.view(np.int64)
    toward = np.where((low > 0) == (high > 0), 1, -1)
    # to odd first: then rounding to fewer bits is as if it were from the exact sum
    return np.where((low != 0) & (bits % 2 == 0), bits + toward, bits).view(np.float64).astype(dtype)


@ordinary_arithmetic()
def cos_sin_of_ratio(numerators: Any, denominator: int, dtype: Any = np.float64) -> tuple[Floats, Floats]:
    """Return cos and sin of ``2 pi k / n`` for integers k (any, an array) and n (1 to 2^49).

    >>> [x.tolist() for x in cos_sin_of_ratio([0, 1, 2], 4)]
    [[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
    """
    cosine, sine = _angles(np.atleast_1d(np.asarray(numerators, np.int64)), denominator)
    return round_pair(cosine, dtype), round_pair(sine, dtype)


@ordinary_arithmetic()
def cos_sin_of_turns(turns: Any, dtype: Any = np.float64) -> tuple[Floats, Floats]:
    """Return cos and sin of ``2 pi t`` for doubles t of size below 2^49, each taken as the exact number it is.

    >>> [x.tolist() for x in cos_sin_of_turns([0.25, 0.5])]
    [[0.0, -1.0], [1.0, 0.0]]
    """
    t = np.atleast_1d(np.asarray(turns, np.float64))
    negative = t < 0
    eighths = (np.abs(t) - np.floor(np.abs(t))) * 8.0  # exact
    octant = np.floor(eighths)
    cosine, sine = _unfold(octant.astype(np.int64), (eighths - octant, np.zeros_like(t)))
    found = round_pair(sine, dtype)
    return round_pair(cosine, dtype), np.where(negative & (found != 0), -found, found)


@ordinary_arithmetic()
def roots_of_unity(n: int, dtype: Any) -> tuple[Floats, Floats]:
    """Return the real and imaginary parts of ``exp(-2 pi i k / n)`` for k from 0 to n - 1.

    >>> [x.tolist() for x in roots_of_unity(4, np.float64)]
    [[1.0, 0.0, -1.0, 0.0], [0.0, -1.0, 0.0, 1.0]]
    """
    if n % 8:
        c, s = _first_angles(n, n // 2 + 1, dtype)
        cosine, sine = (
            np.concatenate([c, c[(n - 1) // 2 : 0 : -1]]),
            np.concatenate([s, 0.0 - s[(n - 1) // 2 : 0 : -1]]),
        )
        return cosine, 0.0 - sine
    c, s = _first_angles(n, n // 8 + 1, dtype)
    quarter_c = np.concatenate([c, s[-2:0:-1]])  # the octant and its reflection: a quarter without its end
    quarter_s = np.concatenate([s, c[-2:0:-1]])
    cosine = np.concatenate([quarter_c, 0.0 - quarter_s, 0.0 - quarter_c, quarter_s])
    sine = np.concatenate([quarter_s, quarter_c, 0.0 - quarter_s, 0.0 - quarter_c])
    return cosine, 0.0 - sine


def _first_angles(n: int, count: int, dtype: Any) -> tuple[Floats, Floats]:
    """Return cos and sin of ``2 pi k / n`` for k below ``count``: products of a coarse and a fine angle."""
    if count <= _FINE:
        return cos_sin_of_ratio(np.arange(count), n, dtype)
    rows = -(-count // _FINE)
    fine = _angles(np.arange(_FINE), n)
    found = np.empty((2, rows, _FINE), dtype)
    for row in range(0, rows, _ROWS):
        several = np.arange(row, min(row + _ROWS, rows))
        coarse = _angles(several * _FINE, n)
        (c, s), (a, b) = ([tuple(x[:, None] for x in pair) for pair in coarse], fine)
        found[0, several] = _product(_multiply(c, a), _multiply(s, b), -1, dtype)
        found[1, several] = _product(_multiply(s, a), _multiply(c, b), +1, dtype)
    cosine, sine = found.reshape(2, -1)[:, :count]
    exact = np.array(
        [k for k in range(0, n, n // 4) if k < count] if n % 4 == 0 else [n // 2] if n % 2 == 0 else [], int
    )
    exact = exact[exact < count]
    cosine[exact], sine[exact] = cos_sin_of_ratio(exact, n, dtype)  # zeros, which the products only come near
    return cosine, sine


def _product(a: Pair, b: Pair, sign: int, dtype: Any) -> Floats:
    total = _add(a, (sign * b[0], sign * b[1]))
    return round_pair((total[0].reshape(-1), total[1].reshape(-1)), dtype).reshape(total[0].shape)


def _angles(numerators: Any, denominator: int) -> tuple[Pair, Pair]:
    """Return cos and sin of ``2 pi k / n`` as pairs, for integers k of at least 0."""
    eighths = numerators.astype(np.int64) % denominator * 8
    octant, rest = eighths // denominator, eighths % denominator
    return _unfold(octant, _divide(rest.astype(np.float64), np.float64(denominator)))

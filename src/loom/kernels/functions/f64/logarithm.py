"""Logarithms in f64: log, log2, log10 and log1p, and the logarithm as a pair, which powers are made of.

Layer: kernels. Invariant: no branches; powers of two have exact log2.

Source: fdlibm's e_log.c (Sun, 1993): log(1 + f) = 2 atanh(f / (2 + f)); polynomials from ``tools/fit/f64.py`` and
``tools/fit/f64_elementary.py``; pairs of floats after Dekker 1971.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f64, i64
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients.f64 import LN2, LOG
from loom.kernels.functions.coefficients.f64_elementary import FIFTH, LOG2E_PAIR, LOG10_2, LOG10E_PAIR, LOG_REST, THIRD
from loom.kernels.functions.doubles import fast_two_sum, product_f64, two_sum
from loom.kernels.functions.f64.pairs import divided, plus_constant, times
from loom.kernels.functions.polynomial import horner

__all__ = ["log1p_f64", "log2_f64", "log10_f64", "log_f64", "log_pair_f64"]

_ROOT_HALF = 0x3FE6A09E667F3BCD
"""Bits of sqrt(1/2)."""
_ONE = 0x3FF0000000000000


def _decomposed(x: Any) -> Any:
    """Return k (f64) and f with ``x = 2^k (1 + f)``, 1 + f from sqrt(1/2) to sqrt(2); x positive and finite."""
    small = x < 2.0**-1022
    above = bitcast(i64, select(small, x * 2.0**54, x)) - _ROOT_HALF
    k = f64(above >> 52) - select(small, f64(54.0), f64(0.0))
    return k, bitcast(f64, (above & 0xFFFFFFFFFFFFF) + _ROOT_HALF) - 1.0


def _bordered(y: Any, x: Any) -> Any:
    """Return ``y``, and where x has no finite logarithm what IEEE 754 says: inf, -inf at 0, NaN."""
    finite = select(x < math.inf, y, x)
    return select(x > 0.0, finite, select(x == 0.0, f64(-math.inf), f64(math.nan)))


def log_f64(x: Any) -> Any:
    """Return the natural logarithm of an f64."""
    k, f = _decomposed(x)
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    y = k * LN2[0] - ((half - (s * (half + z * horner(z, LOG)) + k * LN2[1])) - f)
    return _bordered(y, x)


def _near_one(f: Any) -> Any:
    """Return ``log(1 + f)`` as a pair good to 2^-68 of it: 2 s (1 + z/3 + z^2/5 + ...), s = f / (2 + f), z = s^2."""
    d, d1 = fast_two_sum(f64(2.0), f)
    s, s1 = divided(f, f64(0.0), d, d1)
    z, z1 = product_f64(s, s)
    z1 = z1 + 2.0 * (s * s1)
    p, p1 = plus_constant(FIFTH, z * horner(z, LOG_REST), f64(0.0))
    p, p1 = times(p, p1, z, z1)
    p, p1 = plus_constant(THIRD, p, p1)
    p, p1 = times(p, p1, z, z1)
    p, p1 = times(p, p1, s, s1)
    high, low = fast_two_sum(s, p)
    return 2.0 * high, 2.0 * (low + (p1 + s1))


def log_pair_f64(x: Any) -> Any:
    """Return the natural logarithm of a positive finite f64 as a pair good to 2^-68 of it."""
    k, f = _decomposed(x)
    near, near1 = _near_one(f)
    high, low = fast_two_sum(k * LN2[0], near)
    return fast_two_sum(high, low + (k * LN2[1] + near1))


def log2_f64(x: Any) -> Any:
    """Return the logarithm of an f64 to base 2."""
    k, f = _decomposed(x)
    near, near1 = _near_one(f)
    part, part1 = times(near, near1, f64(LOG2E_PAIR[0]), f64(LOG2E_PAIR[1]))
    high, low = fast_two_sum(k, part)
    return _bordered(high + (low + part1), x)


def log10_f64(x: Any) -> Any:
    """Return the logarithm of an f64 to base 10."""
    k, f = _decomposed(x)
    near, near1 = _near_one(f)
    part, part1 = times(near, near1, f64(LOG10E_PAIR[0]), f64(LOG10E_PAIR[1]))
    high, low = two_sum(k * LOG10_2[0], part)
    return _bordered(high + (low + (part1 + k * LOG10_2[1])), x)


def log1p_f64(x: Any) -> Any:
    """Return ``log(1 + x)`` of an f64: as in f32, the rounding of 1 + x is made up for."""
    large = x > 2.0**64
    scale = select(large, f64(2.0**-64), f64(1.0))
    u = x * scale + scale
    above = bitcast(i64, u) - _ROOT_HALF
    shift = above & i64(-(2**52))
    s = bitcast(f64, _ONE - shift)
    f = (x * scale) * s + (s * scale - 1.0)
    k = f64(above >> 52) + select(large, f64(64.0), f64(0.0))
    q = f / (2.0 + f)
    z = q * q
    half = 0.5 * f * f
    y = k * LN2[0] - ((half - (q * (half + z * horner(z, LOG)) + k * LN2[1])) - f)
    finite = select(x < math.inf, y, x)
    inside = select(x > -1.0, finite, select(x == -1.0, f64(-math.inf), f64(math.nan)))
    return select(abs(x) < 2.0**-54, x, inside)

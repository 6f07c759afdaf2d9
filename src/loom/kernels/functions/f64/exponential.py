"""Exponentials in f64: exp, exp2, expm1 and sigmoid, and the exponential of a pair, which others are made of.

Layer: kernels. Invariant: no branches; overflow, underflow and NaN come out of the same operations as all else,
and a subnormal result is rounded once more, from 53 bits to those it has.

Source: reduction modulo ln 2 in two pieces (Cody and Waite 1980); the first terms of the series in pairs of floats
(Dekker 1971); polynomials from ``tools/fit/f64.py`` and ``tools/fit/f64_elementary.py``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, i64
from loom.ir.frontend.intrinsics import bitcast, rint, select
from loom.kernels.functions.coefficients.f64 import EXP, LN2, LOG2E
from loom.kernels.functions.coefficients.f64_elementary import EXP2, EXP_REST
from loom.kernels.functions.doubles import fast_two_sum, product_f64, two_sum
from loom.kernels.functions.f64.pairs import divided
from loom.kernels.functions.polynomial import horner

__all__ = ["clamped_f64", "exp2_f64", "exp_f64", "exp_pair", "expm1_f64", "power_of_two", "scaled_f64", "sigmoid_f64",
           "sigmoid_of"]  # fmt: skip

_EXPONENT = 3 * 2.0**51 + 1023.0
"""Added to a whole number n, exactly, it leaves n + 1023 in the low bits: the exponent field of 2^n."""


def clamped_f64(x: Any, low: Any, high: Any) -> Any:
    """Return ``x`` within the bounds; NaN stays."""
    above = select(x > high, f64(high), x)
    return select(above < low, f64(low), above)


def power_of_two(n: Any) -> Any:
    """Return 2^n for whole n in [-1022, 1023]; 1024 gives inf."""
    return bitcast(f64, bitcast(i64, n + _EXPONENT) << 52)


def scaled_f64(y: Any, n: Any) -> Any:
    """Return ``y 2^n``, rounded once; n in [-1150, 1025]."""
    small = n < -1000.0
    first = power_of_two(n + select(small, f64(128.0), f64(-1.0)))
    return (y * first) * select(small, f64(2.0**-128), f64(2.0))


def exp_f64(x: Any) -> Any:
    """Return e to the power of an f64."""
    above = select(x > 710.0, f64(710.0), x)
    within = select(above < -746.0, f64(-746.0), above)
    n = rint(within * LOG2E[0])
    high, low = within - n * LN2[0], n * LN2[1]  # high is exact
    r = high - low
    growth = high + ((r * r) * horner(r, EXP) - low)
    return scaled_f64(1.0 + growth, n)


def _growth_pair(x: Any, x1: Any) -> Any:
    """Return n and ``g + g1 = e^r - 1`` with ``x + x1 = n ln 2 + r``, good to 2^-58 of it; x in [-800, 800]."""
    n = rint(x * LOG2E[0])
    r, r1 = two_sum(x - n * LN2[0], x1 - n * LN2[1])
    square, left = product_f64(r, r)
    g, g1 = fast_two_sum(r, 0.5 * square)
    return n, g, g1 + (0.5 * left + ((r * square) * horner(r, EXP_REST) + (r1 + r1 * g)))


def exp_pair(x: Any, x1: Any) -> Any:
    """Return n and ``y + y1`` with ``exp(x + x1) = 2^n (y + y1)``, y near 1, good to 2^-59; x in [-800, 800]."""
    n, g, g1 = _growth_pair(x, x1)
    high, low = fast_two_sum(f64(1.0), g)
    y, y1 = fast_two_sum(high, low + g1)
    return n, y, y1


def exp2_f64(x: Any) -> Any:
    """Return 2 to the power of an f64."""
    within = clamped_f64(x, -1080.0, 1025.0)
    n = rint(within)
    f = within - n
    return scaled_f64(1.0 + (f * EXP2[0] + (f * f) * horner(f, EXP2[1:])), n)


def expm1_f64(x: Any) -> Any:
    """Return ``exp(x) - 1`` of an f64."""
    n, g, g1 = _growth_pair(clamped_f64(x, -40.0, 710.0), f64(0.0))
    s = power_of_two(n - 1.0)
    y, left = fast_two_sum(f64(1.0), g)
    high, low = two_sum(s * y, f64(-0.5))
    far = (high + (low + s * (left + g1))) * 2.0
    return select(abs(x) < 2.0**-54, x, select(n == 0.0, g + g1, far))


def sigmoid_of(a: Any, a1: Any, negative: Any, top: Any) -> Any:
    """Return ``top / (1 + exp(a + a1))``, or ``top exp(-(a + a1)) / (1 + exp(-(a + a1)))`` where negative.

    ``a`` is the smaller of the argument and its negative: at most 0, and at least -800.
    """
    n, y, y1 = exp_pair(a, a1)
    d, d1 = fast_two_sum(f64(1.0), scaled_f64(y, n))
    u, u1 = select(negative, y, f64(1.0)), select(negative, y1, f64(0.0))
    v, v1 = product_f64(u, top)
    q, q1 = divided(v, v1 + u1 * top, d, d1 + scaled_f64(y1, n))
    return scaled_f64(q + q1, select(negative, n, f64(0.0)))


def sigmoid_f64(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))`` of an f64."""
    a = -abs(x)
    return sigmoid_of(select(a < -750.0, f64(-750.0), a), f64(0.0), x < 0.0, f64(1.0))

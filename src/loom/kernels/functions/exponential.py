"""Exponentials: exp, exp2, expm1 and sigmoid, and the exponential of a pair, which others are made of in f64.

Layer: kernels. Invariant: no branches; overflow, underflow and NaN come out of the same operations as all else, and a
subnormal result is rounded once more, to the bits it has.

Source: reduction modulo ln 2 in two pieces (Cody and Waite 1980); in f64 the first terms of the series in pairs of
floats (Dekker 1971); polynomials from ``tools/fit/exponential.py``, ``f64.py`` and ``f64_elementary.py`` there.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64, i32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, rint, select
from loom.kernels.functions.coefficients import exponential, f64_elementary
from loom.kernels.functions.coefficients import f64 as table_f64
from loom.kernels.functions.coefficients.exponential import EXP, EXPM1, LN2, LOG2E
from loom.kernels.functions.doubles import fast_two_sum, product, quotient, two_sum
from loom.kernels.functions.formats import format_of
from loom.kernels.functions.polynomial import horner

__all__ = [
    "clamp",
    "exp",
    "exp2",
    "exp_f64",
    "exp_pair",
    "expm1",
    "growth",
    "power_of_two",
    "power_of_two_of",
    "reduce_argument",
    "scale_by_power",
    "scales",
    "sigmoid",
    "sigmoid_of",
]

_EXP2 = {f32: exponential.EXP2, f64: f64_elementary.EXP2}
_LIFTS = {f32: (-100.0, 63.0), f64: (-1000.0, 128.0)}
"""Below the first a power of two is multiplied by 2 to the second, and by its inverse later."""

_EXP2_ENDS = {f32: (-151.0, 129.0), f64: (-1080.0, 1025.0)}


def clamp(x: Any, low: Any, high: Any) -> Any:
    """Return ``x`` within the bounds; NaN stays. (Two machine operations, which min and max are not.)"""
    below = select(x > high, high, x)
    return select(below < low, low, below)


def power_of_two(n: Any, add: Any = 0.0) -> Any:
    """Return ``2^(n + add)`` for whole numbers whose sum is in [-126, 127] (f64: [-1022, 1023]); one more gives inf."""
    form = format_of(n)
    return bitcast(n.dtype, bitcast(form.signed, n + (form.power + add)) << form.digits)


def scales(n: Any) -> Any:
    """Return two floats whose product is 2^n: multiply by both, and only the second rounds.

    n is in [-189, 129] (f64: [-1150, 1025]).
    """
    real, (below, more), power = n.dtype, _LIFTS[n.dtype], format_of(n).power
    small = n < below
    second = select(small, real(2.0**-more), real(2.0))
    if real == f64:
        return power_of_two(n + select(small, f64(more), f64(-1.0))), second
    return bitcast(f32, bitcast(i32, n + select(small, f32(power + more), f32(power - 1.0))) << 23), second


def scale_by_power(y: Any, n: Any) -> Any:
    """Return ``y 2^n``, rounded once, for n as in ``scales``."""
    first, second = scales(n)
    return (y * first) * second


def reduce_argument(x: Any) -> Any:
    """Return a whole number n and r with x = n ln 2 + r, ``abs(r)`` at most ln(2)/2 and a little; of f32."""
    n = rint(x * LOG2E[0])
    return n, (x - n * LN2[0]) - n * LN2[1]


def growth(r: Any) -> Any:
    """Return ``e^r - 1`` for a reduced r of f32, with the error of e^r: absolute, not relative."""
    return r + (r * r) * horner(r, EXP)


def _exp(x: Any) -> Any:
    n, r = reduce_argument(clamp(x, -104.0, 89.0))
    return scale_by_power(1.0 + growth(r), n)


def exp_f64(x: Any) -> Any:
    """Return e to the power of an f64."""
    within = clamp(x, -746.0, 710.0)
    n = rint(within * table_f64.LOG2E[0])
    high, low = within - n * table_f64.LN2[0], n * table_f64.LN2[1]  # high is exact
    r = high - low
    return scale_by_power(1.0 + (high + ((r * r) * horner(r, table_f64.EXP) - low)), n)


def _growth_pair(x: Any, x1: Any) -> Any:
    """Return n and ``g + g1 = e^r - 1`` with ``x + x1 = n ln 2 + r``, good to 2^-58 of it; x in [-800, 800]."""
    n = rint(x * table_f64.LOG2E[0])
    r, r1 = two_sum(x - n * table_f64.LN2[0], x1 - n * table_f64.LN2[1])
    square, left = product(r, r)
    g, g1 = fast_two_sum(r, 0.5 * square)
    return n, g, g1 + (0.5 * left + ((r * square) * horner(r, f64_elementary.EXP_REST) + (r1 + r1 * g)))


def exp_pair(x: Any, x1: Any) -> Any:
    """Return n and ``y + y1`` with ``exp(x + x1) = 2^n (y + y1)``, y near 1, good to 2^-59; x in [-800, 800]."""
    n, g, g1 = _growth_pair(x, x1)
    high, low = fast_two_sum(f64(1.0), g)
    y, y1 = fast_two_sum(high, low + g1)
    return n, y, y1


def power_of_two_of(f: Any) -> Any:
    """Return ``2^f`` for f within a half of 0."""
    table = _EXP2[f.dtype]
    return 1.0 + (f * table[0] + (f * f) * horner(f, table[1:]))


def _exp2(x: Any) -> Any:
    ends = _EXP2_ENDS[x.dtype]
    within = clamp(x, ends[0], ends[1])
    n = rint(within)
    return scale_by_power(power_of_two_of(within - n), n)


def _expm1(x: Any) -> Any:
    n, r = reduce_argument(clamp(x, -18.0, 89.0))
    p = r + (r * r) * horner(r, EXPM1)
    s = power_of_two(n, -1.0)
    y = (s * p + (s - 0.5)) * 2.0
    return select(abs(x) < 2.0**-24, x, select(n == 0.0, p, y))


def _expm1_f64(x: Any) -> Any:
    n, g, g1 = _growth_pair(clamp(x, -40.0, 710.0), f64(0.0))
    s = power_of_two(n - 1.0)
    y, left = fast_two_sum(f64(1.0), g)
    high, low = two_sum(s * y, f64(-0.5))
    far = (high + (low + s * (left + g1))) * 2.0
    return select(abs(x) < 2.0**-54, x, select(n == 0.0, g + g1, far))


def _sigmoid(x: Any) -> Any:
    n, r = reduce_argument(select(abs(x) > 104.0, f32(-104.0), -abs(x)))
    t = scale_by_power(1.0 + growth(r), n)
    return select(x < 0.0, t, f32(1.0)) / (1.0 + t)


def sigmoid_of(a: Any, a1: Any, negative: Any, top: Any) -> Any:
    """Return ``top / (1 + exp(a + a1))``, or ``top exp(-(a + a1)) / (1 + exp(-(a + a1)))`` where negative; of f64.

    ``a`` is the smaller of the argument and its negative: at most 0, and at least -800.
    """
    n, y, y1 = exp_pair(a, a1)
    d, d1 = fast_two_sum(f64(1.0), scale_by_power(y, n))
    u, u1 = select(negative, y, f64(1.0)), select(negative, y1, f64(0.0))
    v, v1 = product(u, top)
    q, q1 = quotient(v, v1 + u1 * top, d, d1 + scale_by_power(y1, n))
    return scale_by_power(q + q1, select(negative, n, f64(0.0)))


def _sigmoid_f64(x: Any) -> Any:
    a = -abs(x)
    return sigmoid_of(select(a < -750.0, f64(-750.0), a), f64(0.0), x < 0.0, f64(1.0))


@elementary(f32=(_exp, 0.99), f64=(exp_f64, 1.0))
def exp(x: Any) -> Any:  # type: ignore[empty-body]
    """e to the power ``x``, at most 0.99 ulp off (f64: 1); f32 above 88.7228 gives inf, below -103.9721 zero."""


@elementary(f32=(_exp2, 1.05), f64=(_exp2, 1.1))
def exp2(x: Any) -> Any:  # type: ignore[empty-body]
    """2 to the power ``x``, at most 1.05 ulp off (f64: 1.1); whole numbers give exact results."""


@elementary(f32=(_expm1, 1.66), f64=(_expm1_f64, 0.65))
def expm1(x: Any) -> Any:  # type: ignore[empty-body]
    """``exp(x) - 1`` without cancellation, at most 1.66 ulp off (f64: 0.65); -0 gives -0, -inf gives -1."""


@elementary(f32=(_sigmoid, 2.41), f64=(_sigmoid_f64, 0.8))
def sigmoid(x: Any) -> Any:  # type: ignore[empty-body]
    """``1 / (1 + exp(-x))``, at most 2.41 ulp off (f64: 0.8)."""

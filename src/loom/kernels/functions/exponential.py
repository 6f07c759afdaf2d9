"""Exponentials: exp, exp2, expm1 and sigmoid.

Layer: kernels. Invariant: no branches; overflow, underflow and NaN come out of the same operations as all else.

Source: reduction modulo ln 2 in two pieces (Cody and Waite 1980); polynomials from ``tools/fit/exponential.py``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, i32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, rint, select
from loom.kernels.functions.coefficients.exponential import EXP, EXP2, EXPM1, LN2, LOG2E
from loom.kernels.functions.f64.exponential import exp2_f64, exp_f64, expm1_f64, sigmoid_f64
from loom.kernels.functions.polynomial import horner

__all__ = [
    "clamped",
    "exp",
    "exp2",
    "expm1",
    "growth",
    "power_of_two",
    "power_of_two_of",
    "reduced",
    "scaled",
    "scales",
    "sigmoid",
]

_EXPONENT = float(3 * 2**22 + 127)
"""Added to a whole number n, exactly, it leaves n + 127 in the low bits: the exponent field of 2^n."""


def clamped(x: Any, low: Any, high: Any) -> Any:
    """Return ``x`` within the bounds; NaN stays. (Two machine operations, which min and max are not.)"""
    x = select(x > high, high, x)
    return select(x < low, low, x)


def power_of_two(n: Any, add: Any = 0.0) -> Any:
    """Return ``2^(n + add)`` for whole numbers whose sum is in [-126, 127]; 128 gives inf."""
    return bitcast(f32, bitcast(i32, n + (_EXPONENT + add)) << 23)


def scales(n: Any) -> Any:
    """Return two floats whose product is 2^n, n in [-189, 129]: multiply by both, and only the second rounds."""
    small = n < -100.0
    first = bitcast(f32, bitcast(i32, n + select(small, f32(_EXPONENT + 63.0), f32(_EXPONENT - 1.0))) << 23)
    return first, select(small, f32(2.0**-63), f32(2.0))


def scaled(y: Any, n: Any) -> Any:
    """Return ``y 2^n``, rounded once; n in [-189, 129]."""
    first, second = scales(n)
    return (y * first) * second


def reduced(x: Any) -> Any:
    """Return a whole number n and r with x = n ln 2 + r, ``abs(r)`` at most ln(2)/2 and a little."""
    n = rint(x * LOG2E[0])
    return n, (x - n * LN2[0]) - n * LN2[1]


def growth(r: Any) -> Any:
    """Return ``e^r - 1`` for a reduced r, with the error of e^r: absolute, not relative."""
    return r + (r * r) * horner(r, EXP)


def _exp(x: Any) -> Any:
    n, r = reduced(clamped(x, -104.0, 89.0))
    return scaled(1.0 + growth(r), n)


def power_of_two_of(f: Any) -> Any:
    """Return ``2^f`` for f within a half of 0."""
    return 1.0 + (f * EXP2[0] + (f * f) * horner(f, EXP2[1:]))


def _exp2(x: Any) -> Any:
    x = clamped(x, -151.0, 129.0)
    n = rint(x)
    return scaled(power_of_two_of(x - n), n)


def _expm1(x: Any) -> Any:
    n, r = reduced(clamped(x, -18.0, 89.0))
    p = r + (r * r) * horner(r, EXPM1)
    s = power_of_two(n, -1.0)
    y = (s * p + (s - 0.5)) * 2.0
    return select(abs(x) < 2.0**-24, x, select(n == 0.0, p, y))


def _sigmoid(x: Any) -> Any:
    n, r = reduced(select(abs(x) > 104.0, f32(-104.0), -abs(x)))
    t = scaled(1.0 + growth(r), n)
    return select(x < 0.0, t, f32(1.0)) / (1.0 + t)


@elementary(f32=(_exp, 0.99), f64=(exp_f64, 1.0))
def exp(x: Any) -> Any:  # type: ignore[empty-body]
    """e to the power ``x``, at most 0.99 ulp off (f64: 1); f32 above 88.7228 gives inf, below -103.9721 zero."""


@elementary(f32=(_exp2, 1.05), f64=(exp2_f64, 1.1))
def exp2(x: Any) -> Any:  # type: ignore[empty-body]
    """2 to the power ``x``, at most 1.05 ulp off (f64: 1.1); whole numbers give exact results."""


@elementary(f32=(_expm1, 1.66), f64=(expm1_f64, 0.65))
def expm1(x: Any) -> Any:  # type: ignore[empty-body]
    """``exp(x) - 1`` without cancellation, at most 1.66 ulp off (f64: 0.65); -0 gives -0, -inf gives -1."""


@elementary(f32=(_sigmoid, 2.41), f64=(sigmoid_f64, 0.8))
def sigmoid(x: Any) -> Any:  # type: ignore[empty-body]
    """``1 / (1 + exp(-x))``, at most 2.41 ulp off (f64: 0.8)."""

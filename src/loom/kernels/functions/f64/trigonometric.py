"""Sine, cosine and tangent in f64.

Layer: kernels. As in f32: an angle is reduced by quarter turns without loss, a polynomial corrects what is left.
Invariant: sin and tan are odd and cos is even, bit for bit.

Source: the split into a leading term and a correction is that of fdlibm's k_sin.c and k_cos.c (Sun, 1993).
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, u64
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients.f64 import COSINE, SINE
from loom.kernels.functions.doubles import fast_two_sum
from loom.kernels.functions.f64.pairs import divided
from loom.kernels.functions.f64.reduction import quarter_turns
from loom.kernels.functions.polynomial import horner

__all__ = ["cos_f64", "sin_f64", "tan_f64", "wave"]

_SIGN = 0x8000000000000000


def wave(n: Any, high: Any, low: Any) -> Any:
    """Return the sine of ``n pi/2 + high + low``, the remainder at most pi/4."""
    z = high * high
    half = 0.5 * z
    s = high + ((high * z) * horner(z, SINE) + (low - low * half))
    c = 1.0 - half
    c1 = ((1.0 - c) - half) + ((z * z) * horner(z, COSINE) - high * low)
    value = select(n & 1 == 0, s, c + c1)
    return bitcast(f64, bitcast(u64, value) ^ u64(n & 2) << 62)


def sin_f64(x: Any) -> Any:
    """Return the sine of an f64."""
    n, high, low = quarter_turns(abs(x))
    return bitcast(f64, bitcast(u64, wave(n, high, low)) ^ bitcast(u64, x) & _SIGN)


def cos_f64(x: Any) -> Any:
    """Return the cosine of an f64."""
    n, high, low = quarter_turns(abs(x))
    return wave(n + 1, high, low)


def tan_f64(x: Any) -> Any:
    """Return the tangent of an f64: the quotient of sine and cosine, each with its correction."""
    n, high, low = quarter_turns(abs(x))
    z = high * high
    half = 0.5 * z
    s, s1 = fast_two_sum(high, (high * z) * horner(z, SINE) + (low - low * half))
    c = 1.0 - half
    c, c1 = fast_two_sum(c, ((1.0 - c) - half) + ((z * z) * horner(z, COSINE) - high * low))
    even = n & 1 == 0
    q, q1 = divided(select(even, s, c), select(even, s1, c1), select(even, c, s), select(even, c1, s1))
    value = q + q1
    return bitcast(f64, bitcast(u64, value) ^ u64(n) << 63 ^ bitcast(u64, x) & _SIGN)

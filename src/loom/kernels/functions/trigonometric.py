"""Sine, cosine and tangent.

Layer: kernels. An angle is reduced by quarter turns without loss (``reduction``), so huge arguments are as exact
as small ones. Invariant: sin and tan are odd and cos is even, bit for bit.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients.trigonometric import COSINE, SINE
from loom.kernels.functions.doubles import fast_two_sum, product
from loom.kernels.functions.f64.trigonometric import cos_f64, sin_f64, tan_f64
from loom.kernels.functions.polynomial import horner
from loom.kernels.functions.reduction import quarter_turns

__all__ = ["cos", "cosine_pair", "sin", "sine_pair", "tan", "wave"]

_SIGN = 0x80000000


def sine_pair(high: Any, low: Any) -> Any:
    """Return the sine of ``high + low``, at most pi/4, as a value and a correction."""
    z = high * high
    return high, (high * z) * horner(z, SINE) + low


def cosine_pair(high: Any, low: Any) -> Any:
    """Return the cosine of ``high + low``, at most pi/4, as a value and a correction."""
    z = high * high
    half = 0.5 * z
    value = 1.0 - half
    return value, ((1.0 - value) - half) + ((z * z) * horner(z, COSINE) - high * low)


def wave(n: Any, high: Any, low: Any) -> Any:
    """Return the sine of ``n pi/2 + high + low``."""
    s, s1 = sine_pair(high, low)
    c, c1 = cosine_pair(high, low)
    value = select(n & 1 == 0, s + s1, c + c1)
    return bitcast(f32, bitcast(u32, value) ^ (n & 2) << 30)


def _sin32(x: Any) -> Any:
    n, high, low = quarter_turns(abs(x))
    return bitcast(f32, bitcast(u32, wave(n, high, low)) ^ bitcast(u32, x) & _SIGN)


def _cos32(x: Any) -> Any:
    n, high, low = quarter_turns(abs(x))
    return wave(n + 1, high, low)


def _tan32(x: Any) -> Any:
    n, high, low = quarter_turns(abs(x))
    high, low = fast_two_sum(high, low)
    s, s1 = sine_pair(high, low)
    c, c1 = cosine_pair(high, low)
    even = n & 1 == 0
    a, a1 = select(even, s, c), select(even, s1, c1)
    b, b1 = select(even, c, s), select(even, c1, s1)
    q = a / b
    whole, left = product(q, b)
    value = q + (((a - whole) - left) + (a1 - q * b1)) / (b + b1)  # equals (a + a1) / (b + b1)
    return bitcast(f32, bitcast(u32, value) ^ n << 31 ^ bitcast(u32, x) & _SIGN)


@elementary(f32=(_sin32, 1.0), f64=(sin_f64, 1.0))
def sin(x: Any) -> Any:  # type: ignore[empty-body]
    """Sine of ``x`` radians, at most 1 ulp off for every f32 and f64: -0 gives -0, infinities NaN.

    Source: docs/numerics.md, section 3; the polynomial corrects a remainder kept in two floats.
    """


@elementary(f32=(_cos32, 1.0), f64=(cos_f64, 1.0))
def cos(x: Any) -> Any:  # type: ignore[empty-body]
    """Cosine of ``x`` radians, at most 1 ulp off for every f32 and f64; infinities give NaN."""


@elementary(f32=(_tan32, 2.0), f64=(tan_f64, 1.15))
def tan(x: Any) -> Any:  # type: ignore[empty-body]
    """Tangent of ``x`` radians, at most 2 ulp off (f64: 1.15) for every input: -0 gives -0, infinities NaN.

    The quotient of sine and cosine, each with its correction.
    """

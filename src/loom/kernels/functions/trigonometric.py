"""Sine, cosine and tangent.

Layer: kernels. An angle is reduced by quarter turns without loss (``reduction``), so huge arguments are as exact
as small ones; a polynomial corrects what is left. Invariant: sin and tan are odd and cos is even, bit for bit.

Source: the split into a leading term and a correction is that of fdlibm's k_sin.c and k_cos.c (Sun, 1993).
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients import f64 as circle_f64
from loom.kernels.functions.coefficients import trigonometric as circle
from loom.kernels.functions.doubles import fast_two_sum, product
from loom.kernels.functions.formats import format_of
from loom.kernels.functions.polynomial import horner
from loom.kernels.functions.reduction import quarter_turns

__all__ = ["cos", "sin", "tan", "wave"]

_SINE = {f32: circle.SINE, f64: circle_f64.SINE}
_COSINE = {f32: circle.COSINE, f64: circle_f64.COSINE}


def _sine_and_cosine(high: Any, low: Any) -> Any:
    """Return the corrections of the sine of ``high + low``, at most pi/4, to ``high``, and its cosine as a pair."""
    real = high.dtype
    z = high * high
    half = 0.5 * z
    sine = (high * z) * horner(z, _SINE[real]) + (low if real == f32 else low - low * half)
    cosine = 1.0 - half
    return sine, cosine, ((1.0 - cosine) - half) + ((z * z) * horner(z, _COSINE[real]) - high * low)


def wave(n: Any, high: Any, low: Any) -> Any:
    """Return the sine of ``n pi/2 + high + low``, the remainder at most pi/4."""
    form = format_of(high)
    sine, cosine, rest = _sine_and_cosine(high, low)
    value = select(n & 1 == 0, high + sine, cosine + rest)
    return bitcast(high.dtype, bitcast(form.bits, value) ^ form.bits(n & 2) << form.bits.bits - 2)


def _pairs(high: Any, low: Any) -> Any:
    """Return the sine and the cosine of ``high + low``, each as a pair."""
    s, rest = fast_two_sum(high, low)
    s1, c, c1 = _sine_and_cosine(s, rest)
    return s, s1, c, c1


def _pairs_f64(high: Any, low: Any) -> Any:
    sine, cosine, rest = _sine_and_cosine(high, low)
    s, s1 = fast_two_sum(high, sine)
    c, c1 = fast_two_sum(cosine, rest)
    return s, s1, c, c1


def _sin(x: Any) -> Any:
    form = format_of(x)
    n, high, low = quarter_turns(abs(x))
    return bitcast(x.dtype, bitcast(form.bits, wave(n, high, low)) ^ bitcast(form.bits, x) & form.sign)


def _cos(x: Any) -> Any:
    n, high, low = quarter_turns(abs(x))
    return wave(n + 1, high, low)


def _tan(x: Any) -> Any:
    form = format_of(x)
    n, high, low = quarter_turns(abs(x))
    s, s1, c, c1 = _pairs(high, low) if x.dtype == f32 else _pairs_f64(high, low)
    even = n & 1 == 0
    a, a1, b, b1 = select(even, s, c), select(even, s1, c1), select(even, c, s), select(even, c1, s1)
    q = a / b
    whole, left = product(q, b)
    value = q + (((a - whole) - left) + (a1 - q * b1)) / (b + b1 if x.dtype == f32 else b)  # is (a + a1) / (b + b1)
    turned = bitcast(form.bits, value) ^ form.bits(n) << form.bits.bits - 1
    return bitcast(x.dtype, turned ^ bitcast(form.bits, x) & form.sign)


@elementary(f32=(_sin, 1.0), f64=(_sin, 1.0))
def sin(x: Any) -> Any:  # type: ignore[empty-body]
    """Sine of ``x`` radians, at most 1 ulp off for every f32 and f64: -0 gives -0, infinities NaN.

    Source: docs/numerics.md, section 3; the polynomial corrects a remainder kept in two floats.
    """


@elementary(f32=(_cos, 1.0), f64=(_cos, 1.0))
def cos(x: Any) -> Any:  # type: ignore[empty-body]
    """Cosine of ``x`` radians, at most 1 ulp off for every f32 and f64; infinities give NaN."""


@elementary(f32=(_tan, 2.0), f64=(_tan, 1.15))
def tan(x: Any) -> Any:  # type: ignore[empty-body]
    """Tangent of ``x`` radians, at most 2 ulp off (f64: 1.15) for every input: -0 gives -0, infinities NaN.

    The quotient of sine and cosine, each with its correction.
    """

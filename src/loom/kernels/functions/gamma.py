"""The gamma function and the logarithm of its absolute value.

Layer: kernels. Below 3 polynomials, above Stirling's series with a logarithm kept in two floats; negative arguments by
reflection. Lanes below and above 3 part at an ``if``. Invariant: gamma of 1 to 14 is the exact factorial.

Sources: DLMF 5.5.3 (reflection) and 5.11.1 (Stirling); polynomials from ``tools/fit/gamma.py``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, i32, u32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, floor, rint, select, static_range
from loom.kernels.functions.coefficients.gamma import (
    GAMMA,
    HALF_LOG_TWO_PI,
    LGAMMA,
    LN_2,
    LOG_REST,
    SINE_PI,
    STIRLING,
)
from loom.kernels.functions.doubles import fast_two_sum, product, two_sum
from loom.kernels.functions.exponential import growth, reduced, scaled
from loom.kernels.functions.f64.gamma import gamma_f64, lgamma_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["gamma", "lgamma", "log_pair"]

_ROOT_HALF = 0x3F3504F3
_INFINITY = float("inf")
_NAN = float("nan")
_HUGE = 2.0**100
"""From here on a (log a - 1) is all there is, and what its product leaves out must not be asked for."""


def log_pair(x: Any) -> Any:
    """Return the logarithm of ``x``, above 0, as a value and a rest, to about 2^-33 in all."""
    tiny = x < 2.0**-64  # subnormal numbers have no exponent of their own
    bits = bitcast(i32, select(tiny, x * 2.0**64, x))
    k = (bits - _ROOT_HALF) >> 23
    f = bitcast(f32, bits - (k << 23)) - 1.0
    d, d1 = fast_two_sum(f32(2.0), f)
    s = f / d
    whole, left = product(s, d)
    s1 = (((f - whole) - left) - s * d1) / d
    z = s * s
    n = f32(k) - select(tiny, f32(64.0), f32(0.0))
    high, low = fast_two_sum(n * LN_2[0], 2.0 * s)
    return fast_two_sum(high, low + (n * LN_2[1] + (2.0 * s1 + (s * z) * horner(z, LOG_REST))))


def _stirling(a: Any) -> Any:
    """Return lgamma of ``a``, at least 3, as a value and a rest."""
    log, log1 = log_pair(a)
    m, m1 = fast_two_sum(log, f32(-1.0))
    p, p1 = product(a, m)
    high, left = two_sum(p, -0.5 * log)
    high, left1 = two_sum(high, f32(HALF_LOG_TWO_PI[0]))
    w = 1.0 / a
    small = (HALF_LOG_TWO_PI[1] - 0.5 * log1) + w * horner(w * w, STIRLING)
    low = ((p1 + a * (m1 + log1)) + (left + left1)) + small
    return high, select(a < _HUGE, low, f32(0.0))


def _sine_pi(a: Any) -> Any:
    """Return the absolute value of sin(pi a) / pi."""
    d = abs(a - rint(a))  # exact
    z = d * d
    return d + (d * z) * horner(z, SINE_PI)


def _gamma_below(x: Any) -> Any:
    """Gamma of x between -3 and 3: gamma on [1, 2) over the factors that lead there."""
    t = x - (floor(x) + 0.5)
    y = GAMMA[0] + (GAMMA[1] + t * horner(t, GAMMA[2:]))
    factors = select(x < 1.0, x, f32(1.0))
    for k in static_range(1, 4):
        factors = factors * select(x < 1.0 - k, x + k, f32(1.0))
    return select(x >= 2.0, y * (x - 1.0), y / factors)


def _gamma_beyond(x: Any, a: Any) -> Any:
    """Gamma of x below -3 or above 3, ``a`` being its absolute value."""
    negative = x < 0.0
    most = select(negative, f32(43.5), f32(35.25))  # beyond these it is 0 or inf
    high, low = _stirling(select(a > most, most, a))
    high, low = fast_two_sum(high, low)
    n, r = reduced(select(negative, -high, high))
    y = 1.0 + growth(r + select(negative, -low, low))
    y = scaled(y / select(negative, a * _sine_pi(a), f32(1.0)), n)
    return select(negative and u32(a) & 1 == 0, -y, y)


def _gamma32(x: Any) -> Any:
    a = abs(x)
    if a < 3.0:
        y = _gamma_below(x)
    else:
        y = _gamma_beyond(x, a)
    if x == floor(x):
        whole = f32(1.0)
        for k in static_range(2, 14):
            whole = select(x > k, whole * k, whole)
        y = select(x < 0.0, f32(_NAN), select(x >= 1.0 and x <= 14.0, whole, y))
    return y


def _lgamma_below(a: Any) -> Any:
    """Return lgamma of ``a``, between 0 and 3, as a value and a rest: the zeros 1 and 2 times a polynomial.

    Below 1 it is lgamma(1 + a) - log(a).
    """
    low_end = a < 1.0
    t = select(low_end, a - 1.0, a - 2.0)
    q = select(low_end, a, a - 1.0)
    value = (t * q) * (LGAMMA[0] + (LGAMMA[1] + t * horner(t, LGAMMA[2:])))
    log, log1 = log_pair(a)
    high, low = two_sum(value, select(low_end, -log, f32(0.0)))
    return high, low - select(low_end, log1, f32(0.0))


def _lgamma32(x: Any) -> Any:
    a = abs(x)
    if a < 3.0:
        high, low = _lgamma_below(a)
    else:
        high, low = _stirling(a)
    y = high + low
    if x < -(2.0**-30):  # closer to 0 the sign makes no difference
        log, log1 = log_pair(a * _sine_pi(a))
        total, left = two_sum(log, high)
        y = -(total + (left + (low + log1)))
    return select(x == 0.0 or (x < 0.0 and x == floor(x)), f32(_INFINITY), y)


@elementary(f32=(_gamma32, 4.0), f64=(gamma_f64, 1.9))
def gamma(x: Any) -> Any:  # type: ignore[empty-body]
    """The gamma function, at most 4 ulp off (f64: 1.9); 1 to 14 (f64: 23) give exact factorials.

    +-0 gives +-inf, negative whole numbers and -inf NaN, above 35.0401 (f64: 171.6243) inf, and far below 0 a zero of
    the right sign.
    """


@elementary(f32=(_lgamma32, 4.0), f64=(lgamma_f64, 1.5))
def lgamma(x: Any) -> Any:  # type: ignore[empty-body]
    """The logarithm of the absolute value of gamma; 1 and 2 give 0, whole numbers up to 0 and infinities inf.

    At most 4 ulp off (f64: 1.5) for x of at least 0 and wherever the result is at least 1 or at most -1; else, near
    the zeros between negative whole numbers, at most 2^-22 off (f64: 2^-51).
    """

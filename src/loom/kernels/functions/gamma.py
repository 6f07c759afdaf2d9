"""The gamma function and the logarithm of its absolute value.

Layer: kernels. Below 3 polynomials, above Stirling's series with a logarithm kept in two floats; negative arguments by
reflection. Lanes below and above 3 part at an ``if``. Invariant: gamma of 1 to 14 (f64: 23) is the exact factorial.

Sources: DLMF 5.5.3 (reflection) and 5.11.1 (Stirling); polynomials from ``tools/fit/gamma.py`` and ``f64_gamma.py``
there.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import floor, rint, select, static_range
from loom.kernels.functions.coefficients import f64_gamma as table_f64
from loom.kernels.functions.coefficients import gamma as table
from loom.kernels.functions.doubles import fast_two_sum, product, quotient, times, two_sum
from loom.kernels.functions.exponential import exp_pair, growth, reduce_argument, scale_by_power
from loom.kernels.functions.formats import format_of
from loom.kernels.functions.logarithm import log_pair
from loom.kernels.functions.polynomial import horner

__all__ = ["gamma", "lgamma"]

_HALF_LOG_TWO_PI = {f32: table.HALF_LOG_TWO_PI, f64: table_f64.HALF_LOG_TWO_PI}
_STIRLING = {f32: table.STIRLING, f64: table_f64.STIRLING}
_GAMMA = {f32: table.GAMMA, f64: table_f64.GAMMA}
_LGAMMA = {f32: table.LGAMMA, f64: table_f64.LGAMMA}
_LAST = {f32: 14, f64: 23}
"""The last whole number whose factorial is exact."""

_HUGE = {f32: 2.0**100, f64: 2.0**900}
"""From here on a (log a - 1) is all there is, and what its product leaves out must not be asked for."""

_NO_SIGN = {f32: -(2.0**-30), f64: -(2.0**-60)}
"""Closer to 0 the sign makes no difference to lgamma."""


def _stirling(a: Any) -> Any:
    """Return lgamma of ``a``, at least 3, as a pair."""
    real, constant = a.dtype, _HALF_LOG_TWO_PI[a.dtype]
    log, log1 = log_pair(a)
    m, m1 = fast_two_sum(log, real(-1.0))
    p, p1 = product(a, m)
    high, left = two_sum(p, -0.5 * log)
    high, left1 = two_sum(high, real(constant[0]))
    w = 1.0 / a
    small = (constant[1] - 0.5 * log1) + w * horner(w * w, _STIRLING[real])
    low = ((p1 + a * (m1 + log1)) + (left + left1)) + small
    return high, select(a < _HUGE[real], low, real(0.0))


def _sine_pi(a: Any) -> Any:
    """Return the absolute value of sin(pi a) / pi, of f64 as a pair."""
    d = abs(a - rint(a))  # exact
    z = d * d
    if a.dtype == f32:
        return d + (d * z) * horner(z, table.SINE_PI)
    return fast_two_sum(d, (d * z) * horner(z, table_f64.SINE_PI))


def _gamma_below(x: Any) -> Any:
    """Gamma of x between -3 and 3: gamma on [1, 2) over the factors that lead there, of f64 in pairs."""
    c, t = _GAMMA[x.dtype], x - (floor(x) + 0.5)
    more = c[1] + t * horner(t, c[2:])
    if x.dtype == f64:
        return _gamma_below_f64(x, c[0], more)
    y = c[0] + more
    factors = select(x < 1.0, x, f32(1.0))
    for k in static_range(1, 4):
        factors = factors * select(x < 1.0 - k, x + k, f32(1.0))
    return select(x >= 2.0, y * (x - 1.0), y / factors)


def _gamma_below_f64(x: Any, first: Any, more: Any) -> Any:
    y, y1 = fast_two_sum(f64(first), more)
    f, f1 = select(x < 1.0, x, f64(1.0)), f64(0.0)
    for k in static_range(1, 4):
        by, by1 = two_sum(x, f64(float(k)))
        further = x < 1.0 - k
        f, f1 = times(f, f1, select(further, by, f64(1.0)), select(further, by1, f64(0.0)))
    q, q1 = quotient(y, y1, f, f1)
    p, p1 = product(y, x - 1.0)
    return select(x >= 2.0, p + (p1 + y1 * (x - 1.0)), select(abs(x) < 2.0**-60, 1.0 / x, q + q1))


def _gamma_of_log(a: Any, log: Any, log1: Any, negative: Any) -> Any:
    """Return gamma of ``a`` from its logarithm, where negative the size of gamma of -a."""
    high, low = fast_two_sum(log, log1)
    n, r = reduce_argument(select(negative, -high, high))
    y = 1.0 + growth(r + select(negative, -low, low))
    return scale_by_power(y / select(negative, a * _sine_pi(a), f32(1.0)), n)


def _gamma_of_log_f64(a: Any, high: Any, low: Any, negative: Any) -> Any:
    n, y, y1 = exp_pair(select(negative, -high, high), select(negative, -low, low))
    s, s1 = _sine_pi(a)
    f, f1 = times(s, s1, a, f64(0.0))
    q, q1 = quotient(y, y1, select(negative, f, f64(1.0)), select(negative, f1, f64(0.0)))
    return scale_by_power(q + q1, n)


def _gamma_beyond(x: Any, a: Any) -> Any:
    """Gamma of x below -3 or above 3, ``a`` being its absolute value."""
    real = x.dtype
    negative = x < 0.0
    most = select(negative, real(43.5 if real == f32 else 186.0), real(35.25 if real == f32 else 171.75))
    high, low = _stirling(select(a > most, most, a))  # beyond these it is 0 or inf
    value = _gamma_of_log(a, high, low, negative) if real == f32 else _gamma_of_log_f64(a, high, low, negative)
    return select(negative and format_of(a).bits(a) & 1 == 0, -value, value)


def _gamma(x: Any) -> Any:
    real, last = x.dtype, _LAST[x.dtype]
    a = abs(x)
    if a < 3.0:
        y = _gamma_below(x)
    else:
        y = _gamma_beyond(x, a)
    if x == floor(x):
        whole = real(1.0)
        for k in static_range(2, last):
            whole = select(x > k, whole * k, whole)
        y = select(x < 0.0, real(math.nan), select(x >= 1.0 and x <= last, whole, y))
    return y


def _lgamma_below(a: Any) -> Any:
    """Return lgamma of ``a``, between 0 and 3, as a pair: the zeros 1 and 2 times a polynomial.

    Below 1 it is lgamma(1 + a) - log(a).
    """
    real, c = a.dtype, _LGAMMA[a.dtype]
    low_end = a < 1.0
    t = select(low_end, a - 1.0, a - 2.0)
    q = select(low_end, a, a - 1.0)
    more = c[1] + t * horner(t, c[2:])
    value, rest = ((t * q) * (c[0] + more), None) if real == f32 else _product_of_three(t, q, c[0], more)
    log, log1 = log_pair(a)
    high, low = two_sum(value, select(low_end, -log, real(0.0)))
    back = select(low_end, log1, real(0.0))
    return high, low - back if rest is None else low + (rest - back)


def _product_of_three(t: Any, q: Any, first: Any, more: Any) -> Any:
    """Return ``t q (first + more)`` of f64 as a pair."""
    y, y1 = fast_two_sum(f64(first), more)
    p, p1 = product(t, q)
    return times(p, p1, y, y1)


def _log_reflected(a: Any) -> Any:
    """Return the logarithm of ``a abs(sin(pi a)) / pi`` as a pair."""
    if a.dtype == f32:
        return log_pair(a * _sine_pi(a))
    s, s1 = _sine_pi(a)
    f, f1 = times(s, s1, a, f64(0.0))
    log, log1 = log_pair(f)
    return log, log1 + f1 / f


def _lgamma(x: Any) -> Any:
    a = abs(x)
    if a < 3.0:
        high, low = _lgamma_below(a)
    else:
        high, low = _stirling(a)
    y = high + low
    if x < _NO_SIGN[x.dtype]:
        log, log1 = _log_reflected(a)
        total, left = two_sum(log, high)
        y = -(total + (left + (low + log1)))
    return select(x == 0.0 or (x < 0.0 and x == floor(x)), x.dtype(math.inf), y)


@elementary(f32=(_gamma, 4.0), f64=(_gamma, 1.9))
def gamma(x: Any) -> Any:  # type: ignore[empty-body]
    """The gamma function, at most 4 ulp off (f64: 1.9); 1 to 14 (f64: 23) give exact factorials.

    +-0 gives +-inf, negative whole numbers and -inf NaN, above 35.0401 (f64: 171.6243) inf, and far below 0 a zero of
    the right sign.
    """


@elementary(f32=(_lgamma, 4.0), f64=(_lgamma, 1.5))
def lgamma(x: Any) -> Any:  # type: ignore[empty-body]
    """The logarithm of the absolute value of gamma; 1 and 2 give 0, whole numbers up to 0 and infinities inf.

    At most 4 ulp off (f64: 1.5) for x of at least 0 and wherever the result is at least 1 or at most -1; else, near
    the zeros between negative whole numbers, at most 2^-22 off (f64: 2^-51).
    """

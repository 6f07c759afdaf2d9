"""The gamma function and the logarithm of its absolute value in f64.

Layer: kernels. As in f32: below 3 polynomials, above Stirling's series with a logarithm in a pair of floats; negative
arguments by reflection. Lanes below and above 3 part at an ``if``. Invariant: gamma of 1 to 23 is the exact factorial.

Sources: DLMF 5.5.3 (reflection) and 5.11.1 (Stirling); polynomials from ``tools/fit/f64_gamma.py``.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f64, u64
from loom.ir.frontend.intrinsics import floor, rint, select, static_range
from loom.kernels.functions.coefficients.f64_gamma import GAMMA, HALF_LOG_TWO_PI, LGAMMA, SINE_PI, STIRLING
from loom.kernels.functions.doubles import fast_two_sum, product_f64, two_sum
from loom.kernels.functions.f64.exponential import exp_pair, scaled_f64
from loom.kernels.functions.f64.logarithm import log_pair_f64
from loom.kernels.functions.f64.pairs import divided, times
from loom.kernels.functions.polynomial import horner

__all__ = ["gamma_f64", "lgamma_f64"]

_HUGE = 2.0**900
"""From here on a (log a - 1) is all there is, and what its product leaves out must not be asked for."""


def _stirling(a: Any) -> Any:
    """Return lgamma of ``a``, at least 3, as a pair."""
    log, log1 = log_pair_f64(a)
    m, left = fast_two_sum(log, f64(-1.0))
    p, p1 = product_f64(a, m)
    high, left1 = two_sum(p, -0.5 * log)
    high, left2 = two_sum(high, f64(HALF_LOG_TWO_PI[0]))
    w = 1.0 / a
    small = (HALF_LOG_TWO_PI[1] - 0.5 * log1) + w * horner(w * w, STIRLING)
    low = ((p1 + a * (left + log1)) + (left1 + left2)) + small
    return high, select(a < _HUGE, low, f64(0.0))


def _sine_pi(a: Any) -> Any:
    """Return the absolute value of sin(pi a) / pi, as a value and a correction."""
    d = abs(a - rint(a))  # exact
    z = d * d
    return fast_two_sum(d, (d * z) * horner(z, SINE_PI))


def _gamma_below(x: Any) -> Any:
    """Gamma of x between -3 and 3: gamma on [1, 2) over the factors that lead there, in pairs."""
    t = x - (floor(x) + 0.5)
    y, y1 = fast_two_sum(f64(GAMMA[0]), GAMMA[1] + t * horner(t, GAMMA[2:]))
    f, f1 = select(x < 1.0, x, f64(1.0)), f64(0.0)
    for k in static_range(1, 4):
        by, by1 = two_sum(x, f64(float(k)))
        further = x < 1.0 - k
        f, f1 = times(f, f1, select(further, by, f64(1.0)), select(further, by1, f64(0.0)))
    q, q1 = divided(y, y1, f, f1)
    p, p1 = product_f64(y, x - 1.0)
    return select(x >= 2.0, p + (p1 + y1 * (x - 1.0)), select(abs(x) < 2.0**-60, 1.0 / x, q + q1))


def _gamma_beyond(x: Any, a: Any) -> Any:
    """Gamma of x below -3 or above 3, ``a`` being its absolute value."""
    negative = x < 0.0
    most = select(negative, f64(186.0), f64(171.75))  # beyond these it is 0 or inf
    high, low = _stirling(select(a > most, most, a))
    n, y, y1 = exp_pair(select(negative, -high, high), select(negative, -low, low))
    s, s1 = _sine_pi(a)
    f, f1 = times(s, s1, a, f64(0.0))
    q, q1 = divided(y, y1, select(negative, f, f64(1.0)), select(negative, f1, f64(0.0)))
    value = scaled_f64(q + q1, n)
    return select(negative and u64(a) & 1 == 0, -value, value)


def gamma_f64(x: Any) -> Any:
    """Return the gamma function of an f64."""
    a = abs(x)
    if a < 3.0:
        y = _gamma_below(x)
    else:
        y = _gamma_beyond(x, a)
    if x == floor(x):
        whole = f64(1.0)
        for k in static_range(2, 23):
            whole = select(x > k, whole * k, whole)
        y = select(x < 0.0, f64(math.nan), select(x >= 1.0 and x <= 23.0, whole, y))
    return y


def _lgamma_below(a: Any) -> Any:
    """Return lgamma of ``a``, between 0 and 3, as a pair: the zeros 1 and 2 times a polynomial.

    Below 1 it is lgamma(1 + a) - log(a).
    """
    low_end = a < 1.0
    t = select(low_end, a - 1.0, a - 2.0)
    q = select(low_end, a, a - 1.0)
    y, y1 = fast_two_sum(f64(LGAMMA[0]), LGAMMA[1] + t * horner(t, LGAMMA[2:]))
    p, p1 = product_f64(t, q)
    value, rest = times(p, p1, y, y1)
    log, log1 = log_pair_f64(a)
    high, low = two_sum(value, select(low_end, -log, f64(0.0)))
    return high, low + (rest - select(low_end, log1, f64(0.0)))


def lgamma_f64(x: Any) -> Any:
    """Return the logarithm of the absolute value of gamma of an f64."""
    a = abs(x)
    if a < 3.0:
        high, low = _lgamma_below(a)
    else:
        high, low = _stirling(a)
    y = high + low
    if x < -(2.0**-60):  # closer to 0 the sign makes no difference
        s, s1 = _sine_pi(a)
        f, f1 = times(s, s1, a, f64(0.0))
        log, log1 = log_pair_f64(f)
        total, left = two_sum(log, high)
        y = -(total + (left + (low + (log1 + f1 / f))))
    return select(x == 0.0 or (x < 0.0 and x == floor(x)), f64(math.inf), y)

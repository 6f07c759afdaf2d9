"""The error function and what is made of the normal distribution: erf, erfc and gelu in its two forms.

Layer: kernels. Invariant: no branches; erf is odd, bit for bit; tails keep their relative accuracy down to the smallest
number, because squares in an exponent are taken exactly, in two parts, which in f64 are pairs of floats.

Source: docs/numerics.md, section 3; the tails as exp(-a^2) times a polynomial in (a - k) / (a + k), which W. J. Cody,
"Rational Chebyshev approximations for the error function", 1969, does with rational functions; in f64 erf is
made of log(erfc(a)) up to 6, where it rounds to 1; coefficients from ``tools/fit/error.py``, ``f64.py`` and
``f64_error.py`` there.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import rint, select, static_range
from loom.kernels.functions.coefficients import error as table
from loom.kernels.functions.coefficients import f64 as table_f64
from loom.kernels.functions.coefficients import f64_error
from loom.kernels.functions.coefficients.exponential import EXP, LN2, LOG2E
from loom.kernels.functions.doubles import fast_two_sum, product, quotient, times, two_sum, upper
from loom.kernels.functions.exponential import exp_f64, exp_pair, scale_by_power, scales, sigmoid_of
from loom.kernels.functions.hyperbolic import with_sign
from loom.kernels.functions.polynomial import horner

__all__ = ["erf", "erfc", "gelu", "gelu_tanh"]

_ERF_EDGES = (0.94, 2.1, 3.92)
_ERF_LOW = (*table.ERF, 0.0, 0.0)
_MIDDLE = 1.5625
"""Here the tail of gelu is very nearly its first coefficient, which makes the others smaller errors."""


def _erf(x: Any) -> Any:
    """One polynomial of degree 8 whose coefficients each lane selects."""
    a = abs(x)
    low, middle = a < _ERF_EDGES[0], a < _ERF_EDGES[1]
    b = a - select(middle, f32(table.ERF_MIDDLE[0]), f32(table.ERF_HIGH[0]))
    t = select(low, a * a, b)
    p = select(middle, f32(table.ERF_MIDDLE[10]), f32(table.ERF_HIGH[10]))
    p = select(low, f32(_ERF_LOW[8]), p)
    for k in static_range(1, 9):
        c = select(middle, f32(table.ERF_MIDDLE[10 - k]), f32(table.ERF_HIGH[10 - k]))
        p = p * t + select(low, f32(_ERF_LOW[8 - k]), c)
    base = select(middle, f32(table.ERF_MIDDLE[1]), f32(table.ERF_HIGH[1]))
    y = select(low, a, base) + select(low, a, b) * p
    return with_sign(select(a > _ERF_EDGES[2], f32(1.0), y), x)


def _decay(high: Any, low: Any) -> Any:
    """Return n and ``e^r - 1`` with ``exp(-(high + low)) = 2^n e^r``, low being small beside high."""
    n = rint((high + low) * -LOG2E[0])
    exact, small = -high - n * LN2[0], n * LN2[1] + low
    r = exact - small
    return n, r + ((r * r) * horner(r, EXP) + ((exact - r) - small))


def _erfc(x: Any) -> Any:
    a = abs(x)
    z = a * a
    near = x + x * horner(z, table.ERFC)
    b = select(a > 10.2, f32(10.2), a)
    h = upper(b)
    n, w = _decay(h * h, (b - h) * (b + h))
    s = 1.0 / (b + 1.0)
    p = s * horner((b - 1.0) * s, table.ERFC_TAIL)
    first, second = scales(n)
    far = ((p + p * w) * first) * second
    return select(a < 0.45, 1.0 - near, select(x < 0.0, 2.0 - far, far))


def _gelu(x: Any) -> Any:
    a = abs(x)
    near = x * (0.5 + x * horner(x * x, table.NORMAL))
    b = select(a > 14.6, f32(14.6), a)
    h = upper(b)
    n, w = _decay(0.5 * (h * h), 0.5 * ((b - h) * (b + h)))
    v = (b - _MIDDLE) / (b + _MIDDLE)
    p = v * horner(v, table.NORMAL_TAIL[1:])
    first, second = scales(n)
    far = ((table.NORMAL_TAIL[0] + (p + (table.NORMAL_TAIL[0] + p) * w)) * first) * second
    return select(a < 0.64, near, select(x < 0.0, -far, x - far))


def _gelu_tanh(x: Any) -> Any:
    a = abs(x)
    b = select(a > 10.8, f32(10.8), a)
    # K1 + K2 b^2 = y + rest, then times b
    h = upper(b)
    square = h * h
    square_high = upper(square)
    square_low = (square - square_high) + (b - h) * (b + h)
    cubic = table.TANH_CUBIC[0] * square_high
    y = table.TANH_LINEAR[0] + cubic
    rest = select(cubic > table.TANH_LINEAR[0], (cubic - y) + table.TANH_LINEAR[0], (table.TANH_LINEAR[0] - y) + cubic)
    rest = rest + (table.TANH_LINEAR[1] + (table.TANH_CUBIC[0] * square_low + table.TANH_CUBIC[1] * (b * b)))
    y_high = upper(y)
    n, w = _decay(h * y_high, b * ((y - y_high) + rest) + (b - h) * y_high)
    first, second = scales(n)
    negative = x < 0.0
    t = ((1.0 + w) * first) * second
    q = select(negative, (-b - b * w) * first, x) / (1.0 + t)
    return select(negative, q * second, q)


def _erf_f64(x: Any) -> Any:
    a = abs(x)
    near = a + a * horner(a * a, table_f64.ERF)
    capped = select(a > 6.0, f64(6.0), a)
    far = 1.0 - exp_f64(-horner(capped - 1.0, table_f64.ERFC))
    return with_sign(select(a < 1.0, near, far), x)


def _tail(b: Any, k: Any, coefficients: Any, slope: Any) -> Any:
    """Return ``P((b - k) / (b + k)) / (b + k)`` as a pair, for b of at least 0."""
    above, above1 = two_sum(b, f64(-k))
    below, below1 = two_sum(b, f64(k))
    v, v1 = quotient(above, above1, below, below1)
    w, w1 = product(v, f64(coefficients[1]))
    w, left = two_sum(w, (v * v) * horner(v, coefficients[2:]))
    p, left1 = two_sum(f64(coefficients[0]), w)
    return quotient(p, left1 + (left + (w1 + v1 * horner(v, slope))), below, below1)


def _erfc_f64(x: Any) -> Any:
    a = abs(x)
    near = x + x * horner(a * a, table_f64.ERF)
    b = select(a > 27.3, f64(27.3), a)
    square, left = product(b, b)
    n, y, y1 = exp_pair(-square, -left)
    p, p1 = _tail(b, 4.0, f64_error.ERFC_TAIL, f64_error.ERFC_SLOPE)
    far = scale_by_power(p * y + (p * y1 + p1 * y), n)
    return select(a < 0.6, 1.0 - near, select(x < 0.0, 2.0 - far, far))


def _gelu_f64(x: Any) -> Any:
    a = abs(x)
    near = x * (0.5 + x * horner(x * x, f64_error.NORMAL))
    b = select(a > 39.0, f64(39.0), a)
    square, left = product(b, b)
    n, y, y1 = exp_pair(-0.5 * square, -0.5 * left)
    p, p1 = _tail(b, 5.0, f64_error.NORMAL_TAIL, f64_error.NORMAL_SLOPE)
    p, p1 = times(b, f64(0.0), p, p1)
    far = scale_by_power(p * y + (p * y1 + p1 * y), n)
    return select(a < 0.64, near, select(x < 0.0, -far, x - far))


def _gelu_tanh_f64(x: Any) -> Any:
    a = abs(x)
    b = select(a > 22.0, f64(22.0), a)
    square, left = product(b, b)
    u, u1 = times(square, left, f64(f64_error.TANH_CUBIC[0]), f64(f64_error.TANH_CUBIC[1]))
    u, left = two_sum(u, f64(f64_error.TANH_LINEAR[0]))
    u, u1 = fast_two_sum(u, left + (u1 + f64_error.TANH_LINEAR[1]))
    u, u1 = times(u, u1, b, f64(0.0))
    signed = with_sign(b, x)
    return select((x > 22.0) | (x == 0.0), x, sigmoid_of(-u, -u1, x < 0.0, signed))


@elementary(f32=(_erf, 1.14), f64=(_erf_f64, 2.0))
def erf(x: Any) -> Any:  # type: ignore[empty-body]
    """Error function, at most 1.14 ulp off (f64: 2); odd."""


@elementary(f32=(_erfc, 3.58), f64=(_erfc_f64, 3.0))
def erfc(x: Any) -> Any:  # type: ignore[empty-body]
    """``1 - erf(x)`` without cancellation, at most 3.58 ulp off (f64: 3) down to the smallest result.

    It is 0 from 10.0546 on (f64: 27.2261).
    """


@elementary(f32=(_gelu, 1.9), f64=(_gelu_f64, 2.4))
def gelu(x: Any) -> Any:  # type: ignore[empty-body]
    """``x Phi(x)``, Phi the normal distribution, at most 1.9 ulp off (f64: 2.4); -inf gives -0, its limit."""


@elementary(f32=(_gelu_tanh, 2.83), f64=(_gelu_tanh_f64, 1.1))
def gelu_tanh(x: Any) -> Any:  # type: ignore[empty-body]
    """``x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``, at most 2.83 ulp off (f64: 1.1).

    -inf gives -0, its limit.
    """

"""Logarithms: log, log2, log10 and log1p, and the logarithm as a pair, which powers and gamma functions are made of.

Layer: kernels. Invariant: no branches; powers of two have exact log2, powers of ten exact log10 (of f32), and log1p is
exact near zero.

Source: log(2^k (1 + f)) = k ln 2 + log(1 + f), 1 + f from sqrt(1/2) to sqrt(2), as in W. J. Cody and W. Waite,
"Software Manual for the Elementary Functions", 1980; in f64 log(1 + f) = 2 atanh(f / (2 + f)) as in fdlibm's e_log.c
(Sun, 1993); polynomials from ``tools/fit/logarithm.py``, ``gamma.py``, ``f64.py`` and ``f64_elementary.py`` there.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients import f64 as table_f64
from loom.kernels.functions.coefficients import f64_elementary, gamma
from loom.kernels.functions.coefficients.logarithm import LN2, LOG, LOG2E, LOG10_2, LOG10E
from loom.kernels.functions.doubles import fast_two_sum, plus_constant, product, quotient, times, two_sum, upper
from loom.kernels.functions.formats import format_of
from loom.kernels.functions.polynomial import horner

__all__ = ["log", "log1p", "log2", "log10", "log_pair", "split_exponent"]

_ROOT_HALF = {f32: 0x3F3504F3, f64: 0x3FE6A09E667F3BCD}
"""Bits of sqrt(1/2)."""


def split_exponent(x: Any) -> Any:
    """Return k (a float) and f with ``x = 2^k (1 + f)``, 1 + f from sqrt(1/2) to sqrt(2); x positive and finite."""
    real, form, root = x.dtype, format_of(x), _ROOT_HALF[x.dtype]
    more = 24.0 if real == f32 else 54.0
    small = x < form.tiny
    above = bitcast(form.signed, select(small, x * 2.0**more, x)) - root
    k = real(above >> form.digits) - select(small, real(more), real(0.0))
    return k, bitcast(real, (above & (form.lead - 1)) + root) - 1.0


def _with_limits(y: Any, x: Any) -> Any:
    """Return ``y``, and where x has no finite logarithm what IEEE 754 says: inf, -inf at 0, NaN."""
    finite = select(x < math.inf, y, x)
    return select(x > 0.0, finite, select(x == 0.0, x.dtype(-math.inf), x.dtype(math.nan)))


def _log_of_parts(k: Any, f: Any) -> Any:
    """Return ``k ln 2 + log(1 + f)``."""
    if f.dtype == f32:
        square = f * f
        return k * LN2[0] + (f - (0.5 * square - ((f * square) * horner(f, LOG) + k * LN2[1])))
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    rest = s * (half + z * horner(z, table_f64.LOG)) + k * table_f64.LN2[1]
    return k * table_f64.LN2[0] - ((half - rest) - f)


def _log(x: Any) -> Any:
    k, f = split_exponent(x)
    return _with_limits(_log_of_parts(k, f), x)


def _log1p(x: Any) -> Any:
    """Take the logarithm of 1 + x, whose rounding is made up for; of a large x, scaled."""
    real, form, root = x.dtype, format_of(x), _ROOT_HALF[x.dtype]
    most = 32.0 if real == f32 else 64.0
    large = x > 2.0**most
    scale = select(large, real(2.0**-most), real(1.0))
    u = x * scale + scale
    above = bitcast(form.signed, u) - root
    shift = above & form.signed(-form.lead)
    s = bitcast(real, form.bias * form.lead - shift)
    f = (x * scale) * s + (s * scale - 1.0)
    k = real(above >> form.digits) + select(large, real(most), real(0.0))
    finite = select(x < math.inf, _log_of_parts(k, f), x)
    inside = select(x > -1.0, finite, select(x == -1.0, real(-math.inf), real(math.nan)))
    return select(abs(x) < 2.0 ** -(form.digits + (1 if real == f32 else 2)), x, inside)


def _log2(x: Any) -> Any:
    k, f = split_exponent(x)
    z = f * f
    return _with_limits(k + (f - (0.5 * z - (f * z) * horner(f, LOG))) * LOG2E[0], x)


def _log10(x: Any) -> Any:
    """Multiply by 1 / ln 10 in two parts, as FreeBSD's e_log10f.c: log(1 + f) = high + low, high of 12 bits."""
    k, f = split_exponent(x)
    half = 0.5 * (f * f)
    high = upper(f - half)
    low = ((f - high) - half) + (f * f * f) * horner(f, LOG)
    y = k * LOG10_2[1] + (low + high) * LOG10E[1] + low * LOG10E[0]
    whole = k * LOG10_2[0]
    part = high * LOG10E[0]
    total = whole + part
    rest = select(abs(whole) > abs(part), (whole - total) + part, (part - total) + whole)
    return _with_limits(total + (rest + y), x)


def _near_one(f: Any) -> Any:
    """Return ``log(1 + f)`` of an f64 as a pair good to 2^-68 of it: 2 s (1 + z/3 + ...), s = f / (2 + f), z = s^2."""
    d, d1 = fast_two_sum(f64(2.0), f)
    s, s1 = quotient(f, f64(0.0), d, d1)
    z, left = product(s, s)
    z1 = left + 2.0 * (s * s1)
    p, p1 = plus_constant(f64_elementary.FIFTH, z * horner(z, f64_elementary.LOG_REST), f64(0.0))
    p, p1 = times(p, p1, z, z1)
    p, p1 = plus_constant(f64_elementary.THIRD, p, p1)
    p, p1 = times(p, p1, z, z1)
    p, p1 = times(p, p1, s, s1)
    high, low = fast_two_sum(s, p)
    return 2.0 * high, 2.0 * (low + (p1 + s1))


def _log_pair_f64(x: Any) -> Any:
    k, f = split_exponent(x)
    near, near1 = _near_one(f)
    high, low = fast_two_sum(k * table_f64.LN2[0], near)
    return fast_two_sum(high, low + (k * table_f64.LN2[1] + near1))


def log_pair(x: Any) -> Any:
    """Return the logarithm of ``x``, above 0 and finite, as a pair good to 2^-33 in all (f64: to 2^-68 of it)."""
    if x.dtype == f64:
        return _log_pair_f64(x)
    form, root = format_of(x), _ROOT_HALF[x.dtype]
    tiny = x < 2.0**-64  # subnormal numbers have no exponent of their own
    bits = bitcast(form.signed, select(tiny, x * 2.0**64, x))
    power = (bits - root) >> 23
    f = bitcast(f32, bits - (power << 23)) - 1.0
    d, d1 = fast_two_sum(f32(2.0), f)
    s = f / d
    whole, left = product(s, d)
    s1 = (((f - whole) - left) - s * d1) / d
    z = s * s
    k = f32(power) - select(tiny, f32(64.0), f32(0.0))
    high, low = fast_two_sum(k * gamma.LN_2[0], 2.0 * s)
    return fast_two_sum(high, low + (k * gamma.LN_2[1] + (2.0 * s1 + (s * z) * horner(z, gamma.LOG_REST))))


def _log2_f64(x: Any) -> Any:
    k, f = split_exponent(x)
    near, near1 = _near_one(f)
    part, part1 = times(near, near1, f64(f64_elementary.LOG2E_PAIR[0]), f64(f64_elementary.LOG2E_PAIR[1]))
    high, low = fast_two_sum(k, part)
    return _with_limits(high + (low + part1), x)


def _log10_f64(x: Any) -> Any:
    k, f = split_exponent(x)
    near, near1 = _near_one(f)
    part, part1 = times(near, near1, f64(f64_elementary.LOG10E_PAIR[0]), f64(f64_elementary.LOG10E_PAIR[1]))
    high, low = two_sum(k * f64_elementary.LOG10_2[0], part)
    return _with_limits(high + (low + (part1 + k * f64_elementary.LOG10_2[1])), x)


@elementary(f32=(_log, 0.83), f64=(_log, 1.0))
def log(x: Any) -> Any:  # type: ignore[empty-body]
    """Natural logarithm, at most 0.83 ulp off (f64: 1); 0 gives -inf, below 0 NaN."""


@elementary(f32=(_log2, 1.84), f64=(_log2_f64, 0.6))
def log2(x: Any) -> Any:  # type: ignore[empty-body]
    """Logarithm to base 2, at most 1.84 ulp off (f64: 0.6), exact for powers of two; 0 gives -inf, below 0 NaN."""


@elementary(f32=(_log10, 0.8), f64=(_log10_f64, 0.6))
def log10(x: Any) -> Any:  # type: ignore[empty-body]
    """Logarithm to base 10, at most 0.8 ulp off (f64: 0.6), exact for powers of ten; 0 gives -inf, below 0 NaN."""


@elementary(f32=(_log1p, 1.39), f64=(_log1p, 1.5))
def log1p(x: Any) -> Any:  # type: ignore[empty-body]
    """``log(1 + x)`` without cancellation, at most 1.39 ulp off (f64: 1.5).

    -0 gives -0, -1 gives -inf, below -1 NaN.
    """

"""Logarithms: log, log2, log10 and log1p.

Layer: kernels. Invariant: no branches; powers of two have exact log2, powers of ten exact log10, and log1p is exact
near zero.

Source: log(2^k (1 + f)) = k ln 2 + log(1 + f), 1 + f from sqrt(1/2) to sqrt(2), as in W. J. Cody and W. Waite,
"Software Manual for the Elementary Functions", 1980; polynomial from ``tools/fit/logarithm.py``.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, i32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients.logarithm import LN2, LOG, LOG2E, LOG10_2, LOG10E
from loom.kernels.functions.doubles import upper
from loom.kernels.functions.f64.logarithm import log1p_f64, log2_f64, log10_f64, log_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["decomposed", "log", "log1p", "log2", "log10", "widened"]

_ROOT_HALF = 0x3F3504F3
"""Bits of sqrt(1/2)."""


def decomposed(x: Any) -> Any:
    """Return k (f32) and f with ``x = 2^k (1 + f)``, 1 + f from sqrt(1/2) to sqrt(2); x positive, finite, normal."""
    above = bitcast(i32, x) - _ROOT_HALF
    return f32(above >> 23), bitcast(f32, (above & 0x7FFFFF) + _ROOT_HALF) - 1.0


def widened(x: Any) -> Any:
    """Return ``decomposed(x)`` for subnormals too."""
    small = x < 2.0**-126
    k, f = decomposed(select(small, x * 2.0**24, x))
    return k - select(small, f32(24.0), f32(0.0)), f


def _bordered(y: Any, x: Any) -> Any:
    """Return ``y``, and where x has no finite logarithm what IEEE 754 says: inf, -inf at 0, NaN."""
    y = select(x < math.inf, y, x)
    return select(x > 0.0, y, select(x == 0.0, f32(-math.inf), f32(math.nan)))


def _log(x: Any) -> Any:
    k, f = widened(x)
    z = f * f
    y = k * LN2[0] + (f - (0.5 * z - ((f * z) * horner(f, LOG) + k * LN2[1])))
    return _bordered(y, x)


def _log2(x: Any) -> Any:
    k, f = widened(x)
    z = f * f
    return _bordered(k + (f - (0.5 * z - (f * z) * horner(f, LOG))) * LOG2E[0], x)


def _log10(x: Any) -> Any:
    """Multiply by 1 / ln 10 in two parts, as FreeBSD's e_log10f.c: log(1 + f) = high + low, high of 12 bits."""
    k, f = widened(x)
    half = 0.5 * (f * f)
    high = upper(f - half)
    low = ((f - high) - half) + (f * f * f) * horner(f, LOG)
    y = k * LOG10_2[1] + (low + high) * LOG10E[1] + low * LOG10E[0]
    whole = k * LOG10_2[0]
    part = high * LOG10E[0]
    total = whole + part
    rest = select(abs(whole) > abs(part), (whole - total) + part, (part - total) + whole)
    return _bordered(total + (rest + y), x)


def _log1p(x: Any) -> Any:
    scale = select(x > 2.0**32, f32(2.0**-32), f32(1.0))
    u = x * scale + scale
    above = bitcast(i32, u) - _ROOT_HALF
    shift = above & i32(-(2**23))
    s = bitcast(f32, 0x3F800000 - shift)
    f = (x * scale) * s + (s * scale - 1.0)
    k = f32(above >> 23) + select(x > 2.0**32, f32(32.0), f32(0.0))
    z = f * f
    y = k * LN2[0] + (f - (0.5 * z - ((f * z) * horner(f, LOG) + k * LN2[1])))
    y = select(x < math.inf, y, x)
    y = select(x > -1.0, y, select(x == -1.0, f32(-math.inf), f32(math.nan)))
    return select(abs(x) < 2.0**-24, x, y)


@elementary(f32=(_log, 0.83), f64=(log_f64, 1.0))
def log(x: Any) -> Any:  # type: ignore[empty-body]
    """Natural logarithm, at most 0.83 ulp off (f64: 1); 0 gives -inf, below 0 NaN."""


@elementary(f32=(_log2, 1.84), f64=(log2_f64, 0.6))
def log2(x: Any) -> Any:  # type: ignore[empty-body]
    """Logarithm to base 2, at most 1.84 ulp off (f64: 0.6), exact for powers of two; 0 gives -inf, below 0 NaN."""


@elementary(f32=(_log10, 0.8), f64=(log10_f64, 0.6))
def log10(x: Any) -> Any:  # type: ignore[empty-body]
    """Logarithm to base 10, at most 0.8 ulp off (f64: 0.6), exact for powers of ten; 0 gives -inf, below 0 NaN."""


@elementary(f32=(_log1p, 1.39), f64=(log1p_f64, 1.5))
def log1p(x: Any) -> Any:  # type: ignore[empty-body]
    """``log(1 + x)`` without cancellation, at most 1.39 ulp off (f64: 1.5).

    -0 gives -0, -1 gives -inf, below -1 NaN.
    """

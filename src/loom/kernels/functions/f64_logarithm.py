"""The natural logarithm in f64.

Layer: kernels. Invariant: no branches.

Source: fdlibm's e_log.c (Sun, 1993): log(1 + f) = 2 atanh(f / (2 + f)); polynomial from ``tools/fit/f64.py``.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f64, i64
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients_f64 import LN2, LOG
from loom.kernels.functions.polynomial import horner

__all__ = ["log_f64"]

_ROOT_HALF = 0x3FE6A09E667F3BCD
"""Bits of sqrt(1/2)."""


def _decomposed(x: Any) -> Any:
    """Return k (f64) and f with ``x = 2^k (1 + f)``, 1 + f from sqrt(1/2) to sqrt(2); x positive and finite."""
    small = x < 2.0**-1022
    above = bitcast(i64, select(small, x * 2.0**54, x)) - _ROOT_HALF
    k = f64(above >> 52) - select(small, f64(54.0), f64(0.0))
    return k, bitcast(f64, (above & 0xFFFFFFFFFFFFF) + _ROOT_HALF) - 1.0


def log_f64(x: Any) -> Any:
    """Return the natural logarithm of an f64."""
    k, f = _decomposed(x)
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    y = k * LN2[0] - ((half - (s * (half + z * horner(z, LOG)) + k * LN2[1])) - f)
    finite = select(x < math.inf, y, x)
    return select(x > 0.0, finite, select(x == 0.0, f64(-math.inf), f64(math.nan)))

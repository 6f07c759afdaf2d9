"""The exponential in f64.

Layer: kernels. Invariant: no branches; overflow, underflow and NaN come out of the same operations as all else,
and a subnormal result is rounded once more, from 53 bits to those it has.

Source: reduction modulo ln 2 in two pieces (Cody and Waite 1980); polynomial from ``tools/fit/f64.py``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, i64
from loom.ir.frontend.intrinsics import bitcast, rint, select
from loom.kernels.functions.coefficients_f64 import EXP, LN2, LOG2E
from loom.kernels.functions.polynomial import horner

__all__ = ["exp_f64"]

_EXPONENT = 3 * 2.0**51 + 1023.0
"""Added to a whole number n, exactly, it leaves n + 1023 in the low bits: the exponent field of 2^n."""


def _power_of_two(n: Any) -> Any:
    """Return 2^n for whole n in [-1022, 1023]; 1024 gives inf."""
    return bitcast(f64, bitcast(i64, n + _EXPONENT) << 52)


def _scaled(y: Any, n: Any) -> Any:
    """Return ``y 2^n``, rounded once; n in [-1150, 1025]."""
    small = n < -1000.0
    first = _power_of_two(n + select(small, f64(128.0), f64(-1.0)))
    return (y * first) * select(small, f64(2.0**-128), f64(2.0))


def exp_f64(x: Any) -> Any:
    """Return e to the power of an f64."""
    above = select(x > 710.0, f64(710.0), x)
    within = select(above < -746.0, f64(-746.0), above)
    n = rint(within * LOG2E[0])
    high, low = within - n * LN2[0], n * LN2[1]  # high is exact
    r = high - low
    growth = high + ((r * r) * horner(r, EXP) - low)
    return _scaled(1.0 + growth, n)

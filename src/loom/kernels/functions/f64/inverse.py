"""Arctangent, arcsine and arccosine in f64.

Layer: kernels. No branches. Invariant: atan, asin are odd and atan2 is odd in ``y``, bit for bit.

Source: as in f32; polynomials from ``tools/fit/f64_elementary.py``. What a rounded subtraction from pi/2 or pi leaves
out is added again (Dekker 1971).
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, u64
from loom.ir.frontend.intrinsics import bitcast, select, sqrt
from loom.kernels.functions.coefficients.f64 import HALF_PI
from loom.kernels.functions.coefficients.f64_elementary import ARCSINE, ARCTANGENT
from loom.kernels.functions.doubles import fast_two_sum
from loom.kernels.functions.f64.hyperbolic import with_sign_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["acos_f64", "asin_f64", "atan2_f64", "atan_f64"]


def _beyond(quarters: Any, t: Any, rest: Any) -> Any:
    """Return ``quarters pi/2 + (t + rest)`` for 0, 1 or 2 quarters and t at most 1."""
    high, left = fast_two_sum(quarters * HALF_PI[0], t)
    return high + (left + (quarters * HALF_PI[1] + rest))


def atan_f64(x: Any) -> Any:
    """Return the arctangent of an f64."""
    a = abs(x)
    inside = a <= 1.0
    t = select(inside, a, -1.0 / a)
    z = t * t
    return with_sign_f64(_beyond(select(inside, f64(0.0), f64(1.0)), t, (t * z) * horner(z, ARCTANGENT)), x)


def atan2_f64(y: Any, x: Any) -> Any:
    """Return the angle of the point ``(x, y)`` of two f64."""
    a, b = abs(y), abs(x)
    t = min(a, b) / max(a, b)
    t = select(a == b, select(a == 0.0, f64(0.0), f64(1.0)), t)  # 0/0 and inf/inf have a direction
    steep, left = a > b, bitcast(u64, x) >= u64(0x8000000000000000)
    t = select(steep == left, t, -t)
    z = t * t
    quarters = select(steep, f64(1.0), select(left, f64(2.0), f64(0.0)))
    return with_sign_f64(_beyond(quarters, t, (t * z) * horner(z, ARCTANGENT)), y)


def _arc(x: Any) -> Any:
    """Return ``t`` and ``rest`` whose sum is the arcsine of x, or of sqrt((1 - x) / 2) for x beyond a half."""
    near = x <= 0.5
    z = select(near, x * x, 0.5 * (1.0 - x))
    t = select(near, x, sqrt(z))
    return near, t, (t * z) * horner(z, ARCSINE)


def asin_f64(x: Any) -> Any:
    """Return the arcsine of an f64."""
    near, t, rest = _arc(abs(x))
    scale = select(near, f64(1.0), f64(-2.0))
    return with_sign_f64(_beyond(select(near, f64(0.0), f64(1.0)), scale * t, scale * rest), x)


def acos_f64(x: Any) -> Any:
    """Return the arccosine of an f64."""
    near, t, rest = _arc(abs(x))
    below = x < 0.0
    quarters = select(near, f64(1.0), select(below, f64(2.0), f64(0.0)))
    scale = select(near, f64(1.0), f64(2.0))
    scale = select(near != below, -scale, scale)
    return _beyond(quarters, scale * t, scale * rest)

"""Arctangent, arcsine and arccosine.

Layer: kernels. No branches. Invariant: atan, asin are odd and atan2 is odd in ``y``, bit for bit.

Source: docs/numerics.md, section 3; polynomials from ``tools/fit/inverse.py``. What a rounded subtraction from pi/2
or pi leaves out is added again (Dekker).
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, select, sqrt
from loom.kernels.functions.coefficients.inverse import ARCSINE, ARCTANGENT
from loom.kernels.functions.coefficients.trigonometric import HALF_PI
from loom.kernels.functions.doubles import fast_two_sum
from loom.kernels.functions.f64.inverse import acos_f64, asin_f64, atan2_f64, atan_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["acos", "asin", "atan", "atan2"]

_SIGN = 0x80000000


def _with_sign(value: Any, of: Any) -> Any:
    """Return ``value``, at least 0, with the sign of ``of``."""
    return bitcast(f32, bitcast(u32, value) | bitcast(u32, of) & _SIGN)


def _beyond(quarters: Any, t: Any, rest: Any) -> Any:
    """Return ``quarters pi/2 + (t + rest)`` for 0, 1 or 2 quarters and t at most 1."""
    high, left = fast_two_sum(quarters * HALF_PI[0], t)
    return high + (left + (quarters * HALF_PI[1] + rest))


def _atan32(x: Any) -> Any:
    a = abs(x)
    inside = a <= 1.0
    t = select(inside, a, -1.0 / a)
    z = t * t
    return _with_sign(_beyond(select(inside, f32(0.0), f32(1.0)), t, (t * z) * horner(z, ARCTANGENT)), x)


def _atan2_32(y: Any, x: Any) -> Any:
    a, b = abs(y), abs(x)
    t = min(a, b) / max(a, b)
    t = select(a == b, select(a == 0.0, f32(0.0), f32(1.0)), t)  # 0/0 and inf/inf have a direction
    steep, left = a > b, bitcast(u32, x) >= _SIGN
    t = select(steep == left, t, -t)
    z = t * t
    quarters = select(steep, f32(1.0), select(left, f32(2.0), f32(0.0)))
    return _with_sign(_beyond(quarters, t, (t * z) * horner(z, ARCTANGENT)), y)


def _arc(x: Any) -> Any:
    """Return ``t`` and ``rest`` whose sum is the arcsine of x, or of sqrt((1 - x) / 2) for x beyond a half."""
    near = x <= 0.5
    z = select(near, x * x, 0.5 * (1.0 - x))
    t = select(near, x, sqrt(z))
    return near, t, (t * z) * horner(z, ARCSINE)


def _asin32(x: Any) -> Any:
    near, t, rest = _arc(abs(x))
    scale = select(near, f32(1.0), f32(-2.0))
    return _with_sign(_beyond(select(near, f32(0.0), f32(1.0)), scale * t, scale * rest), x)


def _acos32(x: Any) -> Any:
    near, t, rest = _arc(abs(x))
    below = x < 0.0
    quarters = select(near, f32(1.0), select(below, f32(2.0), f32(0.0)))
    scale = select(near, f32(1.0), f32(2.0))
    scale = select(near != below, -scale, scale)
    return _beyond(quarters, scale * t, scale * rest)


@elementary(f32=(_atan32, 1.5), f64=(atan_f64, 1.2))
def atan(x: Any) -> Any:  # type: ignore[empty-body]
    """Arctangent of ``x`` in radians, at most 1.5 ulp off (f64: 1.2): -0 gives -0, infinities +-pi/2."""


@elementary(f32=(_atan2_32, 2.0), f64=(atan2_f64, 1.7))
def atan2(y: Any, x: Any) -> Any:  # type: ignore[empty-body]
    """Angle of the point ``(x, y)`` in radians from -pi to pi, at most 2 ulp off (f64: 1.7).

    Zeros and infinities as in C99: atan2(+-0, -0) is +-pi, atan2(+-0, +0) is +-0, atan2(+-inf, -inf) +-3 pi/4.
    """


@elementary(f32=(_asin32, 2.0), f64=(asin_f64, 1.5))
def asin(x: Any) -> Any:  # type: ignore[empty-body]
    """Arcsine of ``x`` in radians, at most 2 ulp off (f64: 1.5): -0 gives -0, beyond -1 and 1 NaN."""


@elementary(f32=(_acos32, 2.0), f64=(acos_f64, 1.5))
def acos(x: Any) -> Any:  # type: ignore[empty-body]
    """Arccosine of ``x`` in radians, at most 2 ulp off (f64: 1.5): 1 gives +0, beyond -1 and 1 NaN."""

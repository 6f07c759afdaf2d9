"""Arctangent, arcsine and arccosine.

Layer: kernels. No branches. Invariant: atan, asin are odd and atan2 is odd in ``y``, bit for bit.

Source: docs/numerics.md, section 3; polynomials from ``tools/fit/inverse.py`` and
``tools/fit/f64_elementary.py``. What a rounded subtraction from pi/2 or pi leaves out is added again (Dekker 1971).
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import select, sqrt
from loom.kernels.functions.coefficients import f64 as circle_f64
from loom.kernels.functions.coefficients import f64_elementary, inverse
from loom.kernels.functions.coefficients import trigonometric as circle
from loom.kernels.functions.doubles import fast_two_sum
from loom.kernels.functions.hyperbolic import with_sign
from loom.kernels.functions.polynomial import horner

__all__ = ["acos", "asin", "atan", "atan2"]


_HALF_PI = {f32: circle.HALF_PI, f64: circle_f64.HALF_PI}
_ARCTANGENT = {f32: inverse.ARCTANGENT, f64: f64_elementary.ARCTANGENT}
_ARCSINE = {f32: inverse.ARCSINE, f64: f64_elementary.ARCSINE}


def _beyond(quarters: Any, t: Any, rest: Any) -> Any:
    """Return ``quarters pi/2 + (t + rest)`` for 0, 1 or 2 quarters and t at most 1."""
    half_pi = _HALF_PI[t.dtype]
    high, left = fast_two_sum(quarters * half_pi[0], t)
    return high + (left + (quarters * half_pi[1] + rest))


def _atan(x: Any) -> Any:
    real, a = x.dtype, abs(x)
    inside = a <= 1.0
    t = select(inside, a, -1.0 / a)
    z = t * t
    rest = (t * z) * horner(z, _ARCTANGENT[real])
    return with_sign(_beyond(select(inside, real(0.0), real(1.0)), t, rest), x)


def _atan2(y: Any, x: Any) -> Any:
    real, a, b = x.dtype, abs(y), abs(x)
    t = min(a, b) / max(a, b)
    t = select(a == b, select(a == 0.0, real(0.0), real(1.0)), t)  # 0/0 and inf/inf have a direction
    steep, left = a > b, with_sign(real(1.0), x) < 0.0
    t = select(steep == left, t, -t)
    z = t * t
    quarters = select(steep, real(1.0), select(left, real(2.0), real(0.0)))
    return with_sign(_beyond(quarters, t, (t * z) * horner(z, _ARCTANGENT[real])), y)


def _arc(x: Any) -> Any:
    """Return ``t`` and ``rest`` whose sum is the arcsine of x, or of sqrt((1 - x) / 2) for x beyond a half."""
    near = x <= 0.5
    z = select(near, x * x, 0.5 * (1.0 - x))
    t = select(near, x, sqrt(z))
    return near, t, (t * z) * horner(z, _ARCSINE[x.dtype])


def _asin(x: Any) -> Any:
    real = x.dtype
    near, t, rest = _arc(abs(x))
    scale = select(near, real(1.0), real(-2.0))
    return with_sign(_beyond(select(near, real(0.0), real(1.0)), scale * t, scale * rest), x)


def _acos(x: Any) -> Any:
    real = x.dtype
    near, t, rest = _arc(abs(x))
    below = x < 0.0
    quarters = select(near, real(1.0), select(below, real(2.0), real(0.0)))
    scale = select(near, real(1.0), real(2.0))
    scale = select(near != below, -scale, scale)
    return _beyond(quarters, scale * t, scale * rest)


@elementary(f32=(_atan, 1.5), f64=(_atan, 1.45))
def atan(x: Any) -> Any:  # type: ignore[empty-body]
    """Arctangent of ``x`` in radians, at most 1.5 ulp off (f64: 1.45): -0 gives -0, infinities +-pi/2."""


@elementary(f32=(_atan2, 2.0), f64=(_atan2, 1.7))
def atan2(y: Any, x: Any) -> Any:  # type: ignore[empty-body]
    """Angle of the point ``(x, y)`` in radians from -pi to pi, at most 2 ulp off (f64: 1.7).

    Zeros and infinities as in C99: atan2(+-0, -0) is +-pi, atan2(+-0, +0) is +-0, atan2(+-inf, -inf) +-3 pi/4.
    """


@elementary(f32=(_asin, 2.0), f64=(_asin, 1.5))
def asin(x: Any) -> Any:  # type: ignore[empty-body]
    """Arcsine of ``x`` in radians, at most 2 ulp off (f64: 1.5): -0 gives -0, beyond -1 and 1 NaN."""


@elementary(f32=(_acos, 2.0), f64=(_acos, 1.5))
def acos(x: Any) -> Any:  # type: ignore[empty-body]
    """Arccosine of ``x`` in radians, at most 2 ulp off (f64: 1.5): 1 gives +0, beyond -1 and 1 NaN."""

"""Inverse hyperbolic functions: asinh, acosh and atanh.

Layer: kernels. Invariant: no branches; asinh and atanh are odd, bit for bit, the sign of zero included.

Source: fdlibm's s_asinh.c, e_acosh.c and e_atanh.c (Sun, 1993): each is log1p of an argument without cancellation.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import select, sqrt
from loom.kernels.functions.hyperbolic import with_sign
from loom.kernels.functions.logarithm import log1p

__all__ = ["acosh", "asinh", "atanh"]

_LN2 = math.log(2)


_FAR = {f32: 2.0**60, f64: 2.0**500}
"""From here on 1 is nothing beside the square."""


def _asinh(x: Any) -> Any:
    """asinh(a) = log1p(a + a^2 / (1 + sqrt(1 + a^2))); far away it is log(a) + log(2)."""
    real = x.dtype
    a = abs(x)
    far = a > _FAR[real]
    b = select(far, real(1.0), a)
    t = b * b
    u = b + t / (1.0 + sqrt(t + 1.0))
    y = log1p(select(far, a, u)) + select(far, real(_LN2), real(0.0))
    return with_sign(y, x)


def _acosh(x: Any) -> Any:
    """acosh(1 + t) = log1p(t + sqrt(t (t + 2))); far away it is log(x) + log(2)."""
    real = x.dtype
    far = x > _FAR[real]
    t = select(far, real(1.0), x) - 1.0
    u = t + sqrt(t * (t + 2.0))
    y = log1p(select(far, x, u)) + select(far, real(_LN2), real(0.0))
    return select(x >= 1.0, y, real(math.nan))


def _atanh(x: Any) -> Any:
    """atanh(a) = log1p(2 a / (1 - a)) / 2, below 1/2 of 2 a + 2 a a / (1 - a)."""
    a = abs(x)
    t = a + a
    u = select(a < 0.5, t + t * a / (1.0 - a), t / (1.0 - a))
    return with_sign(abs(0.5 * log1p(u)), x)


@elementary(f32=(_asinh, 2.0), f64=(_asinh, 2.0))
def asinh(x: Any) -> Any:  # type: ignore[empty-body]
    """Inverse hyperbolic sine, at most 2 ulp off (f64: 2); odd."""


@elementary(f32=(_acosh, 2.5), f64=(_acosh, 2.9))
def acosh(x: Any) -> Any:  # type: ignore[empty-body]
    """Inverse hyperbolic cosine, at most 2.5 ulp off (f64: 2.9); below 1 NaN."""


@elementary(f32=(_atanh, 2.0), f64=(_atanh, 2.0))
def atanh(x: Any) -> Any:  # type: ignore[empty-body]
    """Inverse hyperbolic tangent, at most 2 ulp off (f64: 2); odd; 1 gives inf, beyond NaN."""

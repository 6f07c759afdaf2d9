"""Exponential, logarithm, hyperbolic functions of complex numbers; circular functions are these of i z.

Layer: kernels. A factory gives the functions for f32 or f64, each a fixed sequence without branches over Loom's
elementary functions. Invariant: the special cases of C99, annex G; nothing overflows where the result does not.

Sources: W. Kahan, "Branch cuts for complex elementary functions" (1987) for tanh; T. J. Dekker (1971) for the exact
products near the unit circle.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32
from loom.ir.frontend.intrinsics import select, sqrt
from loom.kernels.functions.doubles import product, two_sum
from loom.kernels.functions.exact import copysign
from loom.kernels.functions.exponential import exp, expm1
from loom.kernels.functions.hyperbolic import cosh, sinh, tanh
from loom.kernels.functions.inverse import atan2
from loom.kernels.functions.logarithm import log, log1p
from loom.kernels.functions.trigonometric import cos, sin, tan

__all__ = ["exp_of", "hyperbolic_of", "log_of", "tangent_of"]


@cache
def _exponential_of(real: DType) -> tuple[Any, Any, float]:
    """Return the functions (a, factor): e^a times a factor; (x): is it finite; and from where e^a is in halves.

    Two halves together reach beyond the largest number.
    """
    highest = 80.0 if real == f32 else 700.0

    def is_finite(x: Any) -> Any:
        return abs(x) < math.inf

    def exp_times(a: Any, factor: Any) -> Any:
        """Return e^a times a factor, without overflow between."""
        above = a > highest
        e = exp(select(above, a * 0.5, a))
        found = e * factor
        return select(above, found * e, found)

    return exp_times, is_finite, highest


@cache
def exp_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re and im of e^(a + ib), and of that less 1."""
    exp_times, is_finite, _ = _exponential_of(real)

    def exp_re(a: Any, b: Any) -> Any:
        found = exp_times(a, cos(b))
        found = select((a == math.inf) & (not is_finite(b)), real(math.inf), found)
        return select((a == -math.inf) & (not is_finite(b)), real(0.0), found)

    def exp_im(a: Any, b: Any) -> Any:
        found = select(b == 0.0, b, exp_times(a, sin(b)))
        return select((a == -math.inf) & (not is_finite(b)), real(0.0), found)

    def expm1_re(a: Any, b: Any) -> Any:
        """(e^a - 1) cos b - 2 sin(b / 2)^2, as cos b = 1 - 2 sin(b / 2)^2; a 0 is +0."""
        half = sin(b * 0.5)
        small = expm1(a) * cos(b) - (half * half) * 2.0 + 0.0
        return select((abs(a) < 1.0) & is_finite(b), small, exp_re(a, b) - 1.0)

    def expm1_im(a: Any, b: Any) -> Any:
        return exp_im(a, b)

    return {"exp_re": exp_re, "exp_im": exp_im, "expm1_re": expm1_re, "expm1_im": expm1_im}


@cache
def log_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re of log(a + ib), and re and im of log(1 + a + ib)."""

    def log_size(y: Any, d: Any) -> Any:
        """Return log |1 + d + iy|, near the unit circle, for an exact d."""
        d_high, d_low = product(d, d)
        y_high, y_low = product(y, y)
        s, s_rest = two_sum(d + d, y_high)
        t, t_rest = two_sum(s, d_high)
        return 0.5 * log1p(t + (s_rest + t_rest + (d_low + y_low)))

    def log_of(x: Any, y: Any, d: Any, near: Any) -> Any:
        ratio = y / select(x == 0.0, real(1.0), x)
        far = log(x) + 0.5 * log1p(ratio * ratio)
        found = select(near, log_size(y, d), far)
        return select((x == math.inf) | (y == math.inf), real(math.inf), found)

    def log_re(a: Any, b: Any) -> Any:
        p, q = abs(a), abs(b)
        first = p >= q
        x, y = select(first, p, q), select(first, q, p)
        square = x * x + y * y
        near = (square > 0.5) & (square < 2.0)
        return log_of(x, y, x - 1.0, near)

    def log1p_re(a: Any, b: Any) -> Any:
        """log |1 + z|: near 0 by 2 a + a^2 + b^2, elsewhere that of the rounded sum."""
        c = a + 1.0
        size = abs(a) + abs(b)
        close = size < 0.5
        p, q = abs(c), abs(b)
        first = p >= q
        x, y = select(first, p, q), select(first, q, p)
        square = x * x + y * y
        near = (square > 0.5) & (square < 2.0)
        d = select(close, a, x - 1.0)
        y = select(close, q, y)
        return log_of(select(close, real(1.0), x), y, d, near | close)

    def log1p_im(a: Any, b: Any) -> Any:
        return atan2(b, a + 1.0)

    return {"log_re": log_re, "log1p_re": log1p_re, "log1p_im": log1p_im}


@cache
def hyperbolic_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re and im of sinh(a + ib) and cosh(a + ib)."""
    exp_times, is_finite, highest = _exponential_of(real)

    def sinh_re(a: Any, b: Any) -> Any:
        c = cos(b)
        large = copysign(exp_times(abs(a), c * 0.5), select(c < 0.0, -a, a))
        found = select(abs(a) > highest, large, sinh(a) * c)
        return select((not is_finite(b)) & ((a == 0.0) | (abs(a) == math.inf)), a, found)

    def cosh_large(a: Any, trig: Any) -> Any:
        """Return cosh(a) times a sine or cosine."""
        return select(abs(a) > highest, exp_times(abs(a), trig * 0.5), cosh(a) * trig)

    def sinh_im(a: Any, b: Any) -> Any:
        return select(b == 0.0, b, cosh_large(a, sin(b)))

    def cosh_re(a: Any, b: Any) -> Any:
        found = cosh_large(a, cos(b))
        return select((not is_finite(b)) & (abs(a) == math.inf), real(math.inf), found)

    def cosh_im(a: Any, b: Any) -> Any:
        s = sin(b)
        large = copysign(exp_times(abs(a), abs(s) * 0.5), select(s < 0.0, -a, a))
        found = select(abs(a) > highest, large, sinh(a) * s)
        found = select((a == 0.0) & (not is_finite(b)), a * copysign(real(1.0), b), found)
        return select(b == 0.0, b * copysign(real(1.0), a), found)

    return {"sinh_re": sinh_re, "sinh_im": sinh_im, "cosh_re": cosh_re, "cosh_im": cosh_im}


@cache
def tangent_of(real: DType) -> dict[str, Any]:
    """Return the functions (a, b): re and im of tanh(a + ib)."""
    is_short, is_finite = real == f32, _exponential_of(real)[1]
    flat = 11.0 if is_short else 22.0
    """From here on tanh is 1 to the last digit."""

    def tanh_re(a: Any, b: Any) -> Any:
        t, s = tan(b), sinh(select(abs(a) > flat, real(flat), a))
        beta = 1.0 + t * t
        rho = sqrt(1.0 + s * s)
        found = (beta * rho * s) / (1.0 + beta * s * s)
        found = select(b == 0.0, tanh(a), found)
        found = select((a == 0.0), a, found)
        return select((abs(a) > flat) & (is_finite(b) | (abs(a) == math.inf)), copysign(real(1.0), a), found)

    def tanh_im(a: Any, b: Any) -> Any:
        t, s = tan(b), sinh(select(abs(a) > flat, real(flat), a))
        beta = 1.0 + t * t
        found = t / (1.0 + beta * s * s)
        decay = exp(-abs(a))
        far = ((sin(b) * cos(b)) * (4.0 * decay)) * decay
        found = select(abs(a) > flat, far, found)
        found = select((abs(a) == math.inf) & (not is_finite(b)), real(0.0), found)
        return select(b == 0.0, b, found)

    return {"tanh_re": tanh_re, "tanh_im": tanh_im}

"""Powers, cube roots and lengths in f64.

Layer: kernels. Invariant: no branches; a power that is a float comes out exact, the error before the one rounding
being far below half a unit in the last place.

Source: pow as exp(y log x), the logarithm and its product with y in pairs of floats (Dekker 1971), as in FreeBSD's
e_pow.c (Sun Microsystems, 1993); the cube root as in f32.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f64, i64, u64
from loom.ir.frontend.intrinsics import bitcast, mulhi, rint, select, sqrt
from loom.kernels.functions.coefficients.f64_elementary import INVERSE_CUBE_ROOT
from loom.kernels.functions.doubles import product_f64, two_sum
from loom.kernels.functions.f64.exponential import clamped_f64, exp_pair, scaled_f64
from loom.kernels.functions.f64.hyperbolic import with_sign_f64
from loom.kernels.functions.f64.logarithm import log_pair_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["cbrt_f64", "hypot_f64", "pow_f64"]

_GUESS = 0x553EF3B645A1CC00
"""Minus a third of the bits of a float, and this, are the bits of its inverse cube root, 4% off."""

_LONGEST = 2.0**65
"""An exponent as good as infinity for every base but 1."""


def cbrt_f64(x: Any) -> Any:
    """Correct a root of 17 bits, whose cube is exact: cbrt(a) = c (1 - e)^(-1/3), e = (a - c^3) / a."""
    small = abs(x) < 2.0**-1022
    a = select(small, abs(x) * 2.0**54, abs(x))
    w = bitcast(f64, u64(_GUESS) - mulhi(bitcast(u64, a), u64(0x5555555555555556)))
    w = w * horner(a * (w * w * w) - 1.0, INVERSE_CUBE_ROOT)
    c = bitcast(f64, (bitcast(u64, a * (w * w)) + u64(1 << 35)) & u64(0xFFFFFFF000000000))
    e = (a - c * (c * c)) / a
    y = c + c * (e * (1.0 / 3.0 + e * (2.0 / 9.0 + e * (14.0 / 81.0))))
    y = with_sign_f64(y * select(small, f64(2.0**-18), f64(1.0)), x)
    return select((abs(x) < math.inf) & (x != 0.0), y, x)


def hypot_f64(x: Any, y: Any) -> Any:
    """Return the root of ``x^2 + y^2`` of two f64, as in f32."""
    a, b = abs(x), abs(y)
    longest = select(a > b, a, b)
    scale = select(longest > 2.0**500, f64(2.0**-600), select(longest < 2.0**-400, f64(2.0**600), f64(1.0)))
    p, p1 = product_f64(longest * scale, longest * scale)
    shortest = select(a > b, b, a) * scale
    q, q1 = product_f64(shortest, shortest)
    total, low = two_sum(p, q)
    root = sqrt(total)
    square, left = product_f64(root, root)
    root = root + (((total - square) - left) + (low + (p1 + q1))) / (root + root)
    r = select(longest > 0.0, root / scale, longest)
    r = select((x != x) | (y != y), f64(math.nan), r)  # noqa: PLR0124
    return select((a == math.inf) | (b == math.inf), f64(math.inf), r)


def _pow_positive(a: Any, y: Any) -> Any:
    """Return ``a^y`` for positive finite a."""
    y = clamped_f64(y, -_LONGEST, _LONGEST)
    log, log1 = log_pair_f64(a)
    high, low = product_f64(log, y)
    low = low + log1 * y
    beyond = abs(high) > 750.0
    n, p, p1 = exp_pair(clamped_f64(high, -750.0, 712.0), select(beyond, f64(0.0), low))
    n = select(n > 1025.0, f64(1025.0), n)
    return scaled_f64(p + p1, n)


def pow_f64(x: Any, y: Any) -> Any:
    """Return ``x`` to the power ``y`` of two f64."""
    a = abs(x)
    r = _pow_positive(a, y)
    r = select((a == 0.0) | (a == math.inf), select((y < 0.0) == (a == 0.0), f64(math.inf), f64(0.0)), r)
    whole = rint(y) == y
    odd = whole & (rint(0.5 * y) != 0.5 * y)
    r = select((bitcast(i64, x) < 0) & odd, -r, r)
    none = (x != x) | (y != y) | ((x < 0.0) & (x > -math.inf) & (not whole))  # noqa: PLR0124
    r = select(none, f64(math.nan), r)
    return select((y == 0.0) | (x == 1.0), f64(1.0), r)

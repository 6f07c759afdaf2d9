"""Roots and powers: rsqrt, cbrt, hypot and pow.

Layer: kernels. Invariant: only correctly rounded operations and integer operations are used; no branches.

Sources: docs/numerics.md, section 3; log2 by the series of (m - 1)/(m + 1) as in FreeBSD's e_pow.c (Sun Microsystems,
1993); exact sums and products after Dekker 1971; coefficients from ``tools/fit/power.py``.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, i32, u32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, mulhi, rint, select, sqrt
from loom.kernels.functions.coefficients.power import INVERSE_CUBE_ROOT, LOG2_FIRST, LOG2_REST, LOG2_SECOND
from loom.kernels.functions.doubles import product, two_sum, upper
from loom.kernels.functions.exponential import clamped, power_of_two_of, scaled
from loom.kernels.functions.f64.power import cbrt_f64, hypot_f64, pow_f64
from loom.kernels.functions.hyperbolic import with_sign
from loom.kernels.functions.logarithm import widened
from loom.kernels.functions.polynomial import horner

__all__ = ["cbrt", "hypot", "pow", "rsqrt"]

_LOG2_SMALL = (LOG2_SECOND[1], *LOG2_REST)
_GUESS = 0x54A24000
"""Minus a third of the bits of a float, and this, are the bits of its inverse cube root, 4% off."""

_LONGEST = 2.0**34
"""An exponent as good as infinity for every base but 1."""


def _rsqrt(x: Any) -> Any:
    return 1.0 / sqrt(x)


def _cbrt(x: Any) -> Any:
    """Correct a root of 8 bits, whose cube is exact: cbrt(a) = c (1 - e)^(-1/3), e = (a - c^3) / a."""
    small = abs(x) < 2.0**-126
    a = select(small, abs(x) * 2.0**24, abs(x))
    w = bitcast(f32, _GUESS - mulhi(bitcast(u32, a), u32(0x55555556)))
    w = w * horner(a * (w * w * w), INVERSE_CUBE_ROOT)
    c = bitcast(f32, (bitcast(u32, a * (w * w)) + 0x8000) & 0xFFFF0000)
    e = (a - c * (c * c)) * (w * w * w)
    y = c + c * (e * (1.0 / 3.0 + e * (2.0 / 9.0 + e * (14.0 / 81.0))))
    y = with_sign(y * select(small, f32(2.0**-8), f32(1.0)), x)
    return select((abs(x) < math.inf) & (x != 0.0), y, x)


def _hypot(x: Any, y: Any) -> Any:
    """Take squares and their sum exactly, in pairs, and correct the root by what is left: one rounding counts."""
    a, b = abs(x), abs(y)
    longest = select(a > b, a, b)
    scale = select(longest > 2.0**60, f32(2.0**-70), select(longest < 2.0**-40, f32(2.0**80), f32(1.0)))
    p, p1 = product(longest * scale, longest * scale)
    shortest = select(a > b, b, a) * scale
    q, q1 = product(shortest, shortest)
    total, low = two_sum(p, q)
    root = sqrt(total)
    square, left = product(root, root)
    root = root + (((total - square) - left) + (low + (p1 + q1))) / (root + root)
    r = select(longest > 0.0, root / scale, longest)
    r = select((x != x) | (y != y), f32(math.nan), r)  # noqa: PLR0124
    return select((a == math.inf) | (b == math.inf), f32(math.inf), r)


def _log2_pair(a: Any) -> Any:
    """Return two floats whose sum is log2(a) with an error of 2^-34 of it, for positive finite a.

    a = 2^k m; q = (m - 1) / (m + 1) as a pair, log2(m) = q (A + z (B + z P(z))) with z = q^2.
    """
    k, f = widened(a)
    b = f + 2.0
    b_high = upper(b)
    b_low = (b - b_high) + (f - (b - 2.0))
    inverse = 1.0 / b
    q_high = upper(f * inverse)
    q_low = ((f - q_high * b_high) - q_high * b_low) * inverse
    square = q_high * q_high
    z_low = q_low * (q_high + (q_high + q_low))
    z = square + z_low
    z_high = upper(square)
    s_high = z_high * LOG2_SECOND[0]
    s_low = ((square - z_high) + z_low) * LOG2_SECOND[0] + z * horner(z, _LOG2_SMALL)
    s = LOG2_FIRST[0] + s_high
    w_high = upper(s)
    w_low = (s - w_high) + ((s_high - (s - LOG2_FIRST[0])) + (s_low + LOG2_FIRST[1]))
    p_high = q_high * w_high
    total = k + p_high
    return total, (p_high - (total - k)) + (q_high * w_low + q_low * (w_high + w_low))


def _pow_positive(a: Any, y: Any) -> Any:
    """Return ``a^y`` for positive finite a."""
    y = clamped(y, -_LONGEST, _LONGEST)
    log_high, log_low = _log2_pair(a)
    l_high, y_high = upper(log_high), upper(y)
    low = y * ((log_high - l_high) + log_low) + (y - y_high) * l_high
    high = clamped(y_high * l_high, -152.0, 129.0)
    low = clamped(low, -0.25, 0.25)  # what it is within, unless high left its bounds
    n = rint(high + low)
    return scaled(power_of_two_of((high - n) + low), n)


def _pow(x: Any, y: Any) -> Any:
    a = abs(x)
    r = _pow_positive(a, y)
    r = select((a == 0.0) | (a == math.inf), select((y < 0.0) == (a == 0.0), f32(math.inf), f32(0.0)), r)
    whole = rint(y) == y
    odd = whole & (rint(0.5 * y) != 0.5 * y)
    r = select((bitcast(i32, x) < 0) & odd, -r, r)
    none = (x != x) | (y != y) | ((x < 0.0) & (x > -math.inf) & (not whole))  # noqa: PLR0124
    r = select(none, f32(math.nan), r)
    return select((y == 0.0) | (x == 1.0), f32(1.0), r)


@elementary(f32=(_rsqrt, 1.5), f64=(_rsqrt, 1.5))
def rsqrt(x: Any) -> Any:  # type: ignore[empty-body]
    """``1 / sqrt(x)``, two correctly rounded operations: at most 1.5 ulp; -0 gives -inf, below 0 NaN."""


@elementary(f32=(_cbrt, 0.55), f64=(cbrt_f64, 0.55))
def cbrt(x: Any) -> Any:  # type: ignore[empty-body]
    """Cube root, at most 0.55 ulp off (f64: 0.55), exact for cubes; odd."""


@elementary(f32=(_hypot, 0.76), f64=(hypot_f64, 0.76))
def hypot(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """Root of ``x^2 + y^2``, at most 0.76 ulp off (f64: 0.76); infinite if one of them is, beside NaN too."""


@elementary(f32=(_pow, 1.35), f64=(pow_f64, 0.8))
def pow(x: Any, y: Any) -> Any:  # type: ignore[empty-body]  # noqa: A001
    """``x`` to the power ``y``, at most 1.35 ulp off (f64: 0.8), with the special cases of IEEE 754 (C99, annex F).

    ``pow(x, 0)`` and ``pow(1, y)`` are 1, for NaN too; a negative finite base needs a whole exponent, else NaN.
    """

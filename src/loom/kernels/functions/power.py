"""Roots and powers: rsqrt, cbrt, hypot and pow.

Layer: kernels. Invariant: only correctly rounded operations and integer operations are used; no branches. A power that
is an f64 comes out exact, the error before the one rounding being far below half a unit in the last place.

Sources: docs/numerics.md, section 3; log2 by the series of (m - 1)/(m + 1) as in FreeBSD's e_pow.c (Sun Microsystems,
1993), in f64 pow as exp(y log x); exact sums and products after Dekker 1971; coefficients from ``tools/fit/power.py``
and ``f64_elementary.py`` there.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, mulhi, rint, select, sqrt
from loom.kernels.functions.coefficients import f64_elementary, power
from loom.kernels.functions.coefficients.power import LOG2_FIRST, LOG2_REST, LOG2_SECOND
from loom.kernels.functions.doubles import product, two_sum, upper
from loom.kernels.functions.exponential import clamp, exp_pair, power_of_two_of, scale_by_power
from loom.kernels.functions.formats import format_of
from loom.kernels.functions.hyperbolic import with_sign
from loom.kernels.functions.logarithm import log_pair, split_exponent
from loom.kernels.functions.polynomial import horner

__all__ = ["cbrt", "hypot", "pow", "rsqrt"]

_LOG2_SMALL = (LOG2_SECOND[1], *LOG2_REST)
_INVERSE_CUBE_ROOT = {f32: power.INVERSE_CUBE_ROOT, f64: f64_elementary.INVERSE_CUBE_ROOT}
_GUESS = {f32: (0x54A24000, 0x55555556), f64: (0x553EF3B645A1CC00, 0x5555555555555556)}
"""Minus a third of the bits of a float, and the first, are the bits of its inverse cube root, 4% off."""

_CUBED = {f32: (0x8000, 0xFFFF0000), f64: (1 << 35, 0xFFFFFFF000000000)}
"""Half a unit of the bits of a number whose cube is exact, and these bits: 8 (f64: 17) of the significand."""

_SCALES = {f32: (60, -70, -40, 80), f64: (500, -600, -400, 600)}
"""Powers of two: lengths beyond the first are scaled by the second, those below the third by the fourth."""


def _rsqrt(x: Any) -> Any:
    return 1.0 / sqrt(x)


def _cbrt(x: Any) -> Any:
    """Correct a root of few bits, whose cube is exact: cbrt(a) = c (1 - e)^(-1/3), e = (a - c^3) / a."""
    real, form, guess, cubed = x.dtype, format_of(x), _GUESS[x.dtype], _CUBED[x.dtype]
    more = 24.0 if real == f32 else 54.0
    small = abs(x) < form.tiny
    a = select(small, abs(x) * 2.0**more, abs(x))
    w0 = bitcast(real, form.bits(guess[0]) - mulhi(bitcast(form.bits, a), form.bits(guess[1])))
    w = w0 * horner(a * (w0 * w0 * w0) - 1.0 if real == f64 else a * (w0 * w0 * w0), _INVERSE_CUBE_ROOT[real])
    c = bitcast(real, (bitcast(form.bits, a * (w * w)) + form.bits(cubed[0])) & form.bits(cubed[1]))
    rest = a - c * (c * c)
    e = rest * (w * w * w) if real == f32 else rest / a
    y = c + c * (e * (1.0 / 3.0 + e * (2.0 / 9.0 + e * (14.0 / 81.0))))
    y = with_sign(y * select(small, real(2.0 ** (-more / 3.0)), real(1.0)), x)
    return select((abs(x) < math.inf) & (x != 0.0), y, x)


def _hypot(x: Any, y: Any) -> Any:
    """Take squares and their sum exactly, in pairs, and correct the root by what is left: one rounding counts."""
    real, (large, down, little, up) = x.dtype, _SCALES[x.dtype]
    a, b = abs(x), abs(y)
    longest = select(a > b, a, b)
    scale = select(longest > 2.0**large, real(2.0**down), select(longest < 2.0**little, real(2.0**up), real(1.0)))
    p, p1 = product(longest * scale, longest * scale)
    shortest = select(a > b, b, a) * scale
    q, q1 = product(shortest, shortest)
    total, low = two_sum(p, q)
    root = sqrt(total)
    square, left = product(root, root)
    root = root + (((total - square) - left) + (low + (p1 + q1))) / (root + root)
    r = select(longest > 0.0, root / scale, longest)
    r = select((x != x) | (y != y), real(math.nan), r)  # noqa: PLR0124
    return select((a == math.inf) | (b == math.inf), real(math.inf), r)


def _log2_pair(a: Any) -> Any:
    """Return two floats whose sum is log2(a) with an error of 2^-34 of it, for positive finite a.

    a = 2^k m; q = (m - 1) / (m + 1) as a pair, log2(m) = q (A + z (B + z P(z))) with z = q^2.
    """
    k, f = split_exponent(a)
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
    """Return ``a^y`` for positive finite a; an exponent of 2^34 (f64: 2^65) is as good as infinity for all but 1."""
    y = clamp(y, -(2.0**34), 2.0**34)
    log_high, log_low = _log2_pair(a)
    l_high, y_high = upper(log_high), upper(y)
    low = y * ((log_high - l_high) + log_low) + (y - y_high) * l_high
    high = clamp(y_high * l_high, -152.0, 129.0)
    low = clamp(low, -0.25, 0.25)  # what it is within, unless high left its bounds
    n = rint(high + low)
    return scale_by_power(power_of_two_of((high - n) + low), n)


def _pow_positive_f64(a: Any, y: Any) -> Any:
    within = clamp(y, -(2.0**65), 2.0**65)
    log, log1 = log_pair(a)
    high, low = product(log, within)
    beyond = abs(high) > 750.0
    n, p, p1 = exp_pair(clamp(high, -750.0, 712.0), select(beyond, f64(0.0), low + log1 * within))
    return scale_by_power(p + p1, select(n > 1025.0, f64(1025.0), n))


def _pow(x: Any, y: Any) -> Any:
    real, a = x.dtype, abs(x)
    r = _pow_positive(a, y) if real == f32 else _pow_positive_f64(a, y)
    r = select((a == 0.0) | (a == math.inf), select((y < 0.0) == (a == 0.0), real(math.inf), real(0.0)), r)
    whole = rint(y) == y
    odd = whole & (rint(0.5 * y) != 0.5 * y)
    r = select((bitcast(format_of(x).signed, x) < 0) & odd, -r, r)
    none = (x != x) | (y != y) | ((x < 0.0) & (x > -math.inf) & (not whole))  # noqa: PLR0124
    r = select(none, real(math.nan), r)
    return select((y == 0.0) | (x == 1.0), real(1.0), r)


@elementary(f32=(_rsqrt, 1.5), f64=(_rsqrt, 1.5))
def rsqrt(x: Any) -> Any:  # type: ignore[empty-body]
    """``1 / sqrt(x)``, two correctly rounded operations: at most 1.5 ulp; -0 gives -inf, below 0 NaN."""


@elementary(f32=(_cbrt, 0.55), f64=(_cbrt, 0.55))
def cbrt(x: Any) -> Any:  # type: ignore[empty-body]
    """Cube root, at most 0.55 ulp off (f64: 0.55), exact for cubes; odd."""


@elementary(f32=(_hypot, 0.76), f64=(_hypot, 0.76))
def hypot(x: Any, y: Any) -> Any:  # type: ignore[empty-body]
    """Root of ``x^2 + y^2``, at most 0.76 ulp off (f64: 0.76); infinite if one of them is, beside NaN too."""


@elementary(f32=(_pow, 1.35), f64=(_pow, 0.8))
def pow(x: Any, y: Any) -> Any:  # type: ignore[empty-body]  # noqa: A001
    """``x`` to the power ``y``, at most 1.35 ulp off (f64: 0.8), with the special cases of IEEE 754 (C99, annex F).

    ``pow(x, 0)`` and ``pow(1, y)`` are 1, for NaN too; a negative finite base needs a whole exponent, else NaN.
    """

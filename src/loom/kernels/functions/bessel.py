"""Bessel functions of the first and second kind of orders 0 and 1.

Layer: kernels. Up to 2 polynomials in x^2 (and a logarithm); in f64 from 2 to 5 a polynomial times the distances from
the zero there and the next; beyond, modulus and phase, the phase reduced without loss (``reduction``), so that huge
arguments are as exact as small ones. Lanes of these ranges part at an ``if``. Invariant: j0 is even and j1 odd, bit for
bit.

Sources: DLMF 10.8 (series), 10.18 (modulus and phase); polynomials from ``tools/fit/bessel.py`` and ``f64_bessel.py``
there.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, f64, u32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, select, sqrt
from loom.kernels.functions.coefficients import bessel as table
from loom.kernels.functions.coefficients import f64_bessel as table_f64
from loom.kernels.functions.doubles import fast_two_sum, product, quotient, times, two_sum
from loom.kernels.functions.formats import format_of
from loom.kernels.functions.logarithm import log_pair
from loom.kernels.functions.polynomial import horner
from loom.kernels.functions.reduction import quarter_turns
from loom.kernels.functions.trigonometric import wave

__all__ = ["j0", "j1", "y0", "y1"]

_EDGE, _FAR = 2.0, 5.0
_MODULUS = {f32: (table.MODULUS0, table.MODULUS1), f64: (table_f64.MODULUS0, table_f64.MODULUS1)}
_PHASE = {f32: (table.PHASE0, table.PHASE1), f64: (table_f64.PHASE0, table_f64.PHASE1)}
_EIGHTH_TURN = {f32: table.EIGHTH_TURN, f64: table_f64.EIGHTH_TURN}
_ZEROS = (
    ((table_f64.Y0_ZERO, table_f64.Y0_NEXT), (table_f64.Y1_ZERO, table_f64.Y1_NEXT)),
    ((table_f64.J0_ZERO, table_f64.J0_NEXT), (table_f64.J1_ZERO, table_f64.J1_NEXT)),
)
"""The zeros beside 2 to 5, by ``quarters`` and ``order`` of ``_beyond``, as those of the polynomials below."""
_MIDDLE = ((table_f64.Y0_MIDDLE, table_f64.Y1_MIDDLE), (table_f64.J0_MIDDLE, table_f64.J1_MIDDLE))
_Y0_FIRST = (table_f64.Y0_FIRST, table_f64.Y0_ZERO)


def _beyond(a: Any, order: Any, quarters: Any) -> Any:
    """Return J (``quarters`` 1) or Y (0) of this order, for ``a`` of at least 2 (f64: 5), by modulus and phase.

    An eighth of a turn is taken off, or put on and a quarter taken off, so that the angle stays small.
    """
    real, eighth, modulus = a.dtype, _EIGHTH_TURN[a.dtype], _MODULUS[a.dtype][order]
    w = 1.0 / a
    u = w * w
    more = w * horner(u, _PHASE[real][order])
    size = (modulus[0] + (modulus[1] + u * horner(u, modulus[2:]))) / sqrt(a)
    n, high, low = quarter_turns(a)
    back = high + more < 0.0
    turn = select(back, real(eighth[0]), real(-eighth[0]))
    rest = select(back, real(eighth[1]), real(-eighth[1]))
    high, left = two_sum(high, turn)
    high, left1 = two_sum(high, more)
    low = low + ((left + left1) + rest)
    if real == f64:
        high, low = fast_two_sum(high, low)
    y = size * wave(n + quarters - order - u32(back), high, low)
    return select(a == math.inf, real(0.0), y)


def _from(x: Any, zero: Any) -> Any:
    """Return ``x - zero`` as a pair."""
    high, low = two_sum(x, f64(-zero[0]))
    return fast_two_sum(high, low - zero[1])


def _beside(x: Any, zeros: Any, t: Any, coefficients: Any) -> Any:
    """Return ``(x - zeros[0]) (x - zeros[1]) P(t)`` of f64."""
    d, d1 = _from(x, zeros[0])
    e, e1 = _from(x, zeros[1])
    d, d1 = times(d, d1, e, e1)
    p, p1 = two_sum(f64(coefficients[0]), coefficients[1] + t * horner(t, coefficients[2:]))
    return d * p + (d * p1 + d1 * p)


def _above(a: Any, order: Any, quarters: Any) -> Any:
    """Return what ``_beyond`` does at ``a`` of at least 2, whatever the type."""
    if a.dtype == f32:
        return _beyond(a, order, quarters)
    if a < _FAR:
        y = _beside(a, _ZEROS[quarters][order], a - 3.5, _MIDDLE[quarters][order])
    else:
        y = _beyond(a, order, quarters)
    return y


def _j0_within(a: Any) -> Any:
    """Return J0 below 2, of f64 as a pair."""
    z, z1 = product(a, a)
    if a.dtype == f32:
        return (1.0 - 0.25 * z) + ((z * z) * horner(z, table.J0) - 0.25 * z1)
    high, low = fast_two_sum(f64(1.0), -0.25 * z)
    return high, low + ((z * z) * horner(z, table_f64.J0) - 0.25 * z1)


def _j1_within(a: Any) -> Any:
    """Return J1 below 2, of f64 J1(x) / x as a pair."""
    z = a * a
    if a.dtype == f32:
        return a * (0.5 + z * horner(z, table.J1))
    return fast_two_sum(f64(0.5), z * horner(z, table_f64.J1))


def _j0(x: Any) -> Any:
    a = abs(x)
    if a < _EDGE:
        if a.dtype == f32:
            y = _j0_within(a)
        else:
            high, low = _j0_within(a)
            y = high + low
    else:
        y = _above(a, 0, 1)
    return y


def _j1(x: Any) -> Any:
    form, a = format_of(x), abs(x)
    if a < _EDGE:
        if a.dtype == f32:
            y = _j1_within(a)
        else:
            high, low = _j1_within(a)
            y = a * high + a * low
    else:
        y = _above(a, 1, 1)
    return bitcast(x.dtype, bitcast(form.bits, y) ^ bitcast(form.bits, x) & form.sign)


def _log_part(x: Any) -> Any:
    """Return ``(2 / pi) log(x)`` of an f64 as a pair."""
    log, log1 = log_pair(abs(x))
    return times(log, log1, f64(table_f64.TWO_OVER_PI[0]), f64(table_f64.TWO_OVER_PI[1]))


def _y0_within(x: Any) -> Any:
    """Return Y0 below 2."""
    if x.dtype == f32:
        log, log1 = log_pair(abs(x))
        part = table.TWO_OVER_PI[0] * _j0_within(x)
        y = part * log + (part * log1 + horner(x * x, table.Y0))
        t, c = x - 1.375, table.Y0_NEAR
        near = ((x - table.Y0_ZERO[0]) - table.Y0_ZERO[1]) * (c[0] + (c[1] + t * horner(t, c[2:])))
    else:
        j, j1 = _j0_within(x)
        part, part1 = _log_part(x)
        part, part1 = times(part, part1, j, j1)
        high, low = two_sum(part, horner(x * x, table_f64.Y0))
        near = _beside(x, _Y0_FIRST, x - 1.375, table_f64.Y0_NEAR)
        y = high + (low + part1)
    return select(x < 0.75, y, near)  # where the sum cancels


def _y1_within(x: Any) -> Any:
    """Return Y1 below 2."""
    if x.dtype == f32:
        log, _ = log_pair(abs(x))
        rest = x * horner(x * x, table.Y1) - table.TWO_OVER_PI[1] / x
        y = (table.TWO_OVER_PI[0] * (log * _j1_within(x)) + rest) - table.TWO_OVER_PI[0] / x
        near = horner(x - 2.0, table.Y1_NEAR)
    else:
        j, j1 = _j1_within(x)
        part, part1 = _log_part(x)
        part, part1 = times(part, part1, j, j1)
        part, part1 = times(part, part1, x, f64(0.0))
        pole, pole1 = quotient(f64(table_f64.TWO_OVER_PI[0]), f64(table_f64.TWO_OVER_PI[1]), x, f64(0.0))
        high, low = two_sum(part, -pole)
        high, low1 = two_sum(high, x * horner(x * x, table_f64.Y1))
        y = select(x < 2.0**-30, -pole, high + ((low + low1) + (part1 - pole1)))
        near = horner(x - 2.0, table_f64.Y1_NEAR)
    return select(x < 1.25, y, near)  # where the sum cancels


def _y0(x: Any) -> Any:
    if x < _EDGE:
        y = _y0_within(x)
    else:
        y = _above(x, 0, 0)
    return _in_domain(x, y)


def _y1(x: Any) -> Any:
    if x < _EDGE:
        y = _y1_within(x)
    else:
        y = _above(x, 1, 0)
    return _in_domain(x, y)


def _in_domain(x: Any, y: Any) -> Any:
    return select(x == 0.0, x.dtype(-math.inf), select(x < 0.0, x.dtype(math.nan), y))


@elementary(f32=(_j0, 4.0), f64=(_j0, 3.7))
def j0(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the first kind, order 0: at most 4 ulp off (f64: 3.7) where it is large; infinities give 0.

    Large: at least a quarter of its envelope e = min(1, sqrt(2 / (pi abs(x)))). Elsewhere, near its zeros, it is off
    by at most 2^-24 e (f64: 2^-53 e). Below 2 it is always large.
    """


@elementary(f32=(_j1, 4.0), f64=(_j1, 3.7))
def j1(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the first kind, order 1, at most 4 ulp off (f64: 3.7) below 2 and where it is large: ``j0``.

    Elsewhere it is off by at most 2^-24 e (f64: 2^-53 e). -0 gives -0, infinities zeros of their sign.
    """


@elementary(f32=(_y0, 4.0), f64=(_y0, 3.7))
def y0(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the second kind, order 0, at most 4 ulp off (f64: 3.7) below 2 and where it is large: ``j0``.

    Elsewhere it is off by at most 2^-24 e (f64: 2^-53 e). Zeros give -inf, numbers below 0 NaN, inf 0.
    """


@elementary(f32=(_y1, 4.0), f64=(_y1, 3.7))
def y1(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the second kind, order 1, at most 4 ulp off (f64: 3.7) below 2 and where it is large: ``j0``.

    Elsewhere it is off by at most 2^-24 e (f64: 2^-53 e). Zeros give -inf, numbers below 0 NaN, inf 0.
    """

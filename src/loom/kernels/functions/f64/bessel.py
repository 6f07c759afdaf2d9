"""Bessel functions of the first and second kind of orders 0 and 1, in f64.

Layer: kernels. Up to 2 polynomials in x^2 (and a logarithm); from 2 to 5 a polynomial times the distances from the
zero there and the next; beyond, modulus and phase, the phase reduced without loss (``f64_reduction``).
Invariant: j0 is even and j1 odd, bit for bit.

Sources: DLMF 10.8 (series), 10.18 (modulus and phase); polynomials from ``tools/fit/f64_bessel.py``.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f64, u32, u64
from loom.ir.frontend.intrinsics import bitcast, select, sqrt
from loom.kernels.functions.coefficients import f64_bessel as table
from loom.kernels.functions.doubles import fast_two_sum, product_f64, two_sum
from loom.kernels.functions.f64.logarithm import log_pair_f64
from loom.kernels.functions.f64.pairs import divided, times
from loom.kernels.functions.f64.reduction import quarter_turns
from loom.kernels.functions.f64.trigonometric import wave
from loom.kernels.functions.polynomial import horner

__all__ = ["j0_f64", "j1_f64", "y0_f64", "y1_f64"]

_EDGE, _FAR = 2.0, 5.0
_MODULUS = (table.MODULUS0, table.MODULUS1)
_PHASE = (table.PHASE0, table.PHASE1)
_J0_ZEROS = (table.J0_ZERO, table.J0_NEXT)
_J1_ZEROS = (table.J1_ZERO, table.J1_NEXT)
_Y0_ZEROS = (table.Y0_ZERO, table.Y0_NEXT)
_Y0_FIRST = (table.Y0_FIRST, table.Y0_ZERO)
_Y1_ZEROS = (table.Y1_ZERO, table.Y1_NEXT)


def _beyond(a: Any, order: Any, quarters: Any) -> Any:
    """Return J (``quarters`` 1) or Y (0) of this order at ``a``, at least 5: modulus times a wave of the phase.

    An eighth of a turn is taken off, or put on and a quarter taken off, so that the angle stays small.
    """
    w = 1.0 / a
    u = w * w
    more = w * horner(u, _PHASE[order])
    size = (_MODULUS[order][0] + (_MODULUS[order][1] + u * horner(u, _MODULUS[order][2:]))) / sqrt(a)
    n, high, low = quarter_turns(a)
    back = high + more < 0.0
    turn = select(back, f64(table.EIGHTH_TURN[0]), f64(-table.EIGHTH_TURN[0]))
    rest = select(back, f64(table.EIGHTH_TURN[1]), f64(-table.EIGHTH_TURN[1]))
    high, left = two_sum(high, turn)
    high, left1 = two_sum(high, more)
    high, low = fast_two_sum(high, low + ((left + left1) + rest))
    y = size * wave(n + quarters - order - u32(back), high, low)
    return select(a == math.inf, f64(0.0), y)


def _from(x: Any, zero: Any) -> Any:
    """Return ``x - zero`` as a pair."""
    high, low = two_sum(x, f64(-zero[0]))
    return fast_two_sum(high, low - zero[1])


def _beside(x: Any, zeros: Any, t: Any, coefficients: Any) -> Any:
    """Return ``(x - zeros[0]) (x - zeros[1]) P(t)``."""
    d, d1 = _from(x, zeros[0])
    e, e1 = _from(x, zeros[1])
    d, d1 = times(d, d1, e, e1)
    p, p1 = two_sum(f64(coefficients[0]), coefficients[1] + t * horner(t, coefficients[2:]))
    return d * p + (d * p1 + d1 * p)


def _j0_within(a: Any) -> Any:
    """Return J0 below 2 as a pair."""
    z, z1 = product_f64(a, a)
    high, low = fast_two_sum(f64(1.0), -0.25 * z)
    return high, low + ((z * z) * horner(z, table.J0) - 0.25 * z1)


def _j1_within(a: Any) -> Any:
    """Return J1(x) / x below 2 as a pair."""
    z = a * a
    return fast_two_sum(f64(0.5), z * horner(z, table.J1))


def j0_f64(x: Any) -> Any:
    """Return J0 of an f64."""
    a = abs(x)
    if a < _EDGE:
        high, low = _j0_within(a)
        y = high + low
    elif a < _FAR:
        y = _beside(a, _J0_ZEROS, a - 3.5, table.J0_MIDDLE)
    else:
        y = _beyond(a, 0, 1)
    return y


def j1_f64(x: Any) -> Any:
    """Return J1 of an f64."""
    a = abs(x)
    if a < _EDGE:
        high, low = _j1_within(a)
        y = a * high + a * low
    elif a < _FAR:
        y = _beside(a, _J1_ZEROS, a - 3.5, table.J1_MIDDLE)
    else:
        y = _beyond(a, 1, 1)
    return bitcast(f64, bitcast(u64, y) ^ bitcast(u64, x) & u64(0x8000000000000000))


def _log_part(x: Any) -> Any:
    """Return ``(2 / pi) log(x)`` as a pair."""
    log, log1 = log_pair_f64(abs(x))
    return times(log, log1, f64(table.TWO_OVER_PI[0]), f64(table.TWO_OVER_PI[1]))


def _y0_within(x: Any) -> Any:
    """Return Y0 below 2."""
    j, j1 = _j0_within(x)
    part, part1 = _log_part(x)
    part, part1 = times(part, part1, j, j1)
    high, low = two_sum(part, horner(x * x, table.Y0))
    near = _beside(x, _Y0_FIRST, x - 1.375, table.Y0_NEAR)
    return select(x < 0.75, high + (low + part1), near)  # where the sum cancels


def _y1_within(x: Any) -> Any:
    """Return Y1 below 2."""
    j, j1 = _j1_within(x)
    part, part1 = _log_part(x)
    part, part1 = times(part, part1, j, j1)
    part, part1 = times(part, part1, x, f64(0.0))
    pole, pole1 = divided(f64(table.TWO_OVER_PI[0]), f64(table.TWO_OVER_PI[1]), x, f64(0.0))
    high, low = two_sum(part, -pole)
    high, low1 = two_sum(high, x * horner(x * x, table.Y1))
    y = select(x < 2.0**-30, -pole, high + ((low + low1) + (part1 - pole1)))
    return select(x < 1.25, y, horner(x - 2.0, table.Y1_NEAR))  # where the sum cancels


def y0_f64(x: Any) -> Any:
    """Return Y0 of an f64."""
    if x < _EDGE:
        y = _y0_within(x)
    elif x < _FAR:
        y = _beside(x, _Y0_ZEROS, x - 3.5, table.Y0_MIDDLE)
    else:
        y = _beyond(x, 0, 0)
    return _in_domain(x, y)


def y1_f64(x: Any) -> Any:
    """Return Y1 of an f64."""
    if x < _EDGE:
        y = _y1_within(x)
    elif x < _FAR:
        y = _beside(x, _Y1_ZEROS, x - 3.5, table.Y1_MIDDLE)
    else:
        y = _beyond(x, 1, 0)
    return _in_domain(x, y)


def _in_domain(x: Any, y: Any) -> Any:
    return select(x == 0.0, f64(-math.inf), select(x < 0.0, f64(math.nan), y))

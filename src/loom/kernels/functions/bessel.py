"""Bessel functions of the first and second kind of orders 0 and 1.

Layer: kernels. Up to 2 polynomials in x^2 (and a logarithm); beyond, modulus and phase, the phase reduced without loss
(``reduction``), so that huge arguments are as exact as small ones. Lanes below and above 2 part at an ``if``.
Invariant: j0 is even and j1 odd, bit for bit.

Sources: DLMF 10.8 (series), 10.18 (modulus and phase); polynomials from ``tools/fit/bessel.py``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, select, sqrt
from loom.kernels.functions.coefficients.bessel import (
    EIGHTH_TURN,
    J0,
    J1,
    MODULUS0,
    MODULUS1,
    PHASE0,
    PHASE1,
    TWO_OVER_PI,
    Y0,
    Y0_NEAR,
    Y0_ZERO,
    Y1,
    Y1_NEAR,
)
from loom.kernels.functions.doubles import product, two_sum
from loom.kernels.functions.f64.bessel import j0_f64, j1_f64, y0_f64, y1_f64
from loom.kernels.functions.gamma import log_pair
from loom.kernels.functions.polynomial import horner
from loom.kernels.functions.reduction import quarter_turns
from loom.kernels.functions.trigonometric import wave

__all__ = ["j0", "j1", "y0", "y1"]

_EDGE = 2.0
_MODULUS = (MODULUS0, MODULUS1)
_PHASE = (PHASE0, PHASE1)
_INFINITY = float("inf")
_NAN = float("nan")


def _beyond(a: Any, order: Any, quarters: Any) -> Any:
    """Return J (``quarters`` 1) or Y (0) of this order at ``a``, at least 2: modulus times a wave of the phase.

    An eighth of a turn is taken off, or put on and a quarter taken off, so that the angle stays small.
    """
    w = 1.0 / a
    u = w * w
    more = w * horner(u, _PHASE[order])
    table = _MODULUS[order]
    size = (table[0] + (table[1] + u * horner(u, table[2:]))) / sqrt(a)
    n, high, low = quarter_turns(a)
    back = high + more < 0.0
    turn = select(back, f32(EIGHTH_TURN[0]), f32(-EIGHTH_TURN[0]))
    rest = select(back, f32(EIGHTH_TURN[1]), f32(-EIGHTH_TURN[1]))
    high, left = two_sum(high, turn)
    high, left1 = two_sum(high, more)
    n = n + quarters - order - u32(back)
    y = size * wave(n, high, low + ((left + left1) + rest))
    return select(a == _INFINITY, f32(0.0), y)


def _j0_within(a: Any) -> Any:
    z, z1 = product(a, a)
    return (1.0 - 0.25 * z) + ((z * z) * horner(z, J0) - 0.25 * z1)


def _j1_within(a: Any) -> Any:
    z = a * a
    return a * (0.5 + z * horner(z, J1))


def _j0_32(x: Any) -> Any:
    a = abs(x)
    if a < _EDGE:
        y = _j0_within(a)
    else:
        y = _beyond(a, 0, 1)
    return y


def _j1_32(x: Any) -> Any:
    a = abs(x)
    if a < _EDGE:
        y = _j1_within(a)
    else:
        y = _beyond(a, 1, 1)
    return bitcast(f32, bitcast(u32, y) ^ bitcast(u32, x) & 0x80000000)


def _y0_32(x: Any) -> Any:
    if x < _EDGE:
        log, log1 = log_pair(abs(x))
        part = TWO_OVER_PI[0] * _j0_within(x)
        y = part * log + (part * log1 + horner(x * x, Y0))
        t = x - 1.375
        near = ((x - Y0_ZERO[0]) - Y0_ZERO[1]) * (Y0_NEAR[0] + (Y0_NEAR[1] + t * horner(t, Y0_NEAR[2:])))
        y = select(x < 0.75, y, near)  # where the sum cancels
    else:
        y = _beyond(x, 0, 0)
    return _in_domain(x, y)


def _y1_32(x: Any) -> Any:
    if x < _EDGE:
        log, _ = log_pair(abs(x))
        rest = x * horner(x * x, Y1) - TWO_OVER_PI[1] / x
        y = (TWO_OVER_PI[0] * (log * _j1_within(x)) + rest) - TWO_OVER_PI[0] / x
        y = select(x < 1.25, y, horner(x - 2.0, Y1_NEAR))  # where the sum cancels
    else:
        y = _beyond(x, 1, 0)
    return _in_domain(x, y)


def _in_domain(x: Any, y: Any) -> Any:
    return select(x == 0.0, f32(-_INFINITY), select(x < 0.0, f32(_NAN), y))


@elementary(f32=(_j0_32, 4.0), f64=(j0_f64, 3.7))
def j0(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the first kind, order 0: at most 4 ulp off (f64: 3.7) where it is large; infinities give 0.

    Large: at least a quarter of its envelope e = min(1, sqrt(2 / (pi abs(x)))). Elsewhere, near its zeros, it is off
    by at most 2^-24 e (f64: 2^-53 e). Below 2 it is always large.
    """


@elementary(f32=(_j1_32, 4.0), f64=(j1_f64, 3.7))
def j1(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the first kind, order 1, at most 4 ulp off (f64: 3.7) below 2 and where it is large: ``j0``.

    Elsewhere it is off by at most 2^-24 e (f64: 2^-53 e). -0 gives -0, infinities zeros of their sign.
    """


@elementary(f32=(_y0_32, 4.0), f64=(y0_f64, 3.7))
def y0(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the second kind, order 0, at most 4 ulp off (f64: 3.7) below 2 and where it is large: ``j0``.

    Elsewhere it is off by at most 2^-24 e (f64: 2^-53 e). Zeros give -inf, numbers below 0 NaN, inf 0.
    """


@elementary(f32=(_y1_32, 4.0), f64=(y1_f64, 3.7))
def y1(x: Any) -> Any:  # type: ignore[empty-body]
    """Bessel function of the second kind, order 1, at most 4 ulp off (f64: 3.7) below 2 and where it is large: ``j0``.

    Elsewhere it is off by at most 2^-24 e (f64: 2^-53 e). Zeros give -inf, numbers below 0 NaN, inf 0.
    """

"""What every elementary function should give: one row per name, for other files of this folder to read.

A row has a float64 function of numpy arrays, good to some 1e-13 nearly everywhere, and a function of mpmath
numbers, which decides where the first may be doubted. To add a function, add a row. Oracles: numpy, scipy, mpmath.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

from deferred import functions_of

special = functions_of(__import__("pytest").importorskip("scipy.special"))
exact = functions_of(mp)

__all__ = ["REFERENCES", "Reference"]


@dataclass(frozen=True)
class Reference:
    """``fast`` takes float64 arrays, ``exact`` mpmath numbers (finite, where ``fast`` gives a number).

    ``edges`` are inputs whose neighbourhoods are worth a look: where the definition changes its formula, where
    the result overflows, underflows or is 0. ``near`` bounds where random inputs are taken besides all exponents.
    ``slack`` gives, for inputs, results and half a unit of 1 (2^-24, 2^-53), an absolute error that the docstring
    allows besides the ulps.
    """

    fast: Callable[..., Any]
    exact: Callable[..., Any]
    edges: tuple[float, ...] = ()
    near: tuple[float, float] = (-12.0, 12.0)
    slack: Callable[[Any, Any, float], Any] | None = None


def _sigmoid(x: Any) -> Any:
    return np.where(x < 0, np.exp(x), 1.0) / (1.0 + np.exp(-abs(x)))


def _gelu_tanh(x: Any) -> Any:
    inner = np.sqrt(8 / np.pi) * x * (1 + 0.044715 * x * x)
    return np.where(inner < -800, -0.0, np.where(x == np.inf, x, np.where(abs(x) == np.inf, 0, x) * _sigmoid(inner)))


def _gelu(x: Any) -> Any:
    return np.where(x == -np.inf, -0.0, x * (0.5 * special.erfc(-x / np.sqrt(2.0))))


def _exact_gelu_tanh(x: Any) -> Any:
    return x / (1 + mp.exp(-mp.sqrt(8 / mp.pi) * x * (1 + mp.mpf("0.044715") * x * x)))


def _erfc(x: Any) -> Any:
    return mp.erfc(x) if x < 1e3 else mp.mpf(0)


def _root(x: Any) -> Any:
    return mp.cbrt(x) if x >= 0 else -mp.cbrt(-x)


def _lgamma(x: Any) -> Any:
    return mp.log(abs(mp.gamma(x))) if abs(x) < 1e4 or x < 0 else mp.loggamma(x)


def _bessel(small: Any, order: int, *, second: bool) -> Callable[..., Any]:
    """Return a Bessel function: scipy's below 25, beyond it the series of Hankel, with sines of unreduced x."""

    def at(x: Any) -> Any:
        a = np.where(abs(x) > 25, abs(x), 25.0)
        p, q = _hankel(4 * order * order, 1 / a)
        s, c = (np.sin(a), np.cos(a)) if order == 0 else (-np.cos(a), np.sin(a))
        there = p * (s - c) + q * (c + s) if second else p * (c + s) - q * (s - c)
        there = np.where(np.isinf(a), 0.0, there / np.sqrt(np.pi * a))
        sign = np.where((x < 0) & bool(order), -1.0, 1.0)
        there = np.where(x < 0, np.nan, there) if second else sign * there
        return np.where(abs(x) > 25, there, small(x))

    return at


def _hankel(square: int, inverse: Any) -> tuple[Any, Any]:
    """Return the slowly varying P and Q of J and Y for x of at least 25, ``inverse`` being 1/x."""
    term, p, q = 1.0, 1.0, 0.0
    for k in range(1, 26):
        term = term * (square - (2 * k - 1) ** 2) / (8 * k) * inverse
        if k % 2:
            q = q + (term if k % 4 == 1 else -term)
        else:
            p = p + (term if k % 4 == 0 else -term)
    return p, q


def _series_y(order: int, x: Any) -> Any:
    """Return Y0 or Y1 by DLMF 10.8.1, for which mpmath takes limits at a hundred times the cost."""
    with mp.workprec(500):
        half, square, total, harmonic = x / 2, x * x / 4, mp.mpf(0), mp.mpf(0)
        term, k = mp.mpf(1) if order == 0 else half, 0
        while k < 300 and (k < 3 or abs(term) > mp.mpf(2) ** -450):
            total += term * (2 * harmonic + (mp.mpf(1) / (k + 1) if order else 0) - 2 * mp.euler)
            k += 1
            harmonic += mp.mpf(1) / k
            term *= -square / (k * (k + order))
        y = (2 * mp.log(half) * mp.besselj(order, x) - total) / mp.pi
        return y - 2 / (mp.pi * x) if order else y


def _exact_bessel(order: int, *, second: bool) -> Callable[[Any], Any]:
    """Return a Bessel function of mpmath numbers: series up to 60, beyond it Hankel's, good to 2^-160."""

    def at(x: Any) -> Any:
        a = abs(x)
        if a < 60:
            return _series_y(order, x) if second else mp.besselj(order, x)
        with mp.workprec(200 + max(0, mp.frexp(a)[1])):
            p, q, term = mp.mpf(1), mp.mpf(0), mp.mpf(1)
            for k in range(1, 100):
                term = term * (4 * order * order - (2 * k - 1) ** 2) / (8 * k * a)
                if abs(term) < mp.mpf(2) ** -180:
                    break
                p, q = (p, q + term * (-1) ** (k // 2)) if k % 2 else (p + term * (-1) ** (k // 2), q)
            angle = a - (2 * order + 1) * mp.pi / 4
            s, c = mp.sin(angle), mp.cos(angle)
            y = mp.sqrt(2 / (mp.pi * a)) * (p * s + q * c if second else p * c - q * s)
            return -y if x < 0 and order else y

    return at


def _near_zeros(x: Any, want: Any, unit: float) -> Any:
    """Half a unit of the envelope where a Bessel function is below a quarter of it, from 2 on."""
    envelope = np.minimum(1.0, np.sqrt(2 / (np.pi * np.maximum(abs(x), 1e-9))))
    return np.where((abs(want) < envelope / 4) & (abs(x) >= 2), unit * envelope, 0.0)


def _lgamma_slack(x: Any, want: Any, unit: float) -> Any:
    return np.where((x < 0) & (abs(want) < 1), 4 * unit, 0.0)


_HALF_PI = np.pi / 2

REFERENCES: dict[str, Reference] = {
    "acos": Reference(np.arccos, exact.acos, (-1.0, -0.5, 0.5, 1.0), (-1.0, 1.0)),
    "acosh": Reference(np.arccosh, lambda x: mp.acosh(x) if x >= 1 else mp.nan, (1.0, 2.0, 2.0**60), (1.0, 12.0)),
    "asin": Reference(np.arcsin, exact.asin, (-1.0, -0.5, 0.5, 1.0), (-1.0, 1.0)),
    "asinh": Reference(np.arcsinh, exact.asinh, (0.3, 1.0, 2.0**60)),
    "atan": Reference(np.arctan, exact.atan, (-1.0, 1.0)),
    "atan2": Reference(np.arctan2, exact.atan2, (-1.0, 1.0)),
    "atanh": Reference(np.arctanh, exact.atanh, (-1.0, -0.5, 0.5, 1.0), (-1.0, 1.0)),
    "cbrt": Reference(np.cbrt, _root, (1.0, 2.0, 4.0, 8.0)),
    "cos": Reference(np.cos, exact.cos, (_HALF_PI, 3 * _HALF_PI, 8192.0), (-100.0, 100.0)),
    "cosh": Reference(np.cosh, exact.cosh, (0.0, 89.41598)),
    "erf": Reference(special.erf, exact.erf, (0.94, 2.1, 3.92, -0.94)),
    "erfc": Reference(special.erfc, _erfc, (0.45, -0.45, 9.19455, 10.0546)),
    "exp": Reference(np.exp, exact.exp, (88.722839, -87.33654, -103.97208), (-105.0, 90.0)),
    "exp2": Reference(np.exp2, lambda x: mp.mpf(2) ** x, (128.0, -126.0, -150.0), (-152.0, 130.0)),
    "expm1": Reference(np.expm1, exact.expm1, (88.722839, -17.4, 0.34657, -0.34657), (-20.0, 20.0)),
    "gamma": Reference(special.gamma, exact.gamma, (1.0, 2.0, 35.0401), (-36.0, 36.0)),
    "gelu": Reference(_gelu, lambda x: x * _erfc(-x / mp.sqrt(2)) / 2, (0.64, -0.64, -13.0, -14.4), (-15.0, 6.0)),
    "gelu_tanh": Reference(_gelu_tanh, _exact_gelu_tanh, (-10.0, -10.7), (-11.0, 6.0)),
    "hypot": Reference(np.hypot, exact.hypot, (1.0, 2.0**-126, 2.0**-40, 2.0**60)),
    "j0": Reference(
        _bessel(special.j0, 0, second=False), _exact_bessel(0, second=False), (2.404825,), (-60.0, 60.0), _near_zeros
    ),
    "j1": Reference(
        _bessel(special.j1, 1, second=False), _exact_bessel(1, second=False), (3.831706,), (-60.0, 60.0), _near_zeros
    ),
    "lgamma": Reference(
        lambda x: np.where(x == -np.inf, np.inf, special.gammaln(x)),
        _lgamma,
        (1.0, 2.0, -2.457025, -2.74768),
        (-20.0, 60.0),
        _lgamma_slack,
    ),
    "log": Reference(np.log, exact.log, (1.0, 0.70710678, 1.41421356), (0.0, 8.0)),
    "log10": Reference(np.log10, exact.log10, (1.0, 0.70710678, 1.41421356, 10.0, 1000.0), (0.0, 8.0)),
    "log1p": Reference(np.log1p, exact.log1p, (-1.0, -0.2928932, 0.41421356, 2.0**32), (-1.0, 4.0)),
    "log2": Reference(np.log2, lambda x: mp.log(x, 2), (1.0, 0.70710678, 1.41421356), (0.0, 8.0)),
    "pow": Reference(np.power, exact.power, (1.0, 2.0, -1.0, 0.70710678)),
    "rsqrt": Reference(lambda x: 1 / np.sqrt(x), lambda x: 1 / mp.sqrt(x), (1.0, 4.0), (0.0, 8.0)),
    "sigmoid": Reference(_sigmoid, lambda x: 1 / (1 + mp.exp(-x)), (-87.33654, -103.97208, 17.0)),
    "sin": Reference(np.sin, exact.sin, (np.pi, 2 * np.pi, 8192.0), (-100.0, 100.0)),
    "sinh": Reference(np.sinh, exact.sinh, (1.0, -1.0, 89.41598)),
    "tan": Reference(np.tan, exact.tan, (_HALF_PI, np.pi, 8192.0), (-100.0, 100.0)),
    "tanh": Reference(np.tanh, exact.tanh, (0.9, -0.9, 9.01)),
    "y0": Reference(
        _bessel(special.y0, 0, second=True),
        _exact_bessel(0, second=True),
        (0.893577, 3.957678),
        (0.0, 60.0),
        _near_zeros,
    ),
    "y1": Reference(
        _bessel(special.y1, 1, second=True),
        _exact_bessel(1, second=True),
        (2.197141, 5.429681),
        (0.0, 60.0),
        _near_zeros,
    ),
}

"""Coefficients of f64 exponentials, logarithms, roots and inverse functions; see ``remez`` for the algorithm.

What begins a series is kept in pairs of floats by the definitions; the polynomials here are what follows it.
"""

from __future__ import annotations

import mpmath as mp
from remez import Real, fit, split, write

LOG_EDGE = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * 1.0005
"""Largest square of (m - 1) / (m + 1) for m from sqrt(1/2) to sqrt(2)."""
GUESS_ERROR = 0.12
"""How far a w^3 is from 1 for the first guess w of 1 / cbrt(a)."""


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/f64_elementary.py``."""
    with mp.workprec(240):
        pairs = {
            "THIRD": split(mp.mpf(1) / 3, 53, last=53),
            "FIFTH": split(mp.mpf(1) / 5, 53, last=53),
            "LN2_PAIR": split(mp.log(2), 53, last=53),
            "LOG2E_PAIR": split(1 / mp.log(2), 53, last=53),
            "LOG10E_PAIR": split(1 / mp.log(10), 53, last=53),
            "LOG10_2": split(mp.log10(2), 42, last=53),  # products of the first with k are exact
        }
    return {
        "EXP_REST": exponential(10), "EXP2": power_of_two(12), "LOG_REST": logarithm(9), "SINH": odd(mp.sinh, 1, 8),
        "ARCTANGENT": odd(mp.atan, 1, 21), "ARCSINE": odd(mp.asin, 0.25, 13), "INVERSE_CUBE_ROOT": cube_root(6),
    } | pairs  # fmt: skip


def exponential(count: int) -> list[float]:
    """exp(r) = 1 + r + r^2 / 2 + r^3 P(r), abs(r) up to ln(2)/2."""
    edge = float(mp.log(2) / 2 * 1.0005)
    return fit(
        lambda r: (mp.exp(r) - 1 - r - r * r / 2) / r**3, -edge, edge, range(count),
        lambda r: abs(r) ** 3 / mp.exp(r), bits=53,
    )  # fmt: skip


def power_of_two(count: int) -> list[float]:
    """2^f = 1 + f P(f) for f up to a half."""
    return fit(lambda f: (mp.mpf(2) ** f - 1) / f, -0.5, 0.5, range(count), lambda f: abs(f) / mp.mpf(2) ** f, bits=53)


def logarithm(count: int) -> list[float]:
    """atanh(s) = s (1 + z (1/3 + z (1/5 + z P(z)))), z = s^2, for s = (m - 1) / (m + 1)."""

    def wanted(z: Real) -> Real:
        s = mp.sqrt(z)
        return (mp.atanh(s) / s - 1 - z / 3 - z**2 / 5) / z**3

    return fit(wanted, 0, float(LOG_EDGE), range(count), lambda z: z**3, bits=53)


def odd(function: Real, square: float, count: int) -> list[float]:
    """f(x) = x + x^3 P(x^2) for x^2 up to ``square``."""
    return fit(
        lambda z: (function(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, square, range(count),
        lambda z: mp.sqrt(z) ** 3 / function(mp.sqrt(z)), bits=53,
    )  # fmt: skip


def cube_root(count: int) -> list[float]:
    """t^(-1/3) = P(t - 1) for t near 1."""
    edge = GUESS_ERROR
    return fit(lambda t: (1 + t) ** (-mp.mpf(1) / 3), -edge, edge, range(count), lambda _t: mp.mpf(1), bits=53)


if __name__ == "__main__":
    write("f64_elementary", tables())

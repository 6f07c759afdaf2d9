"""Fits for erf, erfc and gelu; run it to write the coefficients."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from remez import fit, rounded, split, write

__all__ = ["tables"]

EDGES = (0.94, 2.1, 3.92)
"""erf is odd below the first; two polynomials follow; above the last it is 1."""


def tables() -> dict[str, list[float]]:
    """Return every table of ``coefficients/error.py``."""
    with mp.workprec(120):
        scale = mp.sqrt(8 / mp.pi)
        return {
            # erf(a) = a + a P(z), z = a^2, below the first edge
            "ERF": fit(
                lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, 0.0, 0.941**2, range(7),
                lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
            ),
            # erf(c + v) = first number + v P(v) between two edges, c in the middle
            "ERF_MIDDLE": piece(EDGES[0], EDGES[1]),
            "ERF_HIGH": piece(EDGES[1], EDGES[2]),
            # erfc(a) = 1 - a - a P(z) below 0.45
            "ERFC": fit(
                lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, 0.0, 0.451**2, range(4),
                lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
            ),
            # erfc(a) = exp(-a^2) / (a + k) P(v), v = (a - k) / (a + k), k = 1, a from 0.45 to 10.2
            "ERFC_TAIL": tail(lambda a: mp.erfc(a) * mp.exp(a**2) * (a + 1), 1.0, 0.449, 10.3, 11),
            # Phi(x) = 1/2 + x P(z), z = x^2, below 0.64
            "NORMAL": fit(
                lambda z: mp.erf(mp.sqrt(z / 2)) / (2 * mp.sqrt(z)), 0.0, 0.641**2, range(5), lambda z: mp.sqrt(z) * 2
            ),
            # a Phi(-a) = exp(-a^2/2) P(v), v = (a - k) / (a + k), k = 1.5625, a from 0.64 to 14.6
            "NORMAL_TAIL": tail(lambda a: a * mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a**2 / 2), 1.5625, 0.639, 14.7, 11),
            # gelu_tanh(x) = x / (1 + exp(-x (K1 + K2 x^2))): each in 12 bits and the rest
            "TANH_LINEAR": split(scale, 12),
            "TANH_CUBIC": split(scale * mp.mpf("0.044715"), 12),
        }  # fmt: skip


def piece(low: float, high: float) -> list[float]:
    """Return c, erf(c) rounded, and P."""
    c = rounded((mp.mpf(low) + mp.mpf(high)) / 2, 12)
    base = rounded(mp.erf(c))
    return [c, base, *fit(lambda v: (mp.erf(c + v) - base) / v, low - c, high - c, range(9), abs)]


def tail(function: Any, k: float, low: float, high: float, count: int) -> list[float]:
    """Return P for a function of a, in v = (a - k) / (a + k)."""

    def of(v: Any) -> Any:
        return function(k * (1 + v) / (1 - v))

    return fit(of, (low - k) / (low + k), (high - k) / (high + k), range(count), lambda v: 1 / of(v))


if __name__ == "__main__":
    write("error", tables())

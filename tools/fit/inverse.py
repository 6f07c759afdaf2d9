"""Coefficients of arctangent on [0, 1] and arcsine on [0, 1/2]; see ``remez`` for the algorithm."""

from __future__ import annotations

import mpmath as mp
from remez import Real, fit, write


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/inverse.py``."""
    return {"ARCTANGENT": odd(mp.atan, 1, 10), "ARCSINE": odd(mp.asin, 0.25, 6)}


def odd(function: Real, square: float, count: int) -> list[float]:
    """f(x) = x + x^3 P(x^2) for x^2 up to ``square``."""
    return fit(
        lambda z: (function(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, square, range(count),
        lambda z: mp.sqrt(z) ** 3 / function(mp.sqrt(z)),
    )  # fmt: skip


if __name__ == "__main__":
    write("inverse", tables())

"""Coefficients of sine and cosine over an eighth of a turn, and pieces of pi; see ``remez`` for the algorithm."""

from __future__ import annotations

import mpmath as mp
from remez import fit, rounded, split, write

EIGHTH = (0.7854 * 1.0005) ** 2
"""Square of the largest remainder; a little wider than pi/4, as the quotient is rounded."""


def tables() -> dict[str, list[float]]:
    """Return the tables of ``coefficients/trigonometric.py``."""
    with mp.workprec(120):
        return {
            "SINE": sine(4),
            "COSINE": cosine(3),
            "TURNS": [rounded(2 / mp.pi)],
            # multiples of the first three by whole numbers up to 8192 are exact
            "PIECES": split(mp.pi / 2, 11, 11, 11),
            "HALF_PI": split(mp.pi / 2, 24),
        }


def sine(count: int, bits: int = 24) -> list[float]:
    """sin(r) = r + r^3 P(r^2)."""
    return fit(
        lambda z: (mp.sin(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, 0, EIGHTH, range(count),
        lambda z: mp.sqrt(z) ** 3 / mp.sin(mp.sqrt(z)), bits=bits,
    )  # fmt: skip


def cosine(count: int, bits: int = 24) -> list[float]:
    """cos(r) = 1 - r^2 / 2 + r^4 P(r^2)."""
    return fit(
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, 0, EIGHTH, range(count),
        lambda z: z**2 / mp.cos(mp.sqrt(z)), bits=bits,
    )  # fmt: skip


if __name__ == "__main__":
    write("trigonometric", tables())
